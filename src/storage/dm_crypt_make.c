/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: making, wiping and removing dm-crypt volumes. While one is filled it is open under the name
 * that it will have, so that removal finds it whenever the process was killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/container.h"
#include "storage/container_file.h"
#include "storage/dm_crypt.h"
#include "storage/image.h"
#include "storage/loop_device.h"
#include "storage/luks_cipher.h"
#include "storage/mapping.h"
#include "storage/qemu_img.h"
#include "storage/signature.h"
#include "util/error.h"
#include "util/file.h"

enum {
    MIB = 1024 * 1024,
    TAG_BYTES = 32,            /* of the larger integrity, HMAC-SHA256 */
    JOURNAL_SHARE = 128,       /* dm-integrity's journal takes one part in so many, */
    JOURNAL_MAX = 64 * MIB,    /* but not more than this */
    INTEGRITY_SLACK = 4 * MIB, /* its superblock, and the rounding of its runs */
};

static const char *
work_path(const struct volume_record *record)
{
    return record->temporary ? record->temporary : record->device;
}

/* What a container has beside `capacity`. */
static uint64_t
find_overhead(const struct volume_record *record, uint64_t capacity, unsigned int sector_size)
{
    uint64_t overhead =
        record->encryption->dmcrypt.header_path ? 0 : luks_header_size(dm_crypt_type(record));

    if (!dm_crypt_has_integrity(record))
        return overhead;
    return overhead + capacity / sector_size * TAG_BYTES +
           MIN(capacity / JOURNAL_SHARE, JOURNAL_MAX) + INTEGRITY_SLACK;
}

static bool
make_header_file(const struct volume_record *record, GError **error)
{
    const char *path = record->encryption->dmcrypt.header_path;
    g_auto(file_fd) fd = -1;

    if (!path)
        return true;
    fd = container_file_make(path, error);
    if (fd < 0)
        return false;
    if (ftruncate(fd, (off_t)luks_header_size(dm_crypt_type(record))) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot make room for a header in '%s'",
                    path);
    return false;
}

static bool
use_device(const struct backend_create_params *params, uint64_t size, GError **error)
{
    const char *device = params->record->device;
    uint64_t there, allocation;

    if (!container_get_size(device, &there, &allocation, error))
        return false;
    if (there < size) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "%s has %" G_GUINT64_FORMAT " bytes, which is too small: %" G_GUINT64_FORMAT
                  " are needed",
                  device, there, size);
        return false;
    }
    return !params->overwrites || signature_wipe(device, error);
}

/* A container of that name that is there already is somebody else's: so nothing of ours is left
 * when it was. */
static bool
make_container(const struct backend_create_params *params, const struct container_params *container,
               struct storage_progress *progress, GError **error)
{
    const char *header = params->record->encryption->dmcrypt.header_path;
    g_autoptr(GError) failure = NULL;

    if (!make_header_file(params->record, error))
        return false;
    if (!params->record->is_made)
        return use_device(params, container->size, error);
    if (container_create(container, progress, &failure))
        return true;
    if (header && error_is(failure, ERROR_STORAGE_VOL_EXIST))
        unlink(header);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
make_room(const struct backend_create_params *params, uint64_t capacity,
          struct storage_progress *progress, GError **error)
{
    const struct volume_record *record = params->record;
    g_auto(luks_cipher_t) cipher = {NULL};
    struct container_params container = {
        .pool = params->pool,
        .path = work_path(record),
        .preallocate = image_wants_allocation(params->def, capacity),
        .nocow = params->def->nocow,
        .permissions = &params->def->permissions,
    };

    if (!luks_cipher_init(&cipher, dm_crypt_type(record), record->encryption, false, error))
        return false;
    capacity = (capacity + cipher.sector_size - 1) / cipher.sector_size * cipher.sector_size;
    container.size = capacity + find_overhead(record, capacity, cipher.sector_size);
    return make_container(params, &container, progress, error);
}

/* Header and, with integrity, the first checksums; nothing in plain mode. */
static bool
write_header(const struct volume_record *record, const char *path, const struct secret_buf *key,
             bool key_is_generated, struct storage_progress *progress, GError **error)
{
    struct luks_token token = {
        .secret = record->encryption->secret_uuid,
        .pool = record->pool,
        .volume = record->name,
    };
    struct luks_format_params params = {
        .type = dm_crypt_type(record),
        .encryption = record->encryption,
        .kdf = key_is_generated ? LUKS_KDF_FULL_ENTROPY : LUKS_KDF_STRONG,
    };
    struct luks_place place = dm_crypt_place(record, path);
    g_autofree char *name = mapping_name(record->pool, record->name);
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    struct stat info;

    if (params.type == LUKS_PLAIN)
        return true;
    if (params.type == LUKS_2)
        params.token = &token;
    if (!dm_crypt_has_integrity(record))
        return luks_format(&place, &params, key, error);
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
        if (!loop_device_attach(path, false, &loop, error))
            return false;
        place.device = loop.path;
    }
    return luks_format(&place, &params, key, error) &&
           luks_init_integrity(&place, name, key, progress, error);
}

