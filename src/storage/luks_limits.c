/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: luks_limits.h. The limits are far above what cryptsetup and qemu-img choose (seconds) and
 * keep a try of all keyslots within minutes.
 */
#include "storage/luks_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>
#include <unistd.h>

#include "storage/luks_context.h"
#include "util/big_endian.h"
#include "util/error.h"
#include "util/file.h"

enum {
    PBKDF2_ROUNDS_MAX = 100 * 1000 * 1000,
    ARGON2_MEMORY_MAX_KIB = 4 * 1024 * 1024,
    ARGON2_WORK_MAX_GIB = 64, /* passes times memory */
    KIB_PER_GIB = 1024 * 1024,
    KEY_BYTES_MAX = 512,
    /* LUKS1 On-Disk Format, "phdr": mk-digest-iter */
    LUKS1_DIGEST_ROUNDS_AT = 164,
    LUKS1_DIGEST_ROUNDS_SIZE = 4,
};

static bool
refuse(const struct luks_context *context, const char *what, GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "the LUKS header of '%s' asks for more work than virtcrypt does (%s): it may be "
              "made to stop whoever opens it",
              context->path, what);
    return false;
}

static bool
check_keyslot(const struct luks_context *context, int keyslot, GError **error)
{
    struct crypt_pbkdf_type pbkdf = {NULL};
    g_autofree char *what = NULL;
    bool is_pbkdf2;
    bool is_fine;

    if (crypt_keyslot_get_pbkdf(context->crypt, keyslot, &pbkdf) < 0 || !pbkdf.type)
        return true; /* a kind of keyslot without passphrase */
    is_pbkdf2 = strcmp(pbkdf.type, CRYPT_KDF_PBKDF2) == 0;
    is_fine = is_pbkdf2 ? pbkdf.iterations <= PBKDF2_ROUNDS_MAX
                        : pbkdf.max_memory_kb <= ARGON2_MEMORY_MAX_KIB &&
                              (uint64_t)pbkdf.iterations * pbkdf.max_memory_kb <=
                                  (uint64_t)ARGON2_WORK_MAX_GIB * KIB_PER_GIB;
    if (is_fine)
        return true;
    what = g_strdup_printf("keyslot %d: %s, %u rounds, %u KiB", keyslot,
                           is_pbkdf2 ? "pbkdf2" : "argon2", pbkdf.iterations, pbkdf.max_memory_kb);
    return refuse(context, what, error);
}

static bool
check_digest_rounds(const struct luks_context *context, uint64_t rounds, GError **error)
{
    g_autofree char *what = NULL;

    if (rounds <= PBKDF2_ROUNDS_MAX)
        return true;
    what = g_strdup_printf("digest of the volume key: %" G_GUINT64_FORMAT " rounds", rounds);
    return refuse(context, what, error);
}

static bool
check_luks1_digest(const struct luks_context *context, GError **error)
{
    g_auto(file_fd) fd = luks_context_open_file(context->path, O_RDONLY, error);
    uint8_t rounds[LUKS1_DIGEST_ROUNDS_SIZE];

    if (fd < 0)
        return false;
    if (pread(fd, rounds, sizeof(rounds), LUKS1_DIGEST_ROUNDS_AT) != sizeof(rounds)) {
        error_set_errno(error, ERROR_FROM_STORAGE, EIO, "cannot read the LUKS header of '%s'",
                        context->path);
        return false;
    }
    return check_digest_rounds(context, big_endian_get(rounds, sizeof(rounds)), error);
}

static bool
check_luks2_digests(const struct luks_context *context, GError **error)
{
    const char *text = NULL;
    struct json_object *root;
    struct json_object *digests = NULL;
    bool is_fine = true;

    if (crypt_dump_json(context->crypt, &text, 0) < 0 || !text)
        return refuse(context, "its metadata can't be read", error);
    root = json_tokener_parse(text);
    if (root && json_object_object_get_ex(root, "digests", &digests) &&
        json_object_is_type(digests, json_type_object)) {
        struct json_object_iterator digest = json_object_iter_begin(digests);
        struct json_object_iterator end = json_object_iter_end(digests);

        for (; is_fine && !json_object_iter_equal(&digest, &end); json_object_iter_next(&digest)) {
            struct json_object *rounds = NULL;

            if (json_object_object_get_ex(json_object_iter_peek_value(&digest), "iterations",
                                          &rounds))
                is_fine =
                    check_digest_rounds(context, (uint64_t)json_object_get_int64(rounds), error);
        }
    }
    if (root)
        json_object_put(root);
    return is_fine;
}

/* A LUKS2 header is not sealed: whoever can write to the storage can say in it that the data is not
 * encrypted, and the key goes on opening its keyslot. */
static bool
check_cipher(const struct luks_context *context, GError **error)
{
    const char *cipher = crypt_get_cipher(context->crypt);

    if (cipher && !g_str_has_prefix(cipher, "cipher_null") && strcmp(cipher, "null") != 0)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "the LUKS header of '%s' says that its data is not encrypted: it was changed, or is "
              "none of a volume that protects anything",
              context->path);
    return false;
}

bool
luks_limits_check(const struct luks_context *context, GError **error)
{
    struct crypt_device *crypt = context->crypt;
    int slots = crypt_keyslot_max(crypt_get_type(crypt));
    int key_bytes = crypt_get_volume_key_size(crypt);

    if (!check_cipher(context, error))
        return false;
    if (key_bytes < 0 || key_bytes > KEY_BYTES_MAX)
        return refuse(context, "length of the volume key", error);
    for (int keyslot = 0; keyslot < slots; keyslot++) {
        crypt_keyslot_info status = crypt_keyslot_status(crypt, keyslot);

        if ((status == CRYPT_SLOT_ACTIVE || status == CRYPT_SLOT_ACTIVE_LAST) &&
            !check_keyslot(context, keyslot, error))
            return false;
    }
    return luks_context_is_luks2(context) ? check_luks2_digests(context, error)
                                          : check_luks1_digest(context, error);
}
