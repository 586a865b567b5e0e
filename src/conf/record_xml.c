/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: record_xml.h.
 */
#include "conf/record_xml.h"

#include "conf/xml_document.h"
#include "conf/xml_strict.h"
#include "util/error.h"

const char *const record_xml_yes_no[2] = {"no", "yes"};

bool
record_xml_check_version(const xmlNode *root, GError **error)
{
    static const char *const attributes[] = {"version", NULL};
    g_autofree char *version = xml_get_attribute(root, "version");

    if (!xml_check_attributes(root, attributes, error))
        return false;
    if (g_strcmp0(version, "1") == 0)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "the record has version '%s', and this virtcryptd knows version 1 only; use the "
              "virtcryptd that wrote it, or a newer one",
              version ? version : "");
    return false;
}

bool
record_xml_get_text(const xmlNode *node, const char *name, char **ret_text, GError **error)
{
    static const char *const attributes[] = {NULL};
    const xmlNode *element = xml_find_element(node->children, name);
    const xmlNode *content;

    if (!element || !element->children) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the record has no <%s>", name);
        return false;
    }
    if (!xml_check_attributes(element, attributes, error))
        return false;
    for (content = element->children; content; content = content->next) {
        if (content->type == XML_ELEMENT_NODE) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "unknown element '%s' in element '%s'",
                      (const char *)content->name, name);
            return false;
        }
    }
    *ret_text = xml_get_text(element);
    if (*ret_text)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the record has no text in <%s>", name);
    return false;
}

bool
record_xml_find_text(const xmlNode *node, const char *name, char **ret_text, GError **error)
{
    if (xml_find_element(node->children, name))
        return record_xml_get_text(node, name, ret_text, error);
    *ret_text = NULL;
    return true;
}

/* `text` of <name> is not `what`. */
static bool
refuse(const char *name, const char *text, const char *what, GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "<%s> of the record is '%s', %s", name, text,
              what);
    return false;
}

bool
record_xml_get_word(const xmlNode *node, const char *name, const char *const *words, size_t count,
                    int *ret_index, GError **error)
{
    g_autofree char *text = NULL;
    g_autofree char *possible = NULL;

    if (!record_xml_get_text(node, name, &text, error))
        return false;
    *ret_index = xml_find_name(text, words, count);
    if (*ret_index >= 0)
        return true;
    possible = xml_list_names(words, count);
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "<%s> of the record is '%s' and not %s", name,
              text, possible);
    return false;
}

bool
record_xml_get_yes_no(const xmlNode *node, const char *name, bool *ret_value, GError **error)
{
    int index;

    if (!record_xml_get_word(node, name, record_xml_yes_no, G_N_ELEMENTS(record_xml_yes_no), &index,
                             error))
        return false;
    *ret_value = index == 1;
    return true;
}

bool
record_xml_get_path(const xmlNode *node, const char *name, char **ret_path, GError **error)
{
    if (!record_xml_get_text(node, name, ret_path, error))
        return false;
    return **ret_path == '/' || refuse(name, *ret_path, "which is not an absolute path", error);
}

bool
record_xml_get_uuid(const xmlNode *node, const char *name, struct uuid *ret_uuid, GError **error)
{
    g_autofree char *text = NULL;

    if (!record_xml_get_text(node, name, &text, error))
        return false;
    return uuid_parse(text, ret_uuid) || refuse(name, text, "and no UUID", error);
}

bool
record_xml_get_number(const xmlNode *node, const char *name, const char *what, uint64_t max,
                      uint64_t *ret_number, GError **error)
{
    g_autofree char *text = NULL;
    g_autofree char *wanted = g_strdup_printf("which is not %s", what);

    if (!record_xml_get_text(node, name, &text, error))
        return false;
    return xml_parse_number(text, max, ret_number) || refuse(name, text, wanted, error);
}
