/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls that change nothing.
 */
#include <string.h>

#include "guest/dispatch.h"
#include "util/error.h"

/* ---- the whole ---- */

static bool
run_status(struct guest_call *made, void *opaque, GError **error)
{
    struct virtcrypt_guest_status_ret *ret = opaque;
    struct guest_status status = {0};

    guest_service_status(made->service, &status);
    ret->uri = g_strdup(status.uri ? status.uri : "");
    ret->is_connected = status.uri && !status.problem;
    ret->problem = g_strdup(status.problem);
    ret->guests = status.guests;
    ret->keys = status.keys;
    ret->orphaned = status.orphaned;
    ret->waiting = status.waiting;
    guest_status_clear(&status);
    return true;
}

enum rpc_outcome
guest_dispatch_status(struct rpc_call *call, void *opaque, struct virtcrypt_guest_status_ret *ret,
                      GError **error)
{
    struct guest_call *made = guest_dispatch_begin(opaque, call, run_status, error);

    return made ? guest_dispatch_push(made, DISPATCH_POOL_STATUS) : RPC_FAILED;
}

static bool
run_autostart(struct guest_call *made, void *opaque, GError **error)
{
    struct virtcrypt_guest_autostart_ret *ret = opaque;
    struct guest_autostart_status status;

    guest_service_autostart(made->service, &status);
    ret->waiting = status.waiting;
    ret->is_unlocked = status.is_unlocked;
    ret->is_enabled = status.is_enabled;
    return true;
}

enum rpc_outcome
guest_dispatch_autostart(struct rpc_call *call, void *opaque,
                         struct virtcrypt_guest_autostart_ret *ret, GError **error)
{
    struct guest_call *made = guest_dispatch_begin(opaque, call, run_autostart, error);

    return made ? guest_dispatch_push(made, DISPATCH_POOL_STATUS) : RPC_FAILED;
}

/* ---- lists ---- */

static bool
check_page(uint32_t max, const char *what, GError **error)
{
    if (max >= 1 && max <= VIRTCRYPT_GUEST_PAGE_MAX)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG,
              "a page of %u %s: it is 1 to %d that a list can be asked for", max, what,
              VIRTCRYPT_GUEST_PAGE_MAX);
    return false;
}

static int
compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static void
describe_guest(const struct guest_entry *entry, struct virtcrypt_guest_entry *ret_entry)
{
    ret_entry->name = g_strdup(entry->name);
    memcpy(ret_entry->uuid, entry->uuid.bytes, sizeof(ret_entry->uuid));
    ret_entry->state = g_strdup(entry->state);
    ret_entry->is_persistent = entry->is_persistent;
    ret_entry->keys = entry->keys;
    ret_entry->missing = entry->missing;
    ret_entry->orphaned = entry->orphaned;
    ret_entry->erase_at = entry->erase_at;
}

static bool
run_list(struct guest_call *made, void *opaque, GError **error)
{
    struct virtcrypt_guest_list_ret *ret = opaque;
    g_autoptr(GPtrArray) guests = guest_service_list(made->service, error);

    if (!guests)
        return false;
    ret->guests = g_new0(struct virtcrypt_guest_entry, MIN(made->max, guests->len));
    for (guint i = 0; i < guests->len && !ret->more; i++) {
        const struct guest_entry *entry = guests->pdata[i];

        if (made->has_after && compare(&entry->uuid, &made->after) <= 0)
            continue;
        if (ret->guests_len < made->max)
            describe_guest(entry, &ret->guests[ret->guests_len++]);
        else
            ret->more = true;
    }
    return true;
}

enum rpc_outcome
guest_dispatch_list(struct rpc_call *call, void *opaque,
                    const struct virtcrypt_guest_list_args *args,
                    struct virtcrypt_guest_list_ret *ret, GError **error)
{
    struct guest_call *made;

    if (!check_page(args->max, "guests", error))
        return RPC_FAILED;
    made = guest_dispatch_begin(opaque, call, run_list, error);
    if (!made)
        return RPC_FAILED;
    made->max = args->max;
    made->has_after = args->after != NULL;
    if (args->after)
        made->after = guest_dispatch_uuid(args->after);
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}

