/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: finding a procedure in a program's table, and the refusal of one that has no handler.
 */
#include "rpc/program.h"

#include "util/error.h"

const struct rpc_procedure *
rpc_program_find(const struct rpc_program *program, int32_t number)
{
    size_t low = 0;
    size_t high = program->procedure_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct rpc_procedure *procedure = &program->procedures[middle];

        if (procedure->number == number)
            return procedure;
        if (procedure->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

enum rpc_outcome
rpc_refuse_missing(const char *api_name, GError **error)
{
    /* libvirt tags this error with the domain of guests, whatever the driver. */
    error_set(error, ERROR_FROM_DOMAIN, ERROR_NO_SUPPORT, "%s", api_name);
    return RPC_FAILED;
}
