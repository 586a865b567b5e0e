/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the key schedule of docs/sealed-format.md. The extracted pseudorandom key is kept, so that
 * deriving a secret's key is one HKDF expansion, and the key itself, so that slots can be added.
 */
#include "master/master_key.h"

#include <string.h>

#include "master/hkdf.h"
#include "util/error.h"

struct master_key {
    uint8_t id[MASTER_KEY_ID_SIZE];
    struct secret_buf *bytes;
    struct secret_buf *pseudorandom_key; /* HKDF-Extract(salt = id, master key) */
};

static const char id_info[] = "virtcrypt master key id v1";
static const char key_info[] = "virtcrypt secret key v1";
static const char generations_info[] = "virtcrypt generations v1";
static const char index_info[] = "virtcrypt index v1";
static const char slots_info[] = "virtcrypt slots v1";
static const char previous_info[] = "virtcrypt slots previous v1";

struct master_key *
master_key_new(struct secret_buf *bytes, GError **error)
{
    g_autoptr(secret_buf_t) id_extracted = NULL;
    g_autoptr(secret_buf_t) id = NULL;
    g_autoptr(master_key_t) key = g_new0(struct master_key, 1);

    key->bytes = bytes;
    if (secret_buf_len(bytes) != MASTER_KEY_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "a master key has %d bytes, not %zu",
                  MASTER_KEY_SIZE, secret_buf_len(bytes));
        return NULL;
    }
    id_extracted = hkdf_extract("", 0, bytes, error);
    id = id_extracted
             ? hkdf_expand(id_extracted, id_info, strlen(id_info), MASTER_KEY_ID_SIZE, error)
             : NULL;
    if (!id)
        return NULL;
    memcpy(key->id, secret_buf_bytes(id), sizeof(key->id));
    key->pseudorandom_key = hkdf_extract(key->id, sizeof(key->id), bytes, error);
    return key->pseudorandom_key ? g_steal_pointer(&key) : NULL;
}

struct master_key *
master_key_new_random(GError **error)
{
    struct secret_buf *bytes = secret_buf_new_random(MASTER_KEY_SIZE, error);

    return bytes ? master_key_new(bytes, error) : NULL;
}

void
master_key_free(struct master_key *key)
{
    if (!key)
        return;
    secret_buf_free(key->bytes);
    secret_buf_free(key->pseudorandom_key);
    g_free(key);
}

const uint8_t *
master_key_id(const struct master_key *key)
{
    return key->id;
}

const struct secret_buf *
master_key_bytes(const struct master_key *key)
{
    return key->bytes;
}

bool
master_key_equal_id(const struct master_key *key, const uint8_t id[MASTER_KEY_ID_SIZE])
{
    return memcmp(key->id, id, MASTER_KEY_ID_SIZE) == 0;
}

struct secret_buf *
master_key_derive(const struct master_key *key, const struct uuid *uuid, GError **error)
{
    uint8_t info[sizeof(key_info) - 1 + sizeof(uuid->bytes)];

    memcpy(info, key_info, sizeof(key_info) - 1);
    memcpy(info + sizeof(key_info) - 1, uuid->bytes, sizeof(uuid->bytes));
    return hkdf_expand(key->pseudorandom_key, info, sizeof(info), MASTER_KEY_SIZE, error);
}

static struct secret_buf *
derive_for(const struct master_key *key, const char *purpose, GError **error)
{
    return hkdf_expand(key->pseudorandom_key, purpose, strlen(purpose), MASTER_KEY_SIZE, error);
}

struct secret_buf *
master_key_derive_generations(const struct master_key *key, GError **error)
{
    return derive_for(key, generations_info, error);
}

struct secret_buf *
master_key_derive_slots(const struct master_key *key, GError **error)
{
    return derive_for(key, slots_info, error);
}

struct secret_buf *
master_key_derive_previous(const struct master_key *key, GError **error)
{
    return derive_for(key, previous_info, error);
}

struct secret_buf *
master_key_derive_index(const struct master_key *key, GError **error)
{
    return derive_for(key, index_info, error);
}
