/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the bytes between a client and its server: a socket, or the standard input and output of a
 * command such as ssh, with what that command says on standard error. Every wait ends at a
 * deadline. It knows nothing of messages.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_transport {
    int fd;        /* a stream socket, -1 when closed */
    GPid pid;      /* the command, 0 for none */
    int err_fd;    /* the command's standard error, -1 for none */
    GString *said; /* what came from there last */
};

enum rpc_transport_state {
    RPC_TRANSPORT_READY,
    RPC_TRANSPORT_TIMED_OUT,
    RPC_TRANSPORT_FAILED, /* poll failed: error is set */
};

/* Monotonic microseconds at which `timeout_ms` from now are over; -1 (for ever) for -1. */
int64_t rpc_transport_deadline(int timeout_ms);

bool rpc_transport_open_unix(struct rpc_transport *transport, const char *path, int64_t deadline,
                             GError **error);
bool rpc_transport_open_command(struct rpc_transport *transport, const char *const *argv,
                                GError **error);

/* Takes the connected stream socket `fd`. */
void rpc_transport_take_fd(struct rpc_transport *transport, int fd);

/* Closes. The command is given a bound to end, then ended. Safe twice. */
void rpc_transport_close(struct rpc_transport *transport);

/* Waits until `poll_events` (POLLIN or POLLOUT) may go on without blocking, or the other end has
 * gone. */
enum rpc_transport_state rpc_transport_wait(struct rpc_transport *transport, short poll_events,
                                            int64_t deadline, GError **error);

/* All of `len` bytes. A server that is too slow is an ERROR_OPERATION_TIMEOUT. Both leave an
 * unknown part transferred on failure: the connection is of no use then. */
bool rpc_transport_send(struct rpc_transport *transport, const void *bytes, size_t len,
                        int64_t deadline, GError **error);
bool rpc_transport_recv(struct rpc_transport *transport, void *ret_bytes, size_t len,
                        int64_t deadline, GError **error);
