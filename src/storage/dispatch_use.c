/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls that open and close, for guests, people and streams, and the setting of a pool's
 * policy. A stream's use lasts as long as its connection.
 */
#include <string.h>

#include "storage/dispatch_call.h"
#include "util/error.h"
#include "util/log.h"

/* ---- streams ---- */

struct stream {
    struct dispatch_work work; /* first: that of its closing */
    struct dispatch_closing closing;
    struct storage_dispatch *dispatch;
    char *pool;
    char *name;
    struct storage_user user;
};

static struct stream *
stream_of(struct dispatch_closing *closing)
{
    return (struct stream *)((char *)closing - G_STRUCT_OFFSET(struct stream, closing));
}

static void
stream_free(struct stream *stream)
{
    g_free(stream->pool);
    g_free(stream->name);
    g_free(stream);
}

static bool
run_stream_close(struct dispatch_work *work, GError **error)
{
    struct stream *stream = (struct stream *)work;

    return storage_service_close(stream->dispatch->service, stream->pool, stream->name,
                                 &stream->user, error);
}

static void
on_stream_closed(struct dispatch_work *work, const GError *error)
{
    struct stream *stream = (struct stream *)work;

    if (error)
        log_warn("the volume '%s' of pool '%s' stays open after a transfer: %s", stream->name,
                 stream->pool, error->message);
    stream_free(stream);
}

/* The client that transferred has gone, or asks for the end. */
static void
on_stream_end(struct dispatch_closing *closing)
{
    struct stream *stream = stream_of(closing);

    dispatch_workers_push(stream->dispatch->workers, DISPATCH_POOL_CHANGES, &stream->work);
}

static void
after_stream_open(struct dispatch_call *call, bool is_right)
{
    struct stream *stream;

    if (!is_right)
        return;
    stream = g_new0(struct stream, 1);
    stream->work.run = run_stream_close;
    stream->work.done = on_stream_closed;
    stream->closing.func = on_stream_end;
    stream->dispatch = call->dispatch;
    stream->pool = g_strdup(call->pool);
    stream->name = g_strdup(call->name);
    stream->user = call->user;
    /* At once if the client has gone meanwhile. */
    dispatch_client_add_closing(call->client, &stream->closing);
}

/* Taken out of what the end of the connection closes; NULL if there is none. */
static struct stream *
take_stream(struct dispatch_client *client, const struct virtcrypt_volume_ref *volume)
{
    for (guint i = 0; i < client->closings->len; i++) {
        struct dispatch_closing *closing = g_ptr_array_index(client->closings, i);
        struct stream *stream = stream_of(closing);

        if (closing->func == on_stream_end && g_str_equal(stream->pool, volume->pool) &&
            g_str_equal(stream->name, volume->name)) {
            dispatch_client_drop_closing(client, closing);
            return stream;
        }
    }
    return NULL;
}

/* ---- open, close ---- */

static bool
fill_user(struct storage_user *user, const struct virtcrypt_volume_open_args *args, GError **error)
{
    if (args->guest && args->is_stream) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "a volume is opened for a guest or for a transfer, not for both");
        return false;
    }
    *user = (struct storage_user){.kind = STORAGE_USER_MANUAL, .is_readonly = args->is_readonly};
    if (args->guest) {
        user->kind = STORAGE_USER_GUEST;
        memcpy(user->guest.bytes, args->guest->uuid, sizeof(user->guest.bytes));
        user->name = g_strdup(args->guest->name);
    } else if (args->is_stream) {
        user->kind = STORAGE_USER_STREAM;
        return uuid_generate_random(&user->guest, error);
    }
    return true;
}

static bool
run_open(struct dispatch_call *call, void *opaque, GError **error)
{
    struct virtcrypt_volume_open_ret *ret = opaque;

    ret->path =
        storage_service_open(call->dispatch->service, call->pool, call->name, &call->user, error);
    return ret->path != NULL;
}

static bool
run_close(struct dispatch_call *call, void *ret, GError **error)
{
    return storage_service_close(call->dispatch->service, call->pool, call->name, &call->user,
                                 error);
}

