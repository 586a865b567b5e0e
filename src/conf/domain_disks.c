/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: finding what a domain's disks open. libvirt has checked the rest.
 */
#include "conf/domain_disks.h"

#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "util/error.h"

static void
free_source(void *data)
{
    struct disk_source *source = data;

    g_free(source->path);
    g_free(source->pool);
    g_free(source->volume);
    g_free(source->format);
    encryption_free(source->encryption);
    g_free(source);
}

void
domain_disk_free(struct domain_disk *disk)
{
    if (!disk)
        return;
    g_free(disk->target);
    g_ptr_array_unref(disk->sources);
    g_free(disk);
}

static void
free_disk(void *data)
{
    domain_disk_free(data);
}

void
domain_disks_free(struct domain_disks *disks)
{
    if (!disks)
        return;
    g_free(disks->name);
    g_ptr_array_unref(disks->disks);
    g_free(disks);
}

static void
fill_names(const xmlNode *element, const char *type, struct disk_source *source)
{
    if (g_str_equal(type, "file")) {
        source->type = DISK_SOURCE_FILE;
        source->path = xml_get_attribute(element, "file");
    } else if (g_str_equal(type, "block")) {
        source->type = DISK_SOURCE_BLOCK;
        source->path = xml_get_attribute(element, "dev");
    } else if (g_str_equal(type, "volume")) {
        source->type = DISK_SOURCE_VOLUME;
        source->pool = xml_get_attribute(element, "pool");
        source->volume = xml_get_attribute(element, "volume");
    } else {
        source->type = DISK_SOURCE_OTHER;
    }
}

/* A drive without a medium has a <source> without a name, or none. */
static bool
is_empty(const struct disk_source *source)
{
    switch (source->type) {
    case DISK_SOURCE_FILE:
    case DISK_SOURCE_BLOCK:
        return !source->path;
    case DISK_SOURCE_VOLUME:
        return !source->pool || !source->volume;
    case DISK_SOURCE_OTHER:
        return false;
    }
    return false;
}

/* `node` is <disk>, <backingStore>, <mirror> or <dataStore>; its <source> may hold <encryption>,
 * and that of a disk may stand beside <source>, too. What others than us open may be encrypted in
 * ways that we do not know. */
static bool
add_source(const xmlNode *node, char *format, GPtrArray *sources, GError **error)
{
    struct disk_source *source = g_new0(struct disk_source, 1);
    const xmlNode *element = xml_find_element(node->children, "source");
    g_autofree char *type = xml_get_attribute(node, "type");
    xmlNode *encryption = element ? xml_find_element(element->children, "encryption") : NULL;

    source->format = format;
    fill_names(element, type ? type : "file", source);
    if (is_empty(source)) {
        free_source(source);
        return true;
    }
    g_ptr_array_add(sources, source);
    if (!encryption)
        encryption = xml_find_element(node->children, "encryption");
    if (!encryption || source->type == DISK_SOURCE_OTHER)
        return true;
    source->encryption = encryption_parse(encryption, error);
    return source->encryption != NULL;
}

static char *
get_type_of(const xmlNode *node, const char *child)
{
    return xml_get_attribute(xml_find_element(node->children, child), "type");
}

/* The file that holds the data of a qcow2 image whose metadata are in another. */
static bool
add_data_store(const xmlNode *node, GPtrArray *sources, GError **error)
{
    const xmlNode *source = xml_find_element(node->children, "source");
    const xmlNode *store = source ? xml_find_element(source->children, "dataStore") : NULL;

    return !store || add_source(store, get_type_of(store, "format"), sources, error);
}

/* `node` and what it is based on; an empty <backingStore/> ends the chain. */
static bool
add_chain(const xmlNode *node, GPtrArray *sources, GError **error)
{
    for (; node; node = xml_find_element(node->children, "backingStore")) {
        if (!add_source(node, get_type_of(node, "format"), sources, error) ||
            !add_data_store(node, sources, error))
            return false;
    }
    return true;
}

