/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: image_qcow2.h.
 */
#include "storage/image_qcow2.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "storage/container_file.h"
#include "storage/image.h"
#include "storage/luks_image.h"
#include "storage/qcow2_header.h"
#include "util/error.h"
#include "util/file.h"

bool
image_qcow2_flush(int fd, const char *path, GError **error)
{
    if (fsync(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot flush %s", path);
    return false;
}

/* The header in the image is compared with the one that the key was proved on: the same bytes open
 * with the same key. */
static bool
put_header(int fd, const char *path, const struct luks_image *header, GError **error)
{
    g_autoptr(GBytes) bytes = luks_image_get_bytes(header, error);
    g_auto(qcow2_header_t) image = {0};

    if (!bytes ||
        !qcow2_header_put_luks(fd, path, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                               error) ||
        !qcow2_header_read(fd, path, &image, error))
        return false;
    return luks_image_verify(header, fd, path, image.luks_offset, error);
}

static bool
copy_source(int fd, const struct image_qcow2_params *params, struct storage_progress *progress,
            GError **error)
{
    const struct qemu_img_target target = {
        .fd = fd,
        .is_qcow2 = true,
        /* Clusters that have a place already hold what decrypts to noise. */
        .reads_zero = strcmp(params->image->preallocation, "off") == 0,
        .key = params->key,
    };

    return !params->source || !image_source_is_written(params->source) ||
           qemu_img_convert(params->source, &target, progress, error);
}

static bool
fill(int fd, const char *path, const struct luks_image *header,
     const struct image_qcow2_params *params, struct storage_progress *progress, GError **error)
{
    return qemu_img_create_qcow2(fd, params->image, progress, error) &&
           put_header(fd, path, header, error) && copy_source(fd, params, progress, error) &&
           container_file_set_permissions(fd, path, params->permissions, error) &&
           image_qcow2_flush(fd, path, error) && storage_progress_check(progress, error);
}

bool
image_qcow2_make(const char *path, const struct image_qcow2_params *params,
                 struct storage_progress *progress, GError **error)
{
    g_auto(luks_image_t) header = {.fd = -1};
    g_auto(file_fd) fd = -1;

    if (!luks_image_make(params->encryption, params->key, params->key_is_generated, &header, error))
        return false;
    fd = container_file_make(path, error);
    if (fd < 0)
        return false;
    if (fill(fd, path, &header, params, progress, error))
        return true;
    unlink(path);
    return false;
}

bool
image_qcow2_publish(const char *temporary, const char *path, GError **error)
{
    if (container_file_publish(temporary, path, error))
        return true;
    unlink(temporary);
    return false;
}

char *
image_qcow2_temporary_path(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);

    return g_strdup_printf("%s/.%s.virtcrypt-new", folder, name);
}
