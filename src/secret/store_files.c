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
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/parallel.h"

enum { FILE_MODE = 0600, TOUCHED_MAX = 256, FOREIGN_MAX = 100 };

/* What a disk writes whole or not at all. */
enum { SECTOR_SIZE = 512 };

struct store_files {
    int dir_fd;
    GRWLock *contents;
    GHashTable *touched; /* name -> descriptor, to flush and close */
    GArray *gone;        /* the same for files that have no name any more */
    bool dir_touched;
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
store_files_new(int dir_fd, GRWLock *contents)
{
    struct store_files *files = g_new0(struct store_files, 1);

    files->dir_fd = dir_fd;
    files->contents = contents;
    files->touched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value);
    files->gone = g_array_new(FALSE, FALSE, sizeof(int));
    g_array_set_clear_func(files->gone, close_element);
    return files;
}

/* Takes `fd`, to be flushed; another file that had that name needs it no more. */
static void
touch(struct store_files *files, const char *name, int fd)
{
    g_hash_table_insert(files->touched, g_strdup(name), GINT_TO_POINTER(fd));
}

static void
touch_renamed(struct store_files *files, const char *old_name, const char *name)
{
    gpointer key = NULL;
    gpointer fd = NULL;

    if (!g_hash_table_steal_extended(files->touched, old_name, &key, &fd))
        return;
    g_free(key);
    touch(files, name, GPOINTER_TO_INT(fd));
}

void
store_files_free(struct store_files *files)
{
    if (!files)
        return;
    g_hash_table_unref(files->touched);
    g_array_unref(files->gone);
    g_free(files);
}

const char *
store_files_name(const struct uuid *uuid, enum store_kind kind, char text[STORE_NAME_SIZE])
{
    static const char *const suffixes[] = {".xml", ".key", ".base64"};

    G_STATIC_ASSERT(G_N_ELEMENTS(suffixes) == STORE_BASE64 + 1);
    uuid_format(uuid, text);
    g_strlcat(text, suffixes[kind], STORE_NAME_SIZE);
    return text;
}

static const char *
staged_name(const char *name, char text[STORE_NAME_SIZE])
{
    g_snprintf(text, STORE_NAME_SIZE, "%s.new", name);
    return text;
}

/* One file of a change. */
struct part {
    char name[STORE_NAME_SIZE];
    char new_name[STORE_NAME_SIZE];
    enum store_kind kind;
    enum store_action action;
    GBytes *content;
};

enum { PART_COUNT = 2 };

static void
split_change(const struct store_change *change, struct part ret_parts[PART_COUNT])
{
    ret_parts[0] =
        (struct part){.kind = STORE_XML, .action = change->xml_action, .content = change->xml};
    ret_parts[1] =
        (struct part){.kind = STORE_KEY, .action = change->key_action, .content = change->key};
    for (size_t i = 0; i < PART_COUNT; i++) {
        store_files_name(&change->uuid, ret_parts[i].kind, ret_parts[i].name);
        staged_name(ret_parts[i].name, ret_parts[i].new_name);
    }
}

static bool
fail(GError **error, const char *what, const char *name)
{
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot %s the file %s", what, name);
    return false;
}

/* What stands under a final name must be something that a rename may replace and an unlink remove.
 * A link is removed, but never replaced: that would hide that it was there. */
static bool
is_in_the_way(const struct part *part, const struct stat *info)
{
    return part->action == STORE_WRITE ? !S_ISREG(info->st_mode) : S_ISDIR(info->st_mode);
}

/* Whether the part can be written over the file that `info` is of. Small contents only: a power cut
 * leaves the old ones or the new ones, even without the journal. Another link to the file (a backup
 * of the kind that links) keeps what it has. */
static bool
fits_in_place(const struct part *part, const struct stat *info)
{
    return part->action == STORE_WRITE && S_ISREG(info->st_mode) && info->st_nlink == 1 &&
           (info->st_mode & 07777) == FILE_MODE && info->st_uid == geteuid() &&
           (size_t)info->st_size == g_bytes_get_size(part->content) && info->st_size <= SECTOR_SIZE;
}

