/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the checks of strict reading.
 */
#include "conf/xml_strict.h"

#include <string.h>

#include "conf/xml_document.h"
#include "util/error.h"

static bool
refuse(GError **error, const char *kind, const xmlChar *name, const xmlNode *element,
       const char *const *names)
{
    g_autofree char *possible = xml_list_names(names, g_strv_length((char **)names));

    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "unknown %s '%s' in element '%s'; %s%s", kind,
              (const char *)name, (const char *)element->name,
              *possible ? "possible is " : "none is possible", possible);
    return false;
}

bool
xml_check_attributes(const xmlNode *element, const char *const *names, GError **error)
{
    for (const xmlAttr *attribute = element->properties; attribute; attribute = attribute->next) {
        if (attribute->ns || !g_strv_contains(names, (const char *)attribute->name))
            return refuse(error, "attribute", attribute->name, element, names);
    }
    return true;
}

static bool
is_blank(const xmlNode *text)
{
    const char *content = (const char *)text->content;

    return !content || content[strspn(content, " \t\r\n")] == '\0';
}

static bool
check_child(const xmlNode *element, const xmlNode *child, const char *const *names, GError **error)
{
    if (child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE) {
        if (is_blank(child))
            return true;
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "element '%s' holds text, which has no meaning there; remove it",
                  (const char *)element->name);
        return false;
    }
    if (child->type != XML_ELEMENT_NODE)
        return true;
    if (child->ns || !g_strv_contains(names, (const char *)child->name))
        return refuse(error, "element", child->name, element, names);
    if (xml_find_element(child->next, (const char *)child->name)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "element '%s' holds '%s' more than once; leave one", (const char *)element->name,
                  (const char *)child->name);
        return false;
    }
    return true;
}

bool
xml_check_children(const xmlNode *element, const char *const *names, GError **error)
{
    for (const xmlNode *child = element->children; child; child = child->next) {
        if (!check_child(element, child, names, error))
            return false;
    }
    return true;
}

bool
xml_parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    while (g_ascii_isspace(*text))
        text++;
    return g_ascii_string_to_unsigned(*text == '+' ? text + 1 : text, 10, 0, max, ret_number, NULL);
}

int
xml_find_name(const char *text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i] && g_str_equal(text, names[i]))
            return (int)i;
    }
    return -1;
}

char *
xml_list_names(const char *const *names, size_t count)
{
    GString *list = g_string_new(NULL);
    size_t last = count;

    while (last > 0 && !names[last - 1])
        last--;
    for (size_t i = 0; i < last; i++) {
        const char *separator = i + 1 == last ? " or " : ", ";

        if (names[i])
            g_string_append_printf(list, "%s'%s'", list->len > 0 ? separator : "", names[i]);
    }
    return g_string_free(list, FALSE);
}
