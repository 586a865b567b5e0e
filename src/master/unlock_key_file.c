/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "key-file": 32 raw bytes in a file that only its owner can read. One that
 * is there is used as it is, and stays the operator's. One that virtcrypt makes (field "made") is
 * PATH.next until the slots file names it, takes the place of PATH then, and is renewed in the same
 * way. The field "check", which is derived from the key and tells nothing about it, says which of
 * the two is the slot's, so that a start after a kill anywhere finds the right one. A key file that
 * is not the slot's is put aside by a renewal.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/hkdf.h"
#include "master/key_file.h"
#include "master/unlock_methods.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(unlock_key_file,
                 "openat newfstatat fchmod fsync geteuid unlinkat renameat pwrite64 readlink");

#define PATH_FIELD  "path"
#define MADE_FIELD  "made"
#define MADE_YES    "yes"
#define CHECK_FIELD "check"

enum { FILE_MODE = 0600, CHECK_SIZE = 8, REPLACED_MAX = 1000 };

static const char check_purpose[] = "virtcrypt key file v1";

static const char *
get_path(const struct slot *slot, GError **error)
{
    const char *path = fields_get(slot->fields, PATH_FIELD);
    g_autofree char *plain = path ? g_canonicalize_filename(path, "/") : NULL;

    if (path && strcmp(path, plain) == 0 && strcmp(path, "/") != 0 &&
        strlen(path) + strlen(KEY_FILE_NEXT_SUFFIX) < PATH_MAX)
        return path;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "the path of a key file is needed: an absolute one, without '..', and not too long");
    return NULL;
}

/* Settling wipes PATH.next and PATH.new, which are no names for another slot's file. */
static bool
check_name(const struct key_file *place, GError **error)
{
    if (!g_str_has_suffix(place->name, KEY_FILE_NEXT_SUFFIX) &&
        !g_str_has_suffix(place->name, KEY_FILE_NEW_SUFFIX))
        return true;
    error_set(
        error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
        "the name of the key file %s may not end in '%s' or '%s', as those have that virtcrypt "
        "makes while it renews a key file; rename it",
        place->path, KEY_FILE_NEXT_SUFFIX, KEY_FILE_NEW_SUFFIX);
    return false;
}

static bool
is_there(int dir_fd, const char *name)
{
    struct stat info;

    return fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static bool
is_made(const struct slot *slot)
{
    return g_strcmp0(fields_get(slot->fields, MADE_FIELD), MADE_YES) == 0;
}

static char *
make_check(const struct slot *slot, const struct secret_buf *bytes, GError **error)
{
    g_autoptr(secret_buf_t) derived =
        hkdf_derive(slot->id.bytes, sizeof(slot->id.bytes), bytes, check_purpose, error);

    return derived ? g_base64_encode(secret_buf_bytes(derived), CHECK_SIZE) : NULL;
}

/* Whether the bytes (NULL: no) are those that the slot was made with. */
static bool
is_slots_own(const struct slot *slot, const struct secret_buf *bytes)
{
    g_autofree char *check = bytes ? make_check(slot, bytes, NULL) : NULL;

    return check && g_strcmp0(check, fields_get(slot->fields, CHECK_FIELD)) == 0;
}

static struct secret_buf *
key_file_slot_open(const struct unlock_context *context, const struct slot *slot,
                   const struct secret_buf *secret, GError **error)
{
    const char *path = get_path(slot, error);
    g_autoptr(key_file_look_t) look = path ? key_file_look(context, path, error) : NULL;

    if (!look)
        return NULL;
    /* Without a check: a slot that is not in a file yet. */
    if (is_slots_own(slot, look->bytes) || (look->bytes && !fields_get(slot->fields, CHECK_FIELD)))
        return g_steal_pointer(&look->bytes);
    if (is_slots_own(slot, look->next_bytes))
        return g_steal_pointer(&look->next_bytes);
    /* PATH.next may be the one. */
    if (look->folder_problem)
        g_propagate_error(error, g_steal_pointer(&look->folder_problem));
    else if (look->next_problem && error_get_errno(look->next_problem) != ENOENT)
        g_propagate_error(error, g_steal_pointer(&look->next_problem));
    else if (look->bytes)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the key file %s is not the one that the slot was made with; put that one back",
                  look->file.path);
    else
        g_propagate_error(error, g_steal_pointer(&look->problem));
    return NULL;
}

/* ---- changing ---- */

/* Opens its folder, and leaves it open, after a look has shown that all there answers: what changes
 * files is not to be left behind in the midst of it. */
