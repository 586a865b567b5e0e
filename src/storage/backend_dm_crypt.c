/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: dm-crypt volumes: ciphertext in a container that we open, so that a guest sees a plain
 * block device.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/backend.h"
#include "storage/container.h"
#include "storage/container_file.h"
#include "storage/dm_crypt.h"
#include "storage/image.h"
#include "storage/loop_device.h"
#include "storage/luks_cipher.h"
#include "storage/mapping.h"
#include "util/error.h"
#include "util/file.h"

enum { SECTOR_SIZE = 512 };

enum luks_type
dm_crypt_type(const struct volume_record *record)
{
    return mapping_luks_type(record->encryption);
}

struct luks_place
dm_crypt_place(const struct volume_record *record, const char *path)
{
    return (struct luks_place){.device = path,
                               .header_path = record->encryption->dmcrypt.header_path};
}

bool
dm_crypt_has_integrity(const struct volume_record *record)
{
    return record->encryption->dmcrypt.integrity != ENCRYPTION_INTEGRITY_NONE;
}

static bool
is_plain(const struct volume_record *record)
{
    return dm_crypt_type(record) == LUKS_PLAIN;
}

/* The header and its offset of payload; plain mode: 0. */
static bool
get_offset(const struct volume_record *record, uint64_t *ret_offset, GError **error)
{
    const struct luks_place place = dm_crypt_place(record, record->device);
    g_auto(luks_info_t) info = {0};

    if (!container_make_available(record->device, error))
        return false;
    if (!is_plain(record)) {
        if (!luks_probe(&place, &info, error))
            return false;
        if (info.type == LUKS_NONE) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                      "'%s' has no LUKS header any more", record->device);
            return false;
        }
    }
    *ret_offset = info.payload_offset;
    return true;
}

/* With integrity, checksums and a journal take their share, and the kernel says in its superblock,
 * at the start of the payload, what is left (Linux, dm-integrity: magic "integrt", at byte 16 the
 * sectors provided, 64 bits little-endian). */
static bool
get_provided(const struct volume_record *record, uint64_t offset, uint64_t *ret_bytes,
             GError **error)
{
    enum { PROVIDED_AT = 16, SUPERBLOCK_LEN = PROVIDED_AT + sizeof(uint64_t) };
    static const char magic[8] = "integrt";
    g_auto(file_fd) fd = container_file_open(record->device, true, error);
    char superblock[SUPERBLOCK_LEN];
    uint64_t sectors;

    if (fd < 0)
        return false;
    if (pread(fd, superblock, sizeof(superblock), (off_t)offset) != sizeof(superblock) ||
        memcmp(superblock, magic, sizeof(magic)) != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "'%s' has no superblock of dm-integrity at byte %" G_GUINT64_FORMAT,
                  record->device, offset);
        return false;
    }
    memcpy(&sectors, superblock + PROVIDED_AT, sizeof(sectors));
    *ret_bytes = GUINT64_FROM_LE(sectors) * SECTOR_SIZE;
    return true;
}

static bool
get_info(const struct volume_record *record, struct backend_info *ret_info, GError **error)
{
    uint64_t offset, size, allocation, capacity;

    if (!get_offset(record, &offset, error) ||
        !container_get_size(record->device, &size, &allocation, error))
        return false;
    capacity = size - MIN(size, offset);
    if (dm_crypt_has_integrity(record) && !get_provided(record, offset, &capacity, error))
        return false;
    ret_info->type = VOLUME_TYPE_BLOCK;
    ret_info->capacity = capacity;
    ret_info->allocation = allocation;
    ret_info->physical = size;
    return true;
}

static struct volume_def *
describe(const struct volume_record *record, GError **error)
{
    struct backend_info info;

    return get_info(record, &info, error) ? image_describe_raw(record, &info, error) : NULL;
}

/* Plain mode can't tell one key from another. */
static bool
check_key(const struct volume_record *record, const struct secret_buf *key, GError **error)
{
    const struct luks_place place = dm_crypt_place(record, record->device);

    return container_make_available(record->device, error) &&
           (is_plain(record) || luks_check_key(&place, key, error));
}

