/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: AES-256-GCM as the files of docs/sealed-format.md use it. All lengths but that of the text
 * are constants and never read from the input: GnuTLS takes nonces and tags of any length without a
 * word.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/secret_buf.h"

enum { AEAD_KEY_SIZE = 32, AEAD_NONCE_SIZE = 12, AEAD_TAG_SIZE = 16 };

/* What one call works on. */
struct aead_params {
    const struct secret_buf *key; /* AEAD_KEY_SIZE bytes */
    const uint8_t *nonce;         /* AEAD_NONCE_SIZE bytes */
    const void *aad;
    size_t aad_len;
};

/* Fills a nonce at random. */
bool aead_make_nonce(uint8_t ret_nonce[AEAD_NONCE_SIZE], GError **error);

/* `to` gets `len` + AEAD_TAG_SIZE bytes. */
bool aead_encrypt(const struct aead_params *params, const void *plain, size_t len, uint8_t *to,
                  GError **error);

/* `from` has as many bytes as `to`, and AEAD_TAG_SIZE more. *ret_tampered when the tag is wrong. */
bool aead_decrypt(const struct aead_params *params, const uint8_t *from, struct secret_buf *to,
                  bool *ret_tampered, GError **error);
