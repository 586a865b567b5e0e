/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of GnuTLS for it, and the padding.
 */
#include "secret/libvirt_cipher.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "master/crypto_error.h"
#include "util/error.h"

static gnutls_cipher_hd_t
open_cipher(const struct secret_buf *key, const uint8_t *iv, GError **error)
{
    gnutls_cipher_hd_t cipher = NULL;
    gnutls_datum_t key_datum = {.data = (void *)secret_buf_bytes(key),
                                .size = LIBVIRT_CIPHER_KEY_SIZE};
    gnutls_datum_t iv_datum = {.data = (void *)iv, .size = LIBVIRT_CIPHER_BLOCK};

    g_assert(secret_buf_len(key) == LIBVIRT_CIPHER_KEY_SIZE);
    if (!crypto_error_check(
            gnutls_cipher_init(&cipher, GNUTLS_CIPHER_AES_256_CBC, &key_datum, &iv_datum),
            "start AES-256-CBC", error))
        return NULL;
    return cipher;
}

bool
libvirt_cipher_is_whole(const struct secret_buf *data)
{
    size_t len = secret_buf_len(data);

    return len >= 2 * (size_t)LIBVIRT_CIPHER_BLOCK && len % LIBVIRT_CIPHER_BLOCK == 0;
}

/* 0: it is wrong. */
static unsigned int
count_padding(const struct secret_buf *plain)
{
    const uint8_t *bytes = secret_buf_bytes(plain);
    size_t len = secret_buf_len(plain);
    uint8_t padding = bytes[len - 1];

    if (padding < 1 || padding > LIBVIRT_CIPHER_BLOCK)
        return 0;
    for (size_t i = len - padding; i < len; i++) {
        if (bytes[i] != padding)
            return 0;
    }
    return padding;
}

struct secret_buf *
libvirt_cipher_decrypt(const struct secret_buf *key, const struct secret_buf *data,
                       unsigned int *ret_padding, GError **error)
{
    const uint8_t *bytes = secret_buf_bytes(data);
    size_t len = secret_buf_len(data) - LIBVIRT_CIPHER_BLOCK;
    g_autoptr(secret_buf_t) plain = secret_buf_new(len, error);
    gnutls_cipher_hd_t cipher = plain ? open_cipher(key, bytes, error) : NULL;
    unsigned int padding;
    int rc;

    if (!cipher)
        return NULL;
    rc = gnutls_cipher_decrypt2(cipher, bytes + LIBVIRT_CIPHER_BLOCK, len,
                                secret_buf_writable(plain), len);
    gnutls_cipher_deinit(cipher);
    if (!crypto_error_check(rc, "decrypt", error))
        return NULL;
    padding = count_padding(plain);
    if (padding == 0) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "libvirt's key does not open it: it is another key, or the file is damaged");
        return NULL;
    }
    secret_buf_truncate(plain, len - padding);
    *ret_padding = padding;
    return g_steal_pointer(&plain);
}

/* The value with its padding. */
static struct secret_buf *
pad(const struct secret_buf *value, GError **error)
{
    size_t len = secret_buf_len(value);
    size_t padded = LIBVIRT_CIPHER_SIZE(len) - LIBVIRT_CIPHER_BLOCK;
    struct secret_buf *plain = secret_buf_new(padded, error);

    if (!plain)
        return NULL;
    memcpy(secret_buf_writable(plain), secret_buf_bytes(value), len);
    memset(secret_buf_writable(plain) + len, (int)(padded - len), padded - len);
    return plain;
}

GBytes *
libvirt_cipher_encrypt(const struct secret_buf *key, const struct secret_buf *value, GError **error)
{
    g_autoptr(secret_buf_t) plain = pad(value, error);
    size_t len = plain ? secret_buf_len(plain) : 0;
    g_autofree uint8_t *data = g_malloc0(LIBVIRT_CIPHER_BLOCK + len);
    gnutls_cipher_hd_t cipher;
    char *text;
    int rc;

    if (!plain || !crypto_error_check(gnutls_rnd(GNUTLS_RND_NONCE, data, LIBVIRT_CIPHER_BLOCK),
                                      "get an initialization vector", error))
        return NULL;
    cipher = open_cipher(key, data, error);
    if (!cipher)
        return NULL;
    rc = gnutls_cipher_encrypt2(cipher, secret_buf_bytes(plain), len, data + LIBVIRT_CIPHER_BLOCK,
                                len);
    gnutls_cipher_deinit(cipher);
    if (!crypto_error_check(rc, "encrypt", error))
        return NULL;
    text = g_base64_encode(data, LIBVIRT_CIPHER_BLOCK + len);
    return g_bytes_new_take(text, strlen(text));
}
