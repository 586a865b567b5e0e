/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of the programs remote_secret (libvirt's calls for secrets), virtcrypt_secret and
 * virtcrypt_store (ours) as handlers: each checks its arguments, calls the service, and packs the
 * result. What a read-only client may call is in the tables of procedures and the server's
 * business.
 */
#pragma once

#include "conf/secret_def.h"
#include "rpc/protocol/remote_secret_server.h"
#include "rpc/protocol/virtcrypt_secret_server.h"
#include "rpc/protocol/virtcrypt_master_server.h"
#include "rpc/protocol/virtcrypt_store_server.h"
#include "rpc/server.h"
#include "secret/events.h"
#include "secret/service.h"

/* What handlers get as their opaque pointer. */
struct dispatch {
    struct secret_service *service;
    struct secret_events *events;
    const struct rpc_server *server;
    uid_t root_uid;       /* who counts as local root: 0; in a session its user */
    bool believes_claims; /* a session, which no other user reaches, also through others */
    GHashTable *backups;  /* dispatch_backup.c's: by connection; NULL: none yet */
};

/* What a list can be filtered by. */
enum {
    DISPATCH_LIST_FLAGS = SECRET_LIST_EPHEMERAL | SECRET_LIST_NO_EPHEMERAL | SECRET_LIST_PRIVATE |
                          SECRET_LIST_NO_PRIVATE,
};

extern const struct remote_secret_handlers dispatch_remote_handlers;
extern const struct virtcrypt_secret_handlers dispatch_virtcrypt_handlers;
extern const struct virtcrypt_master_handlers dispatch_master_handlers;
extern const struct virtcrypt_store_handlers dispatch_store_handlers;

/* Whether the caller is root on this host (in a session: its user), for itself. (dispatch_access.c)
 */
bool dispatch_is_local_root(const struct dispatch *dispatch, struct rpc_call *call);
/* The same as an error: ERROR_OPERATION_DENIED; `what` is what only root may do: "import values".
 */
bool dispatch_check_local_root(const struct dispatch *dispatch, struct rpc_call *call,
                               const char *what, GError **error);

/* A secret as it is named on the wire; a copy. */
void dispatch_describe(const struct secret_def *def, struct remote_nonnull_secret *ret_secret);

/* How many of a list may be asked for at a time; `what` is what it lists. (dispatch_virtcrypt.c) */
bool dispatch_check_page(uint32_t max, const char *what, GError **error);
