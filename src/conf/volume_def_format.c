/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: writing a volume's XML in libvirt's order and form.
 */
#include "conf/volume_def.h"

#include <inttypes.h>

#include "conf/encryption_xml.h"
#include "conf/xml_text.h"

static void
format_format(const char *format, GString *text)
{
    if (!format)
        return;
    g_string_append(text, "    <format");
    xml_append_attribute(text, "type", format);
    g_string_append(text, "/>\n");
}

/* Ids beyond 31 bits are written as they are read; libvirt writes them as negative numbers, and
 * refuses those. */
static void
format_permissions(const struct volume_permissions *permissions, GString *text)
{
    if (!permissions->has_mode && !permissions->has_owner && !permissions->has_group &&
        !permissions->label)
        return;
    g_string_append(text, "    <permissions>\n");
    if (permissions->has_mode)
        g_string_append_printf(text, "      <mode>0%o</mode>\n", (unsigned int)permissions->mode);
    if (permissions->has_owner)
        g_string_append_printf(text, "      <owner>%u</owner>\n", (unsigned int)permissions->owner);
    if (permissions->has_group)
        g_string_append_printf(text, "      <group>%u</group>\n", (unsigned int)permissions->group);
    xml_append_element(text, 6, "label", permissions->label);
    g_string_append(text, "    </permissions>\n");
}

static void
format_features(const struct volume_def *def, GString *text)
{
    if (!def->lazy_refcounts && !def->extended_l2) {
        g_string_append(text, def->has_features ? "    <features/>\n" : "");
        return;
    }
    g_string_append(text, "    <features>\n");
    if (def->lazy_refcounts)
        g_string_append(text, "      <lazy_refcounts/>\n");
    if (def->extended_l2)
        g_string_append(text, "      <extended_l2/>\n");
    g_string_append(text, "    </features>\n");
}

static void
format_target(const struct volume_def *def, GString *text)
{
    g_string_append(text, "  <target>\n");
    xml_append_element(text, 4, "path", def->path);
    format_format(def->format, text);
    format_permissions(&def->permissions, text);
    if (def->encryption)
        encryption_format(def->encryption, 4, text);
    xml_append_element(text, 4, "compat", def->compat);
    if (def->cluster_size > 0)
        g_string_append_printf(text, "    <clusterSize unit='B'>%" PRIu64 "</clusterSize>\n",
                               def->cluster_size);
    format_features(def, text);
    g_string_append(text, "  </target>\n");
}

static void
format_backing(const struct volume_def *def, GString *text)
{
    if (!def->backing_path)
        return;
    g_string_append(text, "  <backingStore>\n");
    xml_append_element(text, 4, "path", def->backing_path);
    format_format(def->backing_format, text);
    if (def->backing_encryption)
        encryption_format(def->backing_encryption, 4, text);
    g_string_append(text, "  </backingStore>\n");
}

char *
volume_def_format(const struct volume_def *def)
{
    GString *text = g_string_sized_new(1024);

    g_string_append_printf(text, "<volume type='%s'>\n",
                           def->type == VOLUME_TYPE_BLOCK ? "block" : "file");
    xml_append_element(text, 2, "name", def->name);
    xml_append_element(text, 2, "key", def->path);
    if (def->has_capacity)
        g_string_append_printf(text, "  <capacity unit='bytes'>%" PRIu64 "</capacity>\n",
                               def->capacity);
    if (def->has_allocation)
        g_string_append_printf(text, "  <allocation unit='bytes'>%" PRIu64 "</allocation>\n",
                               def->allocation);
    format_target(def, text);
    format_backing(def, text);
    g_string_append(text, "</volume>\n");
    return g_string_free(text, FALSE);
}
