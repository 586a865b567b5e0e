/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of handlers, what they share, and the calls that change which keys a guest has.
 */
#include "guest/dispatch.h"

#include <string.h>

#include "util/error.h"

/* virDomainDefineFlags, virDomainCreateFlags: those that have a meaning here. A guest that ends
 * with its connection would end with ours, which is not the client's. */
enum {
    DEFINE_VALIDATE = 1 << 0,
    CREATE_PAUSED = 1 << 0,
    CREATE_AUTODESTROY = 1 << 1,
    CREATE_VALIDATE = 1 << 4,
};

/* ---- what handlers share ---- */

static void
guest_call_free(void *opaque)
{
    struct guest_call *made = opaque;

    g_free(made->text);
    virtcrypt_guest_define_args_clear(&made->define);
    virtcrypt_guest_migrate_receive_args_clear(&made->receive);
    g_free(made);
}

static bool
run_call(struct dispatch_call *call, void *ret, GError **error)
{
    struct guest_call *made = call->payload;

    return made->run(made, ret, error);
}

struct guest_call *
guest_dispatch_begin(struct guest_dispatch *dispatch, struct rpc_call *call,
                     bool (*run)(struct guest_call *call, void *ret, GError **error),
                     GError **error)
{
    struct dispatch_call *work = dispatch_call_new(dispatch->edge, call, run_call, error);
    struct guest_call *made;

    if (!work)
        return NULL;
    made = g_new0(struct guest_call, 1);
    made->service = dispatch->service;
    made->run = run;
    made->work = work;
    work->payload = made;
    work->free_payload = guest_call_free;
    return made;
}

enum rpc_outcome
guest_dispatch_push(struct guest_call *made, enum dispatch_pool pool)
{
    return dispatch_call_push(made->work, pool);
}

struct uuid
guest_dispatch_uuid(const uint8_t bytes[REMOTE_UUID_LEN])
{
    struct uuid uuid;

    memcpy(uuid.bytes, bytes, sizeof(uuid.bytes));
    return uuid;
}

void
guest_dispatch_fill_domain(struct remote_nonnull_domain *ret_domain, const char *name,
                           const struct uuid *uuid)
{
    ret_domain->name = g_strdup(name);
    memcpy(ret_domain->uuid, uuid->bytes, sizeof(ret_domain->uuid));
    ret_domain->id = -1;
}

/* ---- define, create ---- */

static bool
check_mechanism(const struct virtcrypt_guest_key *key, GError **error)
{
    bool is_generate = g_str_equal(key->mechanism, "generate");
    bool has_key = key->key && secret_buf_len(key->key) > 0;

    if (!is_generate && !g_str_equal(key->mechanism, "passphrase"))
        error_set(error, ERROR_FROM_DOMAIN, ERROR_ARGUMENT_UNSUPPORTED,
                  "'%s' is no mechanism of a key: it is passphrase or generate", key->mechanism);
    else if (key->parameters)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_ARGUMENT_UNSUPPORTED,
                  "mechanism '%s' of a key has no parameters", key->mechanism);
    else if (is_generate && has_key)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG,
                  "the key of volume '%s' is to be generated, and one is sent", key->volume);
    else if (!is_generate && !has_key)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG, "the key of volume '%s' is empty",
                  key->volume);
    else
        return true;
    return false;
}

static bool
check_define(const struct virtcrypt_guest_define_args *args, bool is_create, GError **error)
{
    uint32_t known = is_create ? CREATE_PAUSED | CREATE_VALIDATE : DEFINE_VALIDATE;

    if (is_create && args->flags & CREATE_AUTODESTROY) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_ARGUMENT_UNSUPPORTED,
                  "a guest that is created with its keys can't be destroyed with its connection, "
                  "which is virtcryptd's");
        return false;
    }
    if (!dispatch_check_flags(is_create ? "create" : "define", args->flags, known, error))
        return false;
    for (uint32_t i = 0; i < args->keys_len; i++) {
        if (!check_mechanism(&args->keys[i], error))
            return false;
    }
    return true;
}

static void
fill_defined(const struct guest_defined *defined, struct virtcrypt_guest_define_ret *ret)
{
    guest_dispatch_fill_domain(&ret->guest, defined->name, &defined->uuid);
    ret->keys = g_new0(struct virtcrypt_guest_stored_key, defined->keys->len);
    for (guint i = 0; i < defined->keys->len; i++) {
        const struct guest_stored_key *stored = defined->keys->pdata[i];
        struct virtcrypt_guest_stored_key *key = &ret->keys[ret->keys_len++];

        key->volume = g_strdup(stored->volume);
        memcpy(key->secret, stored->secret.bytes, sizeof(key->secret));
        key->is_generated = stored->is_generated;
    }
}