static bool
open_place(const struct unlock_context *context, const struct slot *slot, bool create,
           struct key_file *ret_place, GError **error)
{
    const char *path = get_path(slot, error);
    g_autoptr(key_file_look_t) look = path ? key_file_look(context, path, error) : NULL;

    return look && key_file_open(path, create, ret_place, error);
}

/* ---- making ---- */

/* Files of before had a second name while they were made. As one file they must not be wiped. */
static void
remove_second_name(const struct key_file *place, const char *other_name)
{
    struct stat info;
    struct stat other;

    if (fstatat(place->dir_fd, place->name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        fstatat(place->dir_fd, other_name, &other, AT_SYMLINK_NOFOLLOW) == 0 &&
        other.st_dev == info.st_dev && other.st_ino == info.st_ino)
        unlinkat(place->dir_fd, other_name, 0);
}

static bool
write_new_key(const struct key_file *place, const struct secret_buf *bytes)
{
    g_auto(file_fd) fd = openat(place->dir_fd, place->next_name,
                                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);

    return fd >= 0 && fchmod(fd, FILE_MODE) == 0 &&
           file_write_all(fd, secret_buf_bytes(bytes), secret_buf_len(bytes)) && fsync(fd) == 0;
}

/* A new key under the name PATH.next, durable. What has that name was never used, or is not any
 * more: settling comes before. */
static struct secret_buf *
make_next(const struct key_file *place, GError **error)
{
    g_autoptr(secret_buf_t) bytes = secret_buf_new_random(SLOT_KEY_SIZE, error);

    if (!bytes)
        return NULL;
    remove_second_name(place, place->next_name);
    if (!file_wipe(place->dir_fd, place->next_name, error))
        return NULL;
    if (!write_new_key(place, bytes)) {
        if (errno == EACCES)
            key_file_set_kept_out(place, error);
        else
            error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot make the key file %s",
                            place->next_path);
        unlinkat(place->dir_fd, place->next_name, 0);
        return NULL;
    }
    return file_sync_dir(place->dir_fd, error) ? g_steal_pointer(&bytes) : NULL;
}

/* Before a slot is made for it: who made the file may not have flushed it. Media that can't be
 * written or flushed hold what they hold. */
static bool
make_durable(const struct key_file *place, GError **error)
{
    g_auto(file_fd) fd = openat(place->dir_fd, place->name,
                                O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd >= 0 && (fsync(fd) == 0 || errno == EROFS || errno == EINVAL) &&
        (fsync(place->dir_fd) == 0 || errno == EROFS || errno == EINVAL))
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot flush the key file %s", place->path);
    return false;
}

static struct secret_buf *
read_durable_key(const struct key_file *place, GError **error)
{
    g_autoptr(secret_buf_t) bytes = key_file_read(place, error);

    return bytes && make_durable(place, error) ? g_steal_pointer(&bytes) : NULL;
}

/* What settling would overwrite although it is not the slot's: the key file of a store, perhaps,
 * whose place another one took by a restore. */
static bool
put_other_aside(const struct slot *slot, const struct key_file *place, GError **error)
{
    g_autoptr(secret_buf_t) bytes = key_file_read(place, NULL);

    if (!bytes || is_slots_own(slot, bytes))
        return true;
    for (unsigned int i = 1; i <= REPLACED_MAX; i++) {
        g_autofree char *aside = g_strdup_printf("%s.replaced-%u", place->name, i);

        if (file_put_aside(place->dir_fd, place->name, aside)) {
            log_warn("%s is not the key file that the slot was made with; it is kept as %s",
                     place->path, aside);
            return file_sync_dir(place->dir_fd, error);
        }
        if (errno != EEXIST)
            break;
    }
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot put %s aside", place->path);
    return false;
}

/* The folder's real name, so that two slots do not name one file in two ways. */
static bool
set_real_path(struct slot *slot, const struct key_file *place, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(place->path);
    char *real = realpath(folder, NULL);
    g_autofree char *path = real ? g_build_filename(real, place->name, NULL) : NULL;

    free(real);
    if (!path) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot find the folder %s", folder);
        return false;
    }
    return fields_set(slot->fields, PATH_FIELD, path, error);
}

static bool key_file_settle(const struct unlock_context *context, const struct slot *slot,
                            enum unlock_outcome outcome, GError **error);

static struct secret_buf *
enroll_file(const struct unlock_context *context, struct slot *slot, const struct key_file *place,
            GError **error)
{
    if (context->is_renewing && is_made(slot)) {
        /* The key of before may still be PATH.next, which is about to be written. */
        if (!key_file_settle(context, slot, UNLOCK_COUNTS, error) ||
            !put_other_aside(slot, place, error))
            return NULL;
        return make_next(place, error);
    }
    if (context->is_renewing || is_there(place->dir_fd, place->name))
        return read_durable_key(place, error);
    if (!fields_set(slot->fields, MADE_FIELD, MADE_YES, error))
        return NULL;
    return make_next(place, error);
}

