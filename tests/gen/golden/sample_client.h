/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calling side of sample. *ret is zeroed by the caller, filled on success (clear it) and
 * cleared on failure.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample.x, tests/gen/sample_types.x: change those,
 * not this file.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/client.h"
#include "sample.h"

bool sample_nothing_call(struct rpc_client *client, GError **error);
bool sample_swap_arrays_call(struct rpc_client *client, const struct sample_arrays *args,
                             struct sample_arrays *ret, GError **error);
bool sample_give_unions_call(struct rpc_client *client, struct sample_unions *ret, GError **error);
bool sample_swap_optionals_call(struct rpc_client *client, const struct sample_optionals *args,
                                struct sample_optionals *ret, GError **error);
bool sample_take_a_long_name_call(
    struct rpc_client *client, const struct sample_type_with_a_name_that_leaves_little_room *args,
    GError **error);
bool sample_take_bytes_call(struct rpc_client *client, const struct sample_bytes *args,
                            GError **error);
