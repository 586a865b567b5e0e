/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: finding a volume by name, key or path. libvirt looks first, but what it finds is not given
 * out if it is the container of a mapped volume, and its link to an opened one stands for that.
 */
#include <string.h>

#include "driver/libvirt_module.h"
#include "driver/storage_module.h"
#include "driver/storage_object.h"
#include "driver/storage_slots.h"
#include "util/error.h"

static bool
is_active(virStoragePoolPtr pool)
{
    int status = storage_module_original()->pool_is_active(pool);

    if (status == 0)
        storage_module_error(VIR_ERR_OPERATION_INVALID,
                             "Requested operation is not valid: storage pool '%s' is not active",
                             virStoragePoolGetName(pool));
    return status == 1;
}

static virStorageVolPtr
lookup_ours_by_name(virStoragePoolPtr pool, const struct storage_object *object)
{
    virStorageVolPtr volume = NULL;

    if (object->kind == STORAGE_KIND_CONTAINER) {
        storage_object_is_usable(object); /* says that there is none */
        return NULL;
    }
    if (object->kind == STORAGE_KIND_MAPPED)
        return is_active(pool)
                   ? storage_object_new_volume(virStoragePoolGetConnect(pool), &object->entry)
                   : NULL;
    volume = storage_module_original()->volume_lookup_by_name(pool, object->name);
    if (volume || virGetLastErrorCode() != VIR_ERR_NO_STORAGE_VOL)
        return volume;
    if (object->kind == STORAGE_KIND_UNKNOWN) {
        storage_module_set_error(object->error);
        return NULL;
    }
    /* virtcryptd made it, and libvirt has not looked since. */
    storage_object_refresh(pool);
    return storage_module_original()->volume_lookup_by_name(pool, object->name);
}

static virStorageVolPtr
volume_lookup_by_name(virStoragePoolPtr pool, const char *name)
{
    g_auto(storage_object_t) object = {0};
    const char *pool_name = virStoragePoolGetName(pool);

    if (!storage_object_is_taken(pool_name, name))
        return storage_module_original()->volume_lookup_by_name(pool, name);
    storage_object_init(&object, pool_name, name);
    if (object.kind == STORAGE_KIND_OTHER)
        return storage_module_original()->volume_lookup_by_name(pool, name);
    return lookup_ours_by_name(pool, &object);
}

/* What libvirt found, or what stands for it. */
static virStorageVolPtr
replace_found(virConnectPtr conn, virStorageVolPtr take_found)
{
    g_auto(storage_object_t) object = {0};
    virStorageVolPtr volume = take_found;

    storage_object_init_volume(&object, take_found);
    if (object.kind == STORAGE_KIND_MAPPED)
        volume = storage_object_new_volume(conn, &object.entry);
    else if (object.kind == STORAGE_KIND_CONTAINER)
        volume = NULL;
    if (volume != take_found)
        virStorageVolFree(take_found);
    if (object.kind == STORAGE_KIND_CONTAINER)
        storage_object_is_usable(&object); /* says that there is none */
    return volume;
}

/* Whether it is worth asking virtcryptd about a path that libvirt does not know: the last part of
 * the names that a volume has is its own, but for that of its mapping. */
static bool
may_be_ours(const char *path)
{
    g_autofree char *name = path[0] == '/' ? g_path_get_basename(path) : NULL;

    return name && (g_str_has_prefix(path, "/dev/mapper/virtcrypt-") ||
                    storage_object_is_recorded_anywhere(name));
}

/* False: keep libvirt's own error. True with *ret_volume NULL: ours is set. */
static bool
find_by_path(virConnectPtr conn, const char *path, virStorageVolPtr *ret_volume)
{
    g_autoptr(GError) error = NULL;
    g_auto(storage_entry_t) entry = {0};
    g_autofree char *container = NULL;
    g_autofree char *name = g_path_get_basename(path);

    if (!storage_calls_get_by_path(path, &entry, &error)) {
        if (error_is(error, ERROR_NO_STORAGE_VOL))
            return false;
        storage_module_set_error(error);
        *ret_volume = NULL;
        return true;
    }
    container = g_strconcat(entry.name, ".crypt", NULL);
    if (entry.kind == STORAGE_ENTRY_DM_CRYPT && strcmp(name, container) == 0)
        return false;
    *ret_volume = storage_object_new_volume(conn, &entry);
    return true;
}

typedef virStorageVolPtr (*lookup_func)(virConnectPtr conn, const char *text);

/* A key of a mapped volume is its path. */
static virStorageVolPtr
lookup(virConnectPtr conn, const char *text, lookup_func find)
{
    virStorageVolPtr found = find(conn, text);
    virErrorPtr error = NULL;

    if (found)
        return replace_found(conn, found);
    if (virGetLastErrorCode() != VIR_ERR_NO_STORAGE_VOL || !may_be_ours(text))
        return NULL;
    error = virSaveLastError();
    if (!find_by_path(conn, text, &found))
        libvirt_module_restore_error(&storage_module_get()->libvirt, g_steal_pointer(&error));
    virFreeError(error);
    return found;
}

static virStorageVolPtr
volume_lookup_by_key(virConnectPtr conn, const char *key)
{
    return lookup(conn, key, storage_module_original()->volume_lookup_by_key);
}

static virStorageVolPtr
volume_lookup_by_path(virConnectPtr conn, const char *path)
{
    return lookup(conn, path, storage_module_original()->volume_lookup_by_path);
}

void
storage_lookup_install(struct libvirt_storage_driver *table)
{
    table->volume_lookup_by_name = volume_lookup_by_name;
    table->volume_lookup_by_key = volume_lookup_by_key;
    table->volume_lookup_by_path = volume_lookup_by_path;
}
