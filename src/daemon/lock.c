/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: locked pid files. Its holder may unlink the file between our open and our lock, which then
 * is a lock of nothing: so the name is looked up again after locking.
 */
#include "daemon/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(lock, "unlinkat close");

/* Not readable by others: a read lock, which any reader could take, would keep us out. */
enum { PID_FILE_MODE = 0600, TRIES = 100 };

struct daemon_lock {
    char *path;
    char *name;
    file_fd dir_fd;
    file_fd fd;
};

void
daemon_lock_free(struct daemon_lock *lock)
{
    if (!lock)
        return;
    if (lock->fd >= 0)
        unlinkat(lock->dir_fd, lock->name, 0);
    file_fd_clear(&lock->fd);
    file_fd_clear(&lock->dir_fd);
    g_free(lock->path);
    g_free(lock->name);
    g_free(lock);
}

/* "libvirtd (process 123)". Not by /proc/PID/comm, which is cut at 15 characters. */
static char *
describe_process(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    g_autofree char *words = NULL;
    g_autofree char *name = NULL;

    if (pid <= 0)
        return g_strdup("a process of another container");
    if (!g_file_get_contents(path, &words, NULL, NULL) || !*words)
        return g_strdup_printf("process %d", (int)pid);
    name = g_path_get_basename(words);
    return g_strdup_printf("%s (process %d)", name, (int)pid);
}

static void
refuse_busy(const struct daemon_lock *lock, int fd, const char *remedy, GError **error)
{
    struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    g_autofree char *name = NULL;

    if (fcntl(fd, F_GETLK, &holder) < 0 || holder.l_type == F_UNLCK)
        holder.l_pid = 0;
    name = describe_process(holder.l_pid);
    error_set(error, ERROR_FROM_NONE, ERROR_RESOURCE_BUSY, "%s is locked by %s: %s", lock->path,
              name, remedy);
}

/* Whether `fd` is still the file of that name. */
static bool
is_current(const struct daemon_lock *lock, int fd)
{
    struct stat opened;
    struct stat named;

    return fstat(fd, &opened) == 0 &&
           fstatat(lock->dir_fd, lock->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Sets lock->fd; leaves it -1 without an error when the file went away meanwhile. */
static bool
try_lock(struct daemon_lock *lock, const char *remedy, GError **error)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    g_auto(file_fd) fd =
        openat(lock->dir_fd, lock->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
               PID_FILE_MODE);

    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot open the pid file %s", lock->path);
        return false;
    }
    if (fcntl(fd, F_SETLK, &range) < 0) {
        if (errno == EACCES || errno == EAGAIN)
            refuse_busy(lock, fd, remedy, error);
        else
            error_set_errno(error, ERROR_FROM_NONE, errno, "cannot lock %s", lock->path);
        return false;
    }
    if (is_current(lock, fd))
        lock->fd = g_steal_fd(&fd);
    return true;
}

static bool
write_pid(struct daemon_lock *lock, GError **error)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld", (long long)getpid());

    if (ftruncate(lock->fd, 0) == 0 && pwrite(lock->fd, text, (size_t)len, 0) == len)
        return true;
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot write the pid file %s", lock->path);
    return false;
}

struct daemon_lock *
daemon_lock_new(const char *path, mode_t folder_mode, const char *remedy, GError **error)
{
    g_autoptr(daemon_lock_t) lock = g_new0(struct daemon_lock, 1);
    g_autofree char *folder = g_path_get_dirname(path);

    lock->path = g_strdup(path);
    lock->name = g_path_get_basename(path);
    lock->fd = -1;
    lock->dir_fd = file_open_dir(folder, true, folder_mode, error);
    if (lock->dir_fd < 0)
        return NULL;
    for (int i = 0; i < TRIES && lock->fd < 0; i++) {
        if (!try_lock(lock, remedy, error))
            return NULL;
    }
    if (lock->fd < 0) {
        error_set(error, ERROR_FROM_NONE, ERROR_RESOURCE_BUSY,
                  "%s is removed by other processes again and again: %s", path, remedy);
        return NULL;
    }
    return write_pid(lock, error) ? g_steal_pointer(&lock) : NULL;
}
