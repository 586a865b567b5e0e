/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see key_file.h.
 */
#include "master/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/probe.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(key_file, "openat fstat newfstatat geteuid readlink");

enum { FOLDER_MODE = 0700 };

/* ---- the place ---- */

static void
set_names(struct key_file *file, const char *path)
{
    file->path = g_strdup(path);
    file->next_path = g_strconcat(path, KEY_FILE_NEXT_SUFFIX, NULL);
    file->name = g_path_get_basename(path);
    file->next_name = g_strconcat(file->name, KEY_FILE_NEXT_SUFFIX, NULL);
    file->new_name = g_strconcat(file->name, KEY_FILE_NEW_SUFFIX, NULL);
    file->dir_fd = -1;
}

void
key_file_clear(struct key_file *file)
{
    g_free(file->path);
    g_free(file->next_path);
    g_free(file->name);
    g_free(file->next_name);
    g_free(file->new_name);
    file_fd_clear(&file->dir_fd);
}

void
key_file_set_kept_out(const struct key_file *file, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(file->path);

    error_set_errno(error, ERROR_FROM_SECRET, EACCES,
                    "the daemon is kept from the folder %s: name it in sandbox_paths in "
                    "virtcrypt-secretd.conf, if it is not there, and restart the daemon (it "
                    "also has to be restarted when the folder was mounted after its start, "
                    "unless a folder above is named)",
                    folder);
}

static bool
open_folder(struct key_file *file, bool create, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(file->path);
    g_autoptr(GError) failure = NULL;

    file->dir_fd = file_open_dir(folder, create, FOLDER_MODE, &failure);
    if (file->dir_fd >= 0)
        return true;
    if (error_get_errno(failure) == EACCES)
        key_file_set_kept_out(file, error);
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

bool
key_file_open(const char *path, bool create, struct key_file *ret_file, GError **error)
{
    set_names(ret_file, path);
    return open_folder(ret_file, create, error);
}

/* ---- reading ---- */

static bool
check_info(const struct stat *info, const char *path, GError **error)
{
    if (!S_ISREG(info->st_mode))
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the key file %s is not a regular file", path);
    else if (info->st_uid != 0 && info->st_uid != geteuid())
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the key file %s belongs to user %u; check where it comes from and run 'chown "
                  "root %s'",
                  path, info->st_uid, path);
    else if (info->st_mode & 077)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the key file %s is open to others (mode %04o); run 'chmod 600 %s', and think "
                  "about who may have read it",
                  path, info->st_mode & 07777, path);
    else if (info->st_size != SLOT_KEY_SIZE)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the key file %s has %lld bytes instead of %d; put your copy of it back", path,
                  (long long)info->st_size, SLOT_KEY_SIZE);
    else
        return true;
    return false;
}

static struct secret_buf *
read_key(int dir_fd, const char *name, const char *path, GError **error)
{
    g_auto(file_fd) fd =
        openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    g_autoptr(secret_buf_t) bytes = NULL;
    struct stat info;

    if (fd < 0 && errno == ELOOP) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the key file %s is a symbolic link; name the file that it points to", path);
        return NULL;
    }
    if (fd < 0 || fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot open the key file %s", path);
        return NULL;
    }
    if (!check_info(&info, path, error))
        return NULL;
    bytes = secret_buf_read_fd(fd, SLOT_KEY_SIZE, error);
    if (!bytes) {
        g_prefix_error(error, "the key file %s: ", path);
        return NULL;
    }
    if (secret_buf_len(bytes) != SLOT_KEY_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the key file %s changed while it was read; try again", path);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

struct secret_buf *
key_file_read(const struct key_file *file, GError **error)
{
    return read_key(file->dir_fd, file->name, file->path, error);
}

struct secret_buf *
key_file_read_next(const struct key_file *file, GError **error)
{
    return read_key(file->dir_fd, file->next_name, file->next_path, error);
}

/* ---- looking ---- */

void
key_file_look_free(struct key_file_look *look)
{
    if (!look)
        return;
    key_file_clear(&look->file);
    g_clear_error(&look->folder_problem);
    secret_buf_free(look->bytes);
    g_clear_error(&look->problem);
    secret_buf_free(look->next_bytes);
    g_clear_error(&look->next_problem);
    g_free(look);
}

static void
free_look(void *look)
{
    key_file_look_free(look);
}

static void
run_look(void *data)
{
    struct key_file_look *look = data;
    struct key_file *file = &look->file;

    if (!open_folder(file, false, &look->folder_problem))
        return;
    look->bytes = key_file_read(file, &look->problem);
    look->next_bytes = key_file_read_next(file, &look->next_problem);
    /* It is this thread's alone. */
    file_fd_clear(&file->dir_fd);
}

struct key_file_look *
key_file_look(const struct unlock_context *context, const char *path, GError **error)
{
    struct key_file_look *look = g_new0(struct key_file_look, 1);
    g_autofree char *object = g_strdup_printf("the key file %s", path);
    const struct probe probe = {
        .object = object,
        .timeout_ms = context->timeout_ms,
        .cancel = context->cancel,
        .run = run_look,
        .free_data = free_look,
    };

    set_names(&look->file, path);
    return probe_run(&probe, look, error);
}