static struct secret_buf *
key_file_enroll(const struct unlock_context *context, struct slot *slot,
                const struct secret_buf *secret, GError **error)
{
    g_auto(key_file_t) place = {.dir_fd = -1};
    g_autoptr(secret_buf_t) bytes = NULL;
    g_autofree char *check = NULL;

    /* What is renewed, or was made by a release of before, has its name already. */
    if (!open_place(context, slot, !context->is_renewing, &place, error) ||
        (!is_made(slot) && !context->is_renewing && !check_name(&place, error)) ||
        !set_real_path(slot, &place, error))
        return NULL;
    bytes = enroll_file(context, slot, &place, error);
    check = bytes ? make_check(slot, bytes, error) : NULL;
    if (!check || !fields_set(slot->fields, CHECK_FIELD, check, error))
        return NULL;
    return g_steal_pointer(&bytes);
}

/* ---- settling ---- */

/* Only what looks like a key file of ours gives way. */
static bool
check_replaceable(const struct key_file *place, GError **error)
{
    g_autoptr(secret_buf_t) bytes = NULL;

    if (!is_there(place->dir_fd, place->name))
        return true;
    bytes = key_file_read(place, error);
    if (bytes)
        return true;
    g_prefix_error(error, "%s cannot take its place: ", place->next_path);
    return false;
}

/* PATH.next takes the place of PATH, whose bytes are overwritten. */
static bool
move_next(const struct key_file *place, const struct secret_buf *bytes, GError **error)
{
    return check_replaceable(place, error) &&
           file_replace_wiping(place->dir_fd, place->name, secret_buf_bytes(bytes),
                               secret_buf_len(bytes), FILE_MODE, error);
}

/* What counts is PATH, alone. */
static bool
settle_counting(const struct slot *slot, const struct key_file *place, GError **error)
{
    g_autoptr(secret_buf_t) bytes = key_file_read(place, NULL);
    g_autoptr(secret_buf_t) next = key_file_read_next(place, NULL);

    if (!is_slots_own(slot, bytes)) {
        if (!is_slots_own(slot, next))
            return true; /* Neither is: opening it says so. */
        if (!move_next(place, next, error))
            return false;
    }
    /* What a kill left of a move of before. */
    return file_finish_replace(place->dir_fd, place->name, error) &&
           file_wipe(place->dir_fd, place->next_name, error);
}

static bool
wipe_own(const struct slot *slot, const struct key_file *place, bool is_next, GError **error)
{
    g_autoptr(secret_buf_t) bytes =
        is_next ? key_file_read_next(place, NULL) : key_file_read(place, NULL);

    return !is_slots_own(slot, bytes) ||
           file_wipe(place->dir_fd, is_next ? place->next_name : place->name, error);
}

static bool
key_file_settle(const struct unlock_context *context, const struct slot *slot,
                enum unlock_outcome outcome, GError **error)
{
    g_auto(key_file_t) place = {.dir_fd = -1};
    g_autoptr(GError) failure = NULL;

    if (!is_made(slot))
        return true;
    if (!open_place(context, slot, false, &place, &failure)) {
        /* A folder that is gone, or a medium that is not in, has nothing to settle. */
        if (!error_is(failure, ERROR_OPERATION_TIMEOUT) &&
            !error_is(failure, ERROR_OPERATION_ABORTED))
            return true;
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    remove_second_name(&place, place.next_name);
    remove_second_name(&place, place.new_name);
    switch (outcome) {
    case UNLOCK_COUNTS:
        return settle_counting(slot, &place, error);
    case UNLOCK_REMOVED:
        return wipe_own(slot, &place, false, error) && wipe_own(slot, &place, true, error);
    case UNLOCK_ABANDONED:
        return wipe_own(slot, &place, true, error);
    }
    return true;
}

static const char *const asked_fields[] = {PATH_FIELD, NULL};
static const char *const shown_fields[] = {PATH_FIELD, MADE_FIELD, NULL};

const struct unlock_method unlock_method_key_file = {
    .method = SLOT_KEY_FILE,
    .name = "key-file",
    .open = key_file_slot_open,
    .enroll = key_file_enroll,
    .settle = key_file_settle,
    .asked_fields = asked_fields,
    .shown_fields = shown_fields,
    .unique_field = PATH_FIELD,
};
