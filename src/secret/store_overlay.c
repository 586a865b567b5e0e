/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: changes by uuid, as store_overlay.h says.
 */
#include "secret/store_overlay.h"

#include <stdlib.h>

#include "secret/store_change.h"

struct overlay {
    GMutex lock; /* of what `changes` holds */
    GHashTable *changes;
};

static void
free_change(void *opaque)
{
    struct store_change *change = opaque;

    store_change_clear(change);
    g_free(change);
}

static GHashTable *
new_table(void)
{
    /* The key is part of the value. */
    return g_hash_table_new_full(uuid_hash_key, uuid_equal_key, NULL, free_change);
}

struct overlay *
overlay_new(void)
{
    struct overlay *overlay = g_new0(struct overlay, 1);

    g_mutex_init(&overlay->lock);
    overlay->changes = new_table();
    return overlay;
}

void
overlay_free(struct overlay *overlay)
{
    if (!overlay)
        return;
    g_hash_table_unref(overlay->changes);
    g_mutex_clear(&overlay->lock);
    g_free(overlay);
}

static void
take_newer(enum store_action *action, GBytes **content, enum store_action newer_action,
           GBytes *newer_content)
{
    if (newer_action == STORE_KEEP)
        return;
    g_clear_pointer(content, g_bytes_unref);
    *content = newer_content ? g_bytes_ref(newer_content) : NULL;
    *action = newer_action;
}

void
overlay_add(struct overlay *overlay, const struct store_change *change)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    struct store_change *known = g_hash_table_lookup(overlay->changes, &change->uuid);

    if (!known) {
        known = g_new0(struct store_change, 1);
        known->uuid = change->uuid;
        g_hash_table_insert(overlay->changes, &known->uuid, known);
    }
    take_newer(&known->xml_action, &known->xml, change->xml_action, change->xml);
    take_newer(&known->key_action, &known->key, change->key_action, change->key);
}

static GHashTable *
exchange_changes(struct overlay *overlay, GHashTable *take_changes)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    GHashTable *changes = overlay->changes;

    overlay->changes = take_changes;
    return changes;
}

void
overlay_assign(struct overlay *overlay, struct overlay *from)
{
    g_hash_table_unref(exchange_changes(overlay, exchange_changes(from, new_table())));
}

bool
overlay_foreach(struct overlay *overlay, overlay_func func, void *opaque, GError **error)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    GHashTableIter iter;
    gpointer change;

    g_hash_table_iter_init(&iter, overlay->changes);
    while (g_hash_table_iter_next(&iter, NULL, &change)) {
        if (!func(change, opaque, error))
            return false;
    }
    return true;
}

enum store_action
overlay_find(struct overlay *overlay, const struct uuid *uuid, enum store_kind kind,
             GBytes **ret_content)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    const struct store_change *change = g_hash_table_lookup(overlay->changes, uuid);
    enum store_action action = STORE_KEEP;
    GBytes *content = NULL;

    if (change && kind == STORE_XML) {
        action = change->xml_action;
        content = change->xml;
    } else if (change && kind == STORE_KEY) {
        action = change->key_action;
        content = change->key;
    }
    if (content)
        *ret_content = g_bytes_ref(content);
    return action;
}

static void
amend_flag(bool *has, enum store_action action)
{
    if (action != STORE_KEEP)
        *has = action == STORE_WRITE;
}

void
overlay_amend(struct overlay *overlay, GArray *entries)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    guint known = entries->len;
    GHashTableIter iter;
    gpointer value;

    if (g_hash_table_size(overlay->changes) == 0)
        return;
    g_hash_table_iter_init(&iter, overlay->changes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct store_change *change = value;
        struct store_entry fresh = {.uuid = change->uuid};
        struct store_entry *entry =
            bsearch(&fresh, entries->data, known, sizeof(fresh), store_files_compare);
        if (!entry) {
            g_array_append_val(entries, fresh);
            entry = &g_array_index(entries, struct store_entry, entries->len - 1);
        }
        amend_flag(&entry->has_xml, change->xml_action);
        amend_flag(&entry->has_key, change->key_action);
    }
    for (guint i = entries->len; i > 0; i--) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i - 1);

        if (!entry->has_xml && !entry->has_key && !entry->has_base64)
            g_array_remove_index_fast(entries, i - 1);
    }
    g_array_sort(entries, store_files_compare);
}
