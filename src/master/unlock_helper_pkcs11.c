/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: encrypting a key by an AES key on a token (CKM_AES_GCM, 12-byte IV of ours, 16-byte tag),
 * and back. The additional data is constant: what the token encrypted for something else does not
 * open here.
 */
#include <string.h>

#include "master/unlock_helper.h"
#include "master/unlock_helper_token.h"
#include "util/error.h"

enum {
    IV_SIZE = 12,
    TAG_SIZE = 16,
    WRAPPED_SIZE = UNLOCK_HELPER_KEY_SIZE + TAG_SIZE,
    ROOM_SIZE = 64, /* some tokens want room for the tag in what they decrypt, too */
    BITS = 8,
};

static const char additional_data[] = "virtcrypt pkcs11 v1";

static CK_GCM_PARAMS
make_params(const uint8_t iv[IV_SIZE])
{
    return (CK_GCM_PARAMS){
        .iv_ptr = (unsigned char *)iv,
        .iv_len = IV_SIZE,
        .iv_bits = IV_SIZE * BITS,
        .aad_ptr = (unsigned char *)additional_data,
        .aad_len = sizeof(additional_data) - 1,
        .tag_bits = TAG_SIZE * BITS,
    };
}

static const char *
get_uri(const struct fields *fields, GError **error)
{
    const char *uri = fields_get(fields, "uri");

    if (!uri)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "the field 'uri' is missing");
    return uri;
}

static bool
check_use(CK_RV rv, const char *what, GError **error)
{
    if (unlock_token_check(rv, what, error))
        return true;
    if (rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID)
        g_prefix_error(error, "the token has no AES-GCM that takes an IV of ours: ");
    else if (rv == CKR_KEY_FUNCTION_NOT_PERMITTED)
        g_prefix_error(error, "the key has to be made for encryption and decryption: ");
    else if (rv == CKR_USER_NOT_LOGGED_IN)
        g_prefix_error(error, "the URI needs ?pin-source=FILE: ");
    return false;
}

bool
unlock_helper_pkcs11_wrap(const struct helper_message *request, struct helper_message *answer,
                          GError **error)
{
    const struct secret_buf *key =
        unlock_helper_key(request, UNLOCK_HELPER_KEY_SIZE, UNLOCK_HELPER_KEY_SIZE, error);
    const char *uri = key ? get_uri(request->fields, error) : NULL;
    g_auto(unlock_token_t) token = {0};
    g_autoptr(secret_buf_t) iv = uri ? secret_buf_new_random(IV_SIZE, error) : NULL;
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    uint8_t wrapped[ROOM_SIZE];
    CK_ULONG len = sizeof(wrapped);

    if (!iv || !unlock_token_open(&token, uri, error))
        return false;
    params = make_params(secret_buf_bytes(iv));
    if (!check_use(token.module->C_EncryptInit(token.session, &mechanism, token.key),
                   "encrypt by the token", error) ||
        !check_use(token.module->C_Encrypt(token.session, (CK_BYTE *)secret_buf_bytes(key),
                                           secret_buf_len(key), wrapped, &len),
                   "encrypt by the token", error))
        return false;
    if (len != WRAPPED_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "the token made %lu bytes of a key instead of %d: its AES-GCM is not that of "
                  "PKCS#11 2.40",
                  len, WRAPPED_SIZE);
        return false;
    }
    return fields_set_bytes(answer->fields, "iv", secret_buf_bytes(iv), IV_SIZE, error) &&
           fields_set_bytes(answer->fields, "wrapped", wrapped, WRAPPED_SIZE, error);
}

/* What a token says of a wrong key or changed bytes differs, and tells no more than this. */
static bool
fail_decrypt(CK_RV rv, GError **error)
{
    if (check_use(rv, "decrypt by the token", error))
        return true;
    g_prefix_error(error, "the key on the token may not be the one that the slot was made with: ");
    return false;
}

static bool
get_wrapped(const struct fields *fields, GBytes **ret_iv, GBytes **ret_wrapped, GError **error)
{
    *ret_iv = fields_get_bytes(fields, "iv", IV_SIZE, error);
    *ret_wrapped = *ret_iv ? fields_get_bytes(fields, "wrapped", WRAPPED_SIZE, error) : NULL;
    if (!*ret_wrapped)
        return false;
    if (g_bytes_get_size(*ret_iv) == IV_SIZE && g_bytes_get_size(*ret_wrapped) == WRAPPED_SIZE)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "the slot's wrapped key has not the length that it is made with");
    return false;
}

bool
unlock_helper_pkcs11_unwrap(const struct helper_message *request, struct helper_message *answer,
                            GError **error)
{
    const char *uri = get_uri(request->fields, error);
    g_auto(unlock_token_t) token = {0};
    g_autoptr(GBytes) iv = NULL;
    g_autoptr(GBytes) wrapped = NULL;
    g_autoptr(secret_buf_t) key = NULL;
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_ULONG len = ROOM_SIZE;

    if (!uri || !get_wrapped(request->fields, &iv, &wrapped, error) ||
        !unlock_token_open(&token, uri, error))
        return false;
    key = secret_buf_new(ROOM_SIZE, error);
    if (!key)
        return false;
    params = make_params(g_bytes_get_data(iv, NULL));
    if (!check_use(token.module->C_DecryptInit(token.session, &mechanism, token.key),
                   "decrypt by the token", error) ||
        !fail_decrypt(token.module->C_Decrypt(token.session,
                                              (CK_BYTE *)g_bytes_get_data(wrapped, NULL),
                                              WRAPPED_SIZE, secret_buf_writable(key), &len),
                      error))
        return false;
    secret_buf_truncate(key, MIN(len, ROOM_SIZE));
    answer->key = g_steal_pointer(&key);
    return true;
}
