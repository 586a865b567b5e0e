/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the sealed form of one value (docs/sealed-format.md): AES-256-GCM under a fresh data key,
 * which is wrapped by the secret's key-encryption key; the header is authenticated and binds uuid,
 * generation, master key and definition. Bytes in, bytes out; no files.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/secret_def.h"
#include "master/master_key.h"
#include "util/secret_buf.h"

enum { SEALED_VALUE_MAX = 65536, SEALED_SIZE_MAX = SEALED_VALUE_MAX + 512 };

/* What a sealed value opens for and nothing else. Borrowed. */
struct sealed_binding {
    const struct secret_def *def; /* its uuid, usage, private, ephemeral */
    const struct uuid *owner;     /* the guest whose copy it is; NULL: the secret belongs to none */
};

/* Seals `value`. */
GBytes *sealed_format(const struct master_key *key, const struct sealed_binding *binding,
                      uint64_t generation, const struct secret_buf *value, GError **error);

/* Opens and authenticates. Any mismatch (length, magic, version, uuid, master key, definition,
 * owner, tag) is ERROR_INVALID_SECRET and says which. */
struct secret_buf *sealed_parse(const struct master_key *key, const struct sealed_binding *binding,
                                const void *bytes, size_t len, GError **error);

/* The same value under another key: `bytes` are under `from`, the result is under `to`. Nothing but
 * the wrapping of the data key changes, so that no definition is needed; that is checked, the rest
 * is not. Errors as of sealed_parse. */
GBytes *sealed_rewrap(const struct master_key *from, const struct master_key *to, const void *bytes,
                      size_t len, GError **error);

/* Whether these look like all bytes of a sealed value, perhaps under another key, for another
 * definition, or in a newer format (unauthenticated). */
bool sealed_is_whole(const void *bytes, size_t len);

/* Reads the generation of the header without a key (unauthenticated: for choosing the next). */
bool sealed_parse_generation(const void *bytes, size_t len, uint64_t *ret_generation);

/* The id of the master key that the header names (MASTER_KEY_ID_SIZE bytes, unauthenticated), or
 * NULL if it is no sealed value of this format. */
const uint8_t *sealed_master_key_id(const void *bytes, size_t len);

/* Whether a value that was sealed for `a` opens for `b`, too: of the same secret, they agree in all
 * that a value is bound to. */
bool sealed_is_bound_alike(const struct secret_def *a, const struct secret_def *b);
