/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as autostart_note.h says.
 */
#include "guest/autostart_note.h"

#include <string.h>

#include "util/error.h"
#include "util/file.h"
#include "util/uuid.h"

static const char head[] = "virtcrypt autostart 1";

enum { SIZE_MAX_BYTES = 4 * 1024 * 1024, FILE_MODE = 0600, FOLDER_MODE = 0700 };

static GArray *
parse(const char *path, const char *text, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GArray) guests = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    bool is_good = g_strcmp0(lines[0], head) == 0;

    for (char **line = is_good ? lines + 1 : lines; is_good && *line; line++) {
        struct uuid guest;

        if (!**line && !line[1])
            break;
        is_good = uuid_parse(*line, &guest);
        if (is_good)
            g_array_append_val(guests, guest);
    }
    if (!is_good) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_INTERNAL, "%s is damaged", path);
        return NULL;
    }
    g_array_sort(guests, uuid_compare_key);
    return g_steal_pointer(&guests);
}

static int
open_folder(const char *path, bool create, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return file_open_dir(folder, create, FOLDER_MODE, error);
}

GArray *
guest_autostart_note_read(const char *path, GError **error)
{
    g_autofree char *name = g_path_get_basename(path);
    g_auto(file_fd) fd = open_folder(path, false, error);
    g_autoptr(GBytes) content = fd >= 0 ? file_read(fd, name, SIZE_MAX_BYTES, error) : NULL;
    g_autofree char *text = NULL;

    if (!content)
        return NULL;
    text = g_strndup(g_bytes_get_data(content, NULL), g_bytes_get_size(content));
    return parse(path, text, error);
}

bool
guest_autostart_note_write(const char *path, const GArray *guests, GError **error)
{
    g_autofree char *name = g_path_get_basename(path);
    g_auto(file_fd) fd = open_folder(path, true, error);
    g_autoptr(GString) text = g_string_new(head);

    if (fd < 0)
        return false;
    g_string_append_c(text, '\n');
    for (guint i = 0; i < guests->len; i++) {
        char uuid[UUID_TEXT_SIZE];

        g_string_append_printf(text, "%s\n",
                               uuid_format(&g_array_index(guests, struct uuid, i), uuid));
    }
    return file_replace(fd, name, text->str, text->len, FILE_MODE, error);
}