static bool
copy_into(const char *device, const struct backend_source *source,
          struct storage_progress *progress, GError **error)
{
    g_auto(file_fd) fd = container_file_open(device, false, error);
    const struct qemu_img_target target = {.fd = fd, .is_block = true};

    if (fd < 0 || !qemu_img_convert(source, &target, progress, error))
        return false;
    if (fsync(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot flush %s", device);
    return false;
}

/* Opens the new volume, which proves that the key does, and copies the source in. */
static bool
fill(const struct backend_create_params *params, const struct backend_source *source,
     struct storage_progress *progress, GError **error)
{
    const struct volume_record *record = params->record;
    g_autofree char *name = mapping_name(record->pool, record->name);
    g_autofree char *device = g_build_filename("/dev/mapper", name, NULL);

    if (!source)
        return true;
    if (!mapping_open_container(record->encryption, work_path(record), name, false, params->key,
                                error))
        return false;
    if (copy_into(device, source, progress, error))
        return luks_close(name, error);
    luks_close(name, NULL);
    return false;
}

static bool
make(const struct backend_create_params *params, const struct backend_source *source,
     uint64_t capacity, struct storage_progress *progress, GError **error)
{
    const struct volume_record *record = params->record;

    return make_room(params, capacity, progress, error) &&
           write_header(record, work_path(record), params->key, params->key_is_generated, progress,
                        error) &&
           fill(params, source, progress, error) && storage_progress_check(progress, error) &&
           (!record->temporary || container_file_publish(record->temporary, record->device, error));
}

bool
dm_crypt_create(const struct backend_create_params *params, const struct backend_source *source,
                struct storage_progress *progress, GError **error)
{
    g_autoptr(GError) failure = NULL;
    uint64_t capacity;

    if (!dm_crypt_check(params, error) || !image_find_capacity(params, source, &capacity, error))
        return false;
    if (make(params, source, capacity, progress, &failure))
        return true;
    /* What can't be cleaned up now is found again by the record. With the name taken there is no
     * more of ours than a temporary file. */
    if (params->record->temporary || !error_is(failure, ERROR_STORAGE_VOL_EXIST))
        dm_crypt_remove(params->pool, params->record, NULL);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

bool
dm_crypt_wipe(const struct volume_record *record, unsigned int algorithm,
              const struct secret_buf *key, bool key_is_generated,
              struct storage_progress *progress, GError **error)
{
    const struct luks_place place = dm_crypt_place(record, record->device);
    g_autofree char *name = mapping_name(record->pool, record->name);
    enum container_wipe how;

    return image_find_wipe(algorithm, &how, error) &&
           container_make_available(record->device, error) && luks_close(name, error) &&
           (dm_crypt_type(record) == LUKS_PLAIN || luks_erase(&place, error)) &&
           container_wipe(record->device, 0, 0, how, progress, error) &&
           write_header(record, record->device, key, key_is_generated, progress, error);
}

/* *ret_erased: there was a header. */
static bool
erase_header(const struct volume_record *record, const char *path, bool *ret_erased, GError **error)
{
    const struct luks_place place = dm_crypt_place(record, path);
    const char *header = place.header_path ? place.header_path : path;
    g_auto(file_fd) fd = -1;

    *ret_erased = false;
    if (dm_crypt_type(record) == LUKS_PLAIN || access(header, F_OK) < 0 || access(path, F_OK) < 0)
        return true;
    fd = container_file_open(header, true, error);
    if (fd < 0)
        return false;
    *ret_erased = luks_has_magic(fd);
    return luks_erase(&place, error);
}

static bool
remove_header_file(const struct volume_record *record, GError **error)
{
    const char *header = record->encryption->dmcrypt.header_path;
    bool is_ours = record->is_made || record->state == VOLUME_STATE_CREATING;

    if (!header || !is_ours || unlink(header) == 0 || errno == ENOENT)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot remove the header '%s'", header);
    return false;
}

bool
dm_crypt_remove(const struct pool_def *pool, const struct volume_record *record, GError **error)
{
    g_autofree char *name = mapping_name(record->pool, record->name);
    bool has_temporary = record->temporary && access(record->temporary, F_OK) == 0;
    const char *path = has_temporary ? record->temporary : record->device;
    bool is_half_made = record->temporary && record->state == VOLUME_STATE_CREATING;
    bool exists, erased;

    if (!luks_close(name, error) || !container_find(path, &exists, error) ||
        !erase_header(record, path, &erased, error))
        return false;
    /* A LUKS container got its own name with a header: without one it is somebody else's. */
    if (record->is_made && (!is_half_made || has_temporary || erased) &&
        !container_remove(pool, path, error))
        return false;
    return remove_header_file(record, error);
}
