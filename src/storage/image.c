/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: image.h.
 */
#include "storage/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/container_file.h"
#include "storage/luks.h"
#include "storage/luks_image.h"
#include "storage/qcow2_header.h"
#include "storage/qemu_img.h"
#include "util/error.h"
#include "util/file.h"

/* QEMU locks single bytes of a file it has open, from these offsets on (block/file-posix.c). */
enum { QEMU_LOCKS_FROM = 100, QEMU_LOCKS_LENGTH = 200 };

/* What QEMU's LUKS driver knows (crypto/block-luks.c); libcryptsetup would take more. */
static const char *const qemu_ciphers[] = {"aes", "serpent", "twofish", "cast5", NULL};
static const char *const qemu_modes[] = {"ecb", "cbc", "xts", "ctr", NULL};
static const char *const qemu_hashes[] = {"md5",    "sha1",   "sha224",    "sha256",
                                          "sha384", "sha512", "ripemd160", NULL};
static const char *const qemu_ivgens[] = {"plain", "plain64", "essiv", NULL};

static bool
check_word(const char *what, const char *word, const char *const *known, GError **error)
{
    if (!word || g_strv_contains(known, word))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "QEMU opens no LUKS image with the %s '%s'", what, word);
    return false;
}

static bool
check_cipher(const struct encryption *encryption, GError **error)
{
    return check_word("cipher", encryption->cipher_name, qemu_ciphers, error) &&
           check_word("cipher mode", encryption->cipher_mode, qemu_modes, error) &&
           check_word("hash", encryption->cipher_hash, qemu_hashes, error) &&
           check_word("IV generator", encryption->ivgen_name, qemu_ivgens, error) &&
           check_word("hash of the IV generator", encryption->ivgen_hash, qemu_hashes, error);
}

static bool
check_key(const struct secret_buf *key, GError **error)
{
    if (!key || secret_buf_len(key) == 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_SECRET,
                  "an encrypted volume needs a key that is not empty");
        return false;
    }
    if (g_utf8_validate((const char *)secret_buf_bytes(key), (gssize)secret_buf_len(key), NULL))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_SECRET,
              "QEMU takes no key that is not UTF-8 text; let virtcrypt generate one, or set the "
              "secret to text");
    return false;
}

bool
image_check_encryption(const struct backend_create_params *params, GError **error)
{
    const struct encryption *encryption = params->record->encryption;

    if (!encryption) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INTERNAL, "a volume without encryption");
        return false;
    }
    if (encryption->engine != ENCRYPTION_ENGINE_DEFAULT &&
        encryption->engine != ENCRYPTION_ENGINE_QEMU) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "the engine '%s' does not open %s volumes",
                  encryption_engine_name(encryption->engine),
                  volume_kind_name(params->record->kind));
        return false;
    }
    if (encryption->format != ENCRYPTION_FORMAT_DEFAULT &&
        encryption->format != ENCRYPTION_FORMAT_LUKS) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "QEMU opens %s volumes with the encryption format 'luks' alone, not '%s'",
                  volume_kind_name(params->record->kind),
                  encryption_format_name(encryption->format));
        return false;
    }
    return check_cipher(encryption, error) && check_key(params->key, error);
}

bool
image_find_capacity(const struct backend_create_params *params, const struct backend_source *source,
                    uint64_t *ret_capacity, GError **error)
{
    uint64_t capacity = params->def->has_capacity ? params->def->capacity : 0;
    uint64_t source_capacity = 0;

    if (source && !image_get_capacity(source, &source_capacity, error))
        return false;
    capacity = MAX(capacity, source_capacity);
    if (capacity == 0 || capacity > INT64_MAX / 2) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG, "volume '%s' needs a %s capacity",
                  params->record->name, capacity == 0 ? "" : "smaller");
        return false;
    }
    *ret_capacity = capacity;
    return true;
}

static bool
is_format(const struct backend_source *source, const char *format)
{
    return g_strcmp0(source->format, format) == 0;
}

static bool
get_raw_capacity(const struct backend_source *source, uint64_t *ret_capacity, GError **error)
{
    const struct luks_place place = {.device = source->path};
    g_auto(luks_info_t) header = {0};
    uint64_t size, allocation;

    if (!container_get_size(source->path, &size, &allocation, error) ||
        (source->is_luks && !luks_probe(&place, &header, error)))
        return false;
    if (source->is_luks && (header.type == LUKS_NONE || header.payload_offset > size)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "%s is not encrypted with LUKS", source->path);
        return false;
    }
    *ret_capacity = size - header.payload_offset;
    return true;
}

bool
image_get_capacity(const struct backend_source *source, uint64_t *ret_capacity, GError **error)
{
    g_auto(qcow2_header_t) header = {0};
    g_auto(file_fd) fd = -1;

    if (is_format(source, "raw"))
        return get_raw_capacity(source, ret_capacity, error);
    if (!is_format(source, "qcow2"))
        return qemu_img_get_capacity(source, ret_capacity, error);
    fd = container_file_open(source->path, true, error);
    if (fd < 0 || !qcow2_header_read(fd, source->path, &header, error))
        return false;
    *ret_capacity = header.size;
    return true;
}

