/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls that change nothing.
 */
#include <string.h>
#include <unistd.h>

#include "storage/dispatch_call.h"
#include "util/error.h"

/* virStorageVolInfoFlags: the answer holds both sizes, whichever is asked for. */
enum { GET_PHYSICAL = 1 };

/* ---- the daemon ---- */

static bool
run_daemon_status(struct dispatch_call *call, void *opaque, GError **error)
{
    struct virtcrypt_volume_daemon_status_ret *ret = opaque;
    struct storage_service *service = call->dispatch->service;
    g_autoptr(GError) reason = NULL;

    ret->version = g_strdup(PACKAGE_VERSION);
    ret->pid = (uint32_t)getpid();
    ret->volumes = storage_service_count(service);
    ret->pending = storage_service_count_pending(service);
    if (!client_keys_check(call->dispatch->keys, &reason))
        ret->custodian = g_strdup(reason->message);
    return true;
}

enum rpc_outcome
dispatch_daemon_status(struct rpc_call *call, void *opaque,
                       struct virtcrypt_volume_daemon_status_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;
    struct dispatch_call *made = dispatch_call_new(dispatch, call, run_daemon_status, error);

    if (!made)
        return RPC_FAILED;
    ret->clients = rpc_server_count_clients(dispatch->server);
    return dispatch_call_push(made, DISPATCH_POOL_STATUS);
}

/* ---- one volume ---- */

static bool
run_wants(struct dispatch_call *call, void *opaque, GError **error)
{
    struct virtcrypt_volume_wants_ret *ret = opaque;
    const struct storage_create_request request = {
        .pool = call->pool,
        .xml = call->text,
        .source_pool = call->source_pool,
        .source_volume = call->source_name,
        .flags = call->number,
    };

    return storage_service_wants(call->dispatch->service, &request, &ret->wants, error);
}

enum rpc_outcome
dispatch_wants(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_wants_args *args,
               struct virtcrypt_volume_wants_ret *ret, GError **error)
{
    struct dispatch_call *made = dispatch_call_new(opaque, call, run_wants, error);

    if (!made)
        return RPC_FAILED;
    made->pool = g_strdup(args->pool);
    made->text = g_strdup(args->xml);
    made->source_pool = args->source ? g_strdup(args->source->pool) : NULL;
    made->source_name = args->source ? g_strdup(args->source->name) : NULL;
    made->number = args->flags;
    return dispatch_call_push(made, DISPATCH_POOL_LOOKS);
}

static enum rpc_outcome
push_look(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_ref *volume,
          bool (*run)(struct dispatch_call *call, void *ret, GError **error), GError **error)
{
    struct dispatch_call *made = dispatch_call_new(opaque, call, run, error);

    if (!made)
        return RPC_FAILED;
    made->pool = g_strdup(volume->pool);
    made->name = g_strdup(volume->name);
    return dispatch_call_push(made, DISPATCH_POOL_LOOKS);
}

static bool
run_get_info(struct dispatch_call *call, void *opaque, GError **error)
{
    struct virtcrypt_volume_get_info_ret *ret = opaque;
    struct backend_info info;

    if (!storage_service_get_info(call->dispatch->service, call->pool, call->name, &info, error))
        return false;
    ret->type = (int32_t)info.type;
    ret->capacity = info.capacity;
    ret->allocation = info.allocation;
    ret->physical = info.physical;
    return true;
}

enum rpc_outcome
dispatch_get_info(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_ref_args *args,
                  struct virtcrypt_volume_get_info_ret *ret, GError **error)
{
    if (!dispatch_check_flags("get_info", args->flags, GET_PHYSICAL, error))
        return RPC_FAILED;
    return push_look(call, opaque, &args->volume, run_get_info, error);
}

static bool
run_get_xml_desc(struct dispatch_call *call, void *opaque, GError **error)
{
    struct virtcrypt_volume_get_xml_desc_ret *ret = opaque;

    ret->xml = storage_service_describe(call->dispatch->service, call->pool, call->name, error);
    return ret->xml != NULL;
}

enum rpc_outcome
dispatch_get_xml_desc(struct rpc_call *call, void *opaque,
                      const struct virtcrypt_volume_ref_args *args,
                      struct virtcrypt_volume_get_xml_desc_ret *ret, GError **error)
{
    if (!dispatch_check_flags("get_xml_desc", args->flags, 0, error))
        return RPC_FAILED;
    return push_look(call, opaque, &args->volume, run_get_xml_desc, error);
}

