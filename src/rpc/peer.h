/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the kernel knows about the process at the other end of a Unix socket.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/identity.h"

/* Whoever connected `fd`; nothing is forwarded and nothing elevated. */
bool rpc_peer_identify(int fd, struct rpc_identity *ret_identity, GError **error);

/* When process `pid` started, in clock ticks since boot; 0 if it can't be known. */
unsigned long long rpc_peer_read_start_time(pid_t pid);
