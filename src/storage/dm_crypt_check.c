/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is refused before a dm-crypt volume is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/container.h"
#include "storage/container_file.h"
#include "storage/dm_crypt.h"
#include "storage/image.h"
#include "storage/luks_cipher.h"
#include "storage/signature.h"
#include "util/error.h"
#include "util/file.h"

enum { CAPACITY_MIN = 1024 * 1024 };

static bool
refuse(const struct backend_create_params *params, const char *why, GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "dm-crypt volume '%s' can't be made: %s", params->record->name, why);
    return false;
}

static bool
check_definition(const struct backend_create_params *params, GError **error)
{
    const struct volume_def *def = params->def;

    if (params->pool->type == POOL_TYPE_OTHER)
        return refuse(params, "its pool is neither a folder nor a volume group", error);
    if (def->format && strcmp(def->format, "raw") != 0 && strcmp(def->format, "none") != 0)
        return refuse(params, "a guest sees it as a raw device; leave <format> out", error);
    if (def->compat || def->lazy_refcounts || def->extended_l2 || def->cluster_size > 0 ||
        params->preallocate_metadata)
        return refuse(params,
                      "cluster size, compat, features and preallocation of metadata belong to "
                      "qcow2 alone",
                      error);
    if (def->backing_path)
        return refuse(params, "it can't have a backing file; clone that one instead", error);
    if (!params->key || secret_buf_len(params->key) == 0)
        return refuse(params, "its key is empty", error);
    return true;
}

static bool
check_encryption(const struct backend_create_params *params, GError **error)
{
    const struct encryption *encryption = params->record->encryption;
    enum luks_type type = dm_crypt_type(params->record);
    const char *header = encryption->dmcrypt.header_path;
    g_auto(luks_cipher_t) cipher = {NULL};
    struct stat info;

    if (type == LUKS_NONE)
        return refuse(params, "its format must be named: luks2, luks or plain", error);
    if (!luks_cipher_init(&cipher, type, encryption, false, error))
        return false;
    if (!header)
        return true;
    if (type == LUKS_PLAIN)
        return refuse(params, "plain mode has no header, so it can't be detached", error);
    if (header[0] != '/')
        return refuse(params, "the path of its detached header must begin with /", error);
    if (lstat(header, &info) == 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST,
                  "'%s', the detached header of volume '%s', is there already: name another path",
                  header, params->record->name);
        return false;
    }
    return true;
}

/* A device that is there already: it is overwritten if that is possible, and wanted. */
static bool
check_device(const struct backend_create_params *params, GError **error)
{
    const char *device = params->record->device;
    g_auto(file_fd) fd = -1;
    int is_readonly = 0;

    if (params->record->is_made)
        return true;
    if (!container_make_available(device, error))
        return false;
    fd = container_file_open(device, true, error);
    if (fd < 0)
        return false;
    if (ioctl(fd, BLKROGET, &is_readonly) == 0 && is_readonly) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID, "'%s' is read-only", device);
        return false;
    }
    return image_check_unused(fd, device, error) &&
           (params->overwrites || signature_check_none(device, error));
}

bool
dm_crypt_check(const struct backend_create_params *params, GError **error)
{
    if (!check_definition(params, error) || !check_encryption(params, error))
        return false;
    if (params->def->has_capacity && params->def->capacity < CAPACITY_MIN) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "volume '%s' is too small: %" G_GUINT64_FORMAT " bytes; the least is 1 MiB",
                  params->record->name, params->def->capacity);
        return false;
    }
    return check_device(params, error) && luks_check_kernel(error);
}