/* The descriptor of what stands under the name now: the one that waits for its flush, if somebody
 * has not put another file there meanwhile. */
static int
open_final(struct store_files *files, const struct part *part, const struct stat *info)
{
    gpointer known = NULL;
    struct stat open_info;
    int fd;

    if (g_hash_table_lookup_extended(files->touched, part->name, NULL, &known) &&
        fstat(GPOINTER_TO_INT(known), &open_info) == 0 && open_info.st_ino == info->st_ino &&
        open_info.st_dev == info->st_dev)
        return GPOINTER_TO_INT(known);
    fd = openat(files->dir_fd, part->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        touch(files, part->name, fd);
    return fd;
}

/* What the kernel would refuse after the commit point, and then each change behind it: a file that
 * somebody made immutable (chattr +i). A descriptor that is needed then is opened now. */
static bool
is_changeable(struct store_files *files, const struct part *part, const struct stat *info,
              bool in_place)
{
    g_auto(file_fd) fd = -1;

    if (in_place)
        return open_final(files, part, info) >= 0;
    if (!S_ISREG(info->st_mode))
        return true;
    fd = openat(files->dir_fd, part->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 || errno != EPERM;
}

/* *ret_in_place: nothing needs to be staged. */
static bool
check_final(struct store_files *files, const struct part *part, bool *ret_in_place, GError **error)
{
    struct stat info;

    *ret_in_place = false;
    if (fstatat(files->dir_fd, part->name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || fail(error, "examine", part->name);
    *ret_in_place = fits_in_place(part, &info);
    if (!is_in_the_way(part, &info))
        return is_changeable(files, part, &info, *ret_in_place) ||
               fail(error, "change", part->name);
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "%s is not a regular file; move it away", part->name);
    return false;
}

static int
open_new(const struct store_files *files, const char *name)
{
    return openat(files->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  FILE_MODE);
}

static bool
write_new(struct store_files *files, const struct part *part, GError **error)
{
    size_t len = 0;
    const void *bytes = g_bytes_get_data(part->content, &len);
    int fd = open_new(files, part->new_name);

    if (fd < 0 && errno == EEXIST && unlinkat(files->dir_fd, part->new_name, 0) == 0)
        fd = open_new(files, part->new_name);
    if (fd < 0)
        return fail(error, "make", part->new_name);
    touch(files, part->new_name, fd);
    files->dir_touched = true;
    return (fchmod(fd, FILE_MODE) == 0 && file_write_all(fd, bytes, len)) ||
           fail(error, "write", part->new_name);
}

static bool
stage_part(struct store_files *files, const struct part *part, GError **error)
{
    bool in_place = false;

    return part->action == STORE_KEEP ||
           (check_final(files, part, &in_place, error) &&
            (part->action == STORE_REMOVE || in_place || write_new(files, part, error)));
}

bool
store_files_stage(struct store_files *files, const struct store_change *change, GError **error)
{
    struct part parts[PART_COUNT];

    split_change(change, parts);
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (stage_part(files, &parts[i], error))
            continue;
        store_files_unstage(files, change);
        return false;
    }
    return true;
}

void
store_files_unstage(struct store_files *files, const struct store_change *change)
{
    struct part parts[PART_COUNT];

    split_change(change, parts);
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (parts[i].action == STORE_WRITE &&
            g_hash_table_remove(files->touched, parts[i].new_name))
            unlinkat(files->dir_fd, parts[i].new_name, 0);
    }
}

static bool
write_over(struct store_files *files, const struct part *part, const struct stat *info)
{
    size_t len = 0;
    const void *bytes = g_bytes_get_data(part->content, &len);
    int fd = open_final(files, part, info);
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
exchange(struct store_files *files, const struct part *part)
{
    int dir_fd = files->dir_fd;

    files->dir_touched = true;
    touch_renamed(files, part->new_name, part->name);
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
put_in_place(struct store_files *files, const struct part *part, GError **error)
{
    struct stat info;

    if (!g_hash_table_contains(files->touched, part->new_name)) {
        if (fstatat(files->dir_fd, part->name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            fits_in_place(part, &info))
            return write_over(files, part, &info) || fail(error, "replace", part->name);
        if (!write_new(files, part, error))
            return false;
    }
    return exchange(files, part) || fail(error, "replace", part->name);
}

/* Another link to the file is somebody's backup, and keeps what it has. */
static bool
overwrite(struct store_files *files, const char *name)
{
    int fd = openat(files->dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
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
remove_part(struct store_files *files, const struct part *part, GError **error)
{
    if (part->kind == STORE_KEY && !overwrite(files, part->name))
        return fail(error, "overwrite", part->name);
    g_hash_table_remove(files->touched, part->name);
    files->dir_touched = true;
    return unlinkat(files->dir_fd, part->name, 0) == 0 || errno == ENOENT ||
           fail(error, "remove", part->name);
}

bool
store_files_apply(struct store_files *files, const struct store_change *change, GError **error)
{
    struct part parts[PART_COUNT];

    split_change(change, parts);
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (parts[i].action == STORE_WRITE && !put_in_place(files, &parts[i], error))
            return false;
        if (parts[i].action == STORE_REMOVE && !remove_part(files, &parts[i], error))
            return false;
    }
    return true;
}

/* Whether the part is in place. It is written over itself then: after a failed flush the kernel may
 * take for clean what is not on disk. That needs no space, which there may be none of. The file
 * keeps its time, which tells whether a value in libvirt's clear format is newer. */
static bool
refresh(struct store_files *files, const struct part *part)
{
    g_autoptr(GBytes) content = file_read(files->dir_fd, part->name, STORE_XML_MAX, NULL);
    g_auto(file_fd) fd = -1;
    size_t len = 0;
    const void *bytes = g_bytes_get_data(part->content, &len);
    struct stat info;

    if (!content || !g_bytes_equal(content, part->content))
        return false;
    fd = openat(files->dir_fd, part->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) < 0 || !file_write_all(fd, bytes, len))
        return false;
    futimens(fd, (const struct timespec[]){info.st_atim, info.st_mtim});
    touch(files, part->name, g_steal_fd(&fd));
    files->dir_touched = true;
    return true;
}

/* Something else of that name is kept under another one. */
static bool
clear_way(const struct store_files *files, const struct part *part, const char *name,
          GError **error)
{
    struct stat info;

    if (fstatat(files->dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 || !is_in_the_way(part, &info))
        return true;
    for (unsigned int i = 1; i <= FOREIGN_MAX; i++) {
        g_autofree char *aside = g_strdup_printf("%s.foreign.%u", name, i);

        if (file_put_aside(files->dir_fd, name, aside)) {
            log_warn("%s is not a regular file; it is kept as %s, since a committed change of that "
                     "secret has to be finished",
                     name, aside);
            return true;
        }
        if (errno != EEXIST)
            break;
    }
    return fail(error, "move away", name);
}

bool
store_files_redo(struct store_files *files, const struct store_change *change, GError **error)
{
    struct store_change rest = *change; /* borrows the contents */
    struct part parts[PART_COUNT];

    split_change(change, parts);
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (parts[i].action != STORE_KEEP &&
            (!clear_way(files, &parts[i], parts[i].name, error) ||
             (parts[i].action == STORE_WRITE &&
              !clear_way(files, &parts[i], parts[i].new_name, error))))
            return false;
    }
    if (rest.xml_action == STORE_WRITE && refresh(files, &parts[0]))
        rest.xml_action = STORE_KEEP;
    if (rest.key_action == STORE_WRITE && refresh(files, &parts[1]))
        rest.key_action = STORE_KEEP;
    return store_files_stage(files, &rest, error) && store_files_apply(files, &rest, error);
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
    if (files->dir_touched && !file_sync_dir(files->dir_fd, error))
        return false;
    files->dir_touched = false;
    return true;
}

bool
store_files_want_flush(const struct store_files *files)
{
    return g_hash_table_size(files->touched) + files->gone->len >= TOUCHED_MAX;
}