static bool
check_size(const struct volume_record *record, uint64_t capacity, uint64_t present, bool shrink,
           GError **error)
{
    if (dm_crypt_has_integrity(record)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
                  "volume '%s' has <integrity> and keeps its size: clone it into a larger one",
                  record->name);
        return false;
    }
    if (capacity > 0 && capacity <= INT64_MAX / 2 && (capacity >= present || shrink))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "volume '%s' has %" G_GUINT64_FORMAT
              " bytes; making it smaller loses what is behind, and must be asked for (--shrink)",
              record->name, present);
    return false;
}

/* A container that is not ours to resize was resized by whoever it belongs to, or not. */
static bool
resize_container(const struct pool_def *pool, const struct volume_record *record, uint64_t present,
                 uint64_t wanted, bool preallocate, GError **error)
{
    if (!record->is_made) {
        if (wanted <= present)
            return true;
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
                  "'%s' lies outside of the pool: make it larger there first", record->device);
        return false;
    }
    return container_resize(pool, record->device, wanted, preallocate, error) &&
           loop_device_update_size(record->device, error);
}

static bool
resize(const struct backend_resize_params *params, struct storage_progress *progress,
       GError **error)
{
    const struct volume_record *record = params->record;
    const struct secret_buf *key = params->key;
    uint64_t capacity = params->capacity;
    const struct luks_place place = dm_crypt_place(record, record->device);
    g_autofree char *name = mapping_name(record->pool, record->name);
    bool is_open = mapping_is_open(record);
    g_auto(luks_cipher_t) cipher = {NULL};
    uint64_t offset, size, allocation;

    if (!luks_cipher_init(&cipher, dm_crypt_type(record), record->encryption, false, error) ||
        !get_offset(record, &offset, error) ||
        !container_get_size(record->device, &size, &allocation, error) ||
        !check_size(record, capacity, size - MIN(size, offset), params->shrink, error))
        return false;
    capacity = (capacity + cipher.sector_size - 1) / cipher.sector_size * cipher.sector_size;
    /* The mapping is never larger than its container. */
    if (is_open && offset + capacity < size && !luks_resize(&place, name, capacity, key, error))
        return false;
    return resize_container(params->pool, record, size, offset + capacity, params->preallocate,
                            error) &&
           (!is_open || luks_resize(&place, name, capacity, key, error));
}

static bool
check_keyslots(const struct volume_record *record, GError **error)
{
    if (!is_plain(record))
        return container_make_available(record->device, error);
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
              "volume '%s' is of format 'plain', whose key can't be changed: clone it",
              record->name);
    return false;
}

static bool
add_key(const struct volume_record *record, const struct secret_buf *key,
        const struct secret_buf *new_key, bool new_is_generated, GError **error)
{
    const struct luks_place place = dm_crypt_place(record, record->device);

    return check_keyslots(record, error) &&
           luks_add_key(&place, key, new_key,
                        new_is_generated ? LUKS_KDF_FULL_ENTROPY : LUKS_KDF_STRONG, error);
}

/* The record names the secret that stays, and so does the token, before the other keyslot goes. */
static bool
remove_key(const struct volume_record *record, const struct secret_buf *key, GError **error)
{
    const struct luks_place place = dm_crypt_place(record, record->device);
    struct luks_token token = {
        .secret = record->encryption->secret_uuid,
        .pool = record->pool,
        .volume = record->name,
    };

    return check_keyslots(record, error) &&
           (dm_crypt_type(record) != LUKS_2 || luks_set_token(&place, &token, error)) &&
           luks_remove_key(&place, key, error);
}

const struct backend backend_dm_crypt = {
    .name = "dm-crypt",
    .check = dm_crypt_check,
    .create = dm_crypt_create,
    .get_info = get_info,
    .describe = describe,
    .check_key = check_key,
    .resize = resize,
    .add_key = add_key,
    .remove_key = remove_key,
    .wipe = dm_crypt_wipe,
    .remove = dm_crypt_remove,
};