/* Old libvirts wrote <mirror file='...' format='...'/>. */
static bool
add_mirror(const xmlNode *mirror, GPtrArray *sources, GError **error)
{
    struct disk_source *source;

    if (xml_find_element(mirror->children, "source") || !xml_has_attribute(mirror, "file"))
        return add_chain(mirror, sources, error);
    source = g_new0(struct disk_source, 1);
    source->type = DISK_SOURCE_FILE;
    source->path = xml_get_attribute(mirror, "file");
    source->format = xml_get_attribute(mirror, "format");
    if (source->path)
        g_ptr_array_add(sources, source);
    else
        free_source(source);
    return true;
}

static bool
add_sources(const xmlNode *disk, GPtrArray *sources, GError **error)
{
    const xmlNode *backing = xml_find_element(disk->children, "backingStore");
    const xmlNode *mirror = xml_find_element(disk->children, "mirror");

    return add_source(disk, get_type_of(disk, "driver"), sources, error) &&
           add_data_store(disk, sources, error) && add_chain(backing, sources, error) &&
           (!mirror || add_mirror(mirror, sources, error));
}

static struct domain_disk *
parse_disk(const xmlNode *node, GError **error)
{
    g_autoptr(domain_disk_t) disk = g_new0(struct domain_disk, 1);
    g_autofree char *device = xml_get_attribute(node, "device");

    disk->sources = g_ptr_array_new_with_free_func(free_source);
    disk->target = xml_get_attribute(xml_find_element(node->children, "target"), "dev");
    disk->is_readonly = xml_find_element(node->children, "readonly") != NULL;
    disk->is_shareable = xml_find_element(node->children, "shareable") != NULL;
    disk->is_removable = g_strcmp0(device, "cdrom") == 0 || g_strcmp0(device, "floppy") == 0;
    if (!disk->target) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
                  "a disk has no name: <target dev='...'/> is missing");
        return NULL;
    }
    if (!add_sources(node, disk->sources, error)) {
        g_prefix_error(error, "disk %s: ", disk->target);
        return NULL;
    }
    return g_steal_pointer(&disk);
}

static xmlDoc *
parse_document(const char *root, const char *xml, size_t len, GError **error)
{
    if (len > DOMAIN_XML_MAX) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
                  "the definition of the domain has %zu bytes, which is more than %d", len,
                  DOMAIN_XML_MAX);
        return NULL;
    }
    return xml_document_parse("(domain_definition)", root, xml, len, ERROR_FROM_DOMAIN, error);
}

static bool
parse_names(const xmlNode *domain, struct domain_disks *disks, GError **error)
{
    g_autofree char *uuid = xml_get_text(xml_find_element(domain->children, "uuid"));

    disks->name = xml_get_text(xml_find_element(domain->children, "name"));
    if (disks->name && uuid && uuid_parse(uuid, &disks->uuid))
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
              "the domain's XML has no valid <name> and <uuid>");
    return false;
}

static bool
parse_devices(const xmlNode *devices, struct domain_disks *disks, GError **error)
{
    const xmlNode *node = devices ? xml_find_element(devices->children, "disk") : NULL;

    for (; node; node = xml_find_element(node->next, "disk")) {
        struct domain_disk *disk = parse_disk(node, error);

        if (!disk)
            return false;
        g_ptr_array_add(disks->disks, disk);
    }
    return true;
}

struct domain_disks *
domain_disks_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(xml_document_t) doc = parse_document(NULL, xml, len, error);
    g_autoptr(domain_disks_t) disks = NULL;
    xmlNode *domain;

    if (!doc)
        return NULL;
    domain = xmlDocGetRootElement(doc);
    if (g_str_equal((const char *)domain->name, "domstatus"))
        domain = xml_find_element(domain->children, "domain");
    if (!domain || !g_str_equal((const char *)domain->name, "domain")) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
                  "expecting an element 'domain', alone or in 'domstatus'");
        return NULL;
    }
    disks = g_new0(struct domain_disks, 1);
    disks->disks = g_ptr_array_new_with_free_func(free_disk);
    if (!parse_names(domain, disks, error) ||
        !parse_devices(xml_find_element(domain->children, "devices"), disks, error))
        return NULL;
    return g_steal_pointer(&disks);
}

struct domain_disk *
domain_disk_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(xml_document_t) doc = parse_document("disk", xml, len, error);

    return doc ? parse_disk(xmlDocGetRootElement(doc), error) : NULL;
}
