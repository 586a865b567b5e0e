/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls on one volume: info, XML, path, delete, wipe, resize. Of an image, libvirt says
 * itself what it is, and only the secret is added to its XML; a mapped volume is unknown to it.
 * What changes either is done by virtcryptd.
 */
#include <stdlib.h>
#include <string.h>

#include "driver/storage_module.h"
#include "driver/storage_object.h"
#include "driver/storage_slots.h"
#include "driver/storage_stream.h"
#include "driver/storage_xml.h"

/* Whether a call that libvirt refused for a volume that it does not know is to be made again: it
 * was made by virtcryptd alone, and is known now. */
static bool
should_retry(const struct storage_object *object, virStorageVolPtr volume)
{
    if (virGetLastErrorCode() != VIR_ERR_NO_STORAGE_VOL)
        return false;
    /* Then the reason is that virtcryptd can't say where it is. */
    if (object->kind == STORAGE_KIND_UNKNOWN)
        storage_module_set_error(object->error);
    if (object->kind != STORAGE_KIND_IMAGE)
        return false;
    storage_object_refresh_of(volume);
    return true;
}

/* For calls that only read: without virtcryptd an image is still what libvirt sees of it. False
 * with the thread's libvirt error set. */
static bool
is_readable(const struct storage_object *object)
{
    return object->kind == STORAGE_KIND_UNKNOWN || storage_object_is_usable(object);
}

static int
get_info_of_mapped(const struct storage_object *object, virStorageVolInfoPtr info,
                   unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    struct virtcrypt_volume_get_info_ret answer = {0};

    if (!storage_calls_get_info(object->pool, object->name, &answer, &error)) {
        storage_module_set_error(error);
        return -1;
    }
    *info = (virStorageVolInfo){
        .type = answer.type,
        .capacity = answer.capacity,
        .allocation = flags & VIR_STORAGE_VOL_GET_PHYSICAL ? answer.physical : answer.allocation,
    };
    return 0;
}

static int
volume_get_info(virStorageVolPtr volume, virStorageVolInfoPtr info)
{
    g_auto(storage_object_t) object = {0};
    int status;

    storage_object_init_volume(&object, volume);
    if (!is_readable(&object))
        return -1;
    if (object.kind == STORAGE_KIND_MAPPED)
        return get_info_of_mapped(&object, info, 0);
    status = storage_module_original()->volume_get_info(volume, info);
    if (status < 0 && should_retry(&object, volume))
        status = storage_module_original()->volume_get_info(volume, info);
    return status;
}

static int
volume_get_info_flags(virStorageVolPtr volume, virStorageVolInfoPtr info, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};
    int status;

    storage_object_init_volume(&object, volume);
    if (!is_readable(&object))
        return -1;
    if (object.kind == STORAGE_KIND_MAPPED)
        return get_info_of_mapped(&object, info, flags);
    status = storage_module_original()->volume_get_info_flags(volume, info, flags);
    if (status < 0 && should_retry(&object, volume))
        status = storage_module_original()->volume_get_info_flags(volume, info, flags);
    return status;
}

/* libvirt frees what is given out with free(), which GLib's memory may be given to. */
static char *
volume_get_path(virStorageVolPtr volume)
{
    g_auto(storage_object_t) object = {0};
    char *path = NULL;

    storage_object_init_volume(&object, volume);
    if (!is_readable(&object))
        return NULL;
    if (object.kind == STORAGE_KIND_MAPPED)
        return g_strdup(object.entry.path);
    path = storage_module_original()->volume_get_path(volume);
    if (!path && should_retry(&object, volume))
        path = storage_module_original()->volume_get_path(volume);
    return path;
}

