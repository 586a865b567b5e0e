/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: qcow2 volumes whose clusters are encrypted by the LUKS1 header that lies in the image. QEMU
 * opens them. How the image itself is made is image_qcow2.c's.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/backend.h"
#include "storage/container.h"
#include "storage/container_file.h"
#include "storage/image.h"
#include "storage/image_qcow2.h"
#include "storage/luks.h"
#include "storage/luks_image.h"
#include "storage/qcow2_header.h"
#include "storage/qemu_img.h"
#include "util/error.h"
#include "util/file.h"

enum { CLUSTER_MIN = 512, CLUSTER_MAX = 2 * 1024 * 1024, CLUSTER_MIN_EXTENDED_L2 = 16 * 1024 };

static bool
refuse(const struct backend_create_params *params, const char *why, GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED, "volume '%s': %s",
              params->record->name, why);
    return false;
}

static bool
check_features(const struct backend_create_params *params, GError **error)
{
    const struct volume_def *def = params->def;
    bool is_old = g_strcmp0(def->compat, "0.10") == 0;

    if (def->compat && !is_old && strcmp(def->compat, "1.1") != 0)
        return refuse(params, "the compat level of qcow2 is 0.10 or 1.1", error);
    if (is_old && (def->lazy_refcounts || def->extended_l2))
        return refuse(params, "lazy_refcounts and extended_l2 need the compat level 1.1", error);
    if (def->cluster_size > 0 &&
        (def->cluster_size < CLUSTER_MIN || def->cluster_size > CLUSTER_MAX ||
         (def->cluster_size & (def->cluster_size - 1)) != 0))
        return refuse(params, "the cluster size must be a power of two from 512 to 2M", error);
    if (def->extended_l2 && def->cluster_size > 0 && def->cluster_size < CLUSTER_MIN_EXTENDED_L2)
        return refuse(params, "extended_l2 needs clusters of 16K or more", error);
    return true;
}

static bool
check_qcow2(const struct backend_create_params *params, GError **error)
{
    const struct volume_def *def = params->def;

    if (params->pool->type != POOL_TYPE_DIR)
        return refuse(params, "a qcow2 volume needs a pool that is a folder (dir, fs, netfs)",
                      error);
    if (!params->record->is_made || !params->record->temporary)
        return refuse(params, "a qcow2 volume can't be put on an existing device", error);
    if (def->format && strcmp(def->format, "qcow2") != 0)
        return refuse(params, "its kind is qcow2 and its format another", error);
    if (params->preallocate_metadata && def->backing_path)
        return refuse(params, "a volume with a backing file can't be preallocated", error);
    if (params->backing_key && !def->backing_path)
        return refuse(params, "there is a key for a backing file, and no backing file", error);
    return check_features(params, error) && image_check_encryption(params, error);
}

/* libvirt's rule: only with its flag, and all of it if the allocation is that of the whole. */
static const char *
find_preallocation(const struct backend_create_params *params, uint64_t capacity)
{
    if (!params->preallocate_metadata)
        return "off";
    return image_wants_allocation(params->def, capacity) ? "falloc" : "metadata";
}

/* How much a guest sees if the XML does not say: as much as in the backing file, which must be
 * there, of its format, and open with its key in any case. */
static bool
find_capacity(const struct backend_create_params *params, const struct backend_source *source,
              uint64_t *ret_capacity, GError **error)
{
    const struct volume_def *def = params->def;
    const struct backend_source backing = {
        .path = def->backing_path,
        .format = def->backing_format ? def->backing_format : "raw",
        .is_luks = params->backing_key != NULL,
        .key = params->backing_key,
    };
    uint64_t backing_capacity;

    if (source && def->backing_path)
        return refuse(params, "a clone is a copy of all; leave <backingStore> out", error);
    if (!def->backing_path)
        return image_find_capacity(params, source, ret_capacity, error);
    if (!g_path_is_absolute(def->backing_path))
        return refuse(params, "the path of a backing file must be absolute", error);
    if (!image_get_capacity(&backing, &backing_capacity, error) ||
        !image_check_key(&backing, error))
        return false;
    if (def->has_capacity && def->capacity > 0)
        return image_find_capacity(params, NULL, ret_capacity, error);
    *ret_capacity = backing_capacity;
    return true;
}

static bool
create_qcow2(const struct backend_create_params *params, const struct backend_source *source,
             struct storage_progress *progress, GError **error)
{
    const struct volume_def *def = params->def;
    struct qemu_img_create_params image = {
        .compat = def->compat,
        .lazy_refcounts = def->lazy_refcounts,
        .extended_l2 = def->extended_l2,
        .nocow = def->nocow,
        .cluster_size = def->cluster_size,
        .backing_path = def->backing_path,
        /* QEMU's own name of a raw image with LUKS. */
        .backing_format = params->backing_key && g_strcmp0(def->backing_format, "qcow2") != 0
                              ? "luks"
                          : def->backing_format ? def->backing_format
                                                : "raw",
    };
    struct image_qcow2_params made = {
        .image = &image,
        .encryption = params->record->encryption,
        .key = params->key,
        .key_is_generated = params->key_is_generated,
        .permissions = &def->permissions,
        .source = source,
    };

