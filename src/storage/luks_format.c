/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: making and erasing LUKS headers.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/luks.h"
#include "storage/luks_cipher.h"
#include "storage/luks_context.h"
#include "storage/luks_kdf.h"
#include "storage/luks_token.h"
#include "util/error.h"
#include "util/file.h"

enum {
    SECTOR = 512,
    MIB = 1024 * 1024,
    LUKS1_HEADER = 2 * MIB,  /* eight keyslots of 512 bits, on a mebibyte */
    LUKS2_HEADER = 16 * MIB, /* cryptsetup's own default */
    ERASE_STEP = MIB,
    KEYSLOT = 0,
};

uint64_t
luks_header_size(enum luks_type type)
{
    switch (type) {
    case LUKS_1:
        return LUKS1_HEADER;
    case LUKS_2:
        return LUKS2_HEADER;
    default:
        return 0;
    }
}

static bool
get_size(int fd, const char *path, uint64_t *ret_size, bool *ret_is_file, GError **error)
{
    struct stat info;
    uint64_t size = 0;

    if (fstat(fd, &info) < 0 || (S_ISBLK(info.st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0)) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot get the size of '%s'", path);
        return false;
    }
    *ret_is_file = S_ISREG(info.st_mode);
    *ret_size = *ret_is_file ? (uint64_t)info.st_size : size;
    return true;
}

/* Room for the header, writable, and something behind it. */
static bool
check_room(const struct luks_place *place, const struct luks_format_params *params,
           unsigned int sector_size, GError **error)
{
    bool is_detached = place->header_path != NULL;
    uint64_t header = is_detached ? 0 : luks_header_size(params->type);
    g_auto(file_fd) fd = luks_context_open_file(place->device, O_RDWR, error);
    uint64_t size;
    bool is_file;

    if (fd < 0 || !get_size(fd, place->device, &size, &is_file, error))
        return false;
    if (params->for_image) {
        if (!is_file || size >= header || ftruncate(fd, (off_t)header) == 0)
            return true;
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot make room for a header in '%s'",
                        place->device);
        return false;
    }
    if (size < header + sector_size) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "'%s' is too small for an encrypted volume: it has %" G_GUINT64_FORMAT
                  " bytes, the header alone takes %" G_GUINT64_FORMAT,
                  place->device, size, header);
        return false;
    }
    if (sector_size > 0 && (size - header) % sector_size != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "the size of '%s', %" G_GUINT64_FORMAT " bytes, is no multiple of sectors of %u",
                  place->device, size, sector_size);
        return false;
    }
    return true;
}

static int
write_luks1(struct crypt_device *crypt, const struct luks_place *place,
            const struct luks_cipher *cipher)
{
    struct crypt_params_luks1 params = {
        .hash = cipher->hash,
        .data_device = place->header_path ? place->device : NULL,
    };

    return crypt_format(crypt, CRYPT_LUKS1, cipher->name, cipher->mode, NULL, NULL,
                        cipher->key_bytes, &params);
}

static int
write_luks2(struct crypt_device *crypt, const struct luks_place *place,
            const struct luks_cipher *cipher)
{
    struct crypt_params_luks2 params = {
        .integrity = cipher->integrity,
        .data_device = place->header_path ? place->device : NULL,
        .sector_size = cipher->sector_size,
    };

    return crypt_format(crypt, CRYPT_LUKS2, cipher->name, cipher->mode, NULL, NULL,
                        cipher->key_bytes, &params);
}

/* libcryptsetup tries the cipher before it writes. */
static bool
write_header(const struct luks_context *context, const struct luks_place *place,
             const struct luks_format_params *params, const struct luks_cipher *cipher,
             GError **error)
{
    struct crypt_device *crypt = context->crypt;
    /* A cipher that libcryptsetup leaves to the kernel is tried through device-mapper. */
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(luks_context_get_lock());
    int result = 0;

    if (!place->header_path)
        result = crypt_set_data_offset(crypt, luks_header_size(params->type) / SECTOR);
    if (result >= 0)
        result = params->type == LUKS_1 ? write_luks1(crypt, place, cipher)
                                        : write_luks2(crypt, place, cipher);
    if (result >= 0)
        return true;
    if (result == -EINVAL || result == -ENOTSUP || result == -ENOENT || result == -ENODEV)
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "this host can't encrypt '%s' with %s-%s and a key of %zu bits: %s",
                  place->device, cipher->name, cipher->mode, cipher->key_bytes * 8,
                  context->complaint[0] ? context->complaint : g_strerror(-result));
    else
        luks_context_set_error(context, result, "writing a LUKS header", error);
    return false;
}

