/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the bytes of a sealed value (docs/sealed-format.md). All lengths but that of the value are
 * constants here and never read from the input.
 */
#include "secret/sealed.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdarg.h>
#include <string.h>

#include "master/aead.h"
#include "master/crypto_error.h"
#include "util/big_endian.h"
#include "util/error.h"

enum { FORMAT_VERSION = 1, FORMAT_ALGORITHM = 1 };
enum { DIGEST_SIZE = 32, OWNER_SIZE = 16 };

/* Where each field starts. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_ALGORITHM = 10,
    AT_VALUE_LEN = 12,
    AT_UUID = 16,
    AT_GENERATION = 32,
    AT_DEFINITION = 40,
    AT_MASTER_KEY_ID = AT_DEFINITION + DIGEST_SIZE, /* up to here authenticated with the value */
    AT_WRAP_NONCE = AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE, /* up to here with the data key */
    AT_WRAPPED_KEY = AT_WRAP_NONCE + AEAD_NONCE_SIZE,
    AT_WRAP_TAG = AT_WRAPPED_KEY + AEAD_KEY_SIZE,
    AT_VALUE_NONCE = AT_WRAP_TAG + AEAD_TAG_SIZE,
    AT_VALUE = AT_VALUE_NONCE + AEAD_NONCE_SIZE,
    OVERHEAD = AT_VALUE + AEAD_TAG_SIZE,
};
G_STATIC_ASSERT(AT_VALUE == 160 && SEALED_VALUE_MAX + OVERHEAD <= SEALED_SIZE_MAX);

static const uint8_t format_magic[8] = {'V', 'C', 'S', 'E', 'A', 'L', 'E', 'D'};
static const char definition_magic[] = "virtcrypt definition v1";

/* SHA-256 of what the value is bound to; see docs/sealed-format.md. */
static bool
digest_definition(const struct sealed_binding *binding, uint8_t ret_digest[DIGEST_SIZE],
                  GError **error)
{
    const struct secret_def *def = binding->def;
    uint8_t fixed[sizeof(definition_magic) - 1 + 4 + 1 + 1 + OWNER_SIZE + 4] = {0};
    size_t usage_len = def->usage_id ? strlen(def->usage_id) : 0;
    uint8_t *next = fixed + sizeof(definition_magic) - 1;
    gnutls_hash_hd_t hash;
    int rc;

    memcpy(fixed, definition_magic, sizeof(definition_magic) - 1);
    big_endian_put(next, (uint64_t)def->usage_type, 4);
    next[4] = def->is_private;
    next[5] = def->is_ephemeral;
    if (binding->owner)
        memcpy(next + 6, binding->owner->bytes, OWNER_SIZE);
    big_endian_put(next + 6 + OWNER_SIZE, usage_len, 4);
    rc = gnutls_hash_init(&hash, GNUTLS_DIG_SHA256);
    if (!crypto_error_check(rc, "start SHA-256", error))
        return false;
    rc = gnutls_hash(hash, fixed, sizeof(fixed));
    if (rc >= 0 && usage_len > 0)
        rc = gnutls_hash(hash, def->usage_id, usage_len);
    gnutls_hash_deinit(hash, ret_digest);
    return crypto_error_check(rc, "hash the definition", error);
}

static bool
put_header(uint8_t *bytes, const struct master_key *key, const struct sealed_binding *binding,
           uint64_t generation, size_t value_len, GError **error)
{
    const struct uuid *uuid = &binding->def->uuid;

    memcpy(bytes + AT_MAGIC, format_magic, sizeof(format_magic));
    big_endian_put(bytes + AT_VERSION, FORMAT_VERSION, 2);
    big_endian_put(bytes + AT_ALGORITHM, FORMAT_ALGORITHM, 2);
    big_endian_put(bytes + AT_VALUE_LEN, value_len, 4);
    memcpy(bytes + AT_UUID, uuid->bytes, sizeof(uuid->bytes));
    big_endian_put(bytes + AT_GENERATION, generation, 8);
    memcpy(bytes + AT_MASTER_KEY_ID, master_key_id(key), MASTER_KEY_ID_SIZE);
    return digest_definition(binding, bytes + AT_DEFINITION, error) &&
           aead_make_nonce(bytes + AT_WRAP_NONCE, error) &&
           aead_make_nonce(bytes + AT_VALUE_NONCE, error);
}

