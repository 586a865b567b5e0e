/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: careful file access, as file.h says.
 */
#include "util/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(file, "openat close fstat newfstatat getdents64 read write pwrite64 fchmod fsync "
                       "fdatasync mkdir mkdirat renameat renameat2 unlinkat geteuid setfsuid");

enum { PARENT_MODE = 0755 };

void
file_fd_clear(file_fd *fd)
{
    int saved_errno = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved_errno;
}

/* Not every parent can be opened, and not every file system flushes a folder. */
static bool
sync_parent(const char *path)
{
    g_autofree char *parent = g_path_get_dirname(path);
    g_auto(file_fd) fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) == 0 || errno == EINVAL || errno == EROFS;
}

static bool
make_dir(const char *path, mode_t mode)
{
    g_autofree char *parent = g_path_get_dirname(path);
    bool made = mkdir(path, mode) == 0;

    if (!made && errno == ENOENT && strcmp(parent, path) != 0)
        made = make_dir(parent, PARENT_MODE) && mkdir(path, mode) == 0;
    return (made || errno == EEXIST) && sync_parent(path);
}

uid_t
file_own_uid(void)
{
    return (uid_t)setfsuid((uid_t)-1); /* a value that nobody has changes nothing */
}

static int
open_dir(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void
set_foreign(const char *path, const struct stat *info, GError **error)
{
    error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_INVALID,
              "the folder %s belongs to user %u; make it root's", path, info->st_uid);
}

/* A daemon that gave up its powers can't open what belongs to others. */
static void
set_not_opened(const char *path, int errnum, GError **error)
{
    struct stat info;
    bool is_known = lstat(path, &info) == 0;

    if (is_known && errnum == ENOTDIR && S_ISLNK(info.st_mode))
        error_set_errno(error, ERROR_FROM_NONE, errnum,
                        "cannot open the folder %s, which is a symbolic link (put the folder "
                        "itself in its place, or mount it there)",
                        path);
    else if (is_known && errnum == EACCES && info.st_uid != file_own_uid())
        set_foreign(path, &info, error);
    else
        error_set_errno(error, ERROR_FROM_NONE, errnum, "cannot open the folder %s", path);
}

int
file_open_dir(const char *path, bool create, mode_t mode, GError **error)
{
    g_auto(file_fd) fd = open_dir(path);
    struct stat info;

    if (fd < 0 && errno == ENOENT && create) {
        if (!make_dir(path, mode)) {
            error_set_errno(error, ERROR_FROM_NONE, errno, "cannot create the folder %s", path);
            return -1;
        }
        fd = open_dir(path);
    } else if (fd >= 0 && create) {
        /* Who made it may have been killed before this. That it fails is no failure of ours. */
        sync_parent(path);
    }
    if (fd < 0 || fstat(fd, &info) < 0) {
        set_not_opened(path, errno, error);
        return -1;
    }
    if (info.st_uid != 0 && info.st_uid != geteuid()) {
        set_foreign(path, &info, error);
        return -1;
    }
    return g_steal_fd(&fd);
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* False with errno set. */
static bool
read_names(DIR *stream, GPtrArray *names)
{
    const struct dirent *item;

    errno = 0;
    while ((item = readdir(stream))) {
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(item->d_name));
        errno = 0;
    }
    return errno == 0;
}

GPtrArray *
file_list_names(int dir_fd, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    /* One of its own: a descriptor's place in the folder is shared by its copies. */
    g_auto(file_fd) fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    bool is_read;
    int errnum;

    if (stream)
        (void)g_steal_fd(&fd); /* it is the stream's */
    is_read = stream && read_names(stream, names);
    errnum = errno;
    if (stream)
        closedir(stream);
    if (!is_read) {
        error_set_errno(error, ERROR_FROM_NONE, errnum, "cannot read the folder");
        return NULL;
    }
    g_ptr_array_sort(names, compare_names);
    return g_steal_pointer(&names);
}

int
file_open_read(int dir_fd, const char *name, GError **error)
{
    g_auto(file_fd) fd = -1;
    struct stat info;

    /* O_NONBLOCK so that a pipe put in a file's place can't hang us. */
    fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot open the file %s", name);
        return -1;
    }
    if (!S_ISREG(info.st_mode)) {
        error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_INVALID, "%s is not a regular file",
                  name);
        return -1;
    }
    return g_steal_fd(&fd);
}

GBytes *
file_read(int dir_fd, const char *name, size_t max, GError **error)
{
    g_auto(file_fd) fd = file_open_read(dir_fd, name, error);
    g_autofree uint8_t *bytes = NULL;
    struct stat info;
    size_t len = 0;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot examine the file %s", name);
        return NULL;
    }
    if ((uint64_t)info.st_size > max) {
        error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_INVALID,
                  "the file %s has more than the maximum of %zu bytes", name, max);
        return NULL;
    }
    bytes = g_malloc((size_t)info.st_size + 1);
    while (len < (size_t)info.st_size) {
        ssize_t got = read(fd, bytes + len, (size_t)info.st_size - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_FROM_NONE, errno, "cannot read the file %s", name);
            return NULL;
        }
        if (got == 0)
            break;
        len += (size_t)got;
    }
    return g_bytes_new_take(g_steal_pointer(&bytes), len);
}

