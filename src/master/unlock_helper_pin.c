/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: unlock_helper_pin.h. The path is the slot's, and so the word of who can write slots: what
 * is read goes to the token that the slot names, as its PIN, and nowhere else, and only if it is as
 * short and as private as a PIN.
 */
#include "master/unlock_helper_pin.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

#define FILE_SCHEME "file:"

enum { PIN_MAX = 255 };

static const char *
path_of(const char *pin_source, GError **error)
{
    const char *path = pin_source;

    if (g_str_has_prefix(path, FILE_SCHEME)) {
        path += strlen(FILE_SCHEME);
        if (g_str_has_prefix(path, "//"))
            path += 2;
    }
    if (g_path_is_absolute(path))
        return path;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "the URI's pin-source '%s' is no absolute path of a file", pin_source);
    return NULL;
}

static bool
check_info(const struct stat *info, const char *path, GError **error)
{
    if (!S_ISREG(info->st_mode))
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the PIN file %s is not a regular file", path);
    else if (info->st_uid != 0 && info->st_uid != geteuid())
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the PIN file %s belongs to user %u: run 'chown root %s'", path, info->st_uid,
                  path);
    else if (info->st_mode & 077)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the PIN file %s is open to others (mode %04o): run 'chmod 600 %s', and think "
                  "about who may have read it",
                  path, info->st_mode & 07777, path);
    else if (info->st_size < 1 || info->st_size > PIN_MAX + 1)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the PIN file %s has %lld bytes; a PIN has 1 to %d", path,
                  (long long)info->st_size, PIN_MAX);
    else
        return true;
    return false;
}

struct secret_buf *
unlock_pin_read(const char *pin_source, GError **error)
{
    const char *path = path_of(pin_source, error);
    g_autoptr(secret_buf_t) pin = NULL;
    g_auto(file_fd) fd = -1;
    struct stat info;
    size_t len;

    if (!path)
        return NULL;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot open the PIN file %s", path);
        return NULL;
    }
    if (!check_info(&info, path, error))
        return NULL;
    pin = secret_buf_read_fd(fd, PIN_MAX + 1, error);
    if (!pin)
        return NULL;
    len = secret_buf_len(pin);
    if (len > 0 && secret_buf_bytes(pin)[len - 1] == '\n')
        secret_buf_truncate(pin, len - 1);
    return g_steal_pointer(&pin);
}
