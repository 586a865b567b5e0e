/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of GnuTLS for it.
 */
#include "master/aead.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "master/crypto_error.h"

bool
aead_make_nonce(uint8_t ret_nonce[AEAD_NONCE_SIZE], GError **error)
{
    return crypto_error_check(gnutls_rnd(GNUTLS_RND_NONCE, ret_nonce, AEAD_NONCE_SIZE),
                              "get a nonce", error);
}

static gnutls_aead_cipher_hd_t
open_cipher(const struct secret_buf *key, GError **error)
{
    gnutls_aead_cipher_hd_t cipher = NULL;
    gnutls_datum_t datum = {.data = (void *)secret_buf_bytes(key), .size = AEAD_KEY_SIZE};

    g_assert(secret_buf_len(key) == AEAD_KEY_SIZE);
    if (!crypto_error_check(gnutls_aead_cipher_init(&cipher, GNUTLS_CIPHER_AES_256_GCM, &datum),
                            "start AES-256-GCM", error))
        return NULL;
    return cipher;
}

bool
aead_encrypt(const struct aead_params *params, const void *plain, size_t len, uint8_t *to,
             GError **error)
{
    gnutls_aead_cipher_hd_t cipher = open_cipher(params->key, error);
    size_t done = len + AEAD_TAG_SIZE;
    int rc;

    if (!cipher)
        return false;
    rc = gnutls_aead_cipher_encrypt(cipher, params->nonce, AEAD_NONCE_SIZE, params->aad,
                                    params->aad_len, AEAD_TAG_SIZE, plain, len, to, &done);
    gnutls_aead_cipher_deinit(cipher);
    return crypto_error_check(rc, "encrypt", error);
}

bool
aead_decrypt(const struct aead_params *params, const uint8_t *from, struct secret_buf *to,
             bool *ret_tampered, GError **error)
{
    gnutls_aead_cipher_hd_t cipher = open_cipher(params->key, error);
    size_t done = secret_buf_len(to);
    int rc;

    if (!cipher)
        return false;
    rc = gnutls_aead_cipher_decrypt(
        cipher, params->nonce, AEAD_NONCE_SIZE, params->aad, params->aad_len, AEAD_TAG_SIZE, from,
        secret_buf_len(to) + AEAD_TAG_SIZE, secret_buf_writable(to), &done);
    gnutls_aead_cipher_deinit(cipher);
    *ret_tampered = rc == GNUTLS_E_DECRYPTION_FAILED;
    return crypto_error_check(rc, "decrypt", error);
}