static bool
add_first_key(const struct luks_context *context, const struct secret_buf *key, GError **error)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = luks_context_lock_keyslots(context);
    int result = crypt_keyslot_add_by_volume_key(
        context->crypt, KEYSLOT, NULL, 0, (const char *)secret_buf_bytes(key), secret_buf_len(key));

    if (result >= 0)
        return true;
    luks_context_set_error(context, result, "adding a keyslot", error);
    return false;
}

static bool
check_params(const struct luks_format_params *params, const struct secret_buf *key, GError **error)
{
    const char *refusal = NULL;

    if (params->type != LUKS_1 && params->type != LUKS_2)
        refusal = "only LUKS1 and LUKS2 have a header";
    else if (params->token && params->type != LUKS_2)
        refusal = "only a LUKS2 header can say which secret opens it";
    else if (params->for_image && params->type != LUKS_1)
        refusal = "QEMU opens LUKS1 alone";
    else if (!key || secret_buf_len(key) == 0)
        refusal = "an empty key can't encrypt a volume";
    if (!refusal)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED, "%s", refusal);
    return false;
}

static bool
make_header(const struct luks_place *place, const struct luks_format_params *params,
            const struct luks_cipher *cipher, const struct secret_buf *key, GError **error)
{
    bool is_argon2 = params->type == LUKS_2 && params->kdf == LUKS_KDF_STRONG;
    g_auto(luks_context_t) context = {NULL};
    g_autoptr(GMutexLocker) turn = NULL;

    if (!luks_context_init(&context, place, error))
        return false;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) held to the end of the scope */
    turn = luks_kdf_take_turn(&context, is_argon2);
    return luks_kdf_choose(&context, params->type, params->kdf, cipher->hash, error) &&
           write_header(&context, place, params, cipher, error) &&
           add_first_key(&context, key, error) &&
           (!params->token || luks_token_put(&context, params->token, error));
}

bool
luks_format(const struct luks_place *place, const struct luks_format_params *params,
            const struct secret_buf *key, GError **error)
{
    g_auto(luks_cipher_t) cipher = {NULL};

    return check_params(params, key, error) &&
           luks_cipher_init(&cipher, params->type, params->encryption, params->for_image, error) &&
           check_room(place, params, cipher.sector_size, error) &&
           make_header(place, params, &cipher, key, error) &&
           luks_context_flush(place->header_path ? place->header_path : place->device, error) &&
           luks_check_key(place, key, error);
}

/* Zeros over the first `size` bytes, from the end to the start: the header says what remains to be
 * done until it goes itself. */
static bool
overwrite(const char *path, uint64_t size, GError **error)
{
    g_auto(file_fd) fd = luks_context_open_file(path, O_RDWR, error);
    uint64_t present;
    bool is_file;

    if (fd < 0 || !get_size(fd, path, &present, &is_file, error))
        return false;
    for (uint64_t end = MIN(size, present); end > 0;) {
        uint64_t start = end > ERASE_STEP ? (end - 1) / ERASE_STEP * ERASE_STEP : 0;

        if (!file_write_zeros_at(fd, (size_t)(end - start), (off_t)start)) {
            error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot overwrite the header of '%s'",
                            path);
            return false;
        }
        end = start;
    }
    if (fsync(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot flush '%s'", path);
    return false;
}

static bool
destroy_keyslots(const struct luks_context *context, GError **error)
{
    int count = crypt_keyslot_max(crypt_get_type(context->crypt));

    for (int i = 0; i < count; i++) {
        crypt_keyslot_info status = crypt_keyslot_status(context->crypt, i);
        int result;

        if (status == CRYPT_SLOT_INACTIVE || status == CRYPT_SLOT_INVALID)
            continue;
        result = crypt_keyslot_destroy(context->crypt, i);
        if (result < 0) {
            luks_context_set_error(context, result, "erasing a keyslot", error);
            return false;
        }
    }
    return true;
}

bool
luks_erase(const struct luks_place *place, GError **error)
{
    const char *header = place->header_path ? place->header_path : place->device;
    g_auto(luks_context_t) context = {NULL};
    uint64_t size = LUKS2_HEADER;

    if (!luks_context_init(&context, place, error))
        return false;
    /* One that can't be read, torn by a crash, is overwritten as if it were of the larger kind. */
    if (crypt_load(context.crypt, CRYPT_LUKS, NULL) >= 0) {
        uint64_t offset = crypt_get_data_offset(context.crypt) * SECTOR;

        if (!destroy_keyslots(&context, error))
            return false;
        if (!place->header_path && offset > 0)
            size = offset;
    } else {
        g_auto(file_fd) fd = luks_context_open_file(header, O_RDONLY, error);

        if (fd < 0)
            return false;
        if (!luks_has_magic(fd))
            return true;
    }
    luks_context_clear(&context);
    return overwrite(header, size, error);
}
