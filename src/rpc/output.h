/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a connection has to send and its peer does not take yet. Normally a message goes out
 * by the one send() that is tried at once, and nothing is kept. What carries a key is kept in
 * secret memory and wiped when it is gone.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/secret_buf.h"

enum rpc_output_kind { RPC_OUTPUT_REPLY, RPC_OUTPUT_EVENT };

struct rpc_output {
    size_t *total; /* bytes that wait, of all outputs that share it */
    size_t bytes;
    GQueue chunks;      /* of struct chunk */
    size_t event_bytes; /* of the bytes, those of events */
};

void rpc_output_init(struct rpc_output *output, size_t *total);
void rpc_output_clear(struct rpc_output *output);
bool rpc_output_is_empty(const struct rpc_output *output);

/* Bytes of events that wait. */
size_t rpc_output_count_events(const struct rpc_output *output);

/* Sends behind what waits already, or keeps a copy. False: the peer is gone. */
bool rpc_output_send(struct rpc_output *output, int fd, const void *bytes, size_t len,
                     enum rpc_output_kind kind);

/* The same for a message with a key in it; takes the buffer and wipes it once it is sent. */
bool rpc_output_send_secret(struct rpc_output *output, int fd, struct secret_buf *take_message);

/* Sends what waits as far as the peer takes it. False: the peer is gone. */
bool rpc_output_flush(struct rpc_output *output, int fd);
