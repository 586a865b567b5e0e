/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: raw volumes: a LUKS1 header and behind it the ciphertext of what a guest sees, in a file,
 * a logical volume or a device that was there before. QEMU opens them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/backend.h"
#include "storage/container.h"
#include "storage/container_file.h"
#include "storage/image.h"
#include "storage/luks.h"
#include "storage/luks_image.h"
#include "storage/qemu_img.h"
#include "storage/signature.h"
#include "util/error.h"
#include "util/file.h"

enum { SECTOR = 512 };

static bool
check_raw(const struct backend_create_params *params, GError **error)
{
    const struct volume_def *def = params->def;

    if (params->pool->type == POOL_TYPE_OTHER) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "pool '%s' of type '%s' can't hold encrypted volumes", params->pool->name,
                  params->pool->type_name);
        return false;
    }
    if (def->format && strcmp(def->format, "raw") != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "volume '%s' is to be raw and of format '%s'", params->record->name, def->format);
        return false;
    }
    if (def->compat || def->lazy_refcounts || def->extended_l2 || def->cluster_size > 0 ||
        def->backing_path || params->preallocate_metadata) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "volume '%s': a backing file, cluster size, compat, features and preallocation "
                  "of metadata belong to qcow2 alone",
                  params->record->name);
        return false;
    }
    return image_check_encryption(params, error);
}

/* Where the new volume is written: under its temporary name, if it has one. */
static const char *
work_path(const struct volume_record *record)
{
    return record->temporary ? record->temporary : record->device;
}

/* The room for header and payload: made now, or (is_made is false) a device that is there. */
static bool
prepare_room(const struct backend_create_params *params, uint64_t header_length, uint64_t capacity,
             struct storage_progress *progress, GError **error)
{
    uint64_t size = header_length + capacity;
    const struct volume_record *record = params->record;
    const struct container_params container = {
        .pool = params->pool,
        .path = work_path(record),
        .size = size,
        .preallocate = image_wants_allocation(params->def, capacity),
        .nocow = params->def->nocow,
        .permissions = &params->def->permissions,
    };
    uint64_t there, allocation;

    if (record->is_made)
        return container_create(&container, progress, error);
    if (!container_make_available(record->device, error) ||
        !container_get_size(record->device, &there, &allocation, error) ||
        (!params->overwrites && !signature_check_none(record->device, error)))
        return false;
    if (there >= size)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "%s has %llu bytes, which is too small: %llu are needed", record->device,
              (unsigned long long)there, (unsigned long long)size);
    return false;
}

static bool
copy_source(const struct backend_create_params *params, int fd, const struct backend_source *source,
            struct storage_progress *progress, GError **error)
{
    struct qemu_img_target target = {.fd = fd, .key = params->key};
    struct stat info;

