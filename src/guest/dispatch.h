/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of the program virtcrypt_guest as handlers: each checks its arguments and hands
 * the rest to a worker, since whatever asks the service may wait for libvirt, for the custodian or
 * for another operation. Connections and workers are those of virtcrypt_volume. What a read-only
 * client may call is in the table of procedures and the server's business.
 */
#pragma once

#include "guest/service.h"
#include "rpc/protocol/virtcrypt_guest_server.h"
#include "storage/dispatch_call.h"

/* What handlers get as their opaque pointer; both are borrowed. */
struct guest_dispatch {
    struct storage_dispatch *edge;
    struct guest_service *service;
};

extern const struct virtcrypt_guest_handlers guest_dispatch_handlers;

/* ---- for dispatch*.c ---- */

/* A call on its way: its arguments. Which ones, each call says. */
struct guest_call {
    struct guest_service *service;
    struct dispatch_call *work; /* that this belongs to */
    bool (*run)(struct guest_call *call, void *ret, GError **error);
    struct uuid secret;
    struct uuid guest;
    struct uuid migration;
    bool flag;    /* is_create, is_orphaned, has_moved */
    char *text;   /* volume, peer */
    uint32_t max; /* of a page, which begins behind `after_secret` and `after` */
    bool has_after;
    struct uuid after;
    struct uuid after_secret;
    bool has_guest; /* list_keys: of `guest` alone */
    struct virtcrypt_guest_define_args define;
    struct virtcrypt_guest_migrate_receive_args receive;
};

/* NULL as dispatch_call_new. */
struct guest_call *guest_dispatch_begin(struct guest_dispatch *dispatch, struct rpc_call *call,
                                        bool (*run)(struct guest_call *call, void *ret,
                                                    GError **error),
                                        GError **error);
/* Takes `made`. */
enum rpc_outcome guest_dispatch_push(struct guest_call *made, enum dispatch_pool pool);

struct uuid guest_dispatch_uuid(const uint8_t bytes[REMOTE_UUID_LEN]);
void guest_dispatch_fill_domain(struct remote_nonnull_domain *ret_domain, const char *name,
                                const struct uuid *uuid);

/* ---- handlers: dispatch_look.c ---- */

enum rpc_outcome guest_dispatch_status(struct rpc_call *call, void *opaque,
                                       struct virtcrypt_guest_status_ret *ret, GError **error);
enum rpc_outcome guest_dispatch_autostart(struct rpc_call *call, void *opaque,
                                          struct virtcrypt_guest_autostart_ret *ret,
                                          GError **error);
enum rpc_outcome guest_dispatch_list(struct rpc_call *call, void *opaque,
                                     const struct virtcrypt_guest_list_args *args,
                                     struct virtcrypt_guest_list_ret *ret, GError **error);
enum rpc_outcome guest_dispatch_list_keys(struct rpc_call *call, void *opaque,
                                          const struct virtcrypt_guest_list_keys_args *args,
                                          struct virtcrypt_guest_list_keys_ret *ret,
                                          GError **error);
enum rpc_outcome guest_dispatch_check(struct rpc_call *call, void *opaque,
                                      const struct virtcrypt_guest_check_args *args,
                                      struct virtcrypt_guest_check_ret *ret, GError **error);

/* ---- handlers: dispatch_migrate.c ---- */

enum rpc_outcome guest_dispatch_migrate_begin(struct rpc_call *call, void *opaque,
                                              const struct virtcrypt_guest_migrate_begin_args *args,
                                              struct virtcrypt_guest_migrate_begin_ret *ret,
                                              GError **error);
enum rpc_outcome guest_dispatch_migrate_receive(struct rpc_call *call, void *opaque,
                                                struct virtcrypt_guest_migrate_receive_args *args,
                                                GError **error);
enum rpc_outcome guest_dispatch_migrate_end(struct rpc_call *call, void *opaque,
                                            const struct virtcrypt_guest_migrate_end_args *args,
                                            struct virtcrypt_guest_migrate_end_ret *ret,
                                            GError **error);
