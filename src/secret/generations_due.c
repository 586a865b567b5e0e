/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the mark that a new generation is due: an empty file beside that of the generations.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "secret/generations.h"
#include "util/error.h"
#include "util/file_place.h"

enum { FILE_MODE = 0600 };

static char *
due_path(const char *path)
{
    return g_strconcat(path, ".due", NULL);
}

bool
generations_mark_due(const char *path, GError **error)
{
    g_autofree char *due = due_path(path);
    g_auto(file_place_t) place = {-1, NULL};
    g_auto(file_fd) fd = -1;

    if (generations_is_due(path))
        return true;
    if (!file_place_open(due, true, &place, error))
        return false;
    fd = openat(place.dir_fd, place.name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot make the file %s", due);
        return false;
    }
    return file_sync_dir(place.dir_fd, error);
}

bool
generations_is_due(const char *path)
{
    g_autofree char *due = due_path(path);

    return generations_exists(due);
}

bool
generations_clear_due(const char *path, GError **error)
{
    g_autofree char *due = due_path(path);
    g_auto(file_place_t) place = {-1, NULL};

    if (!file_place_open(due, true, &place, error))
        return false;
    if (unlinkat(place.dir_fd, place.name, 0) < 0 && errno != ENOENT) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot remove the file %s", due);
        return false;
    }
    return file_sync_dir(place.dir_fd, error);
}