enum rpc_outcome
dispatch_open(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_open_args *args,
              struct virtcrypt_volume_open_ret *ret, GError **error)
{
    struct storage_user user;
    struct dispatch_call *made;

    if (!fill_user(&user, args, error))
        return RPC_FAILED;
    made = dispatch_call_new(opaque, call, run_open, error);
    if (!made) {
        g_free(user.name);
        return RPC_FAILED;
    }
    made->pool = g_strdup(args->volume.pool);
    made->name = g_strdup(args->volume.name);
    made->user = user;
    made->after = args->is_stream ? after_stream_open : NULL;
    return dispatch_call_push(made, DISPATCH_POOL_CHANGES);
}

enum rpc_outcome
dispatch_close(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_open_args *args,
               GError **error)
{
    struct storage_dispatch *dispatch = opaque;
    struct storage_user user;
    struct dispatch_call *made;

    if (!fill_user(&user, args, error))
        return RPC_FAILED;
    made = dispatch_call_new(dispatch, call, run_close, error);
    if (!made) {
        g_free(user.name);
        return RPC_FAILED;
    }
    if (args->is_stream) {
        struct stream *stream = take_stream(made->client, &args->volume);

        /* Otherwise a user that nobody is: the service says that there is no such use. */
        if (stream) {
            user = stream->user;
            stream_free(stream);
        }
    }
    made->pool = g_strdup(args->volume.pool);
    made->name = g_strdup(args->volume.name);
    made->user = user;
    return dispatch_call_push(made, DISPATCH_POOL_CHANGES);
}

/* ---- guests ---- */

static bool
run_guest_prepare(struct dispatch_call *call, void *ret, GError **error)
{
    return storage_service_prepare_guest(call->dispatch->service, call->text, error);
}

enum rpc_outcome
dispatch_guest_prepare(struct rpc_call *call, void *opaque,
                       const struct virtcrypt_volume_guest_prepare_args *args, GError **error)
{
    struct dispatch_call *made = dispatch_call_new(opaque, call, run_guest_prepare, error);

    if (!made)
        return RPC_FAILED;
    made->text = g_strdup(args->xml);
    return dispatch_call_push(made, DISPATCH_POOL_GUESTS);
}

static bool
run_guest_release(struct dispatch_call *call, void *ret, GError **error)
{
    return storage_service_release_guest(call->dispatch->service, &call->user.guest, error);
}

enum rpc_outcome
dispatch_guest_release(struct rpc_call *call, void *opaque,
                       const struct virtcrypt_volume_guest_release_args *args, GError **error)
{
    struct dispatch_call *made = dispatch_call_new(opaque, call, run_guest_release, error);

    if (!made)
        return RPC_FAILED;
    memcpy(made->user.guest.bytes, args->guest, sizeof(made->user.guest.bytes));
    return dispatch_call_push(made, DISPATCH_POOL_GUESTS);
}

/* ---- pools ---- */

static bool
run_set_pool_policy(struct dispatch_call *call, void *ret, GError **error)
{
    return storage_pools_set_policy(storage_service_pools(call->dispatch->service), call->pool,
                                    (enum pool_policy)call->number, error);
}

static bool
find_policy(const char *name, enum pool_policy *ret_policy, GError **error)
{
    for (int i = 0; i < POOL_POLICY_LAST; i++) {
        if (g_str_equal(name, pool_policy_name((enum pool_policy)i))) {
            *ret_policy = (enum pool_policy)i;
            return true;
        }
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "'%s' is no policy of a pool: it is none, luks or dm-crypt", name);
    return false;
}

enum rpc_outcome
dispatch_set_pool_policy(struct rpc_call *call, void *opaque,
                         const struct virtcrypt_volume_set_pool_policy_args *args, GError **error)
{
    enum pool_policy policy;
    struct dispatch_call *made;

    if (!find_policy(args->policy, &policy, error))
        return RPC_FAILED;
    made = dispatch_call_new(opaque, call, run_set_pool_policy, error);
    if (!made)
        return RPC_FAILED;
    made->pool = g_strdup(args->pool);
    made->number = policy;
    return dispatch_call_push(made, DISPATCH_POOL_CHANGES);
}
