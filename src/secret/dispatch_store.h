/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the handlers of the program virtcrypt_store that have files of their own, for its table in
 * dispatch_store.c.
 */
#pragma once

#include "secret/dispatch.h"

/* dispatch_import.c */
enum rpc_outcome dispatch_import(struct rpc_call *call, void *opaque,
                                 const struct virtcrypt_store_import_args *args,
                                 struct virtcrypt_store_import_ret *ret, GError **error);
