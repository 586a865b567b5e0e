/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guest_pages.h.
 */
#include "tools/guest_pages.h"

#include <string.h>

#include "rpc/protocol/virtcrypt_guest_client.h"
#include "util/error.h"

static void
guest_free(void *opaque)
{
    virtcrypt_guest_entry_clear(opaque);
    g_free(opaque);
}

static void
key_free(void *opaque)
{
    virtcrypt_guest_key_entry_clear(opaque);
    g_free(opaque);
}

static void *
last_of(const GPtrArray *entries)
{
    return entries->len ? g_ptr_array_index(entries, entries->len - 1) : NULL;
}

/* A server whose pages do not go forward would be asked for ever. */
static bool
check_order(bool is_forward, uint32_t page_len, bool more, GError **error)
{
    if (is_forward && (page_len > 0 || !more))
        return true;
    error_set(error, ERROR_FROM_RPC, ERROR_RPC, "the server's list is out of order");
    return false;
}

static bool
add_guests(struct rpc_client *client, GPtrArray *guests, bool *ret_more, GError **error)
{
    struct virtcrypt_guest_entry *last = last_of(guests);
    const struct virtcrypt_guest_list_args call = {
        .after = last ? last->uuid : NULL,
        .max = VIRTCRYPT_GUEST_PAGE_MAX,
    };
    struct virtcrypt_guest_list_ret page = {0};
    bool is_forward = true;
    bool is_fine;

    if (!virtcrypt_guest_list_call(client, &call, &page, error))
        return false;
    for (uint32_t i = 0; i < page.guests_len && is_forward; i++) {
        struct virtcrypt_guest_entry *entry = &page.guests[i];

        is_forward = !last || memcmp(last->uuid, entry->uuid, sizeof(entry->uuid)) < 0;
        last = g_memdup2(entry, sizeof(*entry));
        *entry = (struct virtcrypt_guest_entry){0};
        g_ptr_array_add(guests, last);
    }
    is_fine = check_order(is_forward, page.guests_len, page.more, error);
    *ret_more = page.more;
    virtcrypt_guest_list_ret_clear(&page);
    return is_fine;
}

GPtrArray *
guest_pages_get_guests(struct rpc_client *client, GError **error)
{
    g_autoptr(GPtrArray) guests = g_ptr_array_new_with_free_func(guest_free);
    bool more = true;

    while (more) {
        if (!add_guests(client, guests, &more, error))
            return NULL;
    }
    return g_steal_pointer(&guests);
}

static bool
is_after(const struct virtcrypt_guest_key_entry *entry,
         const struct virtcrypt_guest_key_entry *last)
{
    int order = last ? memcmp(last->secret, entry->secret, sizeof(entry->secret)) : -1;

    return order < 0 || (order == 0 && memcmp(last->guest, entry->guest, sizeof(entry->guest)) < 0);
}

static bool
add_keys(struct rpc_client *client, const struct virtcrypt_guest_list_keys_args *filter,
         GPtrArray *keys, bool *ret_more, GError **error)
{
    struct virtcrypt_guest_key_entry *last = last_of(keys);
    struct virtcrypt_guest_list_keys_args call = *filter;
    struct virtcrypt_guest_list_keys_ret page = {0};
    struct virtcrypt_guest_place after = {{0}};
    bool is_forward = true;
    bool is_fine;

    if (last) {
        memcpy(after.secret, last->secret, sizeof(after.secret));
        memcpy(after.guest, last->guest, sizeof(after.guest));
    }
    call.after = last ? &after : NULL;
    call.max = VIRTCRYPT_GUEST_PAGE_MAX;
    if (!virtcrypt_guest_list_keys_call(client, &call, &page, error))
        return false;
    for (uint32_t i = 0; i < page.keys_len && is_forward; i++) {
        struct virtcrypt_guest_key_entry *entry = &page.keys[i];

        is_forward = is_after(entry, last);
        last = g_memdup2(entry, sizeof(*entry));
        *entry = (struct virtcrypt_guest_key_entry){0};
        g_ptr_array_add(keys, last);
    }
    is_fine = check_order(is_forward, page.keys_len, page.more, error);
    *ret_more = page.more;
    virtcrypt_guest_list_keys_ret_clear(&page);
    return is_fine;
}

GPtrArray *
guest_pages_get_keys(struct rpc_client *client, const struct virtcrypt_guest_list_keys_args *filter,
                     GError **error)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(key_free);
    bool more = true;

    while (more) {
        if (!add_keys(client, filter, keys, &more, error))
            return NULL;
    }
    return g_steal_pointer(&keys);
}