    if (!source || !image_source_is_written(source))
        return true;
    target.is_block = fstat(fd, &info) == 0 && S_ISBLK(info.st_mode);
    if (!qemu_img_convert(source, &target, progress, error))
        return false;
    if (fsync(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot flush %s", params->record->device);
    return false;
}

static bool
fill_room(const struct backend_create_params *params, const struct luks_image *header,
          const struct backend_source *source, struct storage_progress *progress, GError **error)
{
    const struct volume_record *record = params->record;
    g_auto(file_fd) fd = container_file_open(work_path(record), false, error);

    return fd >= 0 && luks_image_write(header, fd, record->device, 0, error) &&
           copy_source(params, fd, source, progress, error) &&
           storage_progress_check(progress, error) &&
           (!record->temporary || container_file_publish(record->temporary, record->device, error));
}

/* A failure leaves nothing of ours; that of cleaning up is found again by the record. */
static void
undo_create(const struct backend_create_params *params, const struct luks_image *header)
{
    const struct volume_record *record = params->record;
    g_auto(file_fd) fd = container_file_open(work_path(record), false, NULL);

    if (fd >= 0)
        luks_image_erase(fd, work_path(record), 0, header->length, NULL);
    file_fd_clear(&fd);
    if (record->is_made)
        container_remove(params->pool, work_path(record), NULL);
}

static bool
create_raw(const struct backend_create_params *params, const struct backend_source *source,
           struct storage_progress *progress, GError **error)
{
    g_auto(luks_image_t) header = {.fd = -1};
    uint64_t capacity;

    if (!check_raw(params, error) || !image_find_capacity(params, source, &capacity, error) ||
        !luks_image_make(params->record->encryption, params->key, params->key_is_generated, &header,
                         error))
        return false;
    capacity = (capacity + SECTOR - 1) / SECTOR * SECTOR;
    if (!prepare_room(params, header.length, capacity, progress, error))
        return false;
    if (fill_room(params, &header, source, progress, error))
        return true;
    undo_create(params, &header);
    return false;
}

static bool
probe(const struct volume_record *record, struct luks_info *ret_info, GError **error)
{
    const struct luks_place place = {.device = record->device};
    g_auto(luks_info_t) info = {0};

    if (!container_make_available(record->device, error) || !luks_probe(&place, &info, error))
        return false;
    if (info.type == LUKS_NONE) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "%s has no LUKS header any more", record->device);
        return false;
    }
    *ret_info = info;
    memset(&info, 0, sizeof(info));
    return true;
}

static bool
get_info_raw(const struct volume_record *record, struct backend_info *ret_info, GError **error)
{
    g_auto(luks_info_t) header = {0};
    uint64_t size, allocation;
    struct stat status;

    if (!probe(record, &header, error) ||
        !container_get_size(record->device, &size, &allocation, error))
        return false;
    ret_info->type = stat(record->device, &status) == 0 && S_ISBLK(status.st_mode)
                         ? VOLUME_TYPE_BLOCK
                         : VOLUME_TYPE_FILE;
    ret_info->capacity = size - MIN(size, header.payload_offset);
    ret_info->allocation = allocation;
    ret_info->physical = size;
    return true;
}

static struct volume_def *
describe_raw(const struct volume_record *record, GError **error)
{
    struct backend_info info;

    return get_info_raw(record, &info, error) ? image_describe_raw(record, &info, error) : NULL;
}

static bool
check_key_raw(const struct volume_record *record, const struct secret_buf *key, GError **error)
{
    const struct luks_place place = {.device = record->device};

    return container_make_available(record->device, error) && luks_check_key(&place, key, error);
}

/* What a device outside of the pool has room for, its owner says. */
static bool
resize_room(const struct backend_resize_params *params, uint64_t present, uint64_t wanted,
            GError **error)
{
    if (params->record->is_made)
        return container_resize(params->pool, params->record->device, wanted, params->preallocate,
                                error);
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
              "volume '%s' has all %llu bytes of %s, which was there before it: resize that by its "
              "own tools",
              params->record->name, (unsigned long long)present, params->record->device);
    return false;
}

static bool
resize_raw(const struct backend_resize_params *params, struct storage_progress *progress,
           GError **error)
{
    const struct volume_record *record = params->record;
    uint64_t capacity = params->capacity;
    g_auto(luks_info_t) header = {0};
    g_auto(file_fd) fd = -1;
    uint64_t size, allocation, wanted;

    if (!probe(record, &header, error) ||
        !container_get_size(record->device, &size, &allocation, error) ||
        !image_check_resize(params, size - MIN(size, header.payload_offset), error))
        return false;
    wanted = header.payload_offset + (capacity + SECTOR - 1) / SECTOR * SECTOR;
    fd = container_file_open(record->device, false, error);
    if (fd < 0 || (wanted < size && !image_check_unused(fd, record->device, error)))
        return false;
    return wanted == size || resize_room(params, size, wanted, error);
}

static bool
add_key_raw(const struct volume_record *record, const struct secret_buf *key,
            const struct secret_buf *new_key, bool new_is_generated, GError **error)
{
    const struct luks_place place = {.device = record->device};

    return container_make_available(record->device, error) &&
           luks_add_key(&place, key, new_key,
                        new_is_generated ? LUKS_KDF_FULL_ENTROPY : LUKS_KDF_STRONG, error);
}