static bool
fill_volume(struct storage_volume *found, struct virtcrypt_volume_get_ret *ret)
{
    g_autoptr(storage_volume_t) volume = found;

    if (volume)
        dispatch_describe_volume(volume, &ret->volume);
    return volume != NULL;
}

static bool
run_get(struct dispatch_call *call, void *ret, GError **error)
{
    return fill_volume(storage_service_get(call->dispatch->service, call->pool, call->name, error),
                       ret);
}

enum rpc_outcome
dispatch_get(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_ref_args *args,
             struct virtcrypt_volume_get_ret *ret, GError **error)
{
    if (!dispatch_check_flags("get", args->flags, 0, error))
        return RPC_FAILED;
    return push_look(call, opaque, &args->volume, run_get, error);
}

static bool
run_get_by_path(struct dispatch_call *call, void *ret, GError **error)
{
    return fill_volume(storage_service_get_by_path(call->dispatch->service, call->text, error),
                       ret);
}

enum rpc_outcome
dispatch_get_by_path(struct rpc_call *call, void *opaque,
                     const struct virtcrypt_volume_get_by_path_args *args,
                     struct virtcrypt_volume_get_ret *ret, GError **error)
{
    struct dispatch_call *made = dispatch_call_new(opaque, call, run_get_by_path, error);

    if (!made)
        return RPC_FAILED;
    made->text = g_strdup(args->path);
    return dispatch_call_push(made, DISPATCH_POOL_LOOKS);
}

/* ---- lists ---- */

/* The service's order: by pool, then by name. */
static bool
is_after(const struct storage_volume *volume, const char *pool, const char *name)
{
    int order = strcmp(volume->pool, pool);

    return order > 0 || (order == 0 && strcmp(volume->name, name) > 0);
}

static bool
run_list(struct dispatch_call *call, void *opaque, GError **error)
{
    struct virtcrypt_volume_list_ret *ret = opaque;
    g_autoptr(GPtrArray) volumes = storage_service_list(call->dispatch->service, call->pool);

    ret->volumes = g_new0(struct virtcrypt_volume_entry, MIN(call->number, volumes->len));
    for (guint i = 0; i < volumes->len && !ret->more; i++) {
        const struct storage_volume *volume = g_ptr_array_index(volumes, i);

        if (call->source_pool && !is_after(volume, call->source_pool, call->source_name))
            continue;
        if (ret->volumes_len < call->number)
            dispatch_describe_volume(volume, &ret->volumes[ret->volumes_len++]);
        else
            ret->more = true;
    }
    return true;
}

enum rpc_outcome
dispatch_list(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_list_args *args,
              struct virtcrypt_volume_list_ret *ret, GError **error)
{
    struct dispatch_call *made;

    if (args->max < 1 || args->max > VIRTCRYPT_VOLUME_PAGE_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "a page of %u volumes: it is 1 to %d that a list can be asked for", args->max,
                  VIRTCRYPT_VOLUME_PAGE_MAX);
        return RPC_FAILED;
    }
    made = dispatch_call_new(opaque, call, run_list, error);
    if (!made)
        return RPC_FAILED;
    made->pool = g_strdup(args->pool);
    made->source_pool = args->after ? g_strdup(args->after->pool) : NULL;
    made->source_name = args->after ? g_strdup(args->after->name) : NULL;
    made->number = args->max;
    return dispatch_call_push(made, DISPATCH_POOL_LOOKS);
}

/* ---- pools ---- */

static bool
run_pool_policy(struct dispatch_call *call, void *opaque, GError **error)
{
    struct virtcrypt_volume_pool_policy_ret *ret = opaque;
    enum pool_policy policy;

    if (!storage_pools_get_policy(storage_service_pools(call->dispatch->service), call->pool,
                                  &policy, error))
        return false;
    ret->policy = g_strdup(pool_policy_name(policy));
    return true;
}

enum rpc_outcome
dispatch_pool_policy(struct rpc_call *call, void *opaque,
                     const struct virtcrypt_volume_pool_policy_args *args,
                     struct virtcrypt_volume_pool_policy_ret *ret, GError **error)
{
    struct dispatch_call *made = dispatch_call_new(opaque, call, run_pool_policy, error);

    if (!made)
        return RPC_FAILED;
    made->pool = g_strdup(args->pool);
    return dispatch_call_push(made, DISPATCH_POOL_LOOKS);
}
