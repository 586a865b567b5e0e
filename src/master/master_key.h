/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the host's 256-bit master key while it is unlocked, and what is derived from it. How it is
 * unlocked is slots.h's and unlock.h's.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/secret_buf.h"
#include "util/uuid.h"

enum { MASTER_KEY_SIZE = 32, MASTER_KEY_ID_SIZE = 16 };

struct master_key;

/* Takes 32 raw bytes. */
struct master_key *master_key_new(struct secret_buf *bytes, GError **error);
struct master_key *master_key_new_random(GError **error);
void master_key_free(struct master_key *key);

/* The key itself; borrowed. */
const struct secret_buf *master_key_bytes(const struct master_key *key);

/* 16 bytes that name the key and tell nothing about it (HKDF-SHA256 output, own info string). */
const uint8_t *master_key_id(const struct master_key *key);
bool master_key_equal_id(const struct master_key *key, const uint8_t id[MASTER_KEY_ID_SIZE]);

/* The key-encryption key of a secret: HKDF-SHA256 (RFC 5869), salt = master key id, info = purpose
 * string and uuid (docs/sealed-format.md). 32 bytes. */
struct secret_buf *master_key_derive(const struct master_key *key, const struct uuid *uuid,
                                     GError **error);

/* The key that the file of generations is encrypted under; HKDF as above, with a purpose string of
 * its own. 32 bytes. */
struct secret_buf *master_key_derive_generations(const struct master_key *key, GError **error);

/* Of the file master.slots: the key of its tag, and the one that the master key of before is
 * encrypted under while this one takes its place. 32 bytes each. */
struct secret_buf *master_key_derive_slots(const struct master_key *key, GError **error);
struct secret_buf *master_key_derive_previous(const struct master_key *key, GError **error);
/* The key that the index of generations is authenticated by; likewise. 32 bytes. */
struct secret_buf *master_key_derive_index(const struct master_key *key, GError **error);

typedef struct master_key master_key_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(master_key_t, master_key_free)
