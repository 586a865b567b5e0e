/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see storage_object.h.
 */
#include "driver/storage_object.h"

#include <string.h>
#include <unistd.h>

#include "driver/libvirt_module.h"
#include "util/error.h"

#define VOLUMES_FOLDER   SYSCONFDIR "/libvirt/virtcrypt/volumes"
#define POLICY_FOLDER    SYSCONFDIR "/libvirt/virtcrypt/pools"
#define CONTAINER_SUFFIX ".crypt"
#define TEMPORARY_SUFFIX ".virtcrypt-new"

enum { REFRESH_BOUND_MS = 10000, REFRESH_PAUSE_MS = 50 };

static bool
is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Others have no file: libvirt's pools of other kinds have volumes with a '/' in the name. */
static bool
can_be_file_name(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

bool
storage_object_is_recorded(const char *pool, const char *name)
{
    char path[PATH_MAX];

    if (!can_be_file_name(pool) || !can_be_file_name(name))
        return false;
    return g_snprintf(path, sizeof(path), VOLUMES_FOLDER "/%s/%s.xml", pool, name) <
               (int)sizeof(path) &&
           is_there(path);
}

bool
storage_object_has_any(const char *pool)
{
    char path[PATH_MAX];

    return can_be_file_name(pool) &&
           g_snprintf(path, sizeof(path), VOLUMES_FOLDER "/%s", pool) < (int)sizeof(path) &&
           is_there(path);
}

bool
storage_object_has_policy(const char *pool)
{
    char path[PATH_MAX];

    return can_be_file_name(pool) &&
           g_snprintf(path, sizeof(path), POLICY_FOLDER "/%s.xml", pool) < (int)sizeof(path) &&
           is_there(path);
}

bool
storage_object_is_recorded_anywhere(const char *name)
{
    g_autoptr(GDir) pools = g_dir_open(VOLUMES_FOLDER, 0, NULL);
    const char *pool = NULL;

    while (pools && (pool = g_dir_read_name(pools))) {
        if (storage_object_is_recorded(pool, name))
            return true;
    }
    return false;
}

char *
storage_object_get_stem(const char *name)
{
    if (!g_str_has_suffix(name, CONTAINER_SUFFIX))
        return NULL;
    return g_strndup(name, strlen(name) - strlen(CONTAINER_SUFFIX));
}

bool
storage_object_is_temporary(const char *name)
{
    return name[0] == '.' && g_str_has_suffix(name, TEMPORARY_SUFFIX);
}

bool
storage_object_is_taken(const char *pool, const char *name)
{
    g_autofree char *stem = storage_object_get_stem(name);

    return storage_object_is_recorded(pool, name) ||
           (stem && storage_object_is_recorded(pool, stem)) || storage_object_is_temporary(name);
}

/* Of a name that has a record. */
static void
ask_for_kind(struct storage_object *object)
{
    if (storage_calls_get(object->pool, object->name, &object->entry, &object->error)) {
        object->kind =
            object->entry.kind == STORAGE_ENTRY_DM_CRYPT ? STORAGE_KIND_MAPPED : STORAGE_KIND_IMAGE;
        return;
    }
    /* It was deleted meanwhile. */
    if (error_is(object->error, ERROR_NO_STORAGE_VOL) &&
        !storage_object_is_recorded(object->pool, object->name)) {
        g_clear_error(&object->error);
        return;
    }
    object->kind = STORAGE_KIND_UNKNOWN;
}

/* Whether STEM.crypt is a container: not if the recorded volume STEM is no dm-crypt one. */
static bool
is_container_of(const char *pool, const char *stem)
{
    g_auto(storage_entry_t) entry = {0};

    return !storage_calls_get(pool, stem, &entry, NULL) || entry.kind == STORAGE_ENTRY_DM_CRYPT;
}

void
storage_object_init(struct storage_object *object, const char *pool, const char *name)
{
    g_autofree char *stem = storage_object_get_stem(name);

    *object = (struct storage_object){.pool = g_strdup(pool), .name = g_strdup(name)};
    if (storage_object_is_recorded(pool, name))
        ask_for_kind(object);
    else if (storage_object_is_temporary(name) ||
             (stem && storage_object_is_recorded(pool, stem) && is_container_of(pool, stem)))
        object->kind = STORAGE_KIND_CONTAINER;
}

void
storage_object_init_volume(struct storage_object *object, virStorageVolPtr volume)
{
    g_autofree char *pool = storage_object_get_pool(volume);
    const char *name = virStorageVolGetName(volume);

    if (pool && name) {
        storage_object_init(object, pool, name);
        return;
    }
    *object = (struct storage_object){.kind = STORAGE_KIND_UNKNOWN};
    error_set(&object->error, ERROR_FROM_STORAGE, ERROR_INTERNAL, "the pool of volume '%s' is gone",
              name ? name : "");
}

void
storage_object_clear(struct storage_object *object)
{
    g_clear_pointer(&object->pool, g_free);
    g_clear_pointer(&object->name, g_free);
    virtcrypt_volume_entry_clear(&object->entry);
    g_clear_error(&object->error);
}

bool
storage_object_is_usable(const struct storage_object *object)
{
    if (object->kind == STORAGE_KIND_UNKNOWN)
        storage_module_set_error(object->error);
    else if (object->kind == STORAGE_KIND_CONTAINER)
        storage_module_error(VIR_ERR_NO_STORAGE_VOL,
                             "Storage volume not found: no storage vol with matching name '%s' (it "
                             "is a part of an encrypted volume)",
                             object->name);
    else
        return true;
    return false;
}

char *
storage_object_get_pool(virStorageVolPtr volume)
{
    const struct libvirt_storage_volume *inside = (const struct libvirt_storage_volume *)volume;
    virStoragePoolPtr pool = NULL;
    char *name = NULL;

    if (inside->conn == virStorageVolGetConnect(volume) &&
        inside->name == virStorageVolGetName(volume) && inside->key == virStorageVolGetKey(volume))
        return g_strdup(inside->pool);
    pool = storage_module_get()->original.pool_lookup_by_volume(volume);
    if (!pool)
        return NULL;
    name = g_strdup(virStoragePoolGetName(pool));
    virStoragePoolFree(pool);
    return name;
}

virStorageVolPtr
storage_object_new_volume(virConnectPtr conn, const struct virtcrypt_volume_entry *entry)
{
    return storage_module_get()->libvirt.get_storage_vol(conn, entry->pool, entry->name,
                                                         entry->path, NULL, NULL);
}

void
storage_object_refresh(virStoragePoolPtr pool)
{
    const struct storage_module *module = storage_module_get();
    gint64 deadline = g_get_monotonic_time() + REFRESH_BOUND_MS * G_TIME_SPAN_MILLISECOND;

    while (module->original.pool_refresh(pool, 0) < 0) {
        /* libvirt says no more of a pool in which it makes another volume. */
        if (virGetLastErrorCode() != VIR_ERR_INTERNAL_ERROR || g_get_monotonic_time() > deadline) {
            g_autofree char *reason = g_strdup(virGetLastErrorMessage());

            storage_module_warn("storage pool '%s' can't be refreshed: %s (libvirtd shows changed "
                                "volumes after: virsh pool-refresh %s)",
                                virStoragePoolGetName(pool), reason, virStoragePoolGetName(pool));
            break;
        }
        g_usleep(REFRESH_PAUSE_MS * 1000);
    }
    virResetLastError();
}

void
storage_object_refresh_of(virStorageVolPtr volume)
{
    virStoragePoolPtr pool = storage_module_get()->original.pool_lookup_by_volume(volume);

    if (!pool)
        return;
    storage_object_refresh(pool);
    virStoragePoolFree(pool);
}
