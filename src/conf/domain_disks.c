/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: finding what a domain's disks open. libvirt has checked the rest.
 */
#include "conf/domain_disks.h"

#include <string.h>

#include "conf/domain_disks_xml.h"
#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "util/error.h"

void
disk_source_free(struct disk_source *source)
{
    if (!source)
        return;
    g_free(source->path);
    g_free(source->pool);
    g_free(source->volume);
    g_free(source->format);
    encryption_free(source->encryption);
    g_free(source);
}

static void
free_source(void *data)
{
    disk_source_free(data);
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

struct disk_source *
disk_source_parse(const xmlNode *node, char *format)
{
    g_autoptr(disk_source_t) source = g_new0(struct disk_source, 1);
    const xmlNode *element = xml_find_element(node->children, "source");
    g_autofree char *type = xml_get_attribute(node, "type");
    /* Old libvirts wrote <mirror file='...' format='...'/>. */
    bool is_old = !element && g_str_equal((const char *)node->name, "mirror") &&
                  xml_has_attribute(node, "file");

    source->format = format;
    fill_names(is_old ? node : element, type && !is_old ? type : "file", source);
    return is_empty(source) ? NULL : g_steal_pointer(&source);
}

xmlNode *
disk_source_find(const xmlNode *node, const char *name)
{
    const xmlNode *source = xml_find_element(node->children, "source");
    xmlNode *found = source ? xml_find_element(source->children, name) : NULL;

    return found ? found : xml_find_element(node->children, name);
}

/* What others than us open may be encrypted in ways that we do not know. */
static bool
add_source(const xmlNode *node, char *format, void *sources, GError **error)
{
    struct disk_source *source = disk_source_parse(node, format);
    xmlNode *encryption = disk_source_find(node, "encryption");

    if (!source)
        return true;
    g_ptr_array_add(sources, source);
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
visit_data_store(const xmlNode *node, disk_source_func func, void *opaque, GError **error)
{
    const xmlNode *source = xml_find_element(node->children, "source");
    const xmlNode *store = source ? xml_find_element(source->children, "dataStore") : NULL;

    return !store || func(store, get_type_of(store, "format"), opaque, error);
}

/* `node` and what it is based on; an empty <backingStore/> ends the chain. */
static bool
visit_chain(const xmlNode *node, disk_source_func func, void *opaque, GError **error)
{
    for (; node; node = xml_find_element(node->children, "backingStore")) {
        g_autofree char *format = get_type_of(node, "format");

        if (!format)
            format = xml_get_attribute(node, "format"); /* of an old <mirror> */
        if (!func(node, g_steal_pointer(&format), opaque, error) ||
            !visit_data_store(node, func, opaque, error))
            return false;
    }
    return true;
}

bool
disk_source_visit(const xmlNode *disk, disk_source_func func, void *opaque, GError **error)
{
    const xmlNode *backing = xml_find_element(disk->children, "backingStore");
    const xmlNode *mirror = xml_find_element(disk->children, "mirror");

    return func(disk, get_type_of(disk, "driver"), opaque, error) &&
           visit_data_store(disk, func, opaque, error) &&
           visit_chain(backing, func, opaque, error) && visit_chain(mirror, func, opaque, error);
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
    if (!disk_source_visit(node, add_source, disk->sources, error)) {
        g_prefix_error(error, "disk %s: ", disk->target);
        return NULL;
    }
    return g_steal_pointer(&disk);
}

/* `root` NULL: the caller looks at it. */
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