    if (!check_qcow2(params, error) || !find_capacity(params, source, &image.capacity, error))
        return false;
    image.preallocation = find_preallocation(params, image.capacity);
    return image_qcow2_make(params->record->temporary, &made, progress, error) &&
           image_qcow2_publish(params->record->temporary, params->record->device, error);
}

/* Opens the image, with LUKS in it, and reads its header. */
static int
open_image(const char *path, bool is_readonly, struct qcow2_header *ret_header, GError **error)
{
    g_auto(file_fd) fd = container_file_open(path, is_readonly, error);
    g_auto(qcow2_header_t) header = {0};

    if (fd < 0 || !qcow2_header_read(fd, path, &header, error))
        return -1;
    if (header.crypt_method != QCOW2_CRYPT_LUKS) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "%s is not encrypted with LUKS", path);
        return -1;
    }
    *ret_header = header;
    memset(&header, 0, sizeof(header));
    return g_steal_fd(&fd);
}

static bool
get_info_qcow2(const struct volume_record *record, struct backend_info *ret_info, GError **error)
{
    g_auto(qcow2_header_t) header = {0};
    g_auto(file_fd) fd = open_image(record->device, true, &header, error);
    uint64_t size, allocation;

    if (fd < 0 || !container_get_size(record->device, &size, &allocation, error))
        return false;
    ret_info->type = VOLUME_TYPE_FILE;
    ret_info->capacity = header.size;
    ret_info->allocation = allocation;
    ret_info->physical = size;
    return true;
}

/* Read from the header, as libvirt does: no program is run for it. */
static struct volume_def *
describe_qcow2(const struct volume_record *record, GError **error)
{
    g_autoptr(volume_def_t) def = g_new0(struct volume_def, 1);
    g_auto(qcow2_header_t) header = {0};
    g_auto(file_fd) fd = open_image(record->device, true, &header, error);
    uint64_t size;

    if (fd < 0 || !image_get_permissions(fd, record->device, &def->permissions, error) ||
        !container_get_size(record->device, &size, &def->allocation, error))
        return NULL;
    def->type = VOLUME_TYPE_FILE;
    def->has_capacity = true;
    def->capacity = header.size;
    def->has_allocation = true;
    def->path = g_strdup(record->path);
    def->format = g_strdup("qcow2");
    def->compat = g_strdup(header.version == 2 ? "0.10" : "1.1");
    def->lazy_refcounts = header.lazy_refcounts;
    def->extended_l2 = header.extended_l2;
    def->cluster_size = (uint64_t)1 << header.cluster_bits;
    def->nocow = container_file_is_nocow(fd);
    def->backing_format = g_steal_pointer(&header.backing_format);
    if (header.backing_path) {
        g_autofree char *folder = g_path_get_dirname(record->device);

        def->backing_path = g_path_is_absolute(header.backing_path)
                                ? g_strdup(header.backing_path)
                                : g_build_filename(folder, header.backing_path, NULL);
    }
    return g_steal_pointer(&def);
}

static int
open_keyslots(const struct volume_record *record, bool is_readonly, struct qcow2_header *header,
              struct luks_image *ret_image, GError **error)
{
    g_auto(file_fd) fd = open_image(record->device, is_readonly, header, error);

    if (fd < 0 || !luks_image_load(fd, record->device, header->luks_offset, header->luks_length,
                                   ret_image, error))
        return -1;
    return g_steal_fd(&fd);
}

static bool
check_key_qcow2(const struct volume_record *record, const struct secret_buf *key, GError **error)
{
    g_auto(qcow2_header_t) header = {0};
    g_auto(luks_image_t) keyslots = {.fd = -1};
    g_auto(file_fd) fd = open_keyslots(record, true, &header, &keyslots, error);
    struct luks_place place = luks_image_place(&keyslots);

    if (fd < 0)
        return false;
    if (luks_check_key(&place, key, error))
        return true;
    image_name_in_error(record->device, error);
    return false;
}

static bool
add_key_qcow2(const struct volume_record *record, const struct secret_buf *key,
              const struct secret_buf *new_key, bool new_is_generated, GError **error)
{
    g_auto(qcow2_header_t) header = {0};
    g_auto(luks_image_t) keyslots = {.fd = -1};
    g_auto(file_fd) fd = open_keyslots(record, false, &header, &keyslots, error);
    struct luks_place place = luks_image_place(&keyslots);
    enum luks_kdf kdf = new_is_generated ? LUKS_KDF_FULL_ENTROPY : LUKS_KDF_STRONG;

    if (fd < 0)
        return false;
    if (luks_add_key(&place, key, new_key, kdf, error))
        return luks_image_write_changes(&keyslots, fd, record->device, header.luks_offset, error);
    image_name_in_error(record->device, error);
    return false;
}

