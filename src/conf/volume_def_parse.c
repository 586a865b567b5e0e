/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading a volume's XML with libvirt's rules (of an element that is there several times the
 * first counts, an empty one counts as absent), but for <encryption>: none is overlooked.
 */
#include "conf/volume_def.h"

#include <stdint.h>
#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "conf/xml_strict.h"
#include "util/error.h"

/* The formats that libvirt knows of files. */
static const char *const format_names[] = {
    "raw", "dir", "bochs", "cloop", "dmg",  "iso",   "vpc", "vdi",
    "fat", "vhd", "ploop", "cow",   "qcow", "qcow2", "qed", "vmdk",
};

/* Each is a power of 1024, and of 1000 if it ends in B alone. */
static const char unit_letters[] = "kmgtpe";

static bool
malformed(GError **error, const char *what)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "malformed %s", what);
    return false;
}

/* Bytes that `unit` (in any case) stands for; 0 if it is none. */
static uint64_t
unit_factor(const char *unit)
{
    g_autofree char *lower = g_ascii_strdown(unit, -1);
    const char *letter = lower[0] ? strchr(unit_letters, lower[0]) : NULL;
    uint64_t base = 1024;
    uint64_t factor = 1;

    if (!*lower || g_str_equal(lower, "b") || g_str_equal(lower, "byte") ||
        g_str_equal(lower, "bytes"))
        return 1;
    if (!letter)
        return 0;
    if (g_str_equal(lower + 1, "b"))
        base = 1000;
    else if (lower[1] && !g_str_equal(lower + 1, "ib"))
        return 0;
    for (const char *each = unit_letters; each <= letter; each++)
        factor *= base;
    return factor;
}

/* A size with its unit, at most what libvirt's signed 64 bits hold. Absent or empty: unchanged. */
static bool
parse_size(const xmlNode *element, bool *ret_has, uint64_t *ret_size, GError **error)
{
    g_autofree char *text = xml_get_text(element);
    g_autofree char *unit = xml_get_attribute(element, "unit");
    uint64_t factor = unit_factor(unit ? unit : "");
    uint64_t number;

    if (!text)
        return true;
    if (!xml_parse_number(text, UINT64_MAX, &number)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "malformed %s element: '%s' is not a number of bytes, or of the unit in "
                  "unit='...'",
                  (const char *)element->name, text);
        return false;
    }
    if (factor == 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "unknown suffix '%s' as the unit of %s; it is 'bytes', or one of K, M, G, T, P, "
                  "E, each alone or with 'iB' (1024) or 'B' (1000)",
                  unit, (const char *)element->name);
        return false;
    }
    if (number > INT64_MAX / factor) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OVERFLOW, "value too large: %s%s", text,
                  unit ? unit : "");
        return false;
    }
    *ret_has = true;
    *ret_size = number * factor;
    return true;
}

static bool
parse_type(const xmlNode *volume, enum volume_type *ret_type, GError **error)
{
    g_autofree char *type = xml_get_attribute(volume, "type");

    if (!type || g_str_equal(type, "file") || g_str_equal(type, "block")) {
        *ret_type = g_strcmp0(type, "block") == 0 ? VOLUME_TYPE_BLOCK : VOLUME_TYPE_FILE;
        return true;
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "unknown volume type '%s'; it is 'file' or 'block'", type);
    return false;
}

static bool
parse_format(const xmlNode *parent, char **ret_format, GError **error)
{
    const xmlNode *element = xml_find_element(parent->children, "format");
    g_autofree char *format = xml_get_attribute(element, "type");

    if (format && xml_find_name(format, format_names, G_N_ELEMENTS(format_names)) < 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "unknown volume format type %s", format);
        return false;
    }
    *ret_format = g_steal_pointer(&format);
    return true;
}

static bool
parse_mode(const xmlNode *element, struct volume_permissions *permissions, GError **error)
{
    g_autofree char *text = xml_get_text(element);
    uint64_t mode;

    if (!text)
        return true;
    if (!g_ascii_string_to_unsigned(text, 8, 0, 0777, &mode, NULL))
        return malformed(error, "octal mode");
    permissions->has_mode = true;
    permissions->mode = (mode_t)mode;
    return true;
}

/* An id of -1 is what libvirt writes for "not set". */
static bool
parse_id(const xmlNode *element, bool *ret_has, uint32_t *ret_id, GError **error)
{
    g_autofree char *text = xml_get_text(element);
    g_autofree char *what = NULL;
    uint64_t id;

    if (!element || g_strcmp0(text, "-1") == 0)
        return true;
    if (!text || !xml_parse_number(text, UINT32_MAX, &id)) {
        what = g_strdup_printf("%s element", (const char *)element->name);
        return malformed(error, what);
    }
    *ret_has = id != UINT32_MAX;
    *ret_id = *ret_has ? (uint32_t)id : 0;
    return true;
}

static bool
parse_permissions(const xmlNode *element, struct volume_permissions *permissions, GError **error)
{
    G_STATIC_ASSERT(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t));

    if (!element)
        return true;
    permissions->label = xml_get_text(xml_find_element(element->children, "label"));
    return parse_mode(xml_find_element(element->children, "mode"), permissions, error) &&
           parse_id(xml_find_element(element->children, "owner"), &permissions->has_owner,
                    &permissions->owner, error) &&
           parse_id(xml_find_element(element->children, "group"), &permissions->has_group,
                    &permissions->group, error);
}

