/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: changes to the files of secrets. Each file that was written or overwritten stays open until
 * it is flushed: the kernel reports a failed write-back to a descriptor that was open when it
 * happened, and may forget it otherwise.
 */
#include "secret/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret/store_change.h"
#include "secret/store_folders.h"
#include "util/error.h"
#include "util/file.h"
#include "util/parallel.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(store_files,
                 "openat newfstatat close fchmod fdatasync renameat renameat2 unlinkat pwrite64");

/* OPEN_MAX: files and folders held open by several changes; a single one of all owners has more. */
enum { FILE_MODE = 0600, TOUCHED_MAX = 256, OPEN_MAX = 1024 };

/* What a disk writes whole or not at all. */
enum { SECTOR_SIZE = 512 };

struct store_files {
    struct store_folders *folders;
    GRWLock *contents;
    GHashTable *touched; /* path of a part -> descriptor, to flush and close */
    GArray *gone;        /* the same for files that have no name any more */
};

/* A part and the folder that it is in. */
struct place {
    const struct store_part *part;
    int dir_fd; /* -1: there is none, and nothing to remove */
};

static void
close_element(void *element)
{
    file_fd_clear(element);
}

static void
close_value(void *value)
{
    close(GPOINTER_TO_INT(value));
}

struct store_files *
store_files_new(int dir_fd, const char *guests_dir, GRWLock *contents)
{
    struct store_files *files = g_new0(struct store_files, 1);

    files->folders = store_folders_new(dir_fd, guests_dir);
    files->contents = contents;
    files->touched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value);
    files->gone = g_array_new(FALSE, FALSE, sizeof(int));
    g_array_set_clear_func(files->gone, close_element);
    return files;
}

void
store_files_free(struct store_files *files)
{
    if (!files)
        return;
    g_hash_table_unref(files->touched);
    g_array_unref(files->gone);
    store_folders_free(files->folders);
    g_free(files);
}

/* Takes `fd`, to be flushed; another file that had that name needs it no more. */
static void
touch(struct store_files *files, const struct store_part *part, const char *name, int fd)
{
    char path[STORE_PATH_SIZE];

    g_hash_table_insert(files->touched, g_strdup(store_parts_path(part->guest, name, path)),
                        GINT_TO_POINTER(fd));
}

static bool
find_touched(const struct store_files *files, const struct store_part *part, const char *name,
             int *ret_fd)
{
    char path[STORE_PATH_SIZE];
    gpointer fd = NULL;

    if (!g_hash_table_lookup_extended(files->touched, store_parts_path(part->guest, name, path),
                                      NULL, &fd))
        return false;
    *ret_fd = GPOINTER_TO_INT(fd);
    return true;
}

static bool
forget_touched(struct store_files *files, const struct store_part *part, const char *name)
{
    char path[STORE_PATH_SIZE];

    return g_hash_table_remove(files->touched, store_parts_path(part->guest, name, path));
}

static void
touch_renamed(struct store_files *files, const struct store_part *part)
{
    char path[STORE_PATH_SIZE];
    gpointer key = NULL;
    gpointer fd = NULL;

    if (!g_hash_table_steal_extended(
            files->touched, store_parts_path(part->guest, part->new_name, path), &key, &fd))
        return;
    g_free(key);
    touch(files, part, part->name, GPOINTER_TO_INT(fd));
}

static bool
is_staged(const struct store_files *files, const struct store_part *part)
{
    int fd;

    return find_touched(files, part, part->new_name, &fd);
}

static bool
fail(GError **error, const char *what, const struct store_part *part, const char *name)
{
    int saved_errno = errno;
    char path[STORE_PATH_SIZE];

    error_set_errno(error, ERROR_FROM_SECRET, saved_errno, "cannot %s the file %s", what,
                    store_parts_path(part->guest, name, path));
    return false;
}

static bool
find_place(struct store_files *files, const struct store_part *part, struct place *ret_place,
           GError **error)
{
    ret_place->part = part;
    return store_folders_find(files->folders, part->guest, part->action == STORE_WRITE,
                              &ret_place->dir_fd, error);
}

/* What stands under a final name must be something that a rename may replace and an unlink remove.
 * A link is removed, but never replaced: that would hide that it was there. */
static bool
is_in_the_way(const struct store_part *part, const struct stat *info)
{
    return part->action == STORE_WRITE ? !S_ISREG(info->st_mode) : S_ISDIR(info->st_mode);
}

