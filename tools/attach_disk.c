/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: attach_disk.h.
 */
#include "tools/attach_disk.h"

#include <string.h>

#include "tools/xpath.h"

char *
attach_disk_format(const struct attach_disk *disk)
{
    g_autoptr(GString) xml = g_string_new(NULL);
    g_autofree char *path = g_markup_escape_text(disk->path, -1);
    g_autofree char *target = g_markup_escape_text(disk->target, -1);
    g_autofree char *serial = disk->serial ? g_markup_escape_text(disk->serial, -1) : NULL;
    char uuid[UUID_TEXT_SIZE];

    g_string_append_printf(xml,
                           "<disk type='%s' device='disk'>\n  <driver name='qemu' type='%s'/>\n"
                           "  <source %s='%s'",
                           disk->is_block ? "block" : "file",
                           disk->kind == VOLUME_SPEC_QCOW2 ? "qcow2" : "raw",
                           disk->is_block ? "dev" : "file", path);
    if (disk->secret)
        g_string_append_printf(xml,
                               ">\n    <encryption format='luks'>\n"
                               "      <secret type='passphrase' uuid='%s'/>\n"
                               "    </encryption>\n  </source>\n",
                               uuid_format(disk->secret, uuid));
    else
        g_string_append(xml, "/>\n");
    g_string_append_printf(xml, "  <target dev='%s'/>\n", target);
    if (disk->is_readonly)
        g_string_append(xml, "  <readonly/>\n");
    if (serial)
        g_string_append_printf(xml, "  <serial>%s</serial>\n", serial);
    g_string_append(xml, "</disk>\n");
    return g_string_free(g_steal_pointer(&xml), FALSE);
}

char *
attach_disk_free_target(const char *domain_xml)
{
    for (int letter = 'a'; letter <= 'z'; letter++) {
        g_autofree char *expression =
            g_strdup_printf("string(/domain[not(devices/disk/target[@dev='vd%c'])]/name)", letter);
        g_autofree char *is_free = xpath_get_text(domain_xml, expression);

        if (is_free)
            return g_strdup_printf("vd%c", letter);
    }
    return NULL;
}
