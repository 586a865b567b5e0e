/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the mark that a new generation is due: an empty file beside that of the generations.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "secret/generations.h"
#include "util/error.h"
#include "util/file.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

static char *
due_path(const char *path)
{
    return g_strconcat(path, ".due", NULL);
}

/* Its folder, held open. */
static int
open_folder(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return file_open_dir(folder, true, FOLDER_MODE, error);
}

bool
generations_mark_due(const char *path, GError **error)
{
    g_autofree char *due = due_path(path);
    g_autofree char *name = g_path_get_basename(due);
    g_auto(file_fd) dir_fd = -1;
    g_auto(file_fd) fd = -1;

    if (generations_is_due(path))
        return true;
    dir_fd = open_folder(path, error);
    if (dir_fd < 0)
        return false;
    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot make the file %s", due);
        return false;
    }
    return file_sync_dir(dir_fd, error);
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
    g_autofree char *name = g_path_get_basename(due);
    g_auto(file_fd) dir_fd = open_folder(path, error);

    if (dir_fd < 0)
        return false;
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot remove the file %s", due);
        return false;
    }
    return file_sync_dir(dir_fd, error);
}
