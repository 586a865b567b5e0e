/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see header.h.
 */
#include "guest/header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/container_file.h"
#include "storage/image.h"
#include "storage/luks.h"
#include "storage/qcow2_header.h"
#include "util/error.h"
#include "util/file.h"

static bool
is_qcow2(const char *format)
{
    return g_strcmp0(format, "qcow2") == 0;
}

/* A guest's disk may be named by a link; what opens images follows none. NULL without an error:
 * there is no such file. */
static char *
resolve(const char *path, GError **error)
{
    char *resolved = realpath(path, NULL);
    char *copy = g_strdup(resolved);
    int errnum = errno;

    free(resolved);
    if (!copy && errnum != ENOENT && errnum != ENOTDIR)
        error_set_errno(error, ERROR_FROM_STORAGE, errnum, "can't find %s", path);
    return copy;
}

static bool
find_in_file(const char *path, const char *format, enum guest_header *ret_header, GError **error)
{
    g_auto(file_fd) fd = container_file_open(path, true, error);
    g_auto(qcow2_header_t) header = {0};
    bool is_luks;

    if (fd < 0 || (is_qcow2(format) && !qcow2_header_read(fd, path, &header, error)))
        return false;
    is_luks = is_qcow2(format) ? header.crypt_method == QCOW2_CRYPT_LUKS : luks_has_magic(fd);
    *ret_header = is_luks ? GUEST_HEADER_LUKS : GUEST_HEADER_CLEAR;
    return true;
}

static bool
find(const char *path, const char *format, char **ret_resolved, enum guest_header *ret_header,
     GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autofree char *resolved = resolve(path, &failure);

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!resolved) {
        *ret_header = GUEST_HEADER_NONE;
        return true;
    }
    if (!find_in_file(resolved, format, ret_header, error))
        return false;
    *ret_resolved = g_steal_pointer(&resolved);
    return true;
}

bool
guest_header_find(const char *path, const char *format, enum guest_header *ret_header,
                  GError **error)
{
    g_autofree char *resolved = NULL;

    return find(path, format, &resolved, ret_header, error);
}

bool
guest_header_test(const char *path, const char *format, const struct secret_buf *key,
                  GError **error)
{
    g_autofree char *resolved = NULL;
    struct backend_source source = {
        .format = is_qcow2(format) ? "qcow2" : "raw",
        .is_luks = true,
        .key = key,
    };
    enum guest_header header;

    if (!find(path, format, &resolved, &header, error))
        return false;
    if (header == GUEST_HEADER_NONE) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL, "there is no %s", path);
        return false;
    }
    if (header == GUEST_HEADER_CLEAR) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "%s is not encrypted with LUKS", path);
        return false;
    }
    source.path = resolved;
    if (image_check_key(&source, error))
        return true;
    image_name_in_error(path, error);
    return false;
}