/* An image without encryption takes no key, and one with it needs one. */
static bool
check_has_key(const struct backend_source *source, bool is_encrypted, GError **error)
{
    if (is_encrypted == source->is_luks)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
              is_encrypted ? "%s is encrypted, and no key is given for it"
                           : "%s is not encrypted, and a key is given for it",
              source->path);
    return false;
}

static bool
check_qcow2_key(const struct backend_source *source, GError **error)
{
    g_auto(file_fd) fd = container_file_open(source->path, true, error);
    g_auto(qcow2_header_t) header = {0};
    g_auto(luks_image_t) keyslots = {.fd = -1};
    struct luks_place place;

    if (fd < 0 || !qcow2_header_read(fd, source->path, &header, error) ||
        !check_has_key(source, header.crypt_method == QCOW2_CRYPT_LUKS, error))
        return false;
    if (!source->is_luks)
        return true;
    if (!luks_image_load(fd, source->path, header.luks_offset, header.luks_length, &keyslots,
                         error))
        return false;
    place = luks_image_place(&keyslots);
    if (luks_check_key(&place, source->key, error))
        return true;
    image_name_in_error(source->path, error);
    return false;
}

bool
image_check_key(const struct backend_source *source, GError **error)
{
    const struct luks_place place = {.device = source->path};

    if (is_format(source, "qcow2"))
        return check_qcow2_key(source, error);
    if (is_format(source, "raw"))
        return !source->is_luks || luks_check_key(&place, source->key, error);
    return check_has_key(source, false, error);
}

bool
image_source_is_written(const struct backend_source *source)
{
    const struct luks_place place = {.device = source->path};
    g_auto(luks_info_t) info = {0};
    g_auto(file_fd) fd = -1;
    struct stat status;

    if (!source->is_luks || g_strcmp0(source->format, "raw") != 0)
        return true;
    fd = container_file_open(source->path, true, NULL);
    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
        !luks_probe(&place, &info, NULL) || info.payload_offset == 0)
        return true;
    return lseek(fd, (off_t)info.payload_offset, SEEK_DATA) >= 0 || errno != ENXIO;
}

bool
image_check_unused(int fd, const char *path, GError **error)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = QEMU_LOCKS_FROM,
                         .l_len = QEMU_LOCKS_LENGTH};

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
              "%s is in use by a guest or another program of QEMU; stop that first", path);
    return false;
}

bool
image_check_resize(const struct backend_resize_params *params, uint64_t present, GError **error)
{
    if (params->capacity == 0 || params->capacity > INT64_MAX / 2) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG, "volume '%s' can't have %llu bytes",
                  params->record->name, (unsigned long long)params->capacity);
        return false;
    }
    if (params->capacity >= present || params->shrink)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "volume '%s' has %llu bytes; making it smaller loses what is behind, and must be "
              "asked for (--shrink)",
              params->record->name, (unsigned long long)present);
    return false;
}

bool
image_find_wipe(unsigned int algorithm, enum container_wipe *ret_how, GError **error)
{
    switch (algorithm) {
    case BACKEND_WIPE_ZERO:
        *ret_how = CONTAINER_WIPE_ZERO;
        return true;
    case BACKEND_WIPE_RANDOM:
        *ret_how = CONTAINER_WIPE_RANDOM;
        return true;
    case BACKEND_WIPE_TRIM:
        *ret_how = CONTAINER_WIPE_TRIM;
        return true;
    default:
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "wipe algorithm %u: the keys of an encrypted volume are erased first, so "
                  "overwriting it more than once adds nothing; use zero, random or trim",
                  algorithm);
        return false;
    }
}

bool
image_wants_allocation(const struct volume_def *def, uint64_t capacity)
{
    return def->has_allocation && def->allocation >= capacity;
}

bool
image_get_permissions(int fd, const char *path, struct volume_permissions *ret_permissions,
                      GError **error)
{
    struct stat info;

    if (fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot examine %s", path);
        return false;
    }
    *ret_permissions = (struct volume_permissions){
        .has_mode = true,
        .has_owner = true,
        .has_group = true,
        .mode = info.st_mode & 0777,
        .owner = info.st_uid,
        .group = info.st_gid,
    };
    return true;
}

void
image_name_in_error(const char *path, GError **error)
{
    if (!error || !error_is(*error, ERROR_AUTH_FAILED))
        return;
    g_clear_error(error);
    error_set(error, ERROR_FROM_STORAGE, ERROR_AUTH_FAILED,
              "the key opens no keyslot of %s: it is not the key of that volume", path);
}

struct volume_def *
image_describe_raw(const struct volume_record *record, const struct backend_info *info,
                   GError **error)
{
    g_autoptr(volume_def_t) def = g_new0(struct volume_def, 1);
    g_auto(file_fd) fd = container_file_open(record->device, true, error);

    if (fd < 0 || !image_get_permissions(fd, record->device, &def->permissions, error))
        return NULL;
    def->type = info->type;
    def->has_capacity = true;
    def->capacity = info->capacity;
    def->has_allocation = true;
    def->allocation = info->allocation;
    def->path = g_strdup(record->path);
    def->format = g_strdup("raw");
    return g_steal_pointer(&def);
}
