/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the folders, as store_folders.h says.
 */
#include "secret/store_folders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/parallel.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(store_folders, "openat newfstatat mkdirat unlinkat fsync geteuid");

enum { DIR_MODE = 0700, FOREIGN_MAX = 100 };

/* A guest's, open since it was last found. */
struct guest_folder {
    struct uuid guest;
    file_fd fd;
    dev_t dev;
    ino_t ino;
    bool is_made; /* since the last flush */
    bool is_touched;
};

struct store_folders {
    int dir_fd;
    bool dir_touched;
    char *guests_dir;
    file_fd guests_fd; /* -1 while there is none */
    bool guests_touched;
    GHashTable *guests; /* of struct guest_folder, by uuid */
};

static void
free_guest_folder(void *opaque)
{
    struct guest_folder *folder = opaque;

    file_fd_clear(&folder->fd);
    g_free(folder);
}

struct store_folders *
store_folders_new(int dir_fd, const char *guests_dir)
{
    struct store_folders *folders = g_new0(struct store_folders, 1);

    folders->dir_fd = dir_fd;
    folders->guests_dir = g_strdup(guests_dir);
    folders->guests_fd = -1;
    /* The key is part of the value. */
    folders->guests = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, NULL, free_guest_folder);
    return folders;
}

void
store_folders_free(struct store_folders *folders)
{
    if (!folders)
        return;
    g_hash_table_unref(folders->guests);
    file_fd_clear(&folders->guests_fd);
    g_free(folders->guests_dir);
    g_free(folders);
}

/* Not a link, and nobody's who could put other files into it. */
static bool
check_folder(int fd, const char *path, GError **error)
{
    struct stat info;

    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "%s is not a folder; move it away", path);
        return false;
    }
    if (fd < 0 || fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot open the folder %s", path);
        return false;
    }
    if (info.st_uid == 0 || info.st_uid == geteuid())
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "the folder %s belongs to user %u; make it root's", path, info.st_uid);
    return false;
}

static int
open_dir_at(int dir_fd, const char *name)
{
    return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int
store_folders_open_guests(const char *guests_dir, GError **error)
{
    g_auto(file_fd) fd = open_dir_at(AT_FDCWD, guests_dir);

    return check_folder(fd, guests_dir, error) ? g_steal_fd(&fd) : -1;
}

int
store_folders_open_guest(int guests_fd, const char *name, GError **error)
{
    g_auto(file_fd) fd = open_dir_at(guests_fd, name);

    return check_folder(fd, name, error) ? g_steal_fd(&fd) : -1;
}

static bool
is_same(int fd, int other_fd)
{
    struct stat info;
    struct stat other;

    return fd >= 0 && fstat(fd, &info) == 0 && fstat(other_fd, &other) == 0 &&
           info.st_dev == other.st_dev && info.st_ino == other.st_ino;
}

/* Makes GUESTS, or makes it durable: who made it may have been killed before it could flush that.
 * The folder that it is in belongs to libvirt's driver of guests, which may never have run. */
static bool
make_guests_dir(struct store_folders *folders, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(folders->guests_dir);
    g_auto(file_fd) parent_fd = file_open_dir(parent, true, DIR_MODE, error);
    g_auto(file_fd) fd =
        parent_fd < 0 ? -1 : file_open_dir(folders->guests_dir, true, DIR_MODE, error);

    return fd >= 0;
}

/* Opens GUESTS anew if another folder has its name now. */
static bool
open_guests(struct store_folders *folders, bool make, GError **error)
{
    g_auto(file_fd) fd = -1;

    if (!folders->guests_dir) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "this store has no folder for guests' copies of keys");
        return false;
    }
    fd = open_dir_at(AT_FDCWD, folders->guests_dir);
    if (fd < 0 && errno == ENOENT) {
        file_fd_clear(&folders->guests_fd);
        if (!make)
            return true;
        if (!make_guests_dir(folders, error))
            return false;
        fd = open_dir_at(AT_FDCWD, folders->guests_dir);
    }
    if (!check_folder(fd, folders->guests_dir, error))
        return false;
    if (is_same(folders->guests_fd, fd))
        return true;
    if (!make_guests_dir(folders, error))
        return false;
    file_fd_clear(&folders->guests_fd);
    folders->guests_fd = g_steal_fd(&fd);
    /* The same for what is in it. */
    folders->guests_touched = true;
    return true;
}

/* Keeps the open folder, or the one that is known already. */
static int
remember(struct store_folders *folders, const struct uuid *guest, int *take_fd, bool is_made)
{
    struct guest_folder *known = g_hash_table_lookup(folders->guests, guest);

    if (known && is_same(known->fd, *take_fd))
        return known->fd;
    if (known)
        g_hash_table_remove(folders->guests, guest);
    known = g_new0(struct guest_folder, 1);
    known->guest = *guest;
    known->fd = g_steal_fd(take_fd);
    known->is_made = is_made;
    g_hash_table_insert(folders->guests, &known->guest, known);
    return known->fd;
}

