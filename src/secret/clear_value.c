/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as clear_value.h says. The rule for two values that differ, the names of replaced files and
 * what an interrupted wipe leaves are described in docs/secrets.md.
 */
#include "secret/clear_value.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret/libvirt_value.h"
#include "secret/sealed.h"
#include "secret/store_files.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/parallel.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(clear_value, "openat newfstatat faccessat linkat unlinkat fsync fdatasync");

enum { REPLACED_MAX = 1000 };

void
clear_value_clear(struct clear_value *clear)
{
    g_clear_pointer(&clear->def, secret_def_free);
    g_clear_pointer(&clear->known, g_bytes_unref);
    g_clear_pointer(&clear->sealed, g_bytes_unref);
    g_clear_pointer(&clear->problem, g_free);
}

void
clear_value_free(struct clear_value *clear)
{
    if (!clear)
        return;
    clear_value_clear(clear);
    g_free(clear);
}

bool
clear_value_exists(int dir_fd, const struct uuid *uuid, enum store_kind kind)
{
    char name[STORE_NAME_SIZE];

    return faccessat(dir_fd, store_parts_name(uuid, kind, name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* False if one of the files is not there. */
static bool
is_newer(int dir_fd, const struct uuid *uuid, enum store_kind kind, enum store_kind other)
{
    char name[STORE_NAME_SIZE];
    struct stat left;
    struct stat right;

    if (fstatat(dir_fd, store_parts_name(uuid, kind, name), &left, AT_SYMLINK_NOFOLLOW) < 0 ||
        fstatat(dir_fd, store_parts_name(uuid, other, name), &right, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    return left.st_mtim.tv_sec > right.st_mtim.tv_sec ||
           (left.st_mtim.tv_sec == right.st_mtim.tv_sec &&
            left.st_mtim.tv_nsec > right.st_mtim.tv_nsec);
}

enum store_kind
clear_value_newer(int dir_fd, const struct uuid *uuid)
{
    return is_newer(dir_fd, uuid, STORE_AES256CBC, STORE_BASE64) ? STORE_AES256CBC : STORE_BASE64;
}

/* The sealed value, or NULL if there is none that opens. */
static struct secret_buf *
open_known(const struct clear_value *clear)
{
    gsize len = 0;
    const void *bytes = clear->known ? g_bytes_get_data(clear->known, &len) : NULL;

    return bytes
               ? sealed_parse(generations_key_of(clear->generations, bytes, len),
                              &(struct sealed_binding){clear->def, clear->owner}, bytes, len, NULL)
               : NULL;
}

static void
keep(struct clear_value *clear, const char *why)
{
    char name[STORE_NAME_SIZE];

    clear->verdict = CLEAR_VALUE_KEEP;
    clear->problem = g_strdup_printf("%s %s; it is left as it is",
                                     store_parts_name(&clear->def->uuid, clear->kind, name), why);
}

static void
seal(struct clear_value *clear, const struct secret_buf *value)
{
    g_autoptr(GError) error = NULL;

    clear->sealed = sealed_format(generations_current(clear->generations),
                                  &(struct sealed_binding){.def = clear->def},
                                  clear->generation + 1, value, &error);
    if (clear->sealed)
        clear->verdict = CLEAR_VALUE_IMPORT;
    else
        keep(clear, error->message);
}

/* Whether the known value is on disk, too: it may be in memory only: then the clear one is not to
 * be wiped. */
static bool
is_on_disk(const struct clear_value *clear)
{
    char name[STORE_NAME_SIZE];
    g_autoptr(GBytes) found = NULL;

    if (clear->is_owned)
        return clear->has_copy;
    found = file_read(clear->dir_fd, store_parts_name(&clear->def->uuid, STORE_KEY, name),
                      STORE_KEY_MAX, NULL);
    return found && g_bytes_equal(found, clear->known);
}

/* Whether UUID.key may hold a value that can't be opened for a reason that may pass. */
static bool
is_closed_on_disk(const struct clear_value *clear)
{
    char name[STORE_NAME_SIZE];
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) found = file_read(
        clear->dir_fd, store_parts_name(&clear->def->uuid, STORE_KEY, name), STORE_KEY_MAX, &error);

    if (!found)
        return error_get_errno(error) != 0 && error_get_errno(error) != ENOENT;
    return sealed_is_whole(g_bytes_get_data(found, NULL), g_bytes_get_size(found));
}

static void
judge_value(struct clear_value *clear, const struct secret_buf *value,
            const struct secret_buf *known)
{
    bool is_same = known && secret_buf_equal(value, known);
    bool is_newer_than_key =
        !clear->is_planned && is_newer(clear->dir_fd, &clear->def->uuid, clear->kind, STORE_KEY);

    if (is_same && (clear->is_planned || is_on_disk(clear)))
        clear->verdict = CLEAR_VALUE_WIPE;
    else if (clear->is_owned)
        keep(clear, "is there, and the secret belongs to guests, who have another value (set the "
                    "value again if this one shall count, or remove the file)");
    else if (!is_same && clear->is_behind)
        keep(clear,
             "is older than the file that libvirt encrypted, which can't be opened now (give "
             "the right key, or run 'touch' on this file if it shall count, and reload the "
             "daemon)");
    else if (is_same || is_newer_than_key || (!known && !is_closed_on_disk(clear)))
        seal(clear, value);
    else if (!known)
        keep(clear, "is older than the sealed value, which can't be opened now (put that right, or "
                    "run 'touch' on this file if it shall count, and reload the daemon)");
    else
        keep(clear, "has another value than the sealed one, which is newer and counts (run 'touch' "
                    "on the file if it shall count, or remove it, and reload the daemon)");
}

static struct secret_buf *
read_value(const struct clear_value *clear, enum libvirt_value_content *ret_content, GError **error)
{
    return libvirt_value_read(clear->dir_fd, &clear->def->uuid, clear->kind, clear->libvirt_key,
                              ret_content, error);
}

void
clear_value_judge(struct clear_value *clear)
{
    enum libvirt_value_content content = LIBVIRT_VALUE_NONE;
    g_autoptr(GError) error = NULL;
    g_autofree char *reason = NULL;
    g_autoptr(secret_buf_t) value = read_value(clear, &content, &error);
    g_autoptr(secret_buf_t) known = open_known(clear);

    clear->verdict = CLEAR_VALUE_NOTHING;
    clear->is_useless = !known;
    if (content == LIBVIRT_VALUE_GOOD) {
        judge_value(clear, value, known);
    } else if (content == LIBVIRT_VALUE_BAD || content == LIBVIRT_VALUE_CLOSED) {
        reason = g_strdup_printf("cannot be read (%s)", error->message);
        keep(clear, reason);
        clear->is_closed = content == LIBVIRT_VALUE_CLOSED;
    } else if (content == LIBVIRT_VALUE_ZEROS && known && is_on_disk(clear)) {
        /* base64 has no zeros: a wipe was interrupted, and is finished. */
        clear->verdict = CLEAR_VALUE_WIPE;
    } else if (content == LIBVIRT_VALUE_ZEROS) {
        keep(clear, "holds zeros instead of base64");
    }
}

void
clear_value_verify(struct clear_value *clear)
{
    char name[STORE_NAME_SIZE];
    enum libvirt_value_content content = LIBVIRT_VALUE_NONE;
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(secret_buf_t) known = NULL;

    g_clear_pointer(&clear->known, g_bytes_unref);
    clear->known = file_read(clear->dir_fd, store_parts_name(&clear->def->uuid, STORE_KEY, name),
                             STORE_KEY_MAX, NULL);
    known = open_known(clear);
    value = read_value(clear, &content, NULL);
    if (value && known && secret_buf_equal(value, known)) {
        clear->verdict = CLEAR_VALUE_WIPE;
        return;
    }
    keep(clear,
         "was sealed, and the sealed file does not have the same value when it is read back");
    clear->is_useless = false;
}

static bool
is_same_file(int dir_fd, const char *a, const char *b)
{
    struct stat left;
    struct stat right;

    return fstatat(dir_fd, a, &left, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(dir_fd, b, &right, AT_SYMLINK_NOFOLLOW) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

bool
clear_value_keep_replaced(int dir_fd, const struct uuid *uuid, GError **error)
{
    char name[STORE_NAME_SIZE];

    store_parts_name(uuid, STORE_KEY, name);
    for (unsigned int i = 1; i <= REPLACED_MAX; i++) {
        char kept_name[STORE_NAME_SIZE + 32];

        g_snprintf(kept_name, sizeof(kept_name), "%s.replaced-%u", name, i);
        if (linkat(dir_fd, name, dir_fd, kept_name, 0) == 0) {
            log_warn("the sealed value in %s is replaced by the one in libvirt's clear file; it is "
                     "kept as %s",
                     name, kept_name);
            return file_sync_dir(dir_fd, error);
        }
        if (errno == ENOENT)
            return true;
        if (errno != EEXIST) {
            error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot keep %s as %s", name,
                            kept_name);
            return false;
        }
        if (is_same_file(dir_fd, name, kept_name))
            return true;
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there are %d replaced files of %s; remove those that are not needed", REPLACED_MAX,
              name);
    return false;
}

static bool
overwrite(int dir_fd, const char *name)
{
    g_auto(file_fd) fd = openat(dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat info;

    if (fd < 0 || fstat(fd, &info) < 0)
        return fd < 0 && errno == ENOENT;
    if (!S_ISREG(info.st_mode)) {
        errno = EINVAL;
        return false;
    }
    return file_write_zeros_at(fd, (size_t)info.st_size, 0) && fdatasync(fd) == 0;
}

static bool
remove_file(int dir_fd, const char *name)
{
    return unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT;
}

struct wipe {
    int dir_fd;
    const struct clear_value_file *files;
    bool *wiped;
};

/* Whatever fails is logged. */
static void
wipe_step(struct wipe *wipe, size_t index, bool (*step)(int dir_fd, const char *name),
          const char *what)
{
    char name[STORE_NAME_SIZE];

    store_parts_name(&wipe->files[index].uuid, wipe->files[index].kind, name);
    wipe->wiped[index] = step(wipe->dir_fd, name);
    if (!wipe->wiped[index])
        log_error("cannot %s %s, which holds a value: %s", what, name, g_strerror(errno));
}

static void
overwrite_one(size_t index, void *opaque)
{
    wipe_step(opaque, index, overwrite, "overwrite");
}

void
clear_value_wipe(int dir_fd, const struct clear_value_file *files, size_t count, bool *ret_wiped)
{
    struct wipe wipe = {dir_fd, files, ret_wiped};

    /* The zeros are on disk before the names go. */
    parallel_run_waiting(count, overwrite_one, &wipe);
    for (size_t i = 0; i < count; i++) {
        if (ret_wiped[i])
            wipe_step(&wipe, i, remove_file, "remove");
    }
    if (count > 0 && fsync(dir_fd) < 0)
        log_error("cannot flush the folder of secrets: %s", g_strerror(errno));
}

void
clear_value_wipe_all(int dir_fd, const struct uuid *uuid)
{
    static const enum store_kind kinds[] = {STORE_BASE64, STORE_AES256CBC};

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        char name[STORE_NAME_SIZE];
        g_autoptr(GError) error = NULL;

        if (clear_value_exists(dir_fd, uuid, kinds[i]) &&
            !file_wipe(dir_fd, store_parts_name(uuid, kinds[i], name), &error))
            log_error("%s, which holds a value", error->message);
    }
}
