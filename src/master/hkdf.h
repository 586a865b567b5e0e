/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: HKDF-SHA256 (RFC 5869), from and to secret memory.
 */
#pragma once

#include <glib.h>
#include <stddef.h>

#include "util/secret_buf.h"

enum { HKDF_SIZE = 32 };

/* HKDF-Extract (section 2.2): HKDF_SIZE bytes. An empty salt stands for zeros. */
struct secret_buf *hkdf_extract(const void *salt, size_t salt_len, const struct secret_buf *input,
                                GError **error);

/* HKDF-Expand (section 2.3): `len` bytes. */
struct secret_buf *hkdf_expand(const struct secret_buf *extracted, const void *info,
                               size_t info_len, size_t len, GError **error);

/* Both, with a purpose string for info: HKDF_SIZE bytes. */
struct secret_buf *hkdf_derive(const void *salt, size_t salt_len, const struct secret_buf *input,
                               const char *purpose, GError **error);