struct secret_buf *
file_read_secret(int dir_fd, const char *name, size_t max, GError **error)
{
    g_auto(file_fd) fd = file_open_read(dir_fd, name, error);
    struct secret_buf *value;

    if (fd < 0)
        return NULL;
    value = secret_buf_read_fd(fd, max, error);
    if (!value)
        g_prefix_error(error, "%s: ", name);
    return value;
}

bool
file_may_exist(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool
file_write_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *next = bytes;

    while (len > 0) {
        ssize_t put = write(fd, next, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        next += put;
        len -= (size_t)put;
    }
    return true;
}

bool
file_write_all_at(int fd, const void *bytes, size_t len, off_t at)
{
    const uint8_t *next = bytes;

    while (len > 0) {
        ssize_t put = pwrite(fd, next, len, at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        next += put;
        at += put;
        len -= (size_t)put;
    }
    return true;
}

bool
file_write_zeros_at(int fd, size_t len, off_t at)
{
    static const uint8_t zeros[64 * 1024];

    while (len > 0) {
        size_t part = MIN(len, sizeof(zeros));

        if (!file_write_all_at(fd, zeros, part, at))
            return false;
        at += (off_t)part;
        len -= part;
    }
    return true;
}

bool
file_put_aside(int dir_fd, const char *name, const char *aside)
{
    struct stat info;

    if (renameat2(dir_fd, name, dir_fd, aside, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL)
        return false;
    /* A file system that can't; names are used by one process at a time. */
    if (fstatat(dir_fd, aside, &info, AT_SYMLINK_NOFOLLOW) == 0)
        errno = EEXIST;
    else if (errno == ENOENT)
        return renameat(dir_fd, name, dir_fd, aside) == 0;
    return false;
}

bool
file_sync_dir(int dir_fd, GError **error)
{
    if (fsync(dir_fd) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot flush the folder");
        return false;
    }
    return true;
}

static bool
write_new_file(int dir_fd, const char *name, const void *bytes, size_t len, mode_t mode)
{
    g_auto(file_fd) fd = -1;

    /* A file left by a crash may be in the way. */
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        return false;
    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    return fd >= 0 && fchmod(fd, mode) == 0 && file_write_all(fd, bytes, len) && fsync(fd) == 0;
}

bool
file_replace(int dir_fd, const char *name, const void *bytes, size_t len, mode_t mode,
             GError **error)
{
    g_autofree char *new_name = g_strconcat(name, ".new", NULL);

    if (!write_new_file(dir_fd, new_name, bytes, len, mode) ||
        renameat(dir_fd, new_name, dir_fd, name) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot write the file %s", name);
        unlinkat(dir_fd, new_name, 0);
        return false;
    }
    return file_sync_dir(dir_fd, error);
}

bool
file_wipe(int dir_fd, const char *name, GError **error)
{
    g_auto(file_fd) fd = openat(dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat info;

    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd >= 0 && fstat(fd, &info) == 0 && !S_ISREG(info.st_mode)) {
        error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_INVALID,
                  "cannot erase %s: it is not a regular file", name);
        return false;
    }
    if (fd < 0 || fstat(fd, &info) < 0 || !file_write_zeros_at(fd, (size_t)info.st_size, 0) ||
        fsync(fd) < 0 || unlinkat(dir_fd, name, 0) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot erase the file %s", name);
        return false;
    }
    return file_sync_dir(dir_fd, error);
}

bool
file_finish_replace(int dir_fd, const char *name, GError **error)
{
    g_autofree char *new_name = g_strconcat(name, ".new", NULL);

    /* The exchange of the two has to be on disk before one of them becomes zeros. */
    return file_sync_dir(dir_fd, error) && file_wipe(dir_fd, new_name, error);
}

/* Without an exchange the old contents have no name any more, and are reached by `old_fd`. */
static bool
rename_wiping(int dir_fd, const char *new_name, const char *name)
{
    g_auto(file_fd) old_fd = openat(dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat info;

    if (old_fd < 0 && errno != ENOENT)
        return false;
    if (renameat(dir_fd, new_name, dir_fd, name) < 0 || fsync(dir_fd) < 0)
        return false;
    return old_fd < 0 ||
           (fstat(old_fd, &info) == 0 && S_ISREG(info.st_mode) &&
            file_write_zeros_at(old_fd, (size_t)info.st_size, 0) && fdatasync(old_fd) == 0);
}

bool
file_replace_wiping(int dir_fd, const char *name, const void *bytes, size_t len, mode_t mode,
                    GError **error)
{
    g_autofree char *new_name = g_strconcat(name, ".new", NULL);

    if (!file_finish_replace(dir_fd, name, error))
        return false;
    if (!write_new_file(dir_fd, new_name, bytes, len, mode) ||
        (renameat2(dir_fd, new_name, dir_fd, name, RENAME_EXCHANGE) < 0 &&
         !rename_wiping(dir_fd, new_name, name))) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot write the file %s", name);
        return false;
    }
    return file_finish_replace(dir_fd, name, error);
}