static bool
run_define(struct guest_call *made, void *ret, GError **error)
{
    const struct virtcrypt_guest_define_args *args = &made->define;
    g_autofree struct guest_given_key *keys = g_new0(struct guest_given_key, args->keys_len + 1);
    const struct guest_define_request request = {
        .xml = args->xml,
        .keys = keys,
        .key_count = args->keys_len,
        .flags = args->flags,
        .is_create = made->flag,
    };
    struct guest_defined *defined;

    for (uint32_t i = 0; i < args->keys_len; i++) {
        const struct virtcrypt_guest_key *key = &args->keys[i];
        bool is_generate = g_str_equal(key->mechanism, "generate");

        keys[i].volume = key->volume;
        keys[i].mechanism = is_generate ? GUEST_MECHANISM_GENERATE : GUEST_MECHANISM_PASSPHRASE;
        keys[i].key = is_generate ? NULL : key->key;
    }
    defined = guest_service_define(made->service, &request, error);
    if (!defined)
        return false;
    fill_defined(defined, ret);
    guest_defined_free(defined);
    return true;
}

static enum rpc_outcome
push_define(struct rpc_call *call, void *opaque, struct virtcrypt_guest_define_args *args,
            bool is_create, GError **error)
{
    struct guest_call *made;

    if (!check_define(args, is_create, error))
        return RPC_FAILED;
    made = guest_dispatch_begin(opaque, call, run_define, error);
    if (!made)
        return RPC_FAILED;
    made->flag = is_create;
    made->define = *args;
    *args = (struct virtcrypt_guest_define_args){0};
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}

static enum rpc_outcome
define(struct rpc_call *call, void *opaque, struct virtcrypt_guest_define_args *args,
       struct virtcrypt_guest_define_ret *ret, GError **error)
{
    return push_define(call, opaque, args, false, error);
}

static enum rpc_outcome
create(struct rpc_call *call, void *opaque, struct virtcrypt_guest_define_args *args,
       struct virtcrypt_guest_define_ret *ret, GError **error)
{
    return push_define(call, opaque, args, true, error);
}

/* ---- bind, unbind, erase ---- */

static bool
run_bind(struct guest_call *made, void *ret, GError **error)
{
    return guest_service_bind(made->service, &made->secret, &made->guest, error);
}

static bool
run_unbind(struct guest_call *made, void *ret, GError **error)
{
    return guest_service_unbind(made->service, &made->secret, &made->guest, error);
}

static enum rpc_outcome
push_bind(struct rpc_call *call, void *opaque, const struct virtcrypt_guest_bind_args *args,
          bool (*run)(struct guest_call *call, void *ret, GError **error), GError **error)
{
    struct guest_call *made = guest_dispatch_begin(opaque, call, run, error);

    if (!made)
        return RPC_FAILED;
    made->secret = guest_dispatch_uuid(args->secret);
    made->guest = guest_dispatch_uuid(args->guest);
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}

static enum rpc_outcome
bind_key(struct rpc_call *call, void *opaque, const struct virtcrypt_guest_bind_args *args,
         GError **error)
{
    return push_bind(call, opaque, args, run_bind, error);
}

static enum rpc_outcome
unbind_key(struct rpc_call *call, void *opaque, const struct virtcrypt_guest_bind_args *args,
           GError **error)
{
    return push_bind(call, opaque, args, run_unbind, error);
}

static bool
run_erase(struct guest_call *made, void *ret, GError **error)
{
    return guest_service_erase(made->service, &made->secret, error);
}

static enum rpc_outcome
erase_key(struct rpc_call *call, void *opaque, const struct virtcrypt_guest_erase_args *args,
          GError **error)
{
    struct guest_call *made = guest_dispatch_begin(opaque, call, run_erase, error);

    if (!made)
        return RPC_FAILED;
    made->secret = guest_dispatch_uuid(args->secret);
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}

/* ---- all guests ---- */

static bool
run_reconcile(struct guest_call *made, void *ret, GError **error)
{
    return guest_service_reconcile(made->service, error);
}

static enum rpc_outcome
reconcile(struct rpc_call *call, void *opaque, GError **error)
{
    struct guest_call *made = guest_dispatch_begin(opaque, call, run_reconcile, error);

    return made ? guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT) : RPC_FAILED;
}

const struct virtcrypt_guest_handlers guest_dispatch_handlers = {
    .status = guest_dispatch_status,
    .define = define,
    .create = create,
    .list = guest_dispatch_list,
    .list_keys = guest_dispatch_list_keys,
    .bind = bind_key,
    .unbind = unbind_key,
    .erase = erase_key,
    .check = guest_dispatch_check,
    .migrate_begin = guest_dispatch_migrate_begin,
    .migrate_receive = guest_dispatch_migrate_receive,
    .migrate_end = guest_dispatch_migrate_end,
    .reconcile = reconcile,
    .autostart = guest_dispatch_autostart,
};
