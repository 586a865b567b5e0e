/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: changes by uuid, as store_overlay.h says.
 */
#include "secret/store_overlay.h"

#include <stdlib.h>

#include "secret/store_change.h"

struct overlay {
    GMutex lock; /* of what follows */
    GHashTable *changes;
    GPtrArray *audits;
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
    overlay->audits = g_ptr_array_new_with_free_func(g_free);
    return overlay;
}

void
overlay_free(struct overlay *overlay)
{
    if (!overlay)
        return;
    g_hash_table_unref(overlay->changes);
    g_ptr_array_unref(overlay->audits);
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

static struct store_owner_change *
find_owner(const struct store_change *change, const struct uuid *guest)
{
    for (guint i = 0; i < store_change_owner_count(change); i++) {
        struct store_owner_change *owner =
            &g_array_index(change->owners, struct store_owner_change, i);

        if (uuid_equal(&owner->guest, guest))
            return owner;
    }
    return NULL;
}

static void
add_owners(struct store_change *known, const struct store_change *change)
{
    for (guint i = 0; i < store_change_owner_count(change); i++) {
        const struct store_owner_change *newer = store_change_owner(change, i);
        struct store_owner_change *owner = find_owner(known, &newer->guest);

        if (owner)
            take_newer(&owner->action, &owner->key, newer->action, newer->key);
        else
            store_change_add_owner(known, &newer->guest, newer->action, newer->key);
    }
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
    add_owners(known, change);
    if (change->audit)
        g_ptr_array_add(overlay->audits, g_strdup(change->audit));
}

/* What is in `overlay` goes to `other`, and the other way round. */
static void
exchange_content(struct overlay *overlay, struct overlay *other)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    struct overlay held = {.changes = overlay->changes, .audits = overlay->audits};

    overlay->changes = other->changes;
    overlay->audits = other->audits;
    other->changes = held.changes;
    other->audits = held.audits;
}

void
overlay_assign(struct overlay *overlay, struct overlay *from)
{
    g_autoptr(overlay_t) held = overlay_new();

    /* One lock at a time. */
    exchange_content(from, held);
    exchange_content(overlay, held);
}

GPtrArray *
overlay_list_audits(struct overlay *overlay)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    GPtrArray *audits = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < overlay->audits->len; i++)
        g_ptr_array_add(audits, g_strdup(g_ptr_array_index(overlay->audits, i)));
    return audits;
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

enum store_action
overlay_find_owned(struct overlay *overlay, const struct uuid *secret, const struct uuid *guest,
                   GBytes **ret_content)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    const struct store_change *change = g_hash_table_lookup(overlay->changes, secret);
    const struct store_owner_change *owner = change ? find_owner(change, guest) : NULL;

    if (!owner)
        return STORE_KEEP;
    if (owner->key)
        *ret_content = g_bytes_ref(owner->key);
    return owner->action;
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
            known > 0 ? bsearch(&fresh, entries->data, known, sizeof(fresh), store_files_compare)
                      : NULL; /* an empty array has no data */
        if (!entry) {
            g_array_append_val(entries, fresh);
            entry = &g_array_index(entries, struct store_entry, entries->len - 1);
        }
        amend_flag(&entry->has_xml, change->xml_action);
        amend_flag(&entry->has_key, change->key_action);
    }
    for (guint i = entries->len; i > 0; i--) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i - 1);

        if (!entry->has_xml && !entry->has_key && !entry->has_base64 && !entry->has_aes256cbc)
            g_array_remove_index_fast(entries, i - 1);
    }
    g_array_sort(entries, store_files_compare);
}

static bool
is_removed(const struct overlay *overlay, const struct store_owned *owned)
{
    const struct store_change *change = g_hash_table_lookup(overlay->changes, &owned->secret);
    const struct store_owner_change *owner = change ? find_owner(change, &owned->guest) : NULL;

    return owner && owner->action == STORE_REMOVE;
}

/* Those of `change` that are missing in the first `known` ones, which are ordered. */
static void
add_written(GArray *owned, guint known, const struct store_change *change)
{
    for (guint i = 0; i < store_change_owner_count(change); i++) {
        const struct store_owner_change *owner = store_change_owner(change, i);
        struct store_owned fresh = {.secret = change->uuid, .guest = owner->guest};

        if (owner->action == STORE_WRITE &&
            (known == 0 ||
             !bsearch(&fresh, owned->data, known, sizeof(fresh), store_files_compare_owned)))
            g_array_append_val(owned, fresh);
    }
}

void
overlay_amend_owned(struct overlay *overlay, GArray *owned)
{
    g_autoptr(GMutexLocker) G_GNUC_UNUSED locker = g_mutex_locker_new(&overlay->lock);
    struct store_owned *all = (struct store_owned *)owned->data;
    GHashTableIter iter;
    gpointer change;
    guint kept = 0;

    if (g_hash_table_size(overlay->changes) == 0)
        return;
    for (guint i = 0; i < owned->len; i++) {
        if (!is_removed(overlay, &all[i]))
            all[kept++] = all[i];
    }
    g_array_set_size(owned, kept);
    g_hash_table_iter_init(&iter, overlay->changes);
    while (g_hash_table_iter_next(&iter, NULL, &change))
        add_written(owned, kept, change);
    g_array_sort(owned, store_files_compare_owned);
}