/* Digits, a point, digits. */
static bool
is_compat(const char *text)
{
    size_t whole = strspn(text, "0123456789");
    size_t part = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;

    return whole > 0 && part > 0 && text[whole + 1 + part] == '\0';
}

static bool
parse_features(const xmlNode *features, struct volume_def *def, GError **error)
{
    def->has_features = true;
    for (const xmlNode *child = features->children; child; child = child->next) {
        const char *name = (const char *)child->name;

        if (child->type != XML_ELEMENT_NODE)
            continue;
        if (g_str_equal(name, "lazy_refcounts")) {
            def->lazy_refcounts = true;
        } else if (g_str_equal(name, "extended_l2")) {
            def->extended_l2 = true;
        } else {
            error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                      "unsupported feature %s; it is 'lazy_refcounts' or 'extended_l2'", name);
            return false;
        }
    }
    return true;
}

/* What qcow2 adds. libvirt takes <features> without <compat> as a wish for 1.1. */
static bool
parse_qcow2(const xmlNode *target, struct volume_def *def, GError **error)
{
    const xmlNode *features = xml_find_element(target->children, "features");
    bool has_size = false;

    def->compat = xml_get_text(xml_find_element(target->children, "compat"));
    if (def->compat && !is_compat(def->compat)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "forbidden characters in 'compat' attribute: '%s'; it is \"0.10\" or \"1.1\"",
                  def->compat);
        return false;
    }
    if (features && !def->compat)
        def->compat = g_strdup("1.1");
    if (features && !parse_features(features, def, error))
        return false;
    return parse_size(xml_find_element(target->children, "clusterSize"), &has_size,
                      &def->cluster_size, error);
}

static bool
parse_encryption(const xmlNode *parent, struct encryption **ret_encryption, GError **error)
{
    xmlNode *element = xml_find_element(parent->children, "encryption");

    if (!element)
        return true;
    if (xml_find_element(element->next, "encryption")) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "element '%s' holds 'encryption' more than once; leave one",
                  (const char *)parent->name);
        return false;
    }
    *ret_encryption = encryption_parse(element, error);
    return *ret_encryption != NULL;
}

static bool
parse_target(const xmlNode *target, struct volume_def *def, GError **error)
{
    def->path = xml_get_text(xml_find_element(target->children, "path"));
    def->nocow = xml_find_element(target->children, "nocow") != NULL;
    return parse_format(target, &def->format, error) &&
           parse_permissions(xml_find_element(target->children, "permissions"), &def->permissions,
                             error) &&
           parse_qcow2(target, def, error) && parse_encryption(target, &def->encryption, error);
}

static bool
parse_backing(const xmlNode *backing, struct volume_def *def, GError **error)
{
    def->backing_path = xml_get_text(xml_find_element(backing->children, "path"));
    if (!def->backing_path)
        return true;
    return parse_format(backing, &def->backing_format, error) &&
           parse_encryption(backing, &def->backing_encryption, error);
}

/* libvirt would overlook these. */
static bool
check_places(const xmlNode *volume, GError **error)
{
    const xmlNode *target = xml_find_element(volume->children, "target");

    if (target && xml_find_element(target->next, "target")) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "element 'volume' holds 'target' more than once; leave one");
        return false;
    }
    if (xml_find_element(volume->children, "encryption")) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "<encryption> stands outside of <target>, where it would be overlooked; move it "
                  "into <target>");
        return false;
    }
    return true;
}

static bool
parse_name(const xmlNode *volume, char **ret_name, GError **error)
{
    g_autofree char *name = xml_get_text(xml_find_element(volume->children, "name"));

    if (!name) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "missing volume name element");
        return false;
    }
    if (!volume_def_check_name("volume", name, error))
        return false;
    *ret_name = g_steal_pointer(&name);
    return true;
}

static struct volume_def *
parse_volume(const xmlNode *volume, GError **error)
{
    g_autoptr(volume_def_t) def = g_new0(struct volume_def, 1);
    const xmlNode *target = xml_find_element(volume->children, "target");
    const xmlNode *backing = xml_find_element(volume->children, "backingStore");

    if (!parse_name(volume, &def->name, error) || !parse_type(volume, &def->type, error) ||
        !check_places(volume, error) ||
        !parse_size(xml_find_element(volume->children, "capacity"), &def->has_capacity,
                    &def->capacity, error) ||
        !parse_size(xml_find_element(volume->children, "allocation"), &def->has_allocation,
                    &def->allocation, error))
        return NULL;
    if ((backing && !parse_backing(backing, def, error)) ||
        (target && !parse_target(target, def, error)))
        return NULL;
    return g_steal_pointer(&def);
}

struct volume_def *
volume_def_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(xml_document_t) doc = NULL;

    if (len > VOLUME_DEF_XML_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "the definition of the volume has %zu bytes; shorten it to at most %d", len,
                  VOLUME_DEF_XML_MAX);
        return NULL;
    }
    doc = xml_document_parse("(storage_volume_definition)", "volume", xml, len, ERROR_FROM_STORAGE,
                             error);
    return doc ? parse_volume(xmlDocGetRootElement(doc), error) : NULL;
}
