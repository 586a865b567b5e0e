/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: volume_pages.h.
 */
#include "tools/volume_pages.h"

#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "util/error.h"

static void
entry_free(void *opaque)
{
    virtcrypt_volume_entry_clear(opaque);
    g_free(opaque);
}

static bool
is_after(const struct virtcrypt_volume_entry *entry, const struct virtcrypt_volume_entry *last)
{
    int order = last ? strcmp(last->pool, entry->pool) : -1;

    return order < 0 || (order == 0 && strcmp(last->name, entry->name) < 0);
}

static struct virtcrypt_volume_entry *
last_of(const GPtrArray *volumes)
{
    return volumes->len ? g_ptr_array_index(volumes, volumes->len - 1) : NULL;
}

/* One page. A server whose pages do not go forward would be asked for ever. */
static bool
add_page(struct rpc_client *client, GPtrArray *volumes, char *pool, bool *ret_more, GError **error)
{
    const struct virtcrypt_volume_entry *last = last_of(volumes);
    struct virtcrypt_volume_ref after = {0};
    const struct virtcrypt_volume_list_args call = {
        .pool = pool,
        .after = last ? &after : NULL,
        .max = VIRTCRYPT_VOLUME_PAGE_MAX,
    };
    struct virtcrypt_volume_list_ret page = {0};
    bool is_forward = true;

    if (last)
        after = (struct virtcrypt_volume_ref){.pool = last->pool, .name = last->name};
    if (!virtcrypt_volume_list_call(client, &call, &page, error))
        return false;
    for (uint32_t i = 0; i < page.volumes_len && is_forward; i++) {
        struct virtcrypt_volume_entry *entry;

        is_forward = is_after(&page.volumes[i], last_of(volumes));
        if (!is_forward)
            break;
        entry = g_memdup2(&page.volumes[i], sizeof(*entry));
        page.volumes[i] = (struct virtcrypt_volume_entry){0};
        g_ptr_array_add(volumes, entry);
    }
    is_forward = is_forward && (page.volumes_len > 0 || !page.more);
    *ret_more = page.more;
    virtcrypt_volume_list_ret_clear(&page);
    if (!is_forward)
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "the server's list of volumes is out of order");
    return is_forward;
}

GPtrArray *
volume_pages_get(struct rpc_client *client, char *pool, GError **error)
{
    g_autoptr(GPtrArray) volumes = g_ptr_array_new_with_free_func(entry_free);
    bool more = true;

    while (more) {
        if (!add_page(client, volumes, pool, &more, error))
            return NULL;
    }
    return g_steal_pointer(&volumes);
}
