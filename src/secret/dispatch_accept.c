/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the call that accepts what the index of generations refuses.
 */
#include <string.h>

#include "secret/dispatch_store.h"

static void
on_accepted(void *opaque, unsigned int count, const GError *error)
{
    struct rpc_call *call = opaque;
    struct virtcrypt_store_accept_ret *ret;

    if (error) {
        rpc_call_fail(call, g_error_copy(error));
        return;
    }
    ret = rpc_call_get_ret(call);
    ret->accepted = count;
    rpc_call_reply(call);
}

enum rpc_outcome
dispatch_accept(struct rpc_call *call, void *opaque, const struct virtcrypt_store_accept_args *args,
                struct virtcrypt_store_accept_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct uuid uuid;

    if (!dispatch_check_local_root(dispatch, call, "accept older values", error))
        return RPC_FAILED;
    if (args->secret)
        memcpy(uuid.bytes, args->secret, sizeof(uuid.bytes));
    secret_service_accept(dispatch->service, args->secret ? &uuid : NULL, on_accepted, call);
    return RPC_LATER;
}
