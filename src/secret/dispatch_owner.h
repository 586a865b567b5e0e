/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the handlers of dispatch_owner.c, for the table of the program virtcrypt_secret in
 * dispatch_virtcrypt.c.
 */
#pragma once

#include "secret/dispatch.h"

enum rpc_outcome dispatch_owner_bind(struct rpc_call *call, void *opaque,
                                     const struct virtcrypt_secret_bind_args *args,
                                     struct virtcrypt_secret_failures_ret *ret, GError **error);
enum rpc_outcome dispatch_owner_unbind(struct rpc_call *call, void *opaque,
                                       const struct virtcrypt_secret_unbind_args *args,
                                       struct virtcrypt_secret_failures_ret *ret, GError **error);
enum rpc_outcome dispatch_owner_erase(struct rpc_call *call, void *opaque,
                                      const struct virtcrypt_secret_erase_args *args,
                                      GError **error);
enum rpc_outcome dispatch_owner_list(struct rpc_call *call, void *opaque,
                                     const struct virtcrypt_secret_list_bindings_args *args,
                                     struct virtcrypt_secret_list_bindings_ret *ret,
                                     GError **error);
enum rpc_outcome dispatch_owner_audit(struct rpc_call *call, void *opaque,
                                      const struct virtcrypt_secret_audit_args *args,
                                      struct virtcrypt_secret_audit_ret *ret, GError **error);
enum rpc_outcome dispatch_owner_put(struct rpc_call *call, void *opaque,
                                    struct virtcrypt_secret_put_args *args, GError **error);
