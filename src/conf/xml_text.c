/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: escaping.
 */
#include "conf/xml_text.h"

#include <string.h>

/* The longest stretch of `text` that stands for itself. */
static size_t
plain_span(const char *text)
{
    size_t len = 0;

    while ((unsigned char)text[len] >= 0x20 && !strchr("<>&\"'", text[len]))
        len++;
    return len;
}

static const char *
predefined_entity(char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&apos;";
    default:
        return ""; /* a control character, which XML cannot hold */
    }
}

bool
xml_can_hold(const char *text)
{
    if (!g_utf8_validate(text, -1, NULL))
        return false;
    for (; *text; text = g_utf8_next_char(text)) {
        gunichar c = g_utf8_get_char(text);

        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0xFFFE || c == 0xFFFF)
            return false;
    }
    return true;
}

void
xml_append_escaped(GString *out, const char *text, const char *tab, const char *newline,
                   const char *carriage_return)
{
    while (*text) {
        size_t plain = plain_span(text);

        g_string_append_len(out, text, (gssize)plain);
        text += plain;
        if (*text == '\t')
            g_string_append(out, tab);
        else if (*text == '\n')
            g_string_append(out, newline);
        else if (*text == '\r')
            g_string_append(out, carriage_return);
        else
            g_string_append(out, predefined_entity(*text));
        text += *text ? 1 : 0;
    }
}

void
xml_append_text(GString *out, const char *text)
{
    xml_append_escaped(out, text, "\t", "\n", "&#13;");
}

void
xml_append_attribute(GString *out, const char *name, const char *value)
{
    if (!value)
        return;
    g_string_append_printf(out, " %s='", name);
    xml_append_escaped(out, value, "&#9;", "&#10;", "&#13;");
    g_string_append_c(out, '\'');
}

void
xml_append_indent(GString *out, unsigned int indent)
{
    g_string_append_printf(out, "%*s", (int)indent, "");
}

void
xml_append_element(GString *out, unsigned int indent, const char *name, const char *text)
{
    if (!text)
        return;
    xml_append_indent(out, indent);
    g_string_append_printf(out, "<%s>", name);
    xml_append_text(out, text);
    g_string_append_printf(out, "</%s>\n", name);
}
