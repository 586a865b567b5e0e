/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: container_file.h, and containers that are files.
 */
#include "storage/container_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/container_kinds.h"
#include "util/error.h"
#include "util/file.h"

enum { DEFAULT_MODE = 0600, ALLOCATE_STEP = 1024 * 1024 * 1024 };

static void
set_write_error(GError **error, int errnum, const char *what, const char *path)
{
    if (errnum == ENOSPC || errnum == EDQUOT)
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
                  "cannot %s %s: no space is left there; free some, or make a smaller volume", what,
                  path);
    else
        error_set_errno(error, ERROR_FROM_STORAGE, errnum, "cannot %s %s", what, path);
}

int
container_file_make(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, DEFAULT_MODE);

    if (fd < 0 && errno == EEXIST)
        error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST, "there is a file %s already",
                  path);
    else if (fd < 0)
        set_write_error(error, errno, "create", path);
    return fd;
}

bool
container_file_set_permissions(int fd, const char *path,
                               const struct volume_permissions *permissions, GError **error)
{
    static const struct volume_permissions none;
    const struct volume_permissions *wanted = permissions ? permissions : &none;
    uid_t owner = wanted->has_owner ? wanted->owner : (uid_t)-1;
    gid_t group = wanted->has_group ? wanted->group : (gid_t)-1;

    /* fchown takes set-user-id bits away, so the mode comes after it. */
    if (fchown(fd, owner, group) < 0 ||
        fchmod(fd, wanted->has_mode ? wanted->mode & 0777 : DEFAULT_MODE) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot set owner and mode of %s", path);
        return false;
    }
    return true;
}

static int
find_file(const char *path, GError **error)
{
    /* Names of devices are links by nature (/dev/VG/LV); those in pools are not. */
    int no_follow = g_str_has_prefix(path, "/dev/") ? 0 : O_NOFOLLOW;
    g_auto(file_fd) fd = open(path, O_PATH | no_follow | O_CLOEXEC);
    struct stat info;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL, "there is no %s", path);
        return -1;
    }
    if (fd < 0 || fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot open %s", path);
        return -1;
    }
    if (S_ISLNK(info.st_mode)) {
        error_set_errno(error, ERROR_FROM_STORAGE, ELOOP, "cannot open %s", path);
        return -1;
    }
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "%s is neither a file nor a block device", path);
        return -1;
    }
    return g_steal_fd(&fd);
}

/* What it is is looked at before it is opened: to open some devices is to do something (a watchdog
 * resets the host later), and a guest's XML may name them. */
int
container_file_open(const char *path, bool is_readonly, GError **error)
{
    int mode = is_readonly ? O_RDONLY : O_RDWR;
    g_auto(file_fd) found = find_file(path, error);
    g_autofree char *again = g_strdup_printf("/proc/self/fd/%d", found);
    int fd;

    if (found < 0)
        return -1;
    fd = open(again, mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot open %s", path);
    return fd;
}

bool
container_file_allocate(int fd, const char *path, uint64_t offset, uint64_t length,
                        struct storage_progress *progress, GError **error)
{
    uint64_t done = 0;

    while (done < length) {
        uint64_t part = MIN(length - done, (uint64_t)ALLOCATE_STEP);
        int failure;

        if (!storage_progress_check(progress, error))
            return false;
        failure = posix_fallocate(fd, (off_t)(offset + done), (off_t)part);
        if (failure == EINTR)
            continue;
        if (failure != 0) {
            set_write_error(error, failure, "allocate", path);
            return false;
        }
        done += part;
        storage_progress_set(progress, done, length);
    }
    return true;
}

bool
container_file_sync_folder(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_auto(file_fd) fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL)) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot flush the folder %s", folder);
        return false;
    }
    return true;
}

bool
container_file_publish(const char *temporary, const char *path, GError **error)
{
    if (!file_put_aside(AT_FDCWD, temporary, path)) {
        if (errno == EEXIST)
            error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST,
                      "there is a file %s already", path);
        else
            error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot rename %s to %s", temporary,
                            path);
        return false;
    }
    return container_file_sync_folder(path, error);
}

bool
container_file_replace(const char *temporary, const char *path, GError **error)
{
    if (rename(temporary, path) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot rename %s to %s", temporary,
                        path);
        return false;
    }
    return container_file_sync_folder(path, error);
}

bool
container_file_is_nocow(int fd)
{
    int flags = 0;

    return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL);
}

/* Only an empty file takes it, and only btrfs heeds it. */
static bool
set_nocow(int fd, const char *path, GError **error)
{
    int flags = 0;

    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0)
            return true;
    }
    if (errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot turn off copy-on-write of %s", path);
    return false;
}

static bool
fill_new_file(int fd, const struct container_params *params, struct storage_progress *progress,
              GError **error)
{
    if (params->nocow && !set_nocow(fd, params->path, error))
        return false;
    if (ftruncate(fd, (off_t)params->size) < 0) {
        set_write_error(error, errno, "make room for", params->path);
        return false;
    }
    if (params->preallocate &&
        !container_file_allocate(fd, params->path, 0, params->size, progress, error))
        return false;
    if (!container_file_set_permissions(fd, params->path, params->permissions, error))
        return false;
    if (fsync(fd) < 0) {
        set_write_error(error, errno, "flush", params->path);
        return false;
    }
    return container_file_sync_folder(params->path, error);
}

bool
container_file_create(const struct container_params *params, struct storage_progress *progress,
                      GError **error)
{
    g_auto(file_fd) fd = container_file_make(params->path, error);

    if (fd < 0)
        return false;
    if (fill_new_file(fd, params, progress, error))
        return true;
    unlink(params->path);
    return false;
}

bool
container_file_resize(const char *path, uint64_t size, bool preallocate, GError **error)
{
    g_auto(file_fd) fd = container_file_open(path, false, error);
    struct stat info;

    if (fd < 0)
        return false;
    if (fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot examine %s", path);
        return false;
    }
    if (!S_ISREG(info.st_mode)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
                  "%s is a device that virtcrypt can't resize; resize it by its own tools first",
                  path);
        return false;
    }
    /* Blocks first: a full disk leaves the size as it was. */
    if (preallocate && size > (uint64_t)info.st_size &&
        !container_file_allocate(fd, path, (uint64_t)info.st_size, size - (uint64_t)info.st_size,
                                 NULL, error)) {
        if (ftruncate(fd, info.st_size) < 0)
            g_prefix_error(error, "and its size stays changed: ");
        return false;
    }
    if (ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0) {
        set_write_error(error, errno, "resize", path);
        return false;
    }
    return true;
}

bool
container_file_remove(const char *path, GError **error)
{
    if (unlink(path) < 0 && errno != ENOENT) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot remove %s", path);
        return false;
    }
    return container_file_sync_folder(path, error);
}
