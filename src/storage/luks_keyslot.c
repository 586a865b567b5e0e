/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is in a LUKS header, and its keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "storage/luks.h"
#include "storage/luks_context.h"
#include "storage/luks_kdf.h"
#include "storage/luks_keyslot.h"
#include "storage/luks_token.h"
#include "util/error.h"
#include "util/file.h"

enum { SECTOR = 512, MAGIC_BYTES = 6 };
static const uint8_t magic[MAGIC_BYTES] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

bool
luks_has_magic(int fd)
{
    uint8_t start[MAGIC_BYTES];

    return pread(fd, start, sizeof(start), 0) == sizeof(start) &&
           memcmp(start, magic, sizeof(magic)) == 0;
}

void
luks_info_clear(struct luks_info *info)
{
    g_clear_pointer(&info->cipher, g_free);
    luks_token_clear(&info->token);
}

static void
read_info(const struct luks_context *context, struct luks_info *info)
{
    struct crypt_device *crypt = context->crypt;
    bool is_luks2 = luks_context_is_luks2(context);
    int slots = crypt_keyslot_max(crypt_get_type(crypt));

    info->type = is_luks2 ? LUKS_2 : LUKS_1;
    g_strlcpy(info->uuid, crypt_get_uuid(crypt) ? crypt_get_uuid(crypt) : "", sizeof(info->uuid));
    info->cipher = g_strdup_printf("%s-%s", crypt_get_cipher(crypt), crypt_get_cipher_mode(crypt));
    info->key_bits = (unsigned int)crypt_get_volume_key_size(crypt) * 8;
    info->sector_size = (unsigned int)crypt_get_sector_size(crypt);
    info->payload_offset = crypt_get_data_offset(crypt) * SECTOR;
    for (int i = 0; i < slots; i++) {
        crypt_keyslot_info status = crypt_keyslot_status(crypt, i);

        info->keyslots += status == CRYPT_SLOT_ACTIVE || status == CRYPT_SLOT_ACTIVE_LAST;
    }
    info->has_token = is_luks2 && luks_token_get(context, &info->token);
}

bool
luks_probe(const struct luks_place *place, struct luks_info *ret_info, GError **error)
{
    const char *header = place->header_path ? place->header_path : place->device;
    g_auto(file_fd) fd = luks_context_open_file(header, O_RDONLY, error);
    g_auto(luks_context_t) context = {NULL};

    if (fd < 0)
        return false;
    if (!luks_has_magic(fd)) {
        memset(ret_info, 0, sizeof(*ret_info));
        return true;
    }
    if (!luks_context_load(&context, place, error))
        return false;
    memset(ret_info, 0, sizeof(*ret_info));
    read_info(&context, ret_info);
    return true;
}

/* The keyslot that `key` opens, or -1 with an error. */
int
luks_keyslot_open(const struct luks_context *context, const struct secret_buf *key,
                  struct secret_buf **ret_volume_key, GError **error)
{
    int len = crypt_get_volume_key_size(context->crypt);
    g_autoptr(secret_buf_t) volume_key = secret_buf_new((size_t)MAX(len, 0), error);
    size_t volume_key_len = (size_t)MAX(len, 0);
    G_GNUC_UNUSED g_autoptr(GMutexLocker) turn = luks_kdf_take_turn(context, false);
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = luks_context_lock_keyslots(context);
    int keyslot;

    if (!volume_key)
        return -1;
    keyslot = crypt_volume_key_get(context->crypt, CRYPT_ANY_SLOT,
                                   (char *)secret_buf_writable(volume_key), &volume_key_len,
                                   (const char *)secret_buf_bytes(key), secret_buf_len(key));
    if (keyslot == -EPERM || keyslot == -ENOENT)
        error_set(error, ERROR_FROM_STORAGE, ERROR_AUTH_FAILED,
                  keyslot == -EPERM ? "the key does not open '%s': it is another volume's, or was "
                                      "changed"
                                    : "the key does not open '%s': the header has no keyslot",
                  context->path);
    else if (keyslot < 0)
        luks_context_set_error(context, keyslot, "opening a keyslot", error);
    if (keyslot < 0)
        return -1;
    if (ret_volume_key)
        *ret_volume_key = g_steal_pointer(&volume_key);
    return keyslot;
}

bool
luks_check_key(const struct luks_place *place, const struct secret_buf *key, GError **error)
{
    g_auto(luks_context_t) context = {NULL};

    return luks_context_load(&context, place, error) &&
           luks_keyslot_open(&context, key, NULL, error) >= 0;
}

bool
luks_add_key(const struct luks_place *place, const struct secret_buf *key,
             const struct secret_buf *new_key, enum luks_kdf kdf, GError **error)
{
    g_auto(luks_context_t) context = {NULL};
    g_autoptr(GMutexLocker) turn = NULL;
    g_autoptr(GMutexLocker) locker = NULL;
    enum luks_type type;
    int result;

    if (secret_buf_len(new_key) == 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "an empty key can't be given to '%s'", place->device);
        return false;
    }
    /* Opened first: that tells a wrong key from other failures before anything is measured. */
    if (!luks_context_load(&context, place, error) ||
        luks_keyslot_open(&context, key, NULL, error) < 0)
        return false;
    type = luks_context_is_luks2(&context) ? LUKS_2 : LUKS_1;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) held to the end of the scope */
    turn = luks_kdf_take_turn(&context, type == LUKS_2 && kdf == LUKS_KDF_STRONG);
    if (!luks_kdf_choose(&context, type, kdf, "sha256", error))
        return false;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) held to the end of the scope */
    locker = luks_context_lock_keyslots(&context);
    result = crypt_keyslot_add_by_passphrase(
        context.crypt, CRYPT_ANY_SLOT, (const char *)secret_buf_bytes(key), secret_buf_len(key),
        (const char *)secret_buf_bytes(new_key), secret_buf_len(new_key));
    /* A record that says so is written next. */
    if (result >= 0)
        return luks_context_flush(context.path, error);
    luks_context_set_error(&context, result, "adding a keyslot", error);
    return false;
}

bool
luks_remove_key(const struct luks_place *place, const struct secret_buf *key, GError **error)
{
    g_auto(luks_context_t) context = {NULL};
    int keyslot;
    int result;

    if (!luks_context_load(&context, place, error))
        return false;
    keyslot = luks_keyslot_open(&context, key, NULL, error);
    if (keyslot < 0)
        return false;
    if (crypt_keyslot_status(context.crypt, keyslot) == CRYPT_SLOT_ACTIVE_LAST) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "the key is the last that opens '%s': add another before", place->device);
        return false;
    }
    result = crypt_keyslot_destroy(context.crypt, keyslot);
    if (result >= 0)
        return luks_context_flush(context.path, error);
    luks_context_set_error(&context, result, "removing a keyslot", error);
    return false;
}

bool
luks_set_token(const struct luks_place *place, const struct luks_token *token, GError **error)
{
    g_auto(luks_context_t) context = {NULL};

    if (!luks_context_load(&context, place, error))
        return false;
    if (luks_context_is_luks2(&context))
        return luks_token_put(&context, token, error);
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "the header of '%s' is LUKS1, which has no tokens", place->device);
    return false;
}
