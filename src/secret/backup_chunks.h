/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the file of a backup (docs/backup.md) but for what is in it: its head with the slots, and
 * the content in chunks that are authenticated with their number and whether they are the last.
 * Bytes in, bytes out; no files.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/aead.h"
#include "master/master_key.h"

enum {
    BACKUP_HEAD_SIZE = 80,
    BACKUP_SALT_SIZE = 32,
    BACKUP_SLOTS_MAX = 1024 * 1024,
    BACKUP_CHUNK_SIZE = 65536, /* of content, in each chunk but the last */
    BACKUP_SEALED_SIZE = BACKUP_CHUNK_SIZE + AEAD_TAG_SIZE,
};

struct backup_head {
    uint32_t slots_len;
    uint8_t master_key_id[MASTER_KEY_ID_SIZE];
    uint8_t salt[BACKUP_SALT_SIZE];
    uint64_t created; /* s since 1970 */
};

/* BACKUP_HEAD_SIZE bytes. Every field is checked, nothing is authenticated: ERROR_INVALID_SECRET.
 */
bool backup_head_parse(const uint8_t *bytes, struct backup_head *ret_head, GError **error);

struct backup_chunks;

/* For a new backup: with a salt of its own. `slots` are the bytes of the slots file. */
struct backup_chunks *backup_chunks_new(const struct master_key *master, GBytes *slots,
                                        GError **error);
/* For one that was made: `head` is its beginning, with the slots. */
struct backup_chunks *backup_chunks_open(const struct master_key *master, GBytes *head,
                                         GError **error);
void backup_chunks_free(struct backup_chunks *chunks);

/* What is before the chunks; borrowed. */
GBytes *backup_chunks_head(const struct backup_chunks *chunks);

struct backup_chunk {
    uint64_t number; /* from 0 */
    bool is_last;
};

/* `to` gets `len` + AEAD_TAG_SIZE bytes; `len` is BACKUP_CHUNK_SIZE but for the last. */
bool backup_chunks_encrypt(const struct backup_chunks *chunks, struct backup_chunk chunk,
                           const void *plain, size_t len, uint8_t *to, GError **error);
/* `from` has AEAD_TAG_SIZE more bytes than `to`. ERROR_INVALID_SECRET unless this is the chunk. */
bool backup_chunks_decrypt(const struct backup_chunks *chunks, struct backup_chunk chunk,
                           const uint8_t *from, struct secret_buf *to, GError **error);

typedef struct backup_chunks backup_chunks_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(backup_chunks_t, backup_chunks_free)