static bool
remove_key_raw(const struct volume_record *record, const struct secret_buf *key, GError **error)
{
    const struct luks_place place = {.device = record->device};

    return container_make_available(record->device, error) && luks_remove_key(&place, key, error);
}

/* The new header may be longer or shorter than one that another program made: a file changes by
 * the difference, so that a guest sees as much as before. */
static bool
renew_header(const struct volume_record *record, int fd, const struct luks_image *header,
             uint64_t old_length, GError **error)
{
    struct stat info;

    if (header->length != old_length && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
        ftruncate(fd, info.st_size + (off_t)header->length - (off_t)old_length) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot resize %s", record->device);
        return false;
    }
    return luks_image_write(header, fd, record->device, 0, error);
}

/* How long the header of `fd` is: of one that an interrupted wipe left none of, `otherwise`. */
static uint64_t
find_header_length(const struct volume_record *record, uint64_t otherwise)
{
    const struct luks_place place = {.device = record->device};
    g_auto(luks_info_t) info = {0};

    return luks_probe(&place, &info, NULL) && info.type != LUKS_NONE && info.payload_offset > 0
               ? info.payload_offset
               : otherwise;
}

static bool
wipe_raw(const struct volume_record *record, unsigned int algorithm, const struct secret_buf *key,
         bool key_is_generated, struct storage_progress *progress, GError **error)
{
    g_auto(luks_image_t) header = {.fd = -1};
    g_auto(file_fd) fd = -1;
    enum container_wipe how;
    uint64_t old_length;

    /* All that may fail without harm comes first. */
    if (!image_find_wipe(algorithm, &how, error) ||
        !container_make_available(record->device, error) ||
        !luks_image_make(record->encryption, key, key_is_generated, &header, error))
        return false;
    fd = container_file_open(record->device, false, error);
    if (fd < 0 || !image_check_unused(fd, record->device, error))
        return false;
    old_length = find_header_length(record, header.length);
    return luks_image_erase(fd, record->device, 0, old_length, error) &&
           container_wipe(record->device, old_length, 0, how, progress, error) &&
           renew_header(record, fd, &header, old_length, error);
}

/* *ret_erased: there was a header. */
static bool
erase_header(const char *path, bool *ret_erased, GError **error)
{
    const struct luks_place place = {.device = path};
    g_auto(luks_info_t) info = {0};
    g_auto(file_fd) fd = container_file_open(path, false, error);

    if (fd < 0 || !image_check_unused(fd, path, error) || !luks_probe(&place, &info, error))
        return false;
    *ret_erased = info.type != LUKS_NONE;
    return !*ret_erased || luks_image_erase(fd, path, 0, info.payload_offset, error);
}

static bool
remove_raw(const struct pool_def *pool, const struct volume_record *record, GError **error)
{
    bool has_temporary = record->temporary && access(record->temporary, F_OK) == 0;
    bool is_half_made = record->temporary && record->state == VOLUME_STATE_CREATING;
    /* While there is a temporary file, nothing of ours has the volume's own name. */
    const char *path = has_temporary ? record->temporary : record->device;
    bool exists, erased = false;

    if (!container_find(path, &exists, error) || (exists && !erase_header(path, &erased, error)))
        return false;
    /* A file got its own name with a header: without one it is somebody else's. */
    if (!record->is_made || (is_half_made && !has_temporary && !erased))
        return true;
    return container_remove(pool, path, error);
}

const struct backend backend_raw = {
    .name = "raw",
    .check = check_raw,
    .create = create_raw,
    .get_info = get_info_raw,
    .describe = describe_raw,
    .check_key = check_key_raw,
    .resize = resize_raw,
    .add_key = add_key_raw,
    .remove_key = remove_key_raw,
    .wipe = wipe_raw,
    .remove = remove_raw,
};
