/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the lists of a pool's volumes: libvirt's own, without the containers of mapped volumes and
 * with the mapped volumes. Numbers, names and objects are all from the same list, so that they
 * agree. A pool without volumes of virtcrypt is libvirt's alone.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/storage_module.h"
#include "driver/storage_object.h"
#include "driver/storage_slots.h"

static void
free_volume(void *volume)
{
    virStorageVolFree(volume);
}

/* Of virStorageVolPtr; NULL with the thread's libvirt error set. */
static GPtrArray *
list_theirs(virStoragePoolPtr pool)
{
    virStorageVolPtr *volumes = NULL;
    int count = storage_module_original()->pool_list_all_volumes(pool, &volumes, 0);
    GPtrArray *list = NULL;

    if (count < 0)
        return NULL;
    list = g_ptr_array_new_with_free_func(free_volume);
    for (int i = 0; i < count; i++)
        g_ptr_array_add(list, volumes[i]);
    free(volumes);
    return list;
}

static const struct virtcrypt_volume_entry *
find_entry(const GPtrArray *entries, const char *name)
{
    for (guint i = 0; i < entries->len; i++) {
        const struct virtcrypt_volume_entry *entry = g_ptr_array_index(entries, i);

        if (strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

static bool
has_volume(const GPtrArray *list, const char *name)
{
    for (guint i = 0; i < list->len; i++) {
        if (strcmp(virStorageVolGetName(g_ptr_array_index(list, i)), name) == 0)
            return true;
    }
    return false;
}

static bool
is_mapped(const struct virtcrypt_volume_entry *entry)
{
    return entry && entry->kind == STORAGE_ENTRY_DM_CRYPT;
}

/* Whether libvirt's volume `name` is left out: a container, or the link to an opened volume, which
 * is listed as what it is. */
static bool
is_hidden(const GPtrArray *entries, const char *name)
{
    g_autofree char *stem = storage_object_get_stem(name);

    return storage_object_is_temporary(name) || is_mapped(find_entry(entries, name)) ||
           (stem && is_mapped(find_entry(entries, stem)));
}

/* Whether virtcryptd made an image that libvirt has not seen yet. */
static bool
lacks_image(const GPtrArray *list, const GPtrArray *entries)
{
    for (guint i = 0; i < entries->len; i++) {
        const struct virtcrypt_volume_entry *entry = g_ptr_array_index(entries, i);

        if (!is_mapped(entry) && !has_volume(list, entry->name) && access(entry->path, F_OK) == 0)
            return true;
    }
    return false;
}

static void
merge(virStoragePoolPtr pool, GPtrArray *list, const GPtrArray *entries)
{
    for (guint i = list->len; i > 0; i--) {
        if (is_hidden(entries, virStorageVolGetName(g_ptr_array_index(list, i - 1))))
            g_ptr_array_remove_index(list, i - 1);
    }
    for (guint i = 0; i < entries->len; i++) {
        const struct virtcrypt_volume_entry *entry = g_ptr_array_index(entries, i);
        virStorageVolPtr volume = NULL;

        if (is_mapped(entry))
            volume = storage_object_new_volume(virStoragePoolGetConnect(pool), entry);
        if (volume)
            g_ptr_array_add(list, volume);
    }
}

/* Without virtcryptd: what a name alone tells is left out. The mapped volumes can't be listed. */
static void
merge_blindly(virStoragePoolPtr pool, GPtrArray *list, const GError *error)
{
    const char *pool_name = virStoragePoolGetName(pool);

    storage_module_warn("encrypted block volumes of storage pool '%s' are not listed: %s",
                        pool_name, error->message);
    for (guint i = list->len; i > 0; i--) {
        const char *name = virStorageVolGetName(g_ptr_array_index(list, i - 1));

        if (!storage_object_is_recorded(pool_name, name) &&
            storage_object_is_taken(pool_name, name))
            g_ptr_array_remove_index(list, i - 1);
    }
}

/* Of virStorageVolPtr; NULL with the thread's libvirt error set. */
static GPtrArray *
list_all(virStoragePoolPtr pool)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = list_theirs(pool);
    g_autoptr(GPtrArray) entries = NULL;

    if (!list)
        return NULL;
    entries = storage_calls_list(virStoragePoolGetName(pool), &error);
    if (entries && lacks_image(list, entries)) {
        storage_object_refresh(pool);
        g_ptr_array_unref(list);
        list = list_theirs(pool);
        if (!list)
            return NULL;
    }
    if (entries)
        merge(pool, list, entries);
    else
        merge_blindly(pool, list, error);
    return g_steal_pointer(&list);
}

static int
pool_num_of_volumes(virStoragePoolPtr pool)
{
    g_autoptr(GPtrArray) list = NULL;

    if (!storage_object_has_any(virStoragePoolGetName(pool)))
        return storage_module_original()->pool_num_of_volumes(pool);
    list = list_all(pool);
    return list ? (int)list->len : -1;
}

/* libvirt frees the names with free(), which GLib's memory may be given to. */
static int
pool_list_volumes(virStoragePoolPtr pool, char **names, int max)
{
    g_autoptr(GPtrArray) list = NULL;
    int count;

    if (!storage_object_has_any(virStoragePoolGetName(pool)))
        return storage_module_original()->pool_list_volumes(pool, names, max);
    list = list_all(pool);
    if (!list)
        return -1;
    count = MIN((int)list->len, max);
    for (int i = 0; i < count; i++)
        names[i] = g_strdup(virStorageVolGetName(g_ptr_array_index(list, (guint)i)));
    return count;
}

static int
pool_list_all_volumes(virStoragePoolPtr pool, virStorageVolPtr **volumes, unsigned int flags)
{
    g_autoptr(GPtrArray) list = NULL;

    /* libvirt knows no flags; it refuses them. */
    if (flags != 0 || !storage_object_has_any(virStoragePoolGetName(pool)))
        return storage_module_original()->pool_list_all_volumes(pool, volumes, flags);
    list = list_all(pool);
    if (!list)
        return -1;
    if (volumes) {
        *volumes = g_new0(virStorageVolPtr, (gsize)list->len + 1);
        for (guint i = 0; i < list->len; i++) {
            (*volumes)[i] = g_ptr_array_index(list, i);
            virStorageVolRef((*volumes)[i]);
        }
    }
    return (int)list->len;
}

void
storage_list_install(struct libvirt_storage_driver *table)
{
    table->pool_num_of_volumes = pool_num_of_volumes;
    table->pool_list_volumes = pool_list_volumes;
    table->pool_list_all_volumes = pool_list_all_volumes;
}
