/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the rules of libvirt's schema secret.rng, by hand, since the schema file is on hosts with
 * libvirt only and a schema engine costs more than the rest of a define. Stricter than parsing:
 * nothing unknown, nothing twice, no element within a text.
 */
#include "conf/secret_def_xml.h"

#include <string.h>

#include "conf/xml_document.h"

static bool
refuse(GError **error, const char *reason, const char *what, const xmlNode *element)
{
    error_set(error, ERROR_FROM_XML, ERROR_XML_INVALID_SCHEMA,
              "Unable to validate doc against secret.rng\n%s%s for element %s", reason, what,
              (const char *)element->name);
    return false;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Compares as the schema type token does: white space around the word does not count. */
static bool
is_token(const char *text, const char *word)
{
    size_t len = strlen(word);

    while (is_space(*text))
        text++;
    if (strncmp(text, word, len) != 0)
        return false;
    text += len;
    while (is_space(*text))
        text++;
    return *text == '\0';
}

static bool
is_yes_or_no(const xmlNode *element, const xmlAttr *attribute)
{
    g_autofree char *text = xml_get_attribute(element, (const char *)attribute->name);

    return text && (is_token(text, "yes") || is_token(text, "no"));
}

static bool
check_secret_attributes(const xmlNode *secret, GError **error)
{
    for (const xmlAttr *each = secret->properties; each; each = each->next) {
        const char *name = (const char *)each->name;

        if (each->ns || (!g_str_equal(name, "ephemeral") && !g_str_equal(name, "private")) ||
            !is_yes_or_no(secret, each))
            return refuse(error, "Invalid attribute ", name, secret);
    }
    return true;
}

static bool
is_uuid_text(const char *text)
{
    size_t len = strlen(text);
    bool dashed = len == 36;

    if (!dashed && len != 32)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool is_dash_place = dashed && (i == 8 || i == 13 || i == 18 || i == 23);

        if (is_dash_place ? text[i] != '-' : !g_ascii_isxdigit(text[i]))
            return false;
    }
    return true;
}

/* "/..." or "C:\..." on one line, with something after the root. */
static bool
is_absolute_path(const char *text)
{
    if (*text == '/')
        text++;
    else if (g_ascii_isalpha(text[0]) && text[1] == ':' && text[2] == '\\')
        text += 3;
    else
        return false;
    return *text != '\0' && !strpbrk(text, "\r\n");
}

static bool
is_object_name(const char *text)
{
    return *text != '\0' && !strpbrk(text, "/\n");
}

static bool
is_any_text(const char *text)
{
    return true;
}

/* An element that holds nothing but a text that `accept` takes. */
static bool
check_text_element(const xmlNode *element, bool (*accept)(const char *text), GError **error)
{
    g_autofree char *text = NULL;

    if (element->properties)
        return refuse(error, "Invalid attribute ", (const char *)element->properties->name,
                      element);
    for (const xmlNode *child = element->children; child; child = child->next) {
        if (child->type == XML_ELEMENT_NODE)
            return refuse(error, "Invalid child element ", (const char *)child->name, element);
    }
    text = xml_get_text(element);
    return accept(text ? text : "") || refuse(error, "Invalid ", "text", element);
}

static bool
is_blank(const xmlNode *node)
{
    const char *text = (const char *)node->content;

    if (node->type == XML_COMMENT_NODE || node->type == XML_PI_NODE)
        return true;
    if (node->type != XML_TEXT_NODE && node->type != XML_CDATA_SECTION_NODE)
        return false;
    while (is_space(*text))
        text++;
    return *text == '\0';
}

static enum secret_usage_type
find_usage_type(const xmlNode *usage)
{
    g_autofree char *text = xml_get_attribute(usage, "type");

    for (int type = SECRET_USAGE_VOLUME; text && type < SECRET_USAGE_LAST; type++) {
        if (is_token(text, secret_usage_type_name((enum secret_usage_type)type)))
            return (enum secret_usage_type)type;
    }
    return SECRET_USAGE_NONE;
}

static bool
check_usage(const xmlNode *usage, GError **error)
{
    enum secret_usage_type type = find_usage_type(usage);
    const xmlNode *id = NULL;

    if (type == SECRET_USAGE_NONE)
        return refuse(error, "Invalid attribute ", "type", usage);
    for (const xmlAttr *each = usage->properties; each; each = each->next) {
        if (each->ns || !g_str_equal((const char *)each->name, "type"))
            return refuse(error, "Invalid attribute ", (const char *)each->name, usage);
    }
    for (xmlNode *child = usage->children; child; child = child->next) {
        if (is_blank(child))
            continue;
        if (id || xml_find_element(child, secret_def_usage_element(type)) != child)
            return refuse(error, "Invalid content ", (const char *)child->name, usage);
        id = child;
    }
    if (!id)
        return refuse(error, "Missing child element ", secret_def_usage_element(type), usage);
    return check_text_element(id, type == SECRET_USAGE_VOLUME ? is_absolute_path : is_object_name,
                              error);
}

static bool
check_child(const xmlNode *child, GError **error)
{
    const char *name = (const char *)child->name;

    if (g_str_equal(name, "uuid"))
        return check_text_element(child, is_uuid_text, error);
    if (g_str_equal(name, "description"))
        return check_text_element(child, is_any_text, error);
    return check_usage(child, error);
}

static bool
is_known_child(xmlNode *child)
{
    static const char *const names[] = {"uuid", "description", "usage"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (xml_find_element(child, names[i]) == child)
            return true;
    }
    return false;
}

bool
secret_def_validate(const xmlNode *secret, GError **error)
{
    if (secret->ns)
        return refuse(error, "Expecting no ", "namespace", secret);
    if (!check_secret_attributes(secret, error))
        return false;
    for (xmlNode *child = secret->children; child; child = child->next) {
        const char *name = (const char *)child->name;

        if (is_blank(child))
            continue;
        if (!is_known_child(child))
            return refuse(error, "Unknown content ", name, secret);
        if (xml_find_element(secret->children, name) != child)
            return refuse(error, "More than one ", name, secret);
        if (!check_child(child, error))
            return false;
    }
    return true;
}