bool
store_folders_find(struct store_folders *folders, const struct uuid *guest, bool make, int *ret_fd,
                   GError **error)
{
    g_auto(file_fd) fd = -1;
    char name[UUID_TEXT_SIZE];
    bool is_made = false;

    *ret_fd = guest ? -1 : folders->dir_fd;
    if (!guest)
        return true;
    if (!open_guests(folders, make, error))
        return false;
    if (folders->guests_fd < 0)
        return true;
    uuid_format(guest, name);
    fd = open_dir_at(folders->guests_fd, name);
    if (fd < 0 && errno == ENOENT) {
        if (!make)
            return true;
        is_made = mkdirat(folders->guests_fd, name, DIR_MODE) == 0;
        folders->guests_touched |= is_made;
        fd = open_dir_at(folders->guests_fd, name);
    }
    if (!check_folder(fd, name, error))
        return false;
    *ret_fd = remember(folders, guest, &fd, is_made);
    return true;
}

void
store_folders_touch(struct store_folders *folders, const struct uuid *guest)
{
    struct guest_folder *known = guest ? g_hash_table_lookup(folders->guests, guest) : NULL;

    if (known)
        known->is_touched = true;
    else if (!guest)
        folders->dir_touched = true;
}

bool
store_folders_remove_empty(struct store_folders *folders, const struct uuid *guest, GError **error)
{
    char name[UUID_TEXT_SIZE];

    if (!guest || folders->guests_fd < 0)
        return true;
    folders->guests_touched = true;
    if (unlinkat(folders->guests_fd, uuid_format(guest, name), AT_REMOVEDIR) == 0) {
        g_hash_table_remove(folders->guests, guest);
        return true;
    }
    /* Something is in it, or mounted there. */
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT || errno == EBUSY)
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot remove the folder %s", name);
    return false;
}

void
store_folders_unmake(struct store_folders *folders, const struct uuid *guest)
{
    const struct guest_folder *known = guest ? g_hash_table_lookup(folders->guests, guest) : NULL;

    if (known && known->is_made)
        store_folders_remove_empty(folders, guest, NULL);
}

bool
store_folders_put_aside(int dir_fd, const char *name, const char *path, GError **error)
{
    for (unsigned int i = 1; i <= FOREIGN_MAX; i++) {
        g_autofree char *aside = g_strdup_printf("%s.foreign.%u", name, i);

        if (file_put_aside(dir_fd, name, aside)) {
            log_warn("%s is in the way of a committed change of a secret that has to be finished; "
                     "it is kept as %s.foreign.%u",
                     path, path, i);
            return true;
        }
        if (errno != EEXIST)
            break;
    }
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot move away %s", path);
    return false;
}

bool
store_folders_mend(struct store_folders *folders, const struct uuid *guest, GError **error)
{
    char name[UUID_TEXT_SIZE];
    struct stat info;

    if (!guest)
        return true;
    if (!open_guests(folders, false, error))
        return false;
    if (folders->guests_fd < 0)
        return true;
    folders->guests_touched = true;
    return fstatat(folders->guests_fd, uuid_format(guest, name), &info, AT_SYMLINK_NOFOLLOW) < 0 ||
           S_ISDIR(info.st_mode) || store_folders_put_aside(folders->guests_fd, name, name, error);
}

struct flush {
    GPtrArray *folders;
    gint first_errno; /* atomic */
};

static void
flush_one(size_t index, void *opaque)
{
    struct flush *flush = opaque;
    const struct guest_folder *folder = g_ptr_array_index(flush->folders, index);

    if (fsync(folder->fd) < 0)
        g_atomic_int_compare_and_exchange(&flush->first_errno, 0, errno);
}

/* All at a time, as their files. */
static bool
flush_guests(struct store_folders *folders, GError **error)
{
    g_autoptr(GPtrArray) touched = g_ptr_array_new();
    struct flush flush = {.folders = touched};
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, folders->guests);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (((const struct guest_folder *)value)->is_touched)
            g_ptr_array_add(touched, value);
    }
    parallel_run_waiting(touched->len, flush_one, &flush);
    if (flush.first_errno != 0) {
        error_set_errno(error, ERROR_FROM_SECRET, flush.first_errno,
                        "cannot flush the folders of guests' keys");
        return false;
    }
    g_hash_table_remove_all(folders->guests);
    return true;
}

bool
store_folders_flush(struct store_folders *folders, GError **error)
{
    if (!flush_guests(folders, error))
        return false;
    if (folders->guests_touched && folders->guests_fd >= 0 &&
        !file_sync_dir(folders->guests_fd, error))
        return false;
    folders->guests_touched = false;
    if (folders->dir_touched && !file_sync_dir(folders->dir_fd, error))
        return false;
    folders->dir_touched = false;
    return true;
}

guint
store_folders_count(const struct store_folders *folders)
{
    return g_hash_table_size(folders->guests);
}
