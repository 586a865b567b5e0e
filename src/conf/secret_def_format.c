/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: writing a secret's definition as XML in libvirt's canonical form: two spaces a level,
 * single quotes, the five predefined entities, no XML declaration.
 */
#include "conf/secret_def.h"

#include "conf/secret_def_xml.h"
#include "conf/xml_text.h"

static void
append_element(GString *out, const char *indent, const char *name, const char *text,
               const char *carriage_return)
{
    g_string_append_printf(out, "%s<%s>", indent, name);
    xml_append_escaped(out, text, "\t", "\n", carriage_return);
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