/* libvirt's XML of an image with the <encryption> that virtcryptd knows. */
static char *
get_xml_of_image(const struct storage_object *object, virStorageVolPtr volume, unsigned int flags)
{
    g_autofree char *theirs = storage_module_original()->volume_get_xml_desc(volume, flags);
    g_autofree char *ours = NULL;
    g_autoptr(GError) error = NULL;

    if (!theirs && should_retry(object, volume))
        theirs = storage_module_original()->volume_get_xml_desc(volume, flags);
    if (!theirs)
        return NULL;
    ours = storage_calls_get_xml(object->pool, object->name, &error);
    if (ours)
        return storage_xml_put_encryption(theirs, ours);
    storage_module_set_error(error);
    return NULL;
}

static char *
volume_get_xml_desc(virStorageVolPtr volume, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};
    g_autoptr(GError) error = NULL;
    char *xml = NULL;

    storage_object_init_volume(&object, volume);
    if (!storage_object_is_usable(&object))
        return NULL;
    if (object.kind == STORAGE_KIND_OTHER)
        return storage_module_original()->volume_get_xml_desc(volume, flags);
    if (object.kind == STORAGE_KIND_IMAGE)
        return get_xml_of_image(&object, volume, flags);
    xml = storage_calls_get_xml(object.pool, object.name, &error);
    if (!xml)
        storage_module_set_error(error);
    return xml;
}

/* Whether virtcryptd is to make a change of the volume. */
static bool
begin_change(const struct storage_object *object)
{
    if (object->kind == STORAGE_KIND_OTHER)
        return false;
    storage_streams_wait(storage_module_get()->streams);
    return true;
}

/* What a change ended with, as libvirt's functions return it. */
static int
end_change(virStorageVolPtr volume, bool is_done, const GError *error)
{
    if (!is_done) {
        storage_module_set_error(error);
        return -1;
    }
    storage_object_refresh_of(volume);
    return 0;
}

static int
volume_delete(virStorageVolPtr volume, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};
    g_autoptr(GError) error = NULL;
    bool is_done;

    storage_object_init_volume(&object, volume);
    if (!storage_object_is_usable(&object))
        return -1;
    if (!begin_change(&object))
        return storage_module_original()->volume_delete(volume, flags);
    is_done = storage_calls_delete(object.pool, object.name, flags, &error);
    return end_change(volume, is_done, error);
}

static int
wipe_ours(const struct storage_object *object, virStorageVolPtr volume, unsigned int algorithm,
          unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    bool is_done = storage_calls_wipe(object->pool, object->name, algorithm, flags, &error);

    return end_change(volume, is_done, error);
}

static int
volume_wipe(virStorageVolPtr volume, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};

    storage_object_init_volume(&object, volume);
    if (!storage_object_is_usable(&object))
        return -1;
    if (!begin_change(&object))
        return storage_module_original()->volume_wipe(volume, flags);
    return wipe_ours(&object, volume, VIR_STORAGE_VOL_WIPE_ALG_ZERO, flags);
}

static int
volume_wipe_pattern(virStorageVolPtr volume, unsigned int algorithm, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};

    storage_object_init_volume(&object, volume);
    if (!storage_object_is_usable(&object))
        return -1;
    if (!begin_change(&object))
        return storage_module_original()->volume_wipe_pattern(volume, algorithm, flags);
    return wipe_ours(&object, volume, algorithm, flags);
}

static int
volume_resize(virStorageVolPtr volume, unsigned long long capacity, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};
    g_autoptr(GError) error = NULL;
    bool is_done;

    storage_object_init_volume(&object, volume);
    if (!storage_object_is_usable(&object))
        return -1;
    if (!begin_change(&object))
        return storage_module_original()->volume_resize(volume, capacity, flags);
    is_done = storage_calls_resize(object.pool, object.name, capacity, flags, &error);
    return end_change(volume, is_done, error);
}

void
storage_volume_install(struct libvirt_storage_driver *table)
{
    table->volume_get_info = volume_get_info;
    table->volume_get_info_flags = volume_get_info_flags;
    table->volume_get_path = volume_get_path;
    table->volume_get_xml_desc = volume_get_xml_desc;
    table->volume_delete = volume_delete;
    table->volume_wipe = volume_wipe;
    table->volume_wipe_pattern = volume_wipe_pattern;
    table->volume_resize = volume_resize;
}