GBytes *
sealed_format(const struct master_key *key, const struct sealed_binding *binding,
              uint64_t generation, const struct secret_buf *value, GError **error)
{
    size_t value_len = secret_buf_len(value);
    g_autoptr(secret_buf_t) wrapping_key = NULL;
    g_autoptr(secret_buf_t) data_key = NULL;
    g_autofree uint8_t *bytes = NULL;
    struct aead_params wrap;
    struct aead_params seal;

    if (value_len > SEALED_VALUE_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the value has %zu bytes, more than the maximum of %d", value_len,
                  SEALED_VALUE_MAX);
        return NULL;
    }
    bytes = g_malloc0(value_len + OVERHEAD);
    wrapping_key = master_key_derive(key, &binding->def->uuid, error);
    if (!wrapping_key || !put_header(bytes, key, binding, generation, value_len, error))
        return NULL;
    data_key = secret_buf_new_random(AEAD_KEY_SIZE, error);
    if (!data_key)
        return NULL;
    wrap = (struct aead_params){wrapping_key, bytes + AT_WRAP_NONCE, bytes, AT_WRAP_NONCE};
    seal = (struct aead_params){data_key, bytes + AT_VALUE_NONCE, bytes, AT_MASTER_KEY_ID};
    if (!aead_encrypt(&wrap, secret_buf_bytes(data_key), AEAD_KEY_SIZE, bytes + AT_WRAPPED_KEY,
                      error) ||
        !aead_encrypt(&seal, secret_buf_bytes(value), value_len, bytes + AT_VALUE, error))
        return NULL;
    return g_bytes_new_take(g_steal_pointer(&bytes), value_len + OVERHEAD);
}

