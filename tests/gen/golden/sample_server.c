/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the events of sample, if any.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample.x, tests/gen/sample_types.x: change those,
 * not this file.
 */
#include "sample_server.h"

static void
send_event(struct rpc_connection *connection, enum sample_service_procedure number,
           const void *message)
{
    const struct rpc_program *program = &sample_service_program;

    rpc_connection_send_event(connection, program, rpc_program_find(program, (int32_t)number),
                              message);
}

void
sample_point_moved_send(struct rpc_connection *connection, const struct sample_point *message)
{
    send_event(connection, SAMPLE_SERVICE_PROC_POINT_MOVED, message);
}
