/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: writing a secret's definition as XML in libvirt's canonical form: two spaces a level,
 * single quotes, the five predefined entities, no XML declaration.
 */
#include "conf/secret_def.h"

#include <string.h>

#include "conf/secret_def_xml.h"

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
escape_of(char c, const char *carriage_return)
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
    case '\t':
        return "\t";
    case '\n':
        return "\n";
    case '\r':
        return carriage_return;
    default:
        return ""; /* a control character, which XML cannot hold */
    }
}

static void
append_text(GString *out, const char *text, const char *carriage_return)
{
    while (*text) {
        size_t plain = plain_span(text);

        g_string_append_len(out, text, (gssize)plain);
        text += plain;
        if (*text)
            g_string_append(out, escape_of(*text++, carriage_return));
    }
}

static void
append_element(GString *out, const char *indent, const char *name, const char *text,
               const char *carriage_return)
{
    g_string_append_printf(out, "%s<%s>", indent, name);
    append_text(out, text, carriage_return);
    g_string_append_printf(out, "</%s>\n", name);
}

static char *
format(const struct secret_def *def, const char *carriage_return)
{
    GString *out = g_string_sized_new(256);
    char uuid[UUID_TEXT_SIZE];

    g_string_append_printf(out, "<secret ephemeral='%s' private='%s'>\n  <uuid>%s</uuid>\n",
                           def->is_ephemeral ? "yes" : "no", def->is_private ? "yes" : "no",
                           uuid_format(&def->uuid, uuid));
    if (def->description)
        append_element(out, "  ", "description", def->description, carriage_return);
    if (def->usage_type != SECRET_USAGE_NONE) {
        g_string_append_printf(out, "  <usage type='%s'>\n",
                               secret_usage_type_name(def->usage_type));
        append_element(out, "    ", secret_def_usage_element(def->usage_type), def->usage_id,
                       carriage_return);
        g_string_append(out, "  </usage>\n");
    }
    g_string_append(out, "</secret>\n");
    return g_string_free(out, FALSE);
}

char *
secret_def_format_dumpxml(const struct secret_def *def)
{
    return format(def, "\r");
}

char *
secret_def_format(const struct secret_def *def)
{
    return format(def, "&#13;");
}
