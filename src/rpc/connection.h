/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one client of a server: its socket, what it sent and gets, its state. Inside src/rpc only;
 * handlers see rpc/server.h.
 *
 * States and what is legal in each:
 *   waiting     nothing is read: too many clients before it have not authenticated yet
 *   anonymous   only procedures marked @anonymous
 *   unopened    authenticated; only procedures marked @unopened
 *   open        everything
 *   closing     the client said goodbye: what it sent before that is finished, nothing more is read
 *   aborted     nothing is read or sent; the loop will close it
 *   closed      `server` is NULL; only calls in work still refer to it
 *
 * A connection is closed from the loop only, never within a call: what finds it broken aborts it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/frame.h"
#include "rpc/identity.h"
#include "rpc/output.h"
#include "rpc/rest.h"
#include "rpc/server.h"
#include "rpc/user.h"
#include "util/loop.h"

/* A message that is thrown away as it arrives. */
struct rpc_skip {
    struct rpc_frame_header header;
    size_t left;
    GError *refusal; /* the answer at its end, NULL for none */
};

struct rpc_connection {
    unsigned int refs;
    struct rpc_server *server; /* NULL once closed */
    GList link;                /* of the server's list */
    int fd;
    struct loop_watch *watch;
    uint32_t watched; /* EPOLL* events */

    struct rpc_identity identity;
    struct rpc_user *user; /* NULL once closed */
    enum rpc_auth auth;
    bool readonly;
    bool waiting;
    bool authenticating; /* polkit is asked */
    bool authenticated;
    bool opened;
    bool closing;
    bool aborted;
    char *uri; /* as opened, or NULL */

    struct rpc_rest rest; /* calls that wait, then the beginning of a message */
    bool rest_waits;      /* a whole call is among it */
    struct rpc_skip skip;
    struct rpc_output output;
    unsigned int in_work; /* calls that were begun and not ended */

    unsigned int handshake_s;     /* seconds towards the handshake's timeout */
    unsigned int failed_attempts; /* to authenticate */
    bool heard;                   /* something arrived since the last tick */
    bool pings;                   /* the client can answer keepalive */
    unsigned int silent_s;        /* since something arrived or a ping was sent */
    unsigned int missed;          /* pings without an answer */
    GArray *on_close;             /* of struct closing_func */
};

/* Takes `fd`. NULL with an error, and `fd` closed, if it can't be watched. Nothing is read before
 * rpc_connection_start. Its user counts it until it is closed. */
struct rpc_connection *rpc_connection_new(struct rpc_server *server, int fd,
                                          const struct rpc_identity *identity, GError **error);
struct rpc_connection *rpc_connection_ref(struct rpc_connection *connection);
void rpc_connection_unref(struct rpc_connection *connection);

/* Starts to read; for one that waited, now that there is room. */
void rpc_connection_start(struct rpc_connection *connection);

/* Drops what it has to send, and closes it in the loop's next round. */
void rpc_connection_abort(struct rpc_connection *connection);

/* The client said goodbye: closes it once replies are sent and calls in work have ended. */
void rpc_connection_finish(struct rpc_connection *connection);

/* Closes now, from the loop, and drops the server's reference. */
void rpc_connection_close(struct rpc_connection *connection);

/* A call ended or output changed: reads on, waits or closes, as the state now says. */
void rpc_connection_settle(struct rpc_connection *connection);

void rpc_connection_set_authenticated(struct rpc_connection *connection);

/* Sends a whole message, or aborts the connection. */
void rpc_connection_send(struct rpc_connection *connection, const void *bytes, size_t len,
                         enum rpc_output_kind kind);
void rpc_connection_send_secret(struct rpc_connection *connection, struct secret_buf *take_message);
