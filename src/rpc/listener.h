/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a Unix socket that the daemon binds itself, when systemd has not done so: its file, mode
 * and group, and that no two daemons serve one path.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct rpc_listener;

struct rpc_listener_params {
    const char *path; /* its folder is made if need be */
    mode_t mode;
    const char *group; /* name or number, NULL for the daemon's own */
    unsigned int backlog;
};

/* Binds and listens. A socket file that nobody serves is replaced; one that is served is an error.
 * Nobody can connect before mode and group are set. */
struct rpc_listener *rpc_listener_new(const struct rpc_listener_params *params, GError **error);

/* The descriptor, which is the caller's from now on. */
int rpc_listener_take_fd(struct rpc_listener *listener);

/* Closes the descriptor, if it was not taken, and removes the socket's file if nobody serves it any
 * more: free the server that took the descriptor first. NULL is allowed. */
void rpc_listener_free(struct rpc_listener *listener);

typedef struct rpc_listener rpc_listener_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(rpc_listener_t, rpc_listener_free)
