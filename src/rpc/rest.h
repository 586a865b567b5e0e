/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: bytes that were received and can't be dispatched yet: the beginning of a message, or calls
 * that wait. In secret memory if a key may be among them, else on the heap. The memory taken is at
 * most twice what really arrived, whatever a length word promises.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/secret_buf.h"

/* What all rests of a server take. */
struct rpc_rest_usage {
    size_t plain;
    size_t secret;
};

struct rpc_rest {
    struct rpc_rest_usage *usage;
    uint8_t *plain;
    struct secret_buf *secret; /* at most one of both */
    size_t len;
    size_t capacity;
};

void rpc_rest_init(struct rpc_rest *rest, struct rpc_rest_usage *usage);

/* Forgets the bytes, wiping them if they are secret. */
void rpc_rest_clear(struct rpc_rest *rest);

bool rpc_rest_is_secret(const struct rpc_rest *rest);
const uint8_t *rpc_rest_bytes(const struct rpc_rest *rest);

/* Appends; an empty rest becomes secret or not by `secret`, another must be secret already if
 * `secret`. Fails only if secret memory can't be had. */
bool rpc_rest_append(struct rpc_rest *rest, const uint8_t *bytes, size_t len, bool secret,
                     GError **error);

/* Room behind the bytes of a rest that isn't empty, at least 1 and at most `max` bytes: as much
 * again as there is already. NULL if secret memory can't be had. rpc_rest_add_len says how much of
 * it was filled. */
uint8_t *rpc_rest_reserve(struct rpc_rest *rest, size_t max, size_t *ret_room, GError **error);
void rpc_rest_add_len(struct rpc_rest *rest, size_t len);

/* Moves what `from` holds to the empty `to`. */
void rpc_rest_move(struct rpc_rest *to, struct rpc_rest *from);