static void
describe_key(const struct guest_key_entry *entry, struct virtcrypt_guest_key_entry *ret_entry)
{
    memcpy(ret_entry->secret, entry->secret.bytes, sizeof(ret_entry->secret));
    memcpy(ret_entry->guest, entry->guest.bytes, sizeof(ret_entry->guest));
    ret_entry->guest_name = g_strdup(entry->guest_name ? entry->guest_name : "");
    ret_entry->volume = g_strdup(entry->volume);
    ret_entry->origin = g_strdup(entry->origin);
    ret_entry->state = g_strdup(entry->state);
    ret_entry->erase_at = entry->erase_at;
    ret_entry->reason = g_strdup(entry->reason);
}

static bool
is_behind(const struct guest_call *made, const struct guest_key_entry *entry)
{
    int order = compare(&entry->secret, &made->after_secret);

    return !made->has_after || order > 0 ||
           (order == 0 && compare(&entry->guest, &made->after) > 0);
}

static bool
run_list_keys(struct guest_call *made, void *opaque, GError **error)
{
    struct virtcrypt_guest_list_keys_ret *ret = opaque;
    g_autoptr(GPtrArray) keys = guest_service_list_keys(
        made->service, made->has_guest ? &made->guest : NULL, made->text, made->flag, error);

    if (!keys)
        return false;
    ret->keys = g_new0(struct virtcrypt_guest_key_entry, MIN(made->max, keys->len));
    for (guint i = 0; i < keys->len && !ret->more; i++) {
        const struct guest_key_entry *entry = keys->pdata[i];

        if (!is_behind(made, entry))
            continue;
        if (ret->keys_len < made->max)
            describe_key(entry, &ret->keys[ret->keys_len++]);
        else
            ret->more = true;
    }
    return true;
}

enum rpc_outcome
guest_dispatch_list_keys(struct rpc_call *call, void *opaque,
                         const struct virtcrypt_guest_list_keys_args *args,
                         struct virtcrypt_guest_list_keys_ret *ret, GError **error)
{
    struct guest_call *made;

    if (!check_page(args->max, "keys", error))
        return RPC_FAILED;
    made = guest_dispatch_begin(opaque, call, run_list_keys, error);
    if (!made)
        return RPC_FAILED;
    made->has_guest = args->guest != NULL;
    if (args->guest)
        made->guest = guest_dispatch_uuid(args->guest);
    made->text = g_strdup(args->volume);
    made->flag = args->is_orphaned;
    made->has_after = args->after != NULL;
    if (args->after) {
        made->after_secret = guest_dispatch_uuid(args->after->secret);
        made->after = guest_dispatch_uuid(args->after->guest);
    }
    made->max = args->max;
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}

/* ---- one guest ---- */

static void
describe_item(const struct guest_check_item *item, struct virtcrypt_guest_check_item *ret_item)
{
    ret_item->place = g_strdup(item->place);
    ret_item->volume = g_strdup(item->volume);
    if (item->has_secret)
        ret_item->secret = g_memdup2(item->secret.bytes, sizeof(item->secret.bytes));
    ret_item->state = g_strdup(item->state);
    ret_item->message = g_strdup(item->message);
}

static bool
fill_check(const struct guest_call *made, const struct guest_check *check,
           struct virtcrypt_guest_check_ret *ret, GError **error)
{
    if (check->items->len > VIRTCRYPT_GUEST_DISKS_MAX) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OVERFLOW,
                  "guest '%s' has %u places for keys, and %d are the most that can be shown",
                  check->name, check->items->len, VIRTCRYPT_GUEST_DISKS_MAX);
        return false;
    }
    guest_dispatch_fill_domain(&ret->guest, check->name, &made->guest);
    ret->would_start = check->would_start;
    ret->items = g_new0(struct virtcrypt_guest_check_item, check->items->len);
    for (guint i = 0; i < check->items->len; i++)
        describe_item(check->items->pdata[i], &ret->items[ret->items_len++]);
    return true;
}

static bool
run_check(struct guest_call *made, void *ret, GError **error)
{
    struct guest_check *check = guest_service_check(made->service, &made->guest, error);
    bool is_right = check && fill_check(made, check, ret, error);

    if (check)
        guest_check_free(check);
    return is_right;
}

enum rpc_outcome
guest_dispatch_check(struct rpc_call *call, void *opaque,
                     const struct virtcrypt_guest_check_args *args,
                     struct virtcrypt_guest_check_ret *ret, GError **error)
{
    struct guest_call *made = guest_dispatch_begin(opaque, call, run_check, error);

    if (!made)
        return RPC_FAILED;
    made->guest = guest_dispatch_uuid(args->guest);
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}
