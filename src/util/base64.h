/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: base64 (RFC 4648 section 4) of key bytes, from and to secret memory, in time that does not
 * depend on the bytes.
 */
#pragma once

#include "util/secret_buf.h"

/* Decodes; white space at the end is allowed, anything else outside the alphabet is an error. */
struct secret_buf *base64_decode_secret(const struct secret_buf *text, GError **error);

/* Encodes with padding and without line breaks or a closing NUL. */
struct secret_buf *base64_encode_secret(const struct secret_buf *value, GError **error);
