/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calling side of the protocol: one connection, one call at a time, every wait bounded.
 * Calls that carry a key are written from and read into secret memory. Generated client stubs
 * call rpc_client_call. A connection on which a wait ended early or a message broke the protocol
 * is of no use any more: every later call fails. Not thread-safe.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/program.h"

struct rpc_client;

/* `message` is the event's decoded struct, cleared when this returns. It may make calls. */
typedef void (*rpc_client_event_func)(const struct rpc_program *program,
                                      const struct rpc_procedure *procedure, const void *message,
                                      void *opaque);

enum {
    RPC_CLIENT_TIMEOUT_MS = 30000,
    /* For steps at which a person may be asked for a password: by polkit, or by ssh. */
    RPC_CLIENT_PERSON_TIMEOUT_MS = 300000,
};

/* Connects to a Unix socket. */
struct rpc_client *rpc_client_new_unix(const char *path, GError **error);

/* Runs `argv` (ssh, say) and speaks over its standard input and output. What it says on standard
 * error is part of the error when it ends early. */
struct rpc_client *rpc_client_new_command(const char *const *argv, GError **error);

/* Takes the connected stream socket `fd`. */
struct rpc_client *rpc_client_new_fd(int fd);

/* Closes; a command started for it is waited for, and killed after a bound. */
void rpc_client_free(struct rpc_client *client);

/* Milliseconds a call may take, RPC_CLIENT_TIMEOUT_MS at first. */
int rpc_client_get_timeout(const struct rpc_client *client);
void rpc_client_set_timeout(struct rpc_client *client, int timeout_ms);

/* One call. `ret` is filled on success (caller clears it) and cleared on failure. An error of the
 * server arrives as error_set_remote made it. Events that arrive meanwhile are kept for
 * rpc_client_wait. */
bool rpc_client_call(struct rpc_client *client, const struct rpc_program *program,
                     const struct rpc_procedure *procedure, const void *args, void *ret,
                     GError **error);

/* Registers the receiver of a program's events; those of others are dropped. */
void rpc_client_on_event(struct rpc_client *client, const struct rpc_program *program,
                         rpc_client_event_func func, void *opaque);

/* Waits up to `timeout_ms` (-1: for ever) for an event and delivers it, with all others that were
 * kept; false with an error when the connection ended, true otherwise, also if there was none.
 * Answers keepalive pings meanwhile. */
bool rpc_client_wait(struct rpc_client *client, int timeout_ms, GError **error);

/* Whether events are kept that rpc_client_wait would deliver at once. */
bool rpc_client_has_events(const struct rpc_client *client);

/* The descriptor to poll along with others before rpc_client_wait(client, 0, ...). */
int rpc_client_get_fd(const struct rpc_client *client);

/* Whether a command was started for it, which may ask a person something before it connects. */
bool rpc_client_is_command(const struct rpc_client *client);

/* AUTH_LIST, polkit if asked for, CONNECT_OPEN of `uri`. A server on a socket has to answer within
 * the timeout that is set; where a person may be asked, RPC_CLIENT_PERSON_TIMEOUT_MS counts. */
bool rpc_client_open(struct rpc_client *client, const char *uri, bool readonly, GError **error);

typedef struct rpc_client rpc_client_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(rpc_client_t, rpc_client_free)
