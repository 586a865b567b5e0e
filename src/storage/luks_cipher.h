/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what an <encryption> element means to libcryptsetup: the cipher, the mode with its
 * initialization vectors, the length of the volume key, the hash, the sector size. What is left
 * unset becomes a fixed default: plain mode has no other record of it. Defaults: aes, 256 bits, xts
 * (whose volume key is twice as long), plain64, sha256; plain mode: sha512 where the volume key is
 * longer than 256 bits.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "storage/luks.h"

struct luks_cipher {
    const char *name;         /* "aes" */
    char *mode;               /* "xts-plain64" */
    size_t key_bytes;         /* of the volume key */
    const char *hash;         /* "sha256" */
    const char *integrity;    /* as libcryptsetup names it, or NULL */
    unsigned int sector_size; /* bytes; LUKS2 and plain */
};

/* `encryption` may be NULL. What libcryptsetup or, with `for_image`, QEMU does not have is
 * ERROR_CONFIG_UNSUPPORTED, naming it. */
bool luks_cipher_init(struct luks_cipher *cipher, enum luks_type type,
                      const struct encryption *encryption, bool for_image, GError **error);
void luks_cipher_clear(struct luks_cipher *cipher);

typedef struct luks_cipher luks_cipher_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(luks_cipher_t, luks_cipher_clear)
