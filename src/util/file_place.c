/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: file_place.h.
 */
#include "util/file_place.h"

#include <errno.h>

#include "util/error.h"
#include "util/log.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

void
file_place_clear(struct file_place *place)
{
    file_fd_clear(&place->dir_fd);
    g_clear_pointer(&place->name, g_free);
}

bool
file_place_open(const char *path, bool create, struct file_place *ret_place, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    int dir_fd = file_open_dir(folder, create, FOLDER_MODE, error);

    if (dir_fd < 0)
        return false;
    ret_place->dir_fd = dir_fd;
    ret_place->name = g_path_get_basename(path);
    return true;
}

bool
file_place_replace_wiping(const struct file_place *place, GBytes *content, GError **error)
{
    return file_replace_wiping(place->dir_fd, place->name, g_bytes_get_data(content, NULL),
                               g_bytes_get_size(content), FILE_MODE, error);
}

bool
file_place_finish_replace(const struct file_place *place, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (file_finish_replace(place->dir_fd, place->name, &failure) ||
        error_get_errno(failure) == EROFS || error_get_errno(failure) == EINVAL)
        return true;
    if ((error_get_errno(failure) == ENOSPC || error_get_errno(failure) == EDQUOT) &&
        file_sync_dir(place->dir_fd, NULL)) {
        log_error("what is left of a write of %s stays there: %s", place->name, failure->message);
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}
