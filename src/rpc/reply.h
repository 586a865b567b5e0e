/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: messages to a client: replies, errors and events as bytes. It alone turns a GError into
 * libvirt's struct of an error.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/connection.h"
#include "rpc/frame.h"

/* The reply to `request`: `value` of `type` (NULL: void). Straight into secret memory if it
 * `carries_key`. */
void rpc_reply_send(struct rpc_connection *connection, const struct rpc_frame_header *request,
                    const struct rpc_type *type, const void *value, bool carries_key);

void rpc_reply_send_error(struct rpc_connection *connection, const struct rpc_frame_header *request,
                          const GError *error);

/* A message of `type` with `header` (whose length is filled in) and no answer. */
void rpc_reply_send_event(struct rpc_connection *connection, struct rpc_frame_header *header,
                          const struct rpc_type *type, const void *value);
