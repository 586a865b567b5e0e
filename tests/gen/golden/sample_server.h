/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the serving side of sample: the table of handlers that a server fills in, and one function
 * for each event. A handler that is NULL is answered with 'not supported'. A @secret member of the
 * arguments may be taken: set it to NULL.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample.x, tests/gen/sample_types.x: change those,
 * not this file.
 */
#pragma once

#include <glib.h>

#include "sample.h"
#include "rpc/server.h"

struct sample_service_handlers {
    enum rpc_outcome (*nothing)(struct rpc_call *call, void *opaque, GError **error);
    enum rpc_outcome (*swap_arrays)(struct rpc_call *call, void *opaque,
                                    const struct sample_arrays *args, struct sample_arrays *ret,
                                    GError **error);
    enum rpc_outcome (*give_unions)(struct rpc_call *call, void *opaque, struct sample_unions *ret,
                                    GError **error);
    enum rpc_outcome (*swap_optionals)(struct rpc_call *call, void *opaque,
                                       struct sample_optionals *args, struct sample_optionals *ret,
                                       GError **error);
    enum rpc_outcome (*take_a_long_name)(
        struct rpc_call *call, void *opaque,
        const struct sample_type_with_a_name_that_leaves_little_room *args, GError **error);
    enum rpc_outcome (*take_bytes)(struct rpc_call *call, void *opaque, struct sample_bytes *args,
                                   GError **error);
};

void sample_point_moved_send(struct rpc_connection *connection, const struct sample_point *message);
