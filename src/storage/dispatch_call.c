/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see dispatch_call.h.
 */
#include "storage/dispatch_call.h"

#include "util/error.h"

static bool
run_call(struct dispatch_work *work, GError **error)
{
    struct dispatch_call *call = (struct dispatch_call *)work;

    return call->run(call, rpc_call_get_ret(call->call), error);
}

static void
call_free(struct dispatch_call *call)
{
    call->client->calls--;
    dispatch_client_unref(call->client);
    g_free(call->pool);
    g_free(call->name);
    g_free(call->text);
    g_free(call->source_pool);
    g_free(call->source_name);
    g_free(call->user.name);
    if (call->payload)
        call->free_payload(call->payload);
    g_free(call);
}

static void
on_call_done(struct dispatch_work *work, const GError *error)
{
    struct dispatch_call *call = (struct dispatch_call *)work;
    struct rpc_call *answered = call->call;

    if (call->after)
        call->after(call, !error);
    call_free(call);
    if (error)
        rpc_call_fail(answered, g_error_copy(error));
    else
        rpc_call_reply(answered);
}

struct dispatch_call *
dispatch_call_new(struct storage_dispatch *dispatch, struct rpc_call *call,
                  bool (*run)(struct dispatch_call *call, void *ret, GError **error),
                  GError **error)
{
    struct dispatch_client *client = dispatch_clients_get(dispatch->clients, call);
    struct dispatch_call *made;

    if (!dispatch_clients_check(dispatch->clients, error))
        return NULL;
    if (client->calls >= DISPATCH_CLIENT_CALLS_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                  "this connection has %d calls under way, the most that one can have: wait for "
                  "their answers",
                  DISPATCH_CLIENT_CALLS_MAX);
        return NULL;
    }
    made = g_new0(struct dispatch_call, 1);
    made->work.run = run_call;
    made->work.done = on_call_done;
    made->dispatch = dispatch;
    made->client = dispatch_client_ref(client);
    made->call = call;
    made->run = run;
    client->calls++;
    return made;
}

enum rpc_outcome
dispatch_call_push(struct dispatch_call *call, enum dispatch_pool pool)
{
    dispatch_workers_push(call->dispatch->workers, pool, &call->work);
    return RPC_LATER;
}
