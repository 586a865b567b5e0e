/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: sockets that systemd has bound for us (sd_listen_fds(3)), without libsystemd.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* A socket that the daemon can be given. */
struct rpc_activation {
    const char *const *names; /* in LISTEN_FDNAMES, ended by NULL */
    const char *path;         /* where it is bound, for a systemd that passes no names */
    int fd;                   /* set by rpc_activation_take; -1 if it was not passed */
};

/* Takes what was passed to this process, sets close-on-exec, and removes the variables. Nothing was
 * passed: true, and every fd is -1. A descriptor that is none of `sockets`, is there twice, or is
 * no listening Unix socket, is an error; all descriptors are closed then. */
bool rpc_activation_take(struct rpc_activation *sockets, size_t count, GError **error);
