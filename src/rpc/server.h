/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: listening sockets, connections and the dispatch of calls to programs, on one event loop.
 * It knows no program by name. Limits are enforced here: clients, clients that have not
 * authenticated, calls in work for each client, message size, idle handshakes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "rpc/identity.h"
#include "rpc/polkit.h"
#include "rpc/program.h"
#include "util/error.h"
#include "util/loop.h"
#include "util/secret_buf.h"

struct rpc_server;
struct rpc_connection;

enum rpc_auth {
    RPC_AUTH_NONE = 0,
    RPC_AUTH_POLKIT = 2, /* the numbers that AUTH_LIST reports */
};

struct rpc_server_params {
    struct loop *loop;
    const char *uri;                    /* the one that clients open, "secret:///system" */
    const char *type_name;              /* what CONNECT_GET_TYPE answers */
    uint64_t version;                   /* what CONNECT_GET_VERSION answers, as libvirt counts */
    uint64_t lib_version;               /* of the libvirt that we stand for, 9000000 */
    enum error_domain error_domain;     /* of calls refused on a read-only connection */
    const struct secret_buf *token;     /* the system token (rpc/system_token.h); NULL: nobody is
                                         * ever elevated. Borrowed until the server is freed. */
    bool trust_own_uid;                 /* our own user may forward identities, as root may */
    unsigned int max_clients;           /* 0: no limit */
    unsigned int max_anonymous_clients; /* 0: no limit */
    unsigned int max_client_requests;   /* calls in work for each client, at least 1 */
    int keepalive_interval_s;           /* -1 or 0: the server sends no pings */
    unsigned int keepalive_count;
    unsigned int handshake_timeout_s; /* authenticated and opened by then, or closed; 0: never */
    unsigned int idle_exit_s;         /* --timeout: 0 for never */
    rpc_polkit_ask_func ask_polkit;   /* NULL: polkit is asked by this process */
    void *ask_opaque;
    bool (*is_held)(void *opaque); /* true: not idle although no client is there */
    void (*on_idle)(void *opaque);
    void *opaque;
};

/* It answers the calls of a connection itself (rpc/protocol/remote_connection.x): programs that are
 * added need not. */
struct rpc_server *rpc_server_new(const struct rpc_server_params *params);

/* Closes every connection and listener. Calls that returned RPC_LATER must still be ended. Not to
 * be called by a handler. */
void rpc_server_free(struct rpc_server *server);

/* Programs may share a number and version: their procedures are looked up in the order added. */
void rpc_server_add_program(struct rpc_server *server, const struct rpc_program *program,
                            const void *handlers, void *opaque);

/* Takes the listening socket `fd`. Clients of a read-only one are read-only for ever.
 *
 * At max_clients no further one is accepted until there is room, and a tenth of it is for root.
 * Further clients than max_anonymous_clients that have to authenticate wait for their turn, and are
 * refused if too many wait; root need not authenticate and so never waits for them. Of all these
 * places one user gets no more than stay free (rpc/user.h). */
bool rpc_server_add_listener(struct rpc_server *server, int fd, bool readonly, enum rpc_auth auth,
                             GError **error);

/* Takes the connected stream socket `fd` as one more client. */
bool rpc_server_add_client(struct rpc_server *server, int fd, bool readonly, enum rpc_auth auth,
                           GError **error);

/* Starts to accept clients; until then they queue in the kernel. */
void rpc_server_start(struct rpc_server *server);

unsigned int rpc_server_count_clients(const struct rpc_server *server);

/* ---- what handlers use ---- */

struct rpc_connection *rpc_call_get_connection(const struct rpc_call *call);

/* End a call whose handler returns RPC_LATER, even before it does; `rpc_call_get_ret` is the struct
 * to fill before replying, NULL for void. Both are no-ops on the wire if the client has gone.
 * rpc_call_fail takes the error. Arguments are gone when the handler returns: take what you need.
 */
void *rpc_call_get_ret(struct rpc_call *call);
void rpc_call_reply(struct rpc_call *call);
void rpc_call_fail(struct rpc_call *call, GError *error);

bool rpc_connection_is_readonly(const struct rpc_connection *connection);
const struct rpc_identity *rpc_connection_get_identity(const struct rpc_connection *connection);

/* Sends an event message (serial 1), or queues it; a client that lets too many wait is
 * disconnected, but never within this function. */
void rpc_connection_send_event(struct rpc_connection *connection, const struct rpc_program *program,
                               const struct rpc_procedure *procedure, const void *message);

/* Calls `func(opaque)` once when the connection ends; at once if it has. */
void rpc_connection_on_close(struct rpc_connection *connection, GDestroyNotify func, void *opaque);
