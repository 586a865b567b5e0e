/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of sample.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample.x, tests/gen/sample_types.x: change those,
 * not this file.
 */
#include "sample_client.h"

static bool
call(struct rpc_client *client, enum sample_service_procedure number, const void *args, void *ret,
     GError **error)
{
    const struct rpc_program *program = &sample_service_program;

    return rpc_client_call(client, program, rpc_program_find(program, (int32_t)number), args, ret,
                           error);
}

bool
sample_nothing_call(struct rpc_client *client, GError **error)
{
    return call(client, SAMPLE_SERVICE_PROC_NOTHING, NULL, NULL, error);
}

bool
sample_swap_arrays_call(struct rpc_client *client, const struct sample_arrays *args,
                        struct sample_arrays *ret, GError **error)
{
    return call(client, SAMPLE_SERVICE_PROC_SWAP_ARRAYS, args, ret, error);
}

bool
sample_give_unions_call(struct rpc_client *client, struct sample_unions *ret, GError **error)
{
    return call(client, SAMPLE_SERVICE_PROC_GIVE_UNIONS, NULL, ret, error);
}

bool
sample_swap_optionals_call(struct rpc_client *client, const struct sample_optionals *args,
                           struct sample_optionals *ret, GError **error)
{
    return call(client, SAMPLE_SERVICE_PROC_SWAP_OPTIONALS, args, ret, error);
}

bool
sample_take_a_long_name_call(struct rpc_client *client,
                             const struct sample_type_with_a_name_that_leaves_little_room *args,
                             GError **error)
{
    return call(client, SAMPLE_SERVICE_PROC_TAKE_A_LONG_NAME, args, NULL, error);
}

bool
sample_take_bytes_call(struct rpc_client *client, const struct sample_bytes *args, GError **error)
{
    return call(client, SAMPLE_SERVICE_PROC_TAKE_BYTES, args, NULL, error);
}
