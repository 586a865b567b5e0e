/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: domain_files.h.
 */
#include "guest/domain_files.h"

#include <errno.h>
#include <string.h>

#include "conf/domain_disks.h"
#include "util/error.h"
#include "util/file.h"
#include "util/uuid.h"

#define OPENING "<uuid>"

static void
add_uuids(GHashTable *uuids, GBytes *xml)
{
    gsize len = 0;
    const char *bytes = g_bytes_get_data(xml, &len);
    const char *end = bytes + len;

    while ((bytes = memmem(bytes, (size_t)(end - bytes), OPENING, strlen(OPENING)))) {
        g_autofree char *text = NULL;
        struct uuid uuid;

        bytes += strlen(OPENING);
        text = g_strndup(bytes, MIN((size_t)(end - bytes), UUID_TEXT_SIZE - 1));
        if (uuid_parse(text, &uuid))
            g_hash_table_add(uuids, g_memdup2(&uuid, sizeof(uuid)));
    }
}

static bool
read_file(GHashTable *uuids, int dir_fd, const char *name, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(GBytes) xml = file_read(dir_fd, name, DOMAIN_XML_MAX, &failure);

    if (!xml && error_get_errno(failure) != ENOENT) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (xml) /* else: undefined just now */
        add_uuids(uuids, xml);
    return true;
}

GHashTable *
guest_domain_files_read(const char *dir, GError **error)
{
    g_autoptr(GHashTable) uuids =
        g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) dir_fd = file_open_dir(dir, false, 0, &failure);
    g_autoptr(GPtrArray) names = dir_fd < 0 ? NULL : file_list_names(dir_fd, &failure);

    if (!names && error_get_errno(failure) == ENOENT)
        return g_steal_pointer(&uuids);
    for (guint i = 0; names && i < names->len; i++) {
        if (g_str_has_suffix(names->pdata[i], ".xml") &&
            !read_file(uuids, dir_fd, names->pdata[i], &failure))
            break;
    }
    if (failure) {
        g_propagate_prefixed_error(error, g_steal_pointer(&failure), "%s: ", dir);
        return NULL;
    }
    return g_steal_pointer(&uuids);
}
