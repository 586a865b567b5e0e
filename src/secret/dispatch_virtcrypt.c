/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls that libvirt does not have: the daemon's state, that of its key-encryption
 * generation, and lists of any length by pages. Those about guests are in dispatch_owner.c.
 */
#include <string.h>
#include <unistd.h>

#include "secret/dispatch_owner.h"
#include "util/error.h"

static enum rpc_outcome
daemon_status(struct rpc_call *call, void *opaque, struct virtcrypt_secret_daemon_status_ret *ret,
              GError **error)
{
    struct dispatch *dispatch = opaque;
    const char *reason = secret_service_locked_reason(dispatch->service);

    ret->version = g_strdup(PACKAGE_VERSION);
    ret->pid = (uint32_t)getpid();
    ret->locked = reason != NULL;
    ret->locked_reason = g_strdup(reason);
    ret->secrets = (uint32_t)secret_service_count(dispatch->service);
    ret->ephemeral = (uint32_t)secret_service_count_ephemeral(dispatch->service);
    ret->unavailable = (uint32_t)secret_service_count_unavailable(dispatch->service);
    ret->clients = rpc_server_count_clients(dispatch->server);
    return RPC_DONE;
}

/* Both or none of a pair: any. */
static bool
passes_pair(uint32_t flags, uint32_t yes, uint32_t no, bool is_set)
{
    return !(flags & (yes | no)) || (flags & (is_set ? yes : no));
}

static bool
passes(const struct secret_def *def, uint32_t flags)
{
    return passes_pair(flags, SECRET_LIST_EPHEMERAL, SECRET_LIST_NO_EPHEMERAL, def->is_ephemeral) &&
           passes_pair(flags, SECRET_LIST_PRIVATE, SECRET_LIST_NO_PRIVATE, def->is_private);
}

/* The first `max` secrets after `after` that pass. */
static GPtrArray *
find_page(const struct dispatch *dispatch, const struct uuid *after, guint max, uint32_t flags)
{
    GPtrArray *found = g_ptr_array_new();
    struct uuid last;
    guint seen;

    do {
        g_autoptr(GPtrArray) page =
            secret_service_list_page(dispatch->service, after, VIRTCRYPT_SECRET_PAGE_MAX);

        seen = page->len;
        for (guint i = 0; i < seen && found->len < max; i++) {
            struct secret_def *def = g_ptr_array_index(page, i);

            if (passes(def, flags))
                g_ptr_array_add(found, def);
            last = def->uuid;
        }
        after = &last;
    } while (seen == VIRTCRYPT_SECRET_PAGE_MAX && found->len < max);
    return found;
}

bool
dispatch_check_page(uint32_t max, const char *what, GError **error)
{
    if (max >= 1 && max <= VIRTCRYPT_SECRET_PAGE_MAX)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "a page of %u %s: it is 1 to %d that a list can be asked for", max, what,
              VIRTCRYPT_SECRET_PAGE_MAX);
    return false;
}

static bool
check_list_args(const struct virtcrypt_secret_list_secrets_args *args, GError **error)
{
    if (args->flags & ~(uint32_t)DISPATCH_LIST_FLAGS) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "unsupported flags (0x%x) of a list",
                  args->flags & ~(uint32_t)DISPATCH_LIST_FLAGS);
        return false;
    }
    return dispatch_check_page(args->max, "secrets", error);
}

static enum rpc_outcome
list_secrets(struct rpc_call *call, void *opaque,
             const struct virtcrypt_secret_list_secrets_args *args,
             struct virtcrypt_secret_list_secrets_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    g_autoptr(GPtrArray) found = NULL;
    struct uuid after;

    if (!check_list_args(args, error))
        return RPC_FAILED;
    if (args->after)
        memcpy(after.bytes, args->after, sizeof(after.bytes));
    /* One more than asked for shows whether there are others. */
    found = find_page(dispatch, args->after ? &after : NULL, args->max + 1, args->flags);
    ret->more = found->len > args->max;
    ret->secrets_len = MIN(found->len, args->max);
    ret->secrets = g_new0(struct virtcrypt_secret_listed, ret->secrets_len);
    for (guint i = 0; i < ret->secrets_len; i++) {
        const struct secret_def *def = g_ptr_array_index(found, i);

        dispatch_describe(def, &ret->secrets[i].secret);
        ret->secrets[i].ephemeral = def->is_ephemeral;
        ret->secrets[i].private = def->is_private;
        ret->secrets[i].has_value = secret_service_has_value(dispatch->service, &def->uuid);
    }
    return RPC_DONE;
}

static enum rpc_outcome
generation_status(struct rpc_call *call, void *opaque,
                  struct virtcrypt_secret_generation_status_ret *ret, GError **error)
{
    const struct dispatch *dispatch = opaque;
    struct secret_generation_status status;

    secret_service_get_generation(dispatch->service, &status);
    ret->number = status.number;
    ret->is_rotating = status.is_rotating;
    ret->left = status.left;
    ret->problem = g_strdup(status.problem);
    return RPC_DONE;
}

const struct virtcrypt_secret_handlers dispatch_virtcrypt_handlers = {
    .daemon_status = daemon_status,
    .list_secrets = list_secrets,
    .bind = dispatch_owner_bind,
    .unbind = dispatch_owner_unbind,
    .erase = dispatch_owner_erase,
    .list_bindings = dispatch_owner_list,
    .put = dispatch_owner_put,
    .audit = dispatch_owner_audit,
    .generation_status = generation_status,
};
