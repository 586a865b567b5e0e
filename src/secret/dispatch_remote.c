/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's calls for secrets. Texts of refused arguments and the order of checks are
 * libvirt's, since clients see them.
 */
#include <string.h>

#include "secret/dispatch.h"
#include "util/error.h"

/* virSecretDefineFlags */
enum { DEFINE_VALIDATE = 1 };

void
dispatch_describe(const struct secret_def *def, struct remote_nonnull_secret *ret_secret)
{
    memcpy(ret_secret->uuid, def->uuid.bytes, sizeof(ret_secret->uuid));
    ret_secret->usageType = (int32_t)def->usage_type;
    ret_secret->usageID = g_strdup(def->usage_id ? def->usage_id : "");
}

static struct uuid
to_uuid(const uint8_t bytes[16])
{
    struct uuid uuid;

    memcpy(uuid.bytes, bytes, sizeof(uuid.bytes));
    return uuid;
}

/* `function` is the one of libvirt's driver, which names itself in this error. */
static bool
check_flags(uint32_t flags, uint32_t known, const char *function, GError **error)
{
    if ((flags & ~known) == 0)
        return true;
    error_set_argument(error, ERROR_FROM_SECRET, function, "flags",
                       "unsupported flags (0x%x) in function %s", flags & ~known, function);
    return false;
}

/* ---- changes: each is answered when it is durable ---- */

static void
on_defined(void *opaque, const struct secret_def *def, const GError *error)
{
    struct rpc_call *call = opaque;
    struct remote_secret_define_xml_ret *ret = rpc_call_get_ret(call);

    if (error) {
        rpc_call_fail(call, g_error_copy(error));
        return;
    }
    dispatch_describe(def, &ret->secret);
    rpc_call_reply(call);
}

static void
on_changed(void *opaque, const struct secret_def *def, const GError *error)
{
    struct rpc_call *call = opaque;

    if (error)
        rpc_call_fail(call, g_error_copy(error));
    else
        rpc_call_reply(call);
}

static enum rpc_outcome
define_xml(struct rpc_call *call, void *opaque, const struct remote_secret_define_xml_args *args,
           struct remote_secret_define_xml_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct secret_def *def;

    if (!check_flags(args->flags, DEFINE_VALIDATE, "secretDefineXML", error))
        return RPC_FAILED;
    def = secret_def_parse(args->xml, strlen(args->xml), args->flags & DEFINE_VALIDATE, error);
    if (!def)
        return RPC_FAILED;
    secret_service_define(dispatch->service, def, on_defined, call);
    return RPC_LATER;
}

static enum rpc_outcome
set_value(struct rpc_call *call, void *opaque, struct remote_secret_set_value_args *args,
          GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid uuid = to_uuid(args->secret.uuid);

    if (!args->value || secret_buf_len(args->value) == 0) {
        error_set_argument(error, ERROR_FROM_SECRET, "virSecretSetValue", "value",
                           "value in virSecretSetValue must not be NULL");
        return RPC_FAILED;
    }
    if (!check_flags(args->flags, 0, "secretSetValue", error))
        return RPC_FAILED;
    secret_service_set_value(dispatch->service, &uuid, g_steal_pointer(&args->value), on_changed,
                             call);
    return RPC_LATER;
}

static enum rpc_outcome
undefine(struct rpc_call *call, void *opaque, const struct remote_secret_undefine_args *args,
         GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid uuid = to_uuid(args->secret.uuid);

    secret_service_undefine(dispatch->service, &uuid, on_changed, call);
    return RPC_LATER;
}

/* ---- look up, read ---- */

static enum rpc_outcome
lookup_by_uuid(struct rpc_call *call, void *opaque,
               const struct remote_secret_lookup_by_uuid_args *args,
               struct remote_secret_lookup_by_uuid_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid uuid = to_uuid(args->uuid);
    const struct secret_def *def = secret_service_find(dispatch->service, &uuid, error);

    if (!def)
        return RPC_FAILED;
    dispatch_describe(def, &ret->secret);
    return RPC_DONE;
}

static enum rpc_outcome
lookup_by_usage(struct rpc_call *call, void *opaque,
                const struct remote_secret_lookup_by_usage_args *args,
                struct remote_secret_lookup_by_usage_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct secret_def *def =
        secret_service_find_usage(dispatch->service, args->usageType, args->usageID, error);

    if (!def)
        return RPC_FAILED;
    dispatch_describe(def, &ret->secret);
    return RPC_DONE;
}

static enum rpc_outcome
get_xml_desc(struct rpc_call *call, void *opaque,
             const struct remote_secret_get_xml_desc_args *args,
             struct remote_secret_get_xml_desc_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid uuid = to_uuid(args->secret.uuid);
    const struct secret_def *def;

    if (!check_flags(args->flags, 0, "secretGetXMLDesc", error))
        return RPC_FAILED;
    def = secret_service_find(dispatch->service, &uuid, error);
    if (!def)
        return RPC_FAILED;
    ret->xml = secret_def_format_dumpxml(def);
    return RPC_DONE;
}