/* Whether the part can be written over the file that `info` is of. Small contents only: a power cut
 * leaves the old ones or the new ones, even without the journal. Another link to the file (a backup
 * of the kind that links) keeps what it has. */
static bool
fits_in_place(const struct store_part *part, const struct stat *info)
{
    return part->action == STORE_WRITE && S_ISREG(info->st_mode) && info->st_nlink == 1 &&
           (info->st_mode & 07777) == FILE_MODE && info->st_uid == file_own_uid() &&
           (size_t)info->st_size == g_bytes_get_size(part->content) && info->st_size <= SECTOR_SIZE;
}

static int
open_to_write(const struct place *place)
{
    return openat(place->dir_fd, place->part->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

/* The descriptor of what stands under the name now: the one that waits for its flush, if somebody
 * has not put another file there meanwhile. */
static int
open_final(struct store_files *files, const struct place *place, const struct stat *info)
{
    struct stat open_info;
    int fd;

    if (find_touched(files, place->part, place->part->name, &fd) && fstat(fd, &open_info) == 0 &&
        open_info.st_ino == info->st_ino && open_info.st_dev == info->st_dev)
        return fd;
    fd = open_to_write(place);
    if (fd >= 0)
        touch(files, place->part, place->part->name, fd);
    return fd;
}

/* What the kernel would refuse after the commit point, and then each change behind it: a file that
 * somebody made immutable (chattr +i). A descriptor that is needed then is opened now. */
static bool
is_changeable(struct store_files *files, const struct place *place, const struct stat *info,
              bool in_place)
{
    g_auto(file_fd) fd = -1;

    if (in_place)
        return open_final(files, place, info) >= 0;
    if (!S_ISREG(info->st_mode))
        return true;
    fd = open_to_write(place);
    return fd >= 0 || errno != EPERM;
}

/* *ret_in_place: nothing needs to be staged. */
static bool
check_final(struct store_files *files, const struct place *place, bool *ret_in_place,
            GError **error)
{
    const struct store_part *part = place->part;
    char path[STORE_PATH_SIZE];
    struct stat info;

    *ret_in_place = false;
    if (fstatat(place->dir_fd, part->name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || fail(error, "examine", part, part->name);
    *ret_in_place = fits_in_place(part, &info);
    if (!is_in_the_way(part, &info))
        return is_changeable(files, place, &info, *ret_in_place) ||
               fail(error, "change", part, part->name);
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "%s is not a regular file; move it away",
              store_parts_path(part->guest, part->name, path));
    return false;
}

static int
open_new(const struct place *place)
{
    return openat(place->dir_fd, place->part->new_name,
                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
}

static bool
write_new(struct store_files *files, const struct place *place, GError **error)
{
    const struct store_part *part = place->part;
    size_t len = 0;
    const void *bytes = g_bytes_get_data(part->content, &len);
    int fd = open_new(place);

    if (fd < 0 && errno == EEXIST && unlinkat(place->dir_fd, part->new_name, 0) == 0)
        fd = open_new(place);
    if (fd < 0)
        return fail(error, "make", part, part->new_name);
    touch(files, part, part->new_name, fd);
    store_folders_touch(files->folders, part->guest);
    return (fchmod(fd, FILE_MODE) == 0 && file_write_all(fd, bytes, len)) ||
           fail(error, "write", part, part->new_name);
}

static bool
stage_part(struct store_files *files, const struct store_part *part, GError **error)
{
    struct place place;
    bool in_place = false;

    if (!find_place(files, part, &place, error))
        return false;
    return place.dir_fd < 0 ||
           (check_final(files, &place, &in_place, error) &&
            (part->action == STORE_REMOVE || in_place || write_new(files, &place, error)));
}

static void
unstage_part(struct store_files *files, const struct store_part *part)
{
    struct place place;

    if (part->action != STORE_WRITE)
        return;
    if (forget_touched(files, part, part->new_name) &&
        store_folders_find(files->folders, part->guest, false, &place.dir_fd, NULL) &&
        place.dir_fd >= 0)
        unlinkat(place.dir_fd, part->new_name, 0);
    store_folders_unmake(files->folders, part->guest);
}

static const struct store_part *
part_at(const GArray *parts, guint index)
{
    return &g_array_index(parts, struct store_part, index);
}

static bool
stage_parts(struct store_files *files, const GArray *parts, GError **error)
{
    for (guint i = 0; i < parts->len; i++) {
        if (stage_part(files, part_at(parts, i), error))
            continue;
        for (guint staged = 0; staged <= i; staged++)
            unstage_part(files, part_at(parts, staged));
        return false;
    }
    return true;
}

bool
store_files_stage(struct store_files *files, const struct store_change *change, GError **error)
{
    g_autoptr(GArray) parts = store_parts_new(change);

    return stage_parts(files, parts, error);
}

void
store_files_unstage(struct store_files *files, const struct store_change *change)
{
    g_autoptr(GArray) parts = store_parts_new(change);

    for (guint i = 0; i < parts->len; i++)
        unstage_part(files, part_at(parts, i));
}

static bool
write_over(struct store_files *files, const struct place *place, const struct stat *info)
{
    size_t len = 0;
    const void *bytes = g_bytes_get_data(place->part->content, &len);
    int fd = open_final(files, place, info);
    bool written;

    if (fd < 0)
        return false;
    g_rw_lock_writer_lock(files->contents);
    written = file_write_all_at(fd, bytes, len, 0);
    g_rw_lock_writer_unlock(files->contents);
    return written;
}

/* Exchange, then unlink the old one: the final name always has a whole file, and ext4 does not
 * flush data at once as it does when a rename replaces a file. */
static bool
exchange(struct store_files *files, const struct place *place)
{
    const struct store_part *part = place->part;
    int dir_fd = place->dir_fd;

    store_folders_touch(files->folders, part->guest);
    touch_renamed(files, part);
    if (renameat2(dir_fd, part->new_name, dir_fd, part->name, RENAME_EXCHANGE) == 0)
        return unlinkat(dir_fd, part->new_name, 0) == 0;
    /* No old file, or a file system without exchange. */
    return renameat(dir_fd, part->new_name, dir_fd, part->name) == 0;
}

/* A file made and removed for every change would cost more than all the rest: ext4 looks long for
 * an inode that was not freed in the last seconds. What is not staged and can't be written over any
 * more (somebody has put another file there since) is staged now; a UUID.*.new that may be there is
 * of another change. */
static bool
put_in_place(struct store_files *files, const struct place *place, GError **error)
{
    const struct store_part *part = place->part;
    struct stat info;

    if (!is_staged(files, part)) {
        if (fstatat(place->dir_fd, part->name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            fits_in_place(part, &info))
            return write_over(files, place, &info) || fail(error, "replace", part, part->name);
        if (!write_new(files, place, error))
            return false;
    }
    return exchange(files, place) || fail(error, "replace", part, part->name);
}

/* Another link to the file is somebody's backup, and keeps what it has. */
static bool
overwrite(struct store_files *files, const struct place *place)
{
    int fd = open_to_write(place);
    struct stat info;

    /* A link or a pipe holds no value. */
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == ENXIO;
    g_array_append_val(files->gone, fd);
    if (fstat(fd, &info) < 0)
        return false;
    /* A larger file is not one of ours. */
    return !S_ISREG(info.st_mode) || info.st_nlink > 1 ||
           file_write_zeros_at(fd, (size_t)MIN(info.st_size, STORE_KEY_MAX), 0);
}

static bool
remove_part(struct store_files *files, const struct place *place, GError **error)
{
    const struct store_part *part = place->part;

    if (place->dir_fd < 0)
        return true;
    if (part->kind == STORE_KEY && !overwrite(files, place))
        return fail(error, "overwrite", part, part->name);
    forget_touched(files, part, part->name);
    store_folders_touch(files->folders, part->guest);
    if (unlinkat(place->dir_fd, part->name, 0) < 0 && errno != ENOENT)
        return fail(error, "remove", part, part->name);
    return store_folders_remove_empty(files->folders, part->guest, error);
}

static bool
apply_parts(struct store_files *files, const GArray *parts, GError **error)
{
    for (guint i = 0; i < parts->len; i++) {
        struct place place;

        if (!find_place(files, part_at(parts, i), &place, error))
            return false;
        if (place.part->action == STORE_WRITE ? !put_in_place(files, &place, error)
                                              : !remove_part(files, &place, error))
            return false;
    }
    return true;
}

bool
store_files_apply(struct store_files *files, const struct store_change *change, GError **error)
{
    g_autoptr(GArray) parts = store_parts_new(change);

    return apply_parts(files, parts, error);
}

/* Whether the part is in place. It is written over itself then: after a failed flush the kernel may
 * take for clean what is not on disk. That needs no space, which there may be none of. The file
 * keeps its time, which tells whether a value in libvirt's clear format is newer. */
static bool
refresh(struct store_files *files, const struct place *place)
{
    const struct store_part *part = place->part;
    g_autoptr(GBytes) content = file_read(place->dir_fd, part->name, STORE_XML_MAX, NULL);
    g_auto(file_fd) fd = -1;
    size_t len = 0;
    const void *bytes = g_bytes_get_data(part->content, &len);
    struct stat info;

    if (!content || !g_bytes_equal(content, part->content))
        return false;
    fd = open_to_write(place);
    if (fd < 0 || fstat(fd, &info) < 0 || !file_write_all(fd, bytes, len))
        return false;
    futimens(fd, (const struct timespec[]){info.st_atim, info.st_mtim});
    touch(files, part, part->name, g_steal_fd(&fd));
    store_folders_touch(files->folders, part->guest);
    return true;
}

/* Something else of that name is kept under another one. */
static bool
clear_way(const struct place *place, const char *name, GError **error)
{
    char path[STORE_PATH_SIZE];
    struct stat info;

    return fstatat(place->dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 ||
           !is_in_the_way(place->part, &info) ||
           store_folders_put_aside(place->dir_fd, name,
                                   store_parts_path(place->part->guest, name, path), error);
}

/* *ret_done: nothing is left to do. */
static bool
prepare_redo(struct store_files *files, const struct store_part *part, bool *ret_done,
             GError **error)
{
    struct place place;

    *ret_done = false;
    if (!store_folders_mend(files->folders, part->guest, error) ||
        !find_place(files, part, &place, error))
        return false;
    if (place.dir_fd < 0)
        return true;
    if (!clear_way(&place, part->name, error) ||
        (part->action == STORE_WRITE && !clear_way(&place, part->new_name, error)))
        return false;
    *ret_done = part->action == STORE_WRITE && refresh(files, &place);
    return true;
}

bool
store_files_redo(struct store_files *files, const struct store_change *change, GError **error)
{
    g_autoptr(GArray) parts = store_parts_new(change);

    for (guint i = parts->len; i > 0; i--) {
        bool is_done;

        if (!prepare_redo(files, part_at(parts, i - 1), &is_done, error))
            return false;
        if (is_done)
            g_array_remove_index(parts, i - 1);
    }
    return stage_parts(files, parts, error) && apply_parts(files, parts, error);
}

struct flush {
    GArray *fds;
    gint first_errno; /* atomic */
};

static void
flush_one(size_t index, void *opaque)
{
    struct flush *flush = opaque;

    if (fdatasync(g_array_index(flush->fds, int, index)) < 0)
        g_atomic_int_compare_and_exchange(&flush->first_errno, 0, errno);
}

static GArray *
collect_touched(const struct store_files *files)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    GHashTableIter iter;
    gpointer value;

    g_array_append_vals(fds, files->gone->data, files->gone->len);
    g_hash_table_iter_init(&iter, files->touched);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        int fd = GPOINTER_TO_INT(value);

        g_array_append_val(fds, fd);
    }
    return fds;
}

/* All at a time: flushes that the disk gets together cost it hardly more than one, and one after
 * the other they would hold up changes. (syncfs would wait for the data of others, too.) */
bool
store_files_flush(struct store_files *files, GError **error)
{
    g_autoptr(GArray) fds = collect_touched(files);
    struct flush flush = {.fds = fds};

    parallel_run_waiting(fds->len, flush_one, &flush);
    g_array_set_size(files->gone, 0);
    g_hash_table_remove_all(files->touched);
    if (flush.first_errno != 0) {
        error_set_errno(error, ERROR_FROM_SECRET, flush.first_errno,
                        "cannot flush the files of secrets");
        return false;
    }
    return store_folders_flush(files->folders, error);
}

static guint
count_open(const struct store_files *files)
{
    return g_hash_table_size(files->touched) + files->gone->len +
           store_folders_count(files->folders);
}

bool
store_files_want_flush(const struct store_files *files)
{
    return count_open(files) >= TOUCHED_MAX;
}

bool
store_files_have_room(const struct store_files *files, const struct store_change *change)
{
    guint count = count_open(files);

    /* A folder and a file for each owner. */
    return count == 0 || count + 2 + 2 * store_change_owner_count(change) <= OPEN_MAX;
}
