/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of the program virtcrypt_volume as handlers: each checks its arguments and hands
 * the rest to a worker (dispatch_call.h) or a job (dispatch_job.h), since everything that asks the
 * service may wait for a disk, for the custodian or for another operation. The loop waits for
 * nothing. What a read-only client may call is in the table of procedures and the server's
 * business.
 */
#pragma once

#include "rpc/protocol/virtcrypt_volume_server.h"
#include "rpc/server.h"
#include "storage/client_keys.h"
#include "storage/dispatch_client.h"
#include "storage/dispatch_job.h"
#include "storage/dispatch_work.h"
#include "storage/service.h"

/* What handlers get as their opaque pointer. */
struct storage_dispatch {
    struct storage_service *service;
    struct client_keys *keys;
    const struct rpc_server *server;
    struct dispatch_workers *workers;
    struct dispatch_clients *clients;
    struct dispatch_jobs *jobs;
};

extern const struct virtcrypt_volume_handlers dispatch_volume_handlers;

/* Starts workers; `service` and `keys` are borrowed. The server is set by who makes it. */
void storage_dispatch_init(struct storage_dispatch *dispatch, struct loop *loop,
                           struct storage_service *service, struct client_keys *keys);
/* Refuses calls from now on, cancels all jobs, and calls `func` from the loop when nothing is being
 * worked on any more. */
void storage_dispatch_end(struct storage_dispatch *dispatch, loop_func func, void *opaque);
/* After the server is freed, and then only when no work is left. */
void storage_dispatch_clear(struct storage_dispatch *dispatch);

/* A volume as it is described on the wire. */
void dispatch_describe_volume(const struct storage_volume *volume,
                              struct virtcrypt_volume_entry *ret_entry);

/* False with libvirt's error if `flags` holds others than `known`. */
bool dispatch_check_flags(const char *call, uint32_t flags, uint32_t known, GError **error);

/* ---- handlers: dispatch_look.c ---- */

enum rpc_outcome dispatch_daemon_status(struct rpc_call *call, void *opaque,
                                        struct virtcrypt_volume_daemon_status_ret *ret,
                                        GError **error);
enum rpc_outcome dispatch_wants(struct rpc_call *call, void *opaque,
                                const struct virtcrypt_volume_wants_args *args,
                                struct virtcrypt_volume_wants_ret *ret, GError **error);
enum rpc_outcome dispatch_get_info(struct rpc_call *call, void *opaque,
                                   const struct virtcrypt_volume_ref_args *args,
                                   struct virtcrypt_volume_get_info_ret *ret, GError **error);
enum rpc_outcome dispatch_get_xml_desc(struct rpc_call *call, void *opaque,
                                       const struct virtcrypt_volume_ref_args *args,
                                       struct virtcrypt_volume_get_xml_desc_ret *ret,
                                       GError **error);
enum rpc_outcome dispatch_get(struct rpc_call *call, void *opaque,
                              const struct virtcrypt_volume_ref_args *args,
                              struct virtcrypt_volume_get_ret *ret, GError **error);
enum rpc_outcome dispatch_get_by_path(struct rpc_call *call, void *opaque,
                                      const struct virtcrypt_volume_get_by_path_args *args,
                                      struct virtcrypt_volume_get_ret *ret, GError **error);
enum rpc_outcome dispatch_list(struct rpc_call *call, void *opaque,
                               const struct virtcrypt_volume_list_args *args,
                               struct virtcrypt_volume_list_ret *ret, GError **error);
enum rpc_outcome dispatch_pool_policy(struct rpc_call *call, void *opaque,
                                      const struct virtcrypt_volume_pool_policy_args *args,
                                      struct virtcrypt_volume_pool_policy_ret *ret, GError **error);

/* ---- handlers: dispatch_use.c ---- */

enum rpc_outcome dispatch_open(struct rpc_call *call, void *opaque,
                               const struct virtcrypt_volume_open_args *args,
                               struct virtcrypt_volume_open_ret *ret, GError **error);
enum rpc_outcome dispatch_close(struct rpc_call *call, void *opaque,
                                const struct virtcrypt_volume_open_args *args, GError **error);
enum rpc_outcome dispatch_guest_prepare(struct rpc_call *call, void *opaque,
                                        const struct virtcrypt_volume_guest_prepare_args *args,
                                        GError **error);
enum rpc_outcome dispatch_guest_release(struct rpc_call *call, void *opaque,
                                        const struct virtcrypt_volume_guest_release_args *args,
                                        GError **error);
enum rpc_outcome dispatch_set_pool_policy(struct rpc_call *call, void *opaque,
                                          const struct virtcrypt_volume_set_pool_policy_args *args,
                                          GError **error);
