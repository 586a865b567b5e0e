/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one call on its way: from a whole frame to its reply. Inside src/rpc only; handlers see
 * rpc/server.h.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/connection.h"
#include "rpc/frame.h"
#include "rpc/server_state.h"

/* What the head of a frame decides already. */
enum rpc_verdict {
    RPC_VERDICT_TAKE,   /* *ret_target is what to call; nothing for keepalive */
    RPC_VERDICT_DROP,   /* no answer */
    RPC_VERDICT_REFUSE, /* *error is the answer */
};

struct rpc_target {
    const struct rpc_server_program *program;
    const struct rpc_procedure *procedure;
};

enum rpc_verdict rpc_call_judge(struct rpc_connection *connection,
                                const struct rpc_frame_header *header,
                                struct rpc_target *ret_target, GError **error);

/* Its arguments carry a key. False as well for what is not called. */
bool rpc_call_is_secret(struct rpc_connection *connection, const struct rpc_frame_header *header);

/* May begin although the client has all the calls in work that it may have. */
bool rpc_call_overtakes(struct rpc_connection *connection, const struct rpc_frame_header *header);

/* Answers a whole frame, at once or later. `frame` is header->length bytes. */
void rpc_call_begin(struct rpc_connection *connection, const struct rpc_frame_header *header,
                    const uint8_t *frame);
