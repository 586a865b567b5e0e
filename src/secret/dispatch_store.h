/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the handlers of the program virtcrypt_store that have files of their own, for its table in
 * dispatch_store.c.
 */
#pragma once

#include "secret/dispatch.h"

/* dispatch_accept.c */
enum rpc_outcome dispatch_accept(struct rpc_call *call, void *opaque,
                                 const struct virtcrypt_store_accept_args *args,
                                 struct virtcrypt_store_accept_ret *ret, GError **error);

/* dispatch_import.c */
enum rpc_outcome dispatch_import(struct rpc_call *call, void *opaque,
                                 const struct virtcrypt_store_import_args *args,
                                 struct virtcrypt_store_import_ret *ret, GError **error);

/* dispatch_verify.c */
enum rpc_outcome dispatch_verify(struct rpc_call *call, void *opaque,
                                 const struct virtcrypt_store_verify_args *args,
                                 struct virtcrypt_store_verify_ret *ret, GError **error);
/* Findings as they are on the wire: not too many, and the last one says how many more there are. */
struct virtcrypt_store_finding *dispatch_verify_pack(const GPtrArray *findings, uint32_t *ret_len);

/* dispatch_backup.c */
enum rpc_outcome dispatch_backup_begin(struct rpc_call *call, void *opaque,
                                       struct virtcrypt_store_backup_begin_ret *ret,
                                       GError **error);
enum rpc_outcome dispatch_backup_read(struct rpc_call *call, void *opaque,
                                      const struct virtcrypt_store_backup_read_args *args,
                                      struct virtcrypt_store_backup_read_ret *ret, GError **error);
/* After all connections have ended. */
void dispatch_backup_clear(struct dispatch *dispatch);
