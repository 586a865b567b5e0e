/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's keepalive program: answers to pings at any time, and pings of our own to clients
 * that said that they answer.
 */
#pragma once

#include <stdbool.h>

#include "rpc/connection.h"
#include "rpc/frame.h"

enum { RPC_KEEPALIVE_PROGRAM = 0x6b656570, RPC_KEEPALIVE_VERSION = 1 };
enum { RPC_KEEPALIVE_PING = 1, RPC_KEEPALIVE_PONG = 2 };

void rpc_keepalive_receive(struct rpc_connection *connection,
                           const struct rpc_frame_header *header);

/* Every second. False: the client did not answer often enough. */
bool rpc_keepalive_tick(struct rpc_connection *connection);