static bool
remove_key_qcow2(const struct volume_record *record, const struct secret_buf *key, GError **error)
{
    g_auto(qcow2_header_t) header = {0};
    g_auto(luks_image_t) keyslots = {.fd = -1};
    g_auto(file_fd) fd = open_keyslots(record, false, &header, &keyslots, error);
    struct luks_place place = luks_image_place(&keyslots);

    if (fd < 0)
        return false;
    if (luks_remove_key(&place, key, error))
        return luks_image_write_changes(&keyslots, fd, record->device, header.luks_offset, error);
    image_name_in_error(record->device, error);
    return false;
}

static bool
resize_qcow2(const struct backend_resize_params *params, struct storage_progress *progress,
             GError **error)
{
    const char *path = params->record->device;
    g_auto(qcow2_header_t) header = {0};
    g_auto(file_fd) fd = open_image(path, false, &header, error);
    const struct qemu_img_target target = {.fd = fd, .is_qcow2 = true, .key = params->key};
    bool is_smaller = params->capacity < header.size;

    if (fd < 0 || !image_check_resize(params, header.size, error) ||
        !image_check_unused(fd, path, error))
        return false;
    return qemu_img_resize(&target, params->capacity, params->preallocate && !is_smaller,
                           is_smaller, progress, error) &&
           image_qcow2_flush(fd, path, error);
}

/* The old image is overwritten but for its first cluster, which goes on saying how large the
 * volume is: a wipe that was interrupted can be done again. A new image then takes its place. */
static bool
wipe_qcow2(const struct volume_record *record, unsigned int algorithm, const struct secret_buf *key,
           bool key_is_generated, struct storage_progress *progress, GError **error)
{
    g_autoptr(volume_def_t) def = describe_qcow2(record, error);
    g_autofree char *temporary = image_qcow2_temporary_path(record->device);
    g_auto(qcow2_header_t) header = {0};
    g_auto(file_fd) fd = def ? open_image(record->device, false, &header, error) : -1;
    enum container_wipe how;
    struct qemu_img_create_params image = {.preallocation = "off"};
    const struct image_qcow2_params made = {
        .image = &image,
        .encryption = record->encryption,
        .key = key,
        .key_is_generated = key_is_generated,
        .permissions = def ? &def->permissions : NULL,
    };

    if (fd < 0 || !image_find_wipe(algorithm, &how, error) ||
        !image_check_unused(fd, record->device, error) ||
        (unlink(temporary) < 0 && access(temporary, F_OK) == 0))
        return false;
    image.capacity = def->capacity;
    image.compat = def->compat;
    image.lazy_refcounts = def->lazy_refcounts;
    image.extended_l2 = def->extended_l2;
    image.nocow = def->nocow;
    image.cluster_size = def->cluster_size;
    if (!luks_image_erase(fd, record->device, header.luks_offset, header.luks_length, error) ||
        !container_wipe(record->device, def->cluster_size, 0, how, progress, error) ||
        !image_qcow2_make(temporary, &made, NULL, error))
        return false;
    if (container_file_replace(temporary, record->device, error))
        return true;
    unlink(temporary);
    return false;
}

/* Keyslots, if it is an image with such; it may be damaged, or half made. *ret_erased: it was. */
static bool
erase_keyslots(const char *path, bool *ret_erased, GError **error)
{
    g_auto(qcow2_header_t) header = {0};
    g_auto(file_fd) fd = container_file_open(path, false, error);

    if (fd < 0 || !image_check_unused(fd, path, error))
        return false;
    *ret_erased =
        qcow2_header_read(fd, path, &header, NULL) && header.crypt_method == QCOW2_CRYPT_LUKS;
    return !*ret_erased ||
           luks_image_erase(fd, path, header.luks_offset, header.luks_length, error);
}

static bool
remove_qcow2(const struct pool_def *pool, const struct volume_record *record, GError **error)
{
    bool has_temporary = record->temporary && access(record->temporary, F_OK) == 0;
    bool is_half_made = record->temporary && record->state == VOLUME_STATE_CREATING;
    /* While there is a temporary file, nothing of ours has the volume's own name. */
    const char *path = has_temporary ? record->temporary : record->device;
    g_autofree char *wiping = image_qcow2_temporary_path(record->device);
    bool erased = false;

    if (access(path, F_OK) == 0 && !erase_keyslots(path, &erased, error))
        return false;
    /* An image got its own name with a LUKS header: without one it is somebody else's. */
    if (!record->is_made || (is_half_made && !has_temporary && !erased))
        return true;
    return container_remove(pool, path, error) &&
           (access(wiping, F_OK) < 0 || container_remove(pool, wiping, error));
}

const struct backend backend_qcow2 = {
    .name = "qcow2",
    .check = check_qcow2,
    .create = create_qcow2,
    .get_info = get_info_qcow2,
    .describe = describe_qcow2,
    .check_key = check_key_qcow2,
    .resize = resize_qcow2,
    .add_key = add_key_qcow2,
    .remove_key = remove_key_qcow2,
    .wipe = wipe_qcow2,
    .remove = remove_qcow2,
};
