/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: those bytes. The key is of one backup alone (its salt), so that the numbers of chunks are
 * nonces that never meet it twice.
 */
#include "secret/backup_chunks.h"

#include <gnutls/crypto.h>
#include <string.h>

#include "master/crypto_error.h"
#include "master/hkdf.h"
#include "util/big_endian.h"
#include "util/error.h"

enum { FORMAT_VERSION = 1, FORMAT_ALGORITHM = 1, DIGEST_SIZE = 32 };

/* Where each field starts. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_ALGORITHM = 10,
    AT_SLOTS_LEN = 12,
    AT_MASTER_KEY_ID = 16,
    AT_SALT = 32,
    AT_CREATED = 64,
    AT_ZERO = 72,
};
G_STATIC_ASSERT(AT_SALT + BACKUP_SALT_SIZE == AT_CREATED);
G_STATIC_ASSERT(AT_ZERO + 8 == BACKUP_HEAD_SIZE);

static const uint8_t format_magic[8] = {'V', 'C', 'B', 'A', 'C', 'K', 'U', 'P'};
static const char key_purpose[] = "virtcrypt backup v1";

struct backup_chunks {
    GBytes *head;
    uint8_t digest[DIGEST_SIZE]; /* of the head */
    struct secret_buf *key;
};

static bool
refuse(GError **error, const char *reason)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "the backup %s", reason);
    return false;
}

bool
backup_head_parse(const uint8_t *bytes, struct backup_head *ret_head, GError **error)
{
    struct backup_head head = {0};

    if (memcmp(bytes + AT_MAGIC, format_magic, sizeof(format_magic)) != 0)
        return refuse(error, "is none: it does not begin as one");
    if (big_endian_get(bytes + AT_VERSION, 2) != FORMAT_VERSION ||
        big_endian_get(bytes + AT_ALGORITHM, 2) != FORMAT_ALGORITHM)
        return refuse(error, "is in a format that this program does not know; use the newer "
                             "virtcrypt that made it");
    if (big_endian_get(bytes + AT_SLOTS_LEN, 4) > BACKUP_SLOTS_MAX ||
        big_endian_get(bytes + AT_ZERO, 8) != 0)
        return refuse(error, "is damaged (in its head); use another one");
    head.slots_len = (uint32_t)big_endian_get(bytes + AT_SLOTS_LEN, 4);
    memcpy(head.master_key_id, bytes + AT_MASTER_KEY_ID, MASTER_KEY_ID_SIZE);
    memcpy(head.salt, bytes + AT_SALT, BACKUP_SALT_SIZE);
    head.created = big_endian_get(bytes + AT_CREATED, 8);
    *ret_head = head;
    return true;
}

struct backup_chunks *
backup_chunks_open(const struct master_key *master, GBytes *head, GError **error)
{
    g_autoptr(backup_chunks_t) chunks = g_new0(struct backup_chunks, 1);
    gsize len = 0;
    const uint8_t *bytes = g_bytes_get_data(head, &len);
    int rc;

    g_assert(len >= BACKUP_HEAD_SIZE);
    if (memcmp(bytes + AT_MASTER_KEY_ID, master_key_id(master), MASTER_KEY_ID_SIZE) != 0) {
        refuse(error, "is damaged (its slots are those of another master key); use another one");
        return NULL;
    }
    chunks->head = g_bytes_ref(head);
    rc = gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, len, chunks->digest);
    if (!crypto_error_check(rc, "hash the head of a backup", error))
        return NULL;
    chunks->key = hkdf_derive(bytes + AT_SALT, BACKUP_SALT_SIZE, master_key_bytes(master),
                              key_purpose, error);
    return chunks->key ? g_steal_pointer(&chunks) : NULL;
}

struct backup_chunks *
backup_chunks_new(const struct master_key *master, GBytes *slots, GError **error)
{
    gsize slots_len = 0;
    const void *slots_bytes = g_bytes_get_data(slots, &slots_len);
    g_autoptr(GBytes) head = NULL;
    uint8_t *bytes;
    int rc;

    g_assert(slots_len <= BACKUP_SLOTS_MAX);
    bytes = g_malloc0(BACKUP_HEAD_SIZE + slots_len);
    head = g_bytes_new_take(bytes, BACKUP_HEAD_SIZE + slots_len);
    memcpy(bytes + AT_MAGIC, format_magic, sizeof(format_magic));
    big_endian_put(bytes + AT_VERSION, FORMAT_VERSION, 2);
    big_endian_put(bytes + AT_ALGORITHM, FORMAT_ALGORITHM, 2);
    big_endian_put(bytes + AT_SLOTS_LEN, slots_len, 4);
    memcpy(bytes + AT_MASTER_KEY_ID, master_key_id(master), MASTER_KEY_ID_SIZE);
    big_endian_put(bytes + AT_CREATED, (uint64_t)(g_get_real_time() / G_USEC_PER_SEC), 8);
    memcpy(bytes + BACKUP_HEAD_SIZE, slots_bytes, slots_len);
    rc = gnutls_rnd(GNUTLS_RND_NONCE, bytes + AT_SALT, BACKUP_SALT_SIZE);
    return crypto_error_check(rc, "make a salt", error) ? backup_chunks_open(master, head, error)
                                                        : NULL;
}

void
backup_chunks_free(struct backup_chunks *chunks)
{
    if (!chunks)
        return;
    secret_buf_free(chunks->key);
    g_clear_pointer(&chunks->head, g_bytes_unref);
    g_free(chunks);
}

GBytes *
backup_chunks_head(const struct backup_chunks *chunks)
{
    return chunks->head;
}

static struct aead_params
make_params(const struct backup_chunks *chunks, struct backup_chunk chunk,
            uint8_t nonce[AEAD_NONCE_SIZE])
{
    big_endian_put(nonce, chunk.is_last, 4);
    big_endian_put(nonce + 4, chunk.number, 8);
    return (struct aead_params){chunks->key, nonce, chunks->digest, DIGEST_SIZE};
}

bool
backup_chunks_encrypt(const struct backup_chunks *chunks, struct backup_chunk chunk,
                      const void *plain, size_t len, uint8_t *to, GError **error)
{
    uint8_t nonce[AEAD_NONCE_SIZE];
    const struct aead_params params = make_params(chunks, chunk, nonce);

    g_assert(chunk.is_last ? len <= BACKUP_CHUNK_SIZE : len == BACKUP_CHUNK_SIZE);
    return aead_encrypt(&params, plain, len, to, error);
}

bool
backup_chunks_decrypt(const struct backup_chunks *chunks, struct backup_chunk chunk,
                      const uint8_t *from, struct secret_buf *to, GError **error)
{
    uint8_t nonce[AEAD_NONCE_SIZE];
    const struct aead_params params = make_params(chunks, chunk, nonce);
    g_autoptr(GError) failure = NULL;
    bool is_tampered = false;

    if (aead_decrypt(&params, from, to, &is_tampered, &failure))
        return true;
    if (is_tampered)
        return refuse(error, "is damaged, cut off or was tampered with; use another one");
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}
