/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "key-file": 32 raw bytes in a file that only its owner can read. It is
 * made under a temporary name, flushed, and then linked to its own name, which never replaces a
 * file that is there: the link is the commit point.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/master_key.h"
#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(master_key_file, "openat newfstatat fchmod fsync geteuid linkat unlinkat");

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

struct key_path {
    char *folder;
    char *name;
    char *new_name;
};

static void
key_path_init(struct key_path *path, const char *location)
{
    path->folder = g_path_get_dirname(location);
    path->name = g_path_get_basename(location);
    path->new_name = g_strconcat(path->name, ".new", NULL);
}

static void
key_path_clear(struct key_path *path)
{
    g_free(path->folder);
    g_free(path->name);
    g_free(path->new_name);
}

typedef struct key_path key_path_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(key_path_t, key_path_clear)

static bool
check_info(const struct stat *info, const char *location, GError **error)
{
    if (info->st_uid != 0 && info->st_uid != geteuid())
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key file %s belongs to user %u; check where it comes from and run "
                  "'chown root %s'",
                  location, info->st_uid, location);
    else if (info->st_mode & 077)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key file %s is open to others (mode %04o); run 'chmod 600 %s', and "
                  "think about who may have read it",
                  location, info->st_mode & 07777, location);
    else if (info->st_size != MASTER_KEY_SIZE)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key file %s has %lld bytes instead of %d; put your copy of it back",
                  location, (long long)info->st_size, MASTER_KEY_SIZE);
    else
        return true;
    return false;
}

/* A crash between link and unlink leaves the key under both names. */
static void
remove_second_name(int dir_fd, const struct key_path *path, const struct stat *info)
{
    struct stat other;

    if (info->st_nlink > 1 && fstatat(dir_fd, path->new_name, &other, AT_SYMLINK_NOFOLLOW) == 0 &&
        other.st_dev == info->st_dev && other.st_ino == info->st_ino)
        unlinkat(dir_fd, path->new_name, 0);
}

/* Before the key is used: who made the file may have been killed before it flushed the folder, and
 * values sealed under a key that a power cut takes away are lost. Media that can't be written or
 * flushed hold what they hold. */
static bool
make_durable(int dir_fd, int fd, const char *location, GError **error)
{
    if ((fsync(fd) == 0 || errno == EROFS || errno == EINVAL) &&
        (fsync(dir_fd) == 0 || errno == EROFS || errno == EINVAL))
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot flush the master key file %s",
                    location);
    return false;
}

static struct secret_buf *
read_key(int fd, const char *location, GError **error)
{
    g_autoptr(secret_buf_t) bytes = secret_buf_read_fd(fd, MASTER_KEY_SIZE, error);

    if (!bytes) {
        g_prefix_error(error, "the master key file %s: ", location);
        return NULL;
    }
    if (secret_buf_len(bytes) != MASTER_KEY_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key file %s changed while it was read; try again", location);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

static struct secret_buf *
key_file_unlock(const char *location, GError **error)
{
    g_auto(key_path_t) path = {0};
    g_auto(file_fd) dir_fd = -1;
    g_auto(file_fd) fd = -1;
    struct stat info;

    key_path_init(&path, location);
    dir_fd = file_open_dir(path.folder, false, FOLDER_MODE, error);
    if (dir_fd < 0)
        return NULL;
    fd = openat(dir_fd, path.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ELOOP) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key file %s is a symbolic link; set master_key_file to where it "
                  "points",
                  location);
        return NULL;
    }
    if (fd < 0 || fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot open the master key file %s",
                        location);
        return NULL;
    }
    if (!S_ISREG(info.st_mode)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key file %s is not a regular file", location);
        return NULL;
    }
    if (!check_info(&info, location, error))
        return NULL;
    if (!make_durable(dir_fd, fd, location, error))
        return NULL;
    remove_second_name(dir_fd, &path, &info);
    return read_key(fd, location, error);
}

/* Writes the key under its temporary name, durably. */
static bool
write_new_key(int dir_fd, const char *new_name, const struct secret_buf *bytes)
{
    g_auto(file_fd) fd = -1;

    if (unlinkat(dir_fd, new_name, 0) < 0 && errno != ENOENT)
        return false;
    fd = openat(dir_fd, new_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    return fd >= 0 && fchmod(fd, FILE_MODE) == 0 &&
           file_write_all(fd, secret_buf_bytes(bytes), secret_buf_len(bytes)) && fsync(fd) == 0;
}

static bool
put_key(int dir_fd, const struct key_path *path, const struct secret_buf *bytes)
{
    bool put = write_new_key(dir_fd, path->new_name, bytes) &&
               linkat(dir_fd, path->new_name, dir_fd, path->name, 0) == 0;
    int saved_errno = errno;

    unlinkat(dir_fd, path->new_name, 0);
    errno = saved_errno;
    return put;
}

static struct secret_buf *
key_file_create(const char *location, GError **error)
{
    g_auto(key_path_t) path = {0};
    g_auto(file_fd) dir_fd = -1;
    g_autoptr(secret_buf_t) bytes = secret_buf_new_random(MASTER_KEY_SIZE, error);

    if (!bytes)
        return NULL;
    key_path_init(&path, location);
    dir_fd = file_open_dir(path.folder, true, FOLDER_MODE, error);
    if (dir_fd < 0)
        return NULL;
    if (!put_key(dir_fd, &path, bytes)) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot make the master key file %s",
                        location);
        return NULL;
    }
    return file_sync_dir(dir_fd, error) ? g_steal_pointer(&bytes) : NULL;
}

static bool
key_file_exists(const char *location)
{
    struct stat info;

    return lstat(location, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

const struct master_key_source master_key_source_file = {
    .name = "key-file",
    .unlock = key_file_unlock,
    .create = key_file_create,
    .exists = key_file_exists,
};
