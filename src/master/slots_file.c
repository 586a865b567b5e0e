/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the file of slots on the disk, as slots.h says.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/slots.h"
#include "util/error.h"
#include "util/file_place.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(slots_file, "openat newfstatat pread64 geteuid");

enum { OTHERS_MAY_WRITE = 022 };

static void
set_foreign(const char *path, const struct stat *info, GError **error)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "the file of slots %s belongs to user %u; check where it comes from and run 'chown "
              "root %s'",
              path, info->st_uid, path);
}

/* Who may write the file may take every way to unlock away, or put an old one back. */
static bool
check_info(const struct stat *info, const char *path, GError **error)
{
    if (!S_ISREG(info->st_mode))
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID, "%s is not a regular file",
                  path);
    else if (info->st_uid != 0 && info->st_uid != geteuid())
        set_foreign(path, info, error);
    else if (info->st_mode & OTHERS_MAY_WRITE)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the file of slots %s may be written by others (mode %04o); run 'chmod 600 %s', "
                  "and check who changed it",
                  path, info->st_mode & 07777, path);
    else if (info->st_size > SLOTS_FILE_MAX)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the file of slots %s has more than the maximum of %d bytes; put a good copy of "
                  "it back",
                  path, SLOTS_FILE_MAX);
    else
        return true;
    return false;
}

static GBytes *
read_all(int fd, size_t len, const char *path, GError **error)
{
    g_autofree uint8_t *bytes = g_malloc(len + 1);
    size_t done = 0;

    while (done < len) {
        ssize_t got = pread(fd, bytes + done, len - done, (off_t)done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot read the file of slots %s",
                            path);
            return NULL;
        }
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return g_bytes_new_take(g_steal_pointer(&bytes), done);
}

/* A daemon that gave up its powers can't open what belongs to others. */
static void
set_not_opened(const struct file_place *place, const char *path, int errnum, GError **error)
{
    struct stat info;

    if (errnum == ELOOP)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the file of slots %s is a symbolic link; put the file itself in its place",
                  path);
    else if (errnum == EACCES &&
             fstatat(place->dir_fd, place->name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
             info.st_uid != file_own_uid())
        set_foreign(path, &info, error);
    else
        error_set_errno(error, ERROR_FROM_SECRET, errnum, "cannot open the file of slots %s", path);
}

static GBytes *
read_file(const struct file_place *place, const char *path, GError **error)
{
    g_auto(file_fd) fd = openat(place->dir_fd, place->name,
                                O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info;

    if (fd < 0 || fstat(fd, &info) < 0) {
        set_not_opened(place, path, errno, error);
        return NULL;
    }
    return check_info(&info, path, error) ? read_all(fd, (size_t)info.st_size, path, error) : NULL;
}

static struct slots *
read_slots(const char *path, struct file_place *ret_place, GBytes **ret_bytes, GError **error)
{
    g_autoptr(GBytes) bytes = NULL;
    struct slots *slots;

    if (!file_place_open(path, false, ret_place, error))
        return NULL;
    bytes = read_file(ret_place, path, error);
    if (!bytes)
        return NULL;
    slots = slots_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (slots)
        *ret_bytes = g_steal_pointer(&bytes);
    else
        g_prefix_error(error, "the file of slots %s: ", path);
    return slots;
}

struct slots *
slots_peek(const char *path)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GBytes) bytes = NULL;

    return read_slots(path, &place, &bytes, NULL);
}

struct slots *
slots_read(const char *path, GBytes **ret_bytes, GError **error)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(slots_t) slots = read_slots(path, &place, &bytes, error);

    if (!slots)
        return NULL;
    /* Not earlier: what is wiped then may be the one good copy. */
    if (!file_place_finish_replace(&place, error))
        return NULL;
    if (ret_bytes)
        *ret_bytes = g_steal_pointer(&bytes);
    return g_steal_pointer(&slots);
}

bool
slots_exists(const char *path)
{
    return file_may_exist(path);
}

/* Whether the file is as it was to be after all: what failed came behind the exchange. Reading
 * makes it durable. */
static bool
is_written(const char *path, GBytes *bytes)
{
    g_autoptr(GBytes) found = NULL;
    g_autoptr(slots_t) slots = slots_read(path, &found, NULL);

    return slots && g_bytes_equal(found, bytes);
}

bool
slots_write(const char *path, struct slots *slots, const struct master_key *master, GError **error)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GError) failure = NULL;

    slots->sequence++;
    bytes = slots_format(slots, master, error);
    if (!bytes || !file_place_open(path, true, &place, error))
        return false;
    if (file_place_replace_wiping(&place, bytes, &failure) || is_written(path, bytes))
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}