static struct secret_reader
describe_reader(const struct dispatch *dispatch, struct rpc_call *call)
{
    const struct rpc_identity *identity =
        rpc_connection_get_identity(rpc_call_get_connection(call));

    return (struct secret_reader){
        .is_elevated = identity->elevated,
        .is_local_root = dispatch_is_local_root(dispatch, call),
    };
}

static enum rpc_outcome
get_value(struct rpc_call *call, void *opaque, const struct remote_secret_get_value_args *args,
          struct remote_secret_get_value_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid uuid = to_uuid(args->secret.uuid);
    const struct secret_reader reader = describe_reader(dispatch, call);

    if (!check_flags(args->flags, 0, "secretGetValue", error))
        return RPC_FAILED;
    ret->value = secret_service_get_value(dispatch->service, &uuid, &reader, error);
    return ret->value ? RPC_DONE : RPC_FAILED;
}

/* ---- lists ---- */

static enum rpc_outcome
num_of_secrets(struct rpc_call *call, void *opaque, struct remote_connect_num_of_secrets_ret *ret,
               GError **error)
{
    struct dispatch *dispatch = opaque;

    ret->num = (int32_t)secret_service_count(dispatch->service);
    return RPC_DONE;
}

static enum rpc_outcome
list_secrets(struct rpc_call *call, void *opaque,
             const struct remote_connect_list_secrets_args *args,
             struct remote_connect_list_secrets_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    g_autoptr(GPtrArray) defs = NULL;

    if (args->maxuuids < 0) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "maxuuids must be non-negative");
        return RPC_FAILED;
    }
    if (args->maxuuids > REMOTE_SECRET_LIST_MAX) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "maxuuids > REMOTE_SECRET_LIST_MAX");
        return RPC_FAILED;
    }
    defs = secret_service_list_page(dispatch->service, NULL, (size_t)args->maxuuids);
    ret->uuids = g_new0(char *, defs->len);
    ret->uuids_len = defs->len;
    for (guint i = 0; i < defs->len; i++) {
        const struct secret_def *def = g_ptr_array_index(defs, i);
        char text[UUID_TEXT_SIZE];

        ret->uuids[i] = g_strdup(uuid_format(&def->uuid, text));
    }
    return RPC_DONE;
}

static enum rpc_outcome
list_all_secrets(struct rpc_call *call, void *opaque,
                 const struct remote_connect_list_all_secrets_args *args,
                 struct remote_connect_list_all_secrets_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    g_autoptr(GPtrArray) defs = NULL;

    if (!check_flags(args->flags, DISPATCH_LIST_FLAGS, "secretConnectListAllSecrets", error))
        return RPC_FAILED;
    defs = secret_service_list(dispatch->service, args->flags);
    if (defs->len > REMOTE_SECRET_LIST_MAX) {
        error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "Too many secrets '%u' for limit '%d'",
                  defs->len, REMOTE_SECRET_LIST_MAX);
        return RPC_FAILED;
    }
    ret->ret = defs->len;
    if (!args->need_results)
        return RPC_DONE;
    ret->secrets = g_new0(struct remote_nonnull_secret, defs->len);
    ret->secrets_len = defs->len;
    for (guint i = 0; i < defs->len; i++)
        dispatch_describe(g_ptr_array_index(defs, i), &ret->secrets[i]);
    return RPC_DONE;
}

/* ---- events ---- */

static enum rpc_outcome
event_register(struct rpc_call *call, void *opaque,
               const struct remote_connect_secret_event_register_any_args *args,
               struct remote_connect_secret_event_register_any_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct uuid only = {{0}};

    if (args->secret)
        only = to_uuid(args->secret->uuid);
    return secret_events_register(dispatch->events, rpc_call_get_connection(call), args->eventID,
                                  args->secret ? &only : NULL, &ret->callbackID, error)
               ? RPC_DONE
               : RPC_FAILED;
}

static enum rpc_outcome
event_deregister(struct rpc_call *call, void *opaque,
                 const struct remote_connect_secret_event_deregister_any_args *args, GError **error)
{
    struct dispatch *dispatch = opaque;

    return secret_events_deregister(dispatch->events, rpc_call_get_connection(call),
                                    args->callbackID, error)
               ? RPC_DONE
               : RPC_FAILED;
}

const struct remote_secret_handlers dispatch_remote_handlers = {
    .connect_num_of_secrets = num_of_secrets,
    .connect_list_secrets = list_secrets,
    .secret_lookup_by_uuid = lookup_by_uuid,
    .secret_define_xml = define_xml,
    .secret_get_xml_desc = get_xml_desc,
    .secret_set_value = set_value,
    .secret_get_value = get_value,
    .secret_undefine = undefine,
    .secret_lookup_by_usage = lookup_by_usage,
    .connect_list_all_secrets = list_all_secrets,
    .connect_secret_event_register_any = event_register,
    .connect_secret_event_deregister_any = event_deregister,
};
