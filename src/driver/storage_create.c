/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: making volumes. virtcryptd makes one that is to be encrypted: its XML says so, or the
 * volume that it is a clone of is encrypted, or its pool has a policy. Everything else is
 * libvirt's. In doubt, and when virtcryptd can't be asked, nothing is made: never a volume in clear
 * for one that was to be encrypted.
 */
#include <string.h>

#include "driver/storage_module.h"
#include "driver/storage_object.h"
#include "driver/storage_slots.h"
#include "driver/storage_xml.h"

enum decision { DECISION_LIBVIRT, DECISION_VIRTCRYPT, DECISION_FAILED };

/* In doubt it can. */
static bool
is_pool_of_ours(virStoragePoolPtr pool)
{
    g_autofree char *xml = storage_module_original()->pool_get_xml_desc(pool, 0);

    virResetLastError();
    return !xml || storage_xml_is_pool_of_ours(xml);
}

static enum decision
ask_virtcryptd(const struct storage_new_volume *volume)
{
    g_autoptr(GError) error = NULL;
    bool wants = false;

    if (storage_calls_wants(volume, &wants, &error))
        return wants ? DECISION_VIRTCRYPT : DECISION_LIBVIRT;
    storage_module_set_error(error);
    return DECISION_FAILED;
}

/* A name that only virtcryptd knows to be taken: the file is called otherwise. */
static bool
is_name_free(const struct storage_new_volume *volume)
{
    g_autofree char *name = storage_xml_get_name(volume->xml);

    if (!name || !storage_object_is_taken(volume->pool, name))
        return true;
    storage_module_error(VIR_ERR_STORAGE_VOL_EXIST,
                         "storage volume '%s' exists already, or is a part of one of virtcrypt's",
                         name);
    return false;
}

/* Whose a new volume is that is no clone of an encrypted one. */
static enum decision
decide(virStoragePoolPtr pool, const struct storage_new_volume *volume)
{
    if (!storage_object_has_policy(volume->pool) &&
        (!storage_xml_may_encrypt(volume->xml) || !is_pool_of_ours(pool)))
        return is_name_free(volume) ? DECISION_LIBVIRT : DECISION_FAILED;
    return ask_virtcryptd(volume);
}

/* libvirt's object for what virtcryptd has made. An image that libvirt can't see yet is made known
 * to it later, when it is asked for. */
static virStorageVolPtr
find_made(virStoragePoolPtr pool, const struct virtcrypt_volume_entry *entry)
{
    virStorageVolPtr found = NULL;

    storage_object_refresh(pool);
    if (entry->kind != STORAGE_ENTRY_DM_CRYPT)
        found = storage_module_original()->volume_lookup_by_name(pool, entry->name);
    if (!found) {
        virResetLastError();
        found = storage_object_new_volume(virStoragePoolGetConnect(pool), entry);
    }
    return found;
}

static virStorageVolPtr
make_ours(virStoragePoolPtr pool, const struct storage_new_volume *volume)
{
    g_auto(storage_entry_t) entry = {0};
    g_autoptr(GError) error = NULL;

    if (!storage_calls_create(volume, &entry, &error)) {
        storage_module_set_error(error);
        return NULL;
    }
    if (!entry.name) {
        storage_module_error(VIR_ERR_INTERNAL_ERROR,
                             "virtcryptd does not say which volume it has made in storage pool "
                             "'%s' (look: virtcrypt vol-list %s)",
                             volume->pool, volume->pool);
        return NULL;
    }
    return find_made(pool, &entry);
}

static virStorageVolPtr
volume_create_xml(virStoragePoolPtr pool, const char *xml, unsigned int flags)
{
    const struct storage_new_volume volume = {
        .pool = virStoragePoolGetName(pool),
        .xml = xml,
        .flags = flags,
    };

    switch (decide(pool, &volume)) {
    case DECISION_LIBVIRT:
        return storage_module_original()->volume_create_xml(pool, xml, flags);
    case DECISION_VIRTCRYPT:
        return make_ours(pool, &volume);
    case DECISION_FAILED:
    default:
        return NULL;
    }
}

/* An encrypted image that is not virtcrypt's: libvirt says so when it has looked into it. */
static bool
is_foreign_encrypted(virStorageVolPtr source, char **ret_path, char **ret_format)
{
    g_autofree char *xml = storage_module_original()->volume_get_xml_desc(source, 0);

    virResetLastError();
    if (!xml || !storage_xml_may_encrypt(xml))
        return false;
    *ret_path = storage_module_original()->volume_get_path(source);
    *ret_format = storage_xml_get_format(xml);
    return *ret_path != NULL;
}

static enum decision
decide_on_clone(virStoragePoolPtr pool, const struct storage_object *source,
                const struct storage_new_volume *volume)
{
    if (!storage_object_is_usable(source))
        return DECISION_FAILED;
    if (volume->source_name || (volume->source_path && is_pool_of_ours(pool)))
        return DECISION_VIRTCRYPT;
    return decide(pool, volume);
}

/* A clone in clear of a volume of no matter what kind is encrypted if XML or policy want it: then
 * virtcryptd is told the path. */
static virStorageVolPtr
make_clone(virStoragePoolPtr pool, virStorageVolPtr source, struct storage_new_volume *volume)
{
    g_autofree char *path = NULL;
    g_autofree char *format = NULL;
    g_autofree char *xml = NULL;

    if (volume->source_name || volume->source_path)
        return make_ours(pool, volume);
    xml = storage_module_original()->volume_get_xml_desc(source, 0);
    path = storage_module_original()->volume_get_path(source);
    if (!xml || !path)
        return NULL;
    format = storage_xml_get_format(xml);
    volume->source_path = path;
    volume->source_format = format ? format : "raw";
    return make_ours(pool, volume);
}

static virStorageVolPtr
volume_create_xml_from(virStoragePoolPtr pool, const char *xml, virStorageVolPtr source,
                       unsigned int flags)
{
    g_auto(storage_object_t) object = {0};
    g_autofree char *path = NULL;
    g_autofree char *format = NULL;
    struct storage_new_volume volume = {
        .pool = virStoragePoolGetName(pool),
        .xml = xml,
        .flags = flags,
    };

    storage_object_init_volume(&object, source);
    if (object.kind == STORAGE_KIND_IMAGE || object.kind == STORAGE_KIND_MAPPED) {
        volume.source_pool = object.pool;
        volume.source_name = object.name;
    } else if (object.kind == STORAGE_KIND_OTHER && is_foreign_encrypted(source, &path, &format)) {
        volume.source_path = path;
        volume.source_format = format ? format : "raw";
    }
    switch (decide_on_clone(pool, &object, &volume)) {
    case DECISION_LIBVIRT:
        return storage_module_original()->volume_create_xml_from(pool, xml, source, flags);
    case DECISION_VIRTCRYPT:
        return make_clone(pool, source, &volume);
    case DECISION_FAILED:
    default:
        return NULL;
    }
}

void
storage_create_install(struct libvirt_storage_driver *table)
{
    table->volume_create_xml = volume_create_xml;
    table->volume_create_xml_from = volume_create_xml_from;
}
