/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls about guests that own secrets, and about what was erased. A call with many
 * bindings is many changes, each on its own; it is answered when the last of them has ended.
 */
#include "secret/dispatch_owner.h"

#include <string.h>

#include "util/error.h"

static struct uuid
to_uuid(const uint8_t bytes[16])
{
    struct uuid uuid;

    memcpy(uuid.bytes, bytes, sizeof(uuid.bytes));
    return uuid;
}

/* ---- bind, unbind: many at a time ---- */

struct batch {
    struct rpc_call *call;
    uint32_t left; /* changes that have not ended */
    GError **errors;
    uint32_t count;
};

/* One change of a batch. */
struct part {
    struct batch *batch;
    uint32_t index;
};

static struct batch *
batch_new(struct rpc_call *call, uint32_t count)
{
    struct batch *batch = g_new0(struct batch, 1);

    batch->call = call;
    batch->errors = g_new0(GError *, count);
    batch->count = count;
    /* One for the handler, which is not to be overtaken by changes that end at once. */
    batch->left = count + 1;
    return batch;
}

static uint32_t
count_failures(const struct batch *batch)
{
    uint32_t failures = 0;

    for (uint32_t i = 0; i < batch->count; i++)
        failures += batch->errors[i] != NULL;
    return failures;
}

static void
reply(struct batch *batch)
{
    struct virtcrypt_secret_failures_ret *ret = rpc_call_get_ret(batch->call);

    ret->failures = g_new0(struct virtcrypt_secret_failure, count_failures(batch));
    for (uint32_t i = 0; i < batch->count; i++) {
        struct virtcrypt_secret_failure *failure;

        if (!batch->errors[i])
            continue;
        failure = &ret->failures[ret->failures_len];
        failure->index = i;
        failure->code = error_get_code(batch->errors[i]);
        failure->message = error_describe(batch->errors[i]);
        ret->failures_len++;
        g_error_free(batch->errors[i]);
    }
    rpc_call_reply(batch->call);
}

/* So many have ended; the last one frees the batch. */
static void
batch_end(struct batch *batch, uint32_t count)
{
    batch->left -= count;
    if (batch->left > 0)
        return;
    reply(batch);
    g_free(batch->errors);
    g_free(batch);
}

static void
on_part_done(void *opaque, const struct secret_def *def, const GError *error)
{
    struct part *part = opaque;

    if (error)
        part->batch->errors[part->index] = g_error_copy(error);
    batch_end(part->batch, 1);
    g_free(part);
}

static struct part *
part_new(struct batch *batch, uint32_t index)
{
    struct part *part = g_new(struct part, 1);

    *part = (struct part){batch, index};
    return part;
}

enum rpc_outcome
dispatch_owner_bind(struct rpc_call *call, void *opaque,
                    const struct virtcrypt_secret_bind_args *args,
                    struct virtcrypt_secret_failures_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct batch *batch = batch_new(call, args->bindings_len);

    for (uint32_t i = 0; i < args->bindings_len; i++) {
        const struct uuid secret = to_uuid(args->bindings[i].secret);
        const struct uuid guest = to_uuid(args->bindings[i].guest);

        secret_service_bind(dispatch->service, &secret, &guest, on_part_done, part_new(batch, i));
    }
    batch_end(batch, 1);
    return RPC_LATER;
}

enum rpc_outcome
dispatch_owner_unbind(struct rpc_call *call, void *opaque,
                      const struct virtcrypt_secret_unbind_args *args,
                      struct virtcrypt_secret_failures_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct batch *batch = batch_new(call, args->bindings_len);

    for (uint32_t i = 0; i < args->bindings_len; i++) {
        const struct uuid secret = to_uuid(args->bindings[i].secret);
        const struct uuid guest = to_uuid(args->bindings[i].guest);

        secret_service_unbind(dispatch->service, &secret, &guest, args->reason, on_part_done,
                              part_new(batch, i));
    }
    batch_end(batch, 1);
    return RPC_LATER;
}

/* ---- erase, put ---- */

static void
on_changed(void *opaque, const struct secret_def *def, const GError *error)
{
    struct rpc_call *call = opaque;

    if (error)
        rpc_call_fail(call, g_error_copy(error));
    else
        rpc_call_reply(call);
}

enum rpc_outcome
dispatch_owner_erase(struct rpc_call *call, void *opaque,
                     const struct virtcrypt_secret_erase_args *args, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid secret = to_uuid(args->secret);
    struct uuid guest;

    if (args->guest)
        guest = to_uuid(args->guest);
    secret_service_erase(dispatch->service, &secret, args->guest ? &guest : NULL, args->reason,
                         on_changed, call);
    return RPC_LATER;
}

enum rpc_outcome
dispatch_owner_put(struct rpc_call *call, void *opaque, struct virtcrypt_secret_put_args *args,
                   GError **error)
{
    struct dispatch *dispatch = opaque;
    g_autofree struct uuid *owners = g_new(struct uuid, args->owners_len);
    struct secret_put put = {.owners = owners, .owner_count = args->owners_len};

    if (!args->value) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "a secret without a value");
        return RPC_FAILED;
    }
    put.def = secret_def_parse(args->xml, strlen(args->xml), false, error);
    if (!put.def)
        return RPC_FAILED;
    for (uint32_t i = 0; i < args->owners_len; i++)
        owners[i] = to_uuid(args->owners[i]);
    put.value = g_steal_pointer(&args->value);
    secret_service_put(dispatch->service, &put, on_changed, call);
    return RPC_LATER;
}

/* ---- lists ---- */

enum rpc_outcome
dispatch_owner_list(struct rpc_call *call, void *opaque,
                    const struct virtcrypt_secret_list_bindings_args *args,
                    struct virtcrypt_secret_list_bindings_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    g_autoptr(GArray) found = NULL;
    struct secret_binding after;

    if (!dispatch_check_page(args->max, "bindings", error))
        return RPC_FAILED;
    if (args->after)
        after = (struct secret_binding){to_uuid(args->after->secret), to_uuid(args->after->guest)};
    /* One more than asked for shows whether there are others. */
    found =
        secret_service_list_bindings(dispatch->service, args->after ? &after : NULL, args->max + 1);
    ret->more = found->len > args->max;
    ret->bindings_len = MIN(found->len, args->max);
    ret->bindings = g_new0(struct virtcrypt_secret_binding, ret->bindings_len);
    for (uint32_t i = 0; i < ret->bindings_len; i++) {
        const struct secret_binding *binding = &g_array_index(found, struct secret_binding, i);

        memcpy(ret->bindings[i].secret, binding->secret.bytes, sizeof(binding->secret.bytes));
        memcpy(ret->bindings[i].guest, binding->guest.bytes, sizeof(binding->guest.bytes));
    }
    return RPC_DONE;
}

enum rpc_outcome
dispatch_owner_audit(struct rpc_call *call, void *opaque,
                     const struct virtcrypt_secret_audit_args *args,
                     struct virtcrypt_secret_audit_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    g_autoptr(GPtrArray) lines = NULL;

    if (!dispatch_check_page(args->max, "lines", error))
        return RPC_FAILED;
    lines = secret_service_read_audit(dispatch->service, args->from, args->max, &ret->more, error);
    if (!lines)
        return RPC_FAILED;
    ret->lines_len = lines->len;
    ret->lines = g_new0(char *, lines->len);
    for (guint i = 0; i < lines->len; i++)
        ret->lines[i] = g_strdup(lines->pdata[i]);
    return RPC_DONE;
}
