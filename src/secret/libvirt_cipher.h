/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what libvirt 12.1 and later puts into UUID.aes256cbc: base64 of an initialization vector of
 * 16 bytes and of the value under AES-256-CBC, with PKCS#7's padding. Nothing in it is
 * authenticated: what tells a wrong key is the padding alone.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/secret_buf.h"

enum { LIBVIRT_CIPHER_KEY_SIZE = 32, LIBVIRT_CIPHER_BLOCK = 16 };

/* So many bytes has the decoded file of a value of `len` bytes. */
#define LIBVIRT_CIPHER_SIZE(len)                                                                   \
    (LIBVIRT_CIPHER_BLOCK + ((len) / LIBVIRT_CIPHER_BLOCK + 1) * LIBVIRT_CIPHER_BLOCK)

/* Whether `data` (decoded) can be such a file at all: its length is right. */
bool libvirt_cipher_is_whole(const struct secret_buf *data);

/* The value; NULL with ERROR_INVALID_SECRET if the padding is wrong. `data` is whole, `key` has
 * LIBVIRT_CIPHER_KEY_SIZE bytes. *ret_padding: so many bytes of it were right (1 to 16): a wrong
 * key has N or more of them once in about 256^N times. */
struct secret_buf *libvirt_cipher_decrypt(const struct secret_buf *key,
                                          const struct secret_buf *data, unsigned int *ret_padding,
                                          GError **error);

/* The whole file, base64 without a line break. */
GBytes *libvirt_cipher_encrypt(const struct secret_buf *key, const struct secret_buf *value,
                               GError **error);
