/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading a secret's definition from XML, with libvirt's rules: of an element that is there
 * several times the first counts, an empty text counts as absent, what is unknown is ignored unless
 * validation is asked for.
 */
#include "conf/secret_def.h"

#include "conf/secret_def_xml.h"
#include "conf/xml_document.h"
#include "util/error.h"

static const struct {
    const char *element;
    const char *missing;
} usages[] = {
    [SECRET_USAGE_NONE] = {NULL, NULL},
    [SECRET_USAGE_VOLUME] = {"volume", "volume usage specified, but volume path is missing"},
    [SECRET_USAGE_CEPH] = {"name", "Ceph usage specified, but name is missing"},
    [SECRET_USAGE_ISCSI] = {"target", "iSCSI usage specified, but target is missing"},
    [SECRET_USAGE_TLS] = {"name", "TLS usage specified, but name is missing"},
    [SECRET_USAGE_VTPM] = {"name", "vTPM usage specified, but name is missing"},
};
G_STATIC_ASSERT(G_N_ELEMENTS(usages) == SECRET_USAGE_LAST);

const char *
secret_def_usage_element(enum secret_usage_type type)
{
    return usages[type].element;
}

static bool
parse_yes_no(const xmlNode *secret, const char *attribute, bool *ret_value, GError **error)
{
    g_autofree char *text = xml_get_attribute(secret, attribute);

    if (text && !g_str_equal(text, "yes") && !g_str_equal(text, "no")) {
        error_set(error, ERROR_FROM_SECRET, ERROR_XML, "invalid value of '%s'", attribute);
        return false;
    }
    *ret_value = text && g_str_equal(text, "yes");
    return true;
}

static bool
parse_uuid(const xmlNode *secret, struct uuid *ret_uuid, GError **error)
{
    g_autofree char *text = xml_get_text(xml_find_element(secret->children, "uuid"));

    if (!text)
        return uuid_generate_random(ret_uuid, error);
    if (!uuid_parse(text, ret_uuid)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL, "malformed uuid element");
        return false;
    }
    return true;
}

static bool
parse_usage_type(const char *text, enum secret_usage_type *ret_type, GError **error)
{
    if (!text) {
        error_set(error, ERROR_FROM_SECRET, ERROR_XML, "unknown secret usage type");
        return false;
    }
    for (int type = SECRET_USAGE_NONE; type < SECRET_USAGE_LAST; type++) {
        if (g_str_equal(text, secret_usage_type_name((enum secret_usage_type)type))) {
            *ret_type = (enum secret_usage_type)type;
            return true;
        }
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_CONFIG_UNSUPPORTED, "unknown secret usage type %s",
              text);
    return false;
}

/* libvirt looks for type and id in all <usage> elements together: the first of each counts. */
static bool
parse_usage(xmlNode *usage, struct secret_def *def, GError **error)
{
    g_autofree char *type_text = NULL;
    xmlNode *typed = usage;
    xmlNode *id = NULL;

    while (typed && !xml_has_attribute(typed, "type"))
        typed = xml_find_element(typed->next, "usage");
    type_text = typed ? xml_get_attribute(typed, "type") : NULL;
    if (!parse_usage_type(type_text, &def->usage_type, error))
        return false;
    if (def->usage_type == SECRET_USAGE_NONE)
        return true;
    for (xmlNode *each = usage; each && !id; each = xml_find_element(each->next, "usage"))
        id = xml_find_element(each->children, usages[def->usage_type].element);
    def->usage_id = xml_get_text(id);
    if (!def->usage_id) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL, "%s", usages[def->usage_type].missing);
        return false;
    }
    return true;
}

static struct secret_def *
parse_secret(const xmlNode *secret, GError **error)
{
    g_autoptr(secret_def_t) def = g_new0(struct secret_def, 1);
    xmlNode *usage = xml_find_element(secret->children, "usage");

    if (!parse_yes_no(secret, "ephemeral", &def->is_ephemeral, error) ||
        !parse_yes_no(secret, "private", &def->is_private, error) ||
        !parse_uuid(secret, &def->uuid, error))
        return NULL;
    def->description = xml_get_text(xml_find_element(secret->children, "description"));
    if (usage && !parse_usage(usage, def, error))
        return NULL;
    return g_steal_pointer(&def);
}

struct secret_def *
secret_def_parse_document(const char *xml, size_t len, bool validate, GError **error)
{
    g_autoptr(xml_document_t) doc =
        xml_document_parse("(definition_of_secret)", "secret", xml, len, ERROR_FROM_SECRET, error);
    xmlNode *secret;

    if (!doc)
        return NULL;
    secret = xmlDocGetRootElement(doc);
    if (validate && !secret_def_validate(secret, error))
        return NULL;
    return parse_secret(secret, error);
}

struct secret_def *
secret_def_parse(const char *xml, size_t len, bool validate, GError **error)
{
    struct secret_def *def;

    if (len > SECRET_DEF_XML_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_XML,
                  "the definition of the secret has %zu bytes; shorten it to at most %d", len,
                  SECRET_DEF_XML_MAX);
        return NULL;
    }
    def = validate ? NULL : secret_def_parse_canonical(xml, len);
    return def ? def : secret_def_parse_document(xml, len, validate, error);
}
