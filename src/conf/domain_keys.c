/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading such an XML; domain_keys_put.c writes it.
 */
#include "conf/domain_keys.h"

#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "util/error.h"

static void
free_volume(void *opaque)
{
    struct domain_volume *volume = opaque;

    g_free(volume->target);
    g_free(volume->path);
    g_free(volume->pool);
    g_free(volume->volume);
    g_free(volume->format);
    encryption_free(volume->encryption);
    g_free(volume);
}

void
domain_keys_free(struct domain_keys *keys)
{
    if (!keys)
        return;
    g_free(keys->name);
    g_ptr_array_unref(keys->volumes);
    g_free(keys);
}

static void
read_names(const xmlNode *source, const char *type, struct domain_volume *volume)
{
    if (g_str_equal(type, "file")) {
        volume->type = DISK_SOURCE_FILE;
        volume->path = xml_get_attribute(source, "file");
    } else if (g_str_equal(type, "block")) {
        volume->type = DISK_SOURCE_BLOCK;
        volume->path = xml_get_attribute(source, "dev");
    } else if (g_str_equal(type, "volume")) {
        volume->type = DISK_SOURCE_VOLUME;
        volume->pool = xml_get_attribute(source, "pool");
        volume->volume = xml_get_attribute(source, "volume");
    } else {
        volume->type = DISK_SOURCE_OTHER;
    }
}

/* `node` is <disk> or <backingStore>. <encryption> of a disk may stand beside <source>, too. */
static bool
read_volume(const xmlNode *node, struct domain_volume *volume, GError **error)
{
    const xmlNode *source = xml_find_element(node->children, "source");
    bool is_disk = volume->layer == 0;
    const xmlNode *format = xml_find_element(node->children, is_disk ? "driver" : "format");
    xmlNode *encryption = source ? xml_find_element(source->children, "encryption") : NULL;
    g_autofree char *type = xml_get_attribute(node, "type");

    read_names(source, type ? type : "file", volume);
    volume->format = xml_get_attribute(format, "type");
    if (!encryption && is_disk)
        encryption = xml_find_element(node->children, "encryption");
    if (!encryption)
        return true;
    volume->encryption = encryption_parse(encryption, error);
    if (!volume->encryption)
        g_prefix_error(error, "disk %s: ", volume->target);
    return volume->encryption != NULL;
}

static bool
read_disk(const xmlNode *disk, unsigned int number, GPtrArray *volumes, GError **error)
{
    g_autofree char *target = xml_get_attribute(xml_find_element(disk->children, "target"), "dev");
    unsigned int layer = 0;

    if (!target) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
                  "a disk has no name: <target dev='...'/> is missing");
        return false;
    }
    /* An empty <backingStore/> ends the chain. */
    for (const xmlNode *node = disk; node && (layer == 0 || node->children);
         node = xml_find_element(node->children, "backingStore")) {
        struct domain_volume *volume = g_new0(struct domain_volume, 1);

        volume->target = g_strdup(target);
        volume->disk = number;
        volume->layer = layer++;
        g_ptr_array_add(volumes, volume);
        if (!read_volume(node, volume, error))
            return false;
    }
    return true;
}

static bool
read_disks(const xmlNode *domain, GPtrArray *volumes, GError **error)
{
    const xmlNode *devices = xml_find_element(domain->children, "devices");
    const xmlNode *disk = devices ? xml_find_element(devices->children, "disk") : NULL;
    unsigned int number = 0;

    for (; disk; disk = xml_find_element(disk->next, "disk")) {
        if (!read_disk(disk, number++, volumes, error))
            return false;
    }
    return true;
}

static bool
read_identity(const xmlNode *domain, struct domain_keys *keys, GError **error)
{
    const xmlNode *element = xml_find_element(domain->children, "uuid");
    g_autofree char *text = xml_get_text(element);

    keys->name = xml_get_text(xml_find_element(domain->children, "name"));
    keys->has_uuid = text && uuid_parse(text, &keys->uuid);
    if (keys->name && (keys->has_uuid || !element))
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_XML, "the domain's XML has no valid <%s>",
              keys->name ? "uuid" : "name");
    return false;
}

struct domain_keys *
domain_keys_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(domain_keys_t) keys = NULL;
    g_autoptr(xml_document_t) doc = NULL;
    const xmlNode *domain;

    if (len > DOMAIN_XML_MAX) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
                  "the definition of the domain has %zu bytes, which is more than %d", len,
                  DOMAIN_XML_MAX);
        return NULL;
    }
    doc = xml_document_parse("(domain_definition)", "domain", xml, len, ERROR_FROM_DOMAIN, error);
    if (!doc)
        return NULL;
    domain = xmlDocGetRootElement(doc);
    keys = g_new0(struct domain_keys, 1);
    keys->volumes = g_ptr_array_new_with_free_func(free_volume);
    if (!read_identity(domain, keys, error) || !read_disks(domain, keys->volumes, error))
        return NULL;
    return g_steal_pointer(&keys);
}

/* ---- what a person calls a volume ---- */

static bool
is_called(const struct domain_volume *volume, const char *name)
{
    g_autofree char *both = NULL;

    if (volume->layer == 0 && g_str_equal(volume->target, name))
        return true;
    if (volume->path)
        return g_str_equal(volume->path, name);
    if (!volume->pool || !volume->volume)
        return false;
    both = g_strdup_printf("%s/%s", volume->pool, volume->volume);
    return g_str_equal(both, name);
}

static bool
is_empty(const struct domain_volume *volume)
{
    return volume->type != DISK_SOURCE_OTHER && !volume->path && !(volume->pool && volume->volume);
}

const struct domain_volume *
domain_keys_find(const struct domain_keys *keys, const char *name, GError **error)
{
    for (guint i = 0; i < keys->volumes->len; i++) {
        const struct domain_volume *volume = keys->volumes->pdata[i];

        if (!is_called(volume, name))
            continue;
        if (!is_empty(volume))
            return volume;
        error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG,
                  "disk '%s' of guest '%s' has no volume that a key could open", name, keys->name);
        return NULL;
    }
    error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG,
              "guest '%s' has no disk '%s': name it by its target (vda), by the path of its "
              "source, or by POOL/VOLUME, as its XML does",
              keys->name, name);
    return NULL;
}