/* Says what is wrong with the value of the secret, in its text `format` after the name. */
static bool refuse(GError **error, const struct secret_def *def, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static bool
refuse(GError **error, const struct secret_def *def, const char *format, ...)
{
    g_autofree char *reason = NULL;
    char uuid[UUID_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    reason = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "the sealed value of secret %s %s",
              uuid_format(&def->uuid, uuid), reason);
    return false;
}

#define REMEDY "put a good copy of its .key file back, or set the value again"

static bool
is_all_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Is it a whole file of this format? */
static bool
check_shape(const struct secret_def *def, const uint8_t *bytes, size_t len, GError **error)
{
    uint64_t version;
    uint64_t algorithm;
    uint64_t value_len;

    if (len == 0)
        return refuse(error, def, "is empty; " REMEDY);
    if (is_all_zero(bytes, len))
        return refuse(error, def, "holds nothing but zeros; " REMEDY);
    if (memcmp(bytes, format_magic, MIN(len, sizeof(format_magic))) != 0)
        return refuse(error, def, "is not in virtcrypt's format; " REMEDY);
    if (len < AT_VALUE_LEN)
        return refuse(error, def, "is cut off after %zu bytes; " REMEDY, len);
    version = big_endian_get(bytes + AT_VERSION, 2);
    algorithm = big_endian_get(bytes + AT_ALGORITHM, 2);
    if (version != FORMAT_VERSION || algorithm != FORMAT_ALGORITHM)
        return refuse(error, def,
                      "has format %u with algorithm %u, and this program knows format %d with "
                      "algorithm %d; use the newer virtcrypt that wrote it, or set the value again",
                      (unsigned int)version, (unsigned int)algorithm, FORMAT_VERSION,
                      FORMAT_ALGORITHM);
    if (len < OVERHEAD)
        return refuse(error, def, "is cut off after %zu bytes; " REMEDY, len);
    value_len = big_endian_get(bytes + AT_VALUE_LEN, 4);
    if (value_len > SEALED_VALUE_MAX || len > value_len + OVERHEAD)
        return refuse(error, def, "is damaged (its length is wrong); " REMEDY);
    if (len < value_len + OVERHEAD)
        return refuse(error, def, "is cut off after %zu of %zu bytes; " REMEDY, len,
                      (size_t)value_len + OVERHEAD);
    return true;
}

static void
format_id(const uint8_t *id, char text[2 * MASTER_KEY_ID_SIZE + 1])
{
    for (size_t i = 0; i < MASTER_KEY_ID_SIZE; i++)
        g_snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static bool
check_master_key(const struct master_key *key, const struct secret_def *def, const uint8_t *bytes,
                 GError **error)
{
    char theirs[2 * MASTER_KEY_ID_SIZE + 1];
    char ours[2 * MASTER_KEY_ID_SIZE + 1];

    if (memcmp(bytes + AT_MASTER_KEY_ID, master_key_id(key), MASTER_KEY_ID_SIZE) == 0)
        return true;
    format_id(bytes + AT_MASTER_KEY_ID, theirs);
    format_id(master_key_id(key), ours);
    return refuse(error, def,
                  "was sealed under a key that is not here (%s, the present one is %s): under "
                  "another master key, or under a key-encryption generation that was destroyed "
                  "after an erasure; put a newer copy of its .key file back, or set the value "
                  "again",
                  theirs, ours);
}

/* Is it meant for this secret, under this key and this definition? */
static bool
check_binding(const struct master_key *key, const struct sealed_binding *binding,
              const uint8_t *bytes, GError **error)
{
    const struct secret_def *def = binding->def;
    uint8_t digest[DIGEST_SIZE];
    struct uuid uuid;
    char text[UUID_TEXT_SIZE];

    memcpy(uuid.bytes, bytes + AT_UUID, sizeof(uuid.bytes));
    if (!uuid_equal(&uuid, &def->uuid))
        return refuse(error, def, "is that of secret %s; " REMEDY, uuid_format(&uuid, text));
    if (!check_master_key(key, def, bytes, error))
        return false;
    if (!digest_definition(binding, digest, error))
        return false;
    if (memcmp(bytes + AT_DEFINITION, digest, DIGEST_SIZE) != 0)
        return refuse(
            error, def,
            "was sealed for another definition (usage, private, ephemeral or the guest that "
            "owns it differ); put the .xml file back as it was, or set the value again");
    return true;
}

/* Decrypts into `to`; a wrong tag is an error that names the secret. */
static bool
open_part(const struct aead_params *params, const uint8_t *from, struct secret_buf *to,
          const struct secret_def *def, GError **error)
{
    g_autoptr(GError) failure = NULL;
    bool tampered = false;

    if (aead_decrypt(params, from, to, &tampered, &failure))
        return true;
    if (tampered)
        return refuse(error, def, "is damaged or was tampered with; " REMEDY);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

struct secret_buf *
sealed_parse(const struct master_key *key, const struct sealed_binding *binding, const void *sealed,
             size_t len, GError **error)
{
    const struct secret_def *def = binding->def;
    const uint8_t *bytes = sealed;
    g_autoptr(secret_buf_t) wrapping_key = NULL;
    g_autoptr(secret_buf_t) data_key = NULL;
    g_autoptr(secret_buf_t) value = NULL;
    struct aead_params wrap;
    struct aead_params seal;

    if (!check_shape(def, bytes, len, error) || !check_binding(key, binding, bytes, error))
        return NULL;
    wrapping_key = master_key_derive(key, &def->uuid, error);
    data_key = wrapping_key ? secret_buf_new(AEAD_KEY_SIZE, error) : NULL;
    value = data_key ? secret_buf_new(len - OVERHEAD, error) : NULL;
    if (!value)
        return NULL;
    wrap = (struct aead_params){wrapping_key, bytes + AT_WRAP_NONCE, bytes, AT_WRAP_NONCE};
    seal = (struct aead_params){data_key, bytes + AT_VALUE_NONCE, bytes, AT_MASTER_KEY_ID};
    if (!open_part(&wrap, bytes + AT_WRAPPED_KEY, data_key, def, error) ||
        !open_part(&seal, bytes + AT_VALUE, value, def, error))
        return NULL;
    return g_steal_pointer(&value);
}

/* Only the data key's wrapping is opened and made anew: the value's own additional data ends before
 * the id of the master key. */
GBytes *
sealed_rewrap(const struct master_key *from, const struct master_key *to, const void *sealed,
              size_t len, GError **error)
{
    struct secret_def def = {0};
    g_autoptr(secret_buf_t) old_key = NULL;
    g_autoptr(secret_buf_t) new_key = NULL;
    g_autoptr(secret_buf_t) data_key = NULL;
    g_autofree uint8_t *bytes = NULL;
    struct aead_params wrap;

    if (len >= AT_UUID + sizeof(def.uuid.bytes))
        memcpy(def.uuid.bytes, (const uint8_t *)sealed + AT_UUID, sizeof(def.uuid.bytes));
    if (!check_shape(&def, sealed, len, error) || !check_master_key(from, &def, sealed, error))
        return NULL;
    bytes = g_memdup2(sealed, len);
    old_key = master_key_derive(from, &def.uuid, error);
    new_key = old_key ? master_key_derive(to, &def.uuid, error) : NULL;
    data_key = new_key ? secret_buf_new(AEAD_KEY_SIZE, error) : NULL;
    if (!data_key)
        return NULL;
    wrap = (struct aead_params){old_key, bytes + AT_WRAP_NONCE, bytes, AT_WRAP_NONCE};
    if (!open_part(&wrap, bytes + AT_WRAPPED_KEY, data_key, &def, error))
        return NULL;
    memcpy(bytes + AT_MASTER_KEY_ID, master_key_id(to), MASTER_KEY_ID_SIZE);
    wrap.key = new_key;
    if (!aead_make_nonce(bytes + AT_WRAP_NONCE, error) ||
        !aead_encrypt(&wrap, secret_buf_bytes(data_key), AEAD_KEY_SIZE, bytes + AT_WRAPPED_KEY,
                      error))
        return NULL;
    return g_bytes_new_take(g_steal_pointer(&bytes), len);
}

static bool
has_header(const uint8_t *bytes, size_t len)
{
    return len >= OVERHEAD && memcmp(bytes, format_magic, sizeof(format_magic)) == 0 &&
           big_endian_get(bytes + AT_VERSION, 2) == FORMAT_VERSION;
}

bool
sealed_is_whole(const void *sealed, size_t len)
{
    const uint8_t *bytes = sealed;

    if (len < AT_VALUE_LEN || memcmp(bytes, format_magic, sizeof(format_magic)) != 0)
        return false;
    return big_endian_get(bytes + AT_VERSION, 2) > FORMAT_VERSION ||
           big_endian_get(bytes + AT_ALGORITHM, 2) > FORMAT_ALGORITHM ||
           (len >= OVERHEAD && big_endian_get(bytes + AT_VALUE_LEN, 4) + OVERHEAD == len);
}

bool
sealed_parse_generation(const void *sealed, size_t len, uint64_t *ret_generation)
{
    const uint8_t *bytes = sealed;

    if (!has_header(bytes, len))
        return false;
    *ret_generation = big_endian_get(bytes + AT_GENERATION, 8);
    return true;
}

const uint8_t *
sealed_master_key_id(const void *sealed, size_t len)
{
    const uint8_t *bytes = sealed;

    return has_header(bytes, len) ? bytes + AT_MASTER_KEY_ID : NULL;
}

bool
sealed_is_bound_alike(const struct secret_def *a, const struct secret_def *b)
{
    return uuid_equal(&a->uuid, &b->uuid) && a->usage_type == b->usage_type &&
           g_strcmp0(a->usage_id, b->usage_id) == 0 && a->is_private == b->is_private &&
           a->is_ephemeral == b->is_ephemeral;
}
