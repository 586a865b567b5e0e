/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: names, as store_names.h says: one pass, no system call for a file of ours.
 */
#include "secret/store_names.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(store_names, "openat newfstatat getdents64 unlinkat close");

/* So many foreign names are logged one by one, and the others are counted. */
enum { FOREIGN_LOGGED_MAX = 10 };

enum { UUID_TEXT_LEN = UUID_TEXT_SIZE - 1 };

typedef DIR *dir_stream;

static void
dir_stream_clear(dir_stream *stream)
{
    if (*stream)
        closedir(*stream);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(dir_stream, dir_stream_clear)

bool
store_names_foreach(int dir_fd, const char *what, store_names_func func, void *opaque,
                    GError **error)
{
    g_auto(file_fd) fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(dir_stream) stream = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *item;

    if (!stream) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot list %s", what);
        return false;
    }
    (void)g_steal_fd(&fd); /* the stream has it now */
    errno = 0;
    while ((item = readdir(stream))) {
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            func(opaque, item);
        errno = 0;
    }
    if (errno == 0)
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot list %s", what);
    return false;
}

/* libvirt and we write a uuid in this one way; another spelling is another's file. */
bool
store_names_parse(const char *name, struct uuid *ret_uuid, const char **ret_suffix)
{
    char stem[UUID_TEXT_SIZE];
    char canonical[UUID_TEXT_SIZE];
    struct uuid uuid;

    if (strnlen(name, UUID_TEXT_LEN) < UUID_TEXT_LEN)
        return false;
    memcpy(stem, name, UUID_TEXT_LEN);
    stem[UUID_TEXT_LEN] = '\0';
    if (!uuid_parse(stem, &uuid) || strcmp(uuid_format(&uuid, canonical), stem) != 0)
        return false;
    *ret_uuid = uuid;
    *ret_suffix = name + UUID_TEXT_LEN;
    return true;
}

static bool
is_type(int dir_fd, const struct dirent *item, unsigned char type, mode_t mode)
{
    struct stat info;

    if (item->d_type != DT_UNKNOWN)
        return item->d_type == type;
    return fstatat(dir_fd, item->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           (info.st_mode & S_IFMT) == mode;
}

bool
store_names_is_regular(int dir_fd, const struct dirent *item)
{
    return is_type(dir_fd, item, DT_REG, S_IFREG);
}

bool
store_names_is_folder(int dir_fd, const struct dirent *item)
{
    return is_type(dir_fd, item, DT_DIR, S_IFDIR);
}

bool
store_names_is_link(int dir_fd, const struct dirent *item)
{
    return is_type(dir_fd, item, DT_LNK, S_IFLNK);
}

void
store_names_note_foreign(struct store_names_foreign *foreign, const char *folder, const char *name)
{
    if (!foreign->is_silent && foreign->count++ < FOREIGN_LOGGED_MAX)
        log_warn("%s%s%s in %s is no file of a secret; it is left alone", folder ? folder : "",
                 folder ? "/" : "", name, foreign->what);
}

void
store_names_sum_up_foreign(const struct store_names_foreign *foreign)
{
    if (foreign->count > FOREIGN_LOGGED_MAX)
        log_warn("and %u more names in %s that are no files of secrets",
                 foreign->count - FOREIGN_LOGGED_MAX, foreign->what);
}

void
store_names_remove_staged(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) < 0)
        log_warn("cannot remove %s, which an interrupted change left: %s", name, strerror(errno));
}
