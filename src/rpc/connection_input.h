/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a connection receives: bytes into frames, frames into calls.
 *
 * Bytes land in the server's one receive buffer, which is secret memory, and whole frames are
 * dispatched from there. What remains is kept for the connection (rpc/rest.h): the beginning of a
 * frame, or calls that may not begin yet. A frame whose head says that it will be refused or
 * dropped is not kept: its bytes are thrown away as they arrive, and the answer comes at its end.
 */
#pragma once

#include <stdbool.h>

#include "rpc/connection.h"

/* Neither calls in work nor output forbid to begin another call. */
bool rpc_connection_may_begin(const struct rpc_connection *connection);

/* Receives once and begins what arrived. */
void rpc_connection_read(struct rpc_connection *connection);

/* Begins calls that waited. */
void rpc_connection_resume(struct rpc_connection *connection);
