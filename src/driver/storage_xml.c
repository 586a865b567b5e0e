/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see storage_xml.h. In XML, "<encryption" is an element of that name or a part of a comment:
 * in text the '<' would be escaped.
 */
#include "driver/storage_xml.h"

#include <glib.h>
#include <string.h>

#define ELEMENT     "<encryption"
#define ELEMENT_END "</encryption>"

/* Whether the text is in a way in which "<encryption" might be written otherwise: entities of its
 * own, a name space, or an encoding in which '<' is not '<'. */
static bool
is_unusual(const char *xml)
{
    static const char *const usual[] = {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-"};
    const char *end = g_str_has_prefix(xml, "<?xml") ? strstr(xml, "?>") : NULL;
    g_autofree char *declaration = end ? g_ascii_strdown(xml, end - xml) : NULL;
    const char *encoding = declaration ? strstr(declaration, "encoding") : NULL;

    if (strstr(xml, "<!DOCTYPE") || strstr(xml, ":encryption"))
        return true;
    if (!encoding)
        return false;
    encoding += strlen("encoding");
    encoding += strspn(encoding, " \t\r\n=\"'");
    for (size_t i = 0; i < G_N_ELEMENTS(usual); i++) {
        if (g_str_has_prefix(encoding, usual[i]))
            return false;
    }
    return true;
}

bool
storage_xml_may_encrypt(const char *xml)
{
    return strstr(xml, ELEMENT) || is_unusual(xml);
}

/* The text between `before` and the next `after`, which is of one character. */
static char *
get_between(const char *xml, const char *before, char after)
{
    const char *start = strstr(xml, before);
    const char *end = NULL;

    if (!start)
        return NULL;
    start += strlen(before);
    end = strchr(start, after);
    return end ? g_strndup(start, (gsize)(end - start)) : NULL;
}

char *
storage_xml_get_name(const char *xml)
{
    return get_between(xml, "<name>", '<');
}

char *
storage_xml_get_format(const char *xml)
{
    return get_between(xml, "<format type='", '\'');
}

bool
storage_xml_is_pool_of_ours(const char *xml)
{
    static const char *const ours[] = {"dir", "fs", "netfs", "logical"};
    g_autofree char *type = get_between(xml, "<pool type='", '\'');

    for (size_t i = 0; type && i < G_N_ELEMENTS(ours); i++) {
        if (strcmp(type, ours[i]) == 0)
            return true;
    }
    return !type;
}

/* The element's text from '<' to its end; false if there is none. */
static bool
find_encryption(const char *xml, const char **ret_start, const char **ret_end)
{
    const char *start = strstr(xml, ELEMENT);
    const char *tag_end = start ? strchr(start, '>') : NULL;
    const char *end = NULL;

    if (!tag_end)
        return false;
    if (tag_end[-1] == '/') {
        end = tag_end + 1;
    } else {
        end = strstr(tag_end, ELEMENT_END);
        if (!end)
            return false;
        end += strlen(ELEMENT_END);
    }
    *ret_start = start;
    *ret_end = end;
    return true;
}

/* Where libvirt writes the element: after <timestamps>, else at the end of <target>. */
static const char *
find_place(const char *xml)
{
    static const char timestamps_end[] = "</timestamps>\n";
    const char *place = strstr(xml, timestamps_end);
    const char *target_end = strstr(xml, "  </target>");

    if (place && (!target_end || place < target_end))
        return place + strlen(timestamps_end);
    return target_end;
}

char *
storage_xml_put_encryption(const char *theirs, const char *ours)
{
    const char *start = NULL;
    const char *end = NULL;
    const char *old_start = NULL;
    const char *old_end = NULL;
    GString *xml = NULL;

    if (!find_encryption(ours, &start, &end))
        return g_strdup(theirs);
    xml = g_string_new(NULL);
    if (find_encryption(theirs, &old_start, &old_end)) {
        g_string_append_len(xml, theirs, old_start - theirs);
        g_string_append_len(xml, start, end - start);
        g_string_append(xml, old_end);
        return g_string_free(xml, FALSE);
    }
    old_start = find_place(theirs);
    if (!old_start)
        old_start = theirs + strlen(theirs);
    g_string_append_len(xml, theirs, old_start - theirs);
    g_string_append(xml, "    ");
    g_string_append_len(xml, start, end - start);
    g_string_append_c(xml, '\n');
    g_string_append(xml, old_start);
    return g_string_free(xml, FALSE);
}
