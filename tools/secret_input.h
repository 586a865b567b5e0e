/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where values come from: files, arguments, and the random generator. They never leave
 * secret memory, but for the argument, which is wiped where it was.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/secret_buf.h"

enum {
    SECRET_VALUE_MAX = 65536,                                /* bytes, by libvirt's protocol */
    SECRET_GENERATE_MAX_BITS = SECRET_VALUE_MAX / 4 * 3 * 8, /* what fits as base64url */
};

/* The file's bytes (at most SECRET_VALUE_MAX), or with `is_base64` what they decode to. White space
 * in base64 is ignored. */
struct secret_buf *secret_input_read_file(const char *path, bool is_base64, GError **error);

/* Decodes base64 `text`, which is wiped. */
struct secret_buf *secret_input_take_base64(char *text, GError **error);

/* `bits` random bits (a multiple of 8) as base64url text without padding (RFC 4648 section 5),
 * since QEMU wants the passphrase of a LUKS disk to be UTF-8. */
struct secret_buf *secret_input_generate(int bits, GError **error);
