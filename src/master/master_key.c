/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the key schedule of docs/sealed-format.md. Only the extracted pseudorandom key is kept, so
 * that deriving a secret's key is one HKDF expansion.
 */
#include "master/master_key.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "util/error.h"

struct master_key {
    uint8_t id[MASTER_KEY_ID_SIZE];
    struct secret_buf *pseudorandom_key; /* HKDF-Extract(salt = id, master key) */
};

static const char id_info[] = "virtcrypt master key id v1";
static const char key_info[] = "virtcrypt secret key v1";
static const char generations_info[] = "virtcrypt generations v1";
static const char index_info[] = "virtcrypt index v1";

static gnutls_datum_t
datum(const void *bytes, size_t len)
{
    return (gnutls_datum_t){.data = (void *)bytes, .size = (unsigned int)len};
}

static bool
check_hkdf(int rc, GError **error)
{
    if (rc == GNUTLS_E_SUCCESS)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
              "cannot derive a key from the master key: %s", gnutls_strerror(rc));
    return false;
}

/* HKDF-Extract of RFC 5869, section 2.2; an empty salt stands for zeros. */
static struct secret_buf *
extract(const void *salt, size_t salt_len, const struct secret_buf *bytes, GError **error)
{
    g_autoptr(secret_buf_t) prk = secret_buf_new(MASTER_KEY_SIZE, error);
    gnutls_datum_t ikm = datum(secret_buf_bytes(bytes), secret_buf_len(bytes));
    gnutls_datum_t salt_datum = datum(salt, salt_len);

    if (!prk || !check_hkdf(gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, &salt_datum,
                                                secret_buf_writable(prk)),
                            error))
        return NULL;
    return g_steal_pointer(&prk);
}

/* HKDF-Expand of RFC 5869, section 2.3. */
static bool
expand(const struct secret_buf *prk, const void *info, size_t info_len, void *ret_bytes,
       size_t ret_len, GError **error)
{
    gnutls_datum_t prk_datum = datum(secret_buf_bytes(prk), secret_buf_len(prk));
    gnutls_datum_t info_datum = datum(info, info_len);

    return check_hkdf(
        gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &prk_datum, &info_datum, ret_bytes, ret_len), error);
}

struct master_key *
master_key_new(struct secret_buf *bytes, GError **error)
{
    g_autoptr(secret_buf_t) taken = bytes;
    g_autoptr(secret_buf_t) id_prk = NULL;
    g_autoptr(master_key_t) key = g_new0(struct master_key, 1);

    if (secret_buf_len(taken) != MASTER_KEY_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "a master key has %d bytes, not %zu",
                  MASTER_KEY_SIZE, secret_buf_len(taken));
        return NULL;
    }
    id_prk = extract("", 0, taken, error);
    if (!id_prk || !expand(id_prk, id_info, strlen(id_info), key->id, sizeof(key->id), error))
        return NULL;
    key->pseudorandom_key = extract(key->id, sizeof(key->id), taken, error);
    if (!key->pseudorandom_key)
        return NULL;
    return g_steal_pointer(&key);
}

void
master_key_free(struct master_key *key)
{
    if (!key)
        return;
    secret_buf_free(key->pseudorandom_key);
    g_free(key);
}

struct master_key *
master_key_open(const struct master_key_source *method, const char *location, bool may_create,
                GError **error)
{
    struct secret_buf *bytes;

    if (method->exists(location)) {
        bytes = method->unlock(location, error);
    } else if (may_create) {
        bytes = method->create(location, error);
    } else {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "there is no master key (%s: %s) although there are sealed values or "
                  "key-encryption generations; put the one back that they were sealed with (a new "
                  "one would open none of them)",
                  method->name, location);
        return NULL;
    }
    return bytes ? master_key_new(bytes, error) : NULL;
}

const uint8_t *
master_key_id(const struct master_key *key)
{
    return key->id;
}

struct secret_buf *
master_key_derive(const struct master_key *key, const struct uuid *uuid, GError **error)
{
    uint8_t info[sizeof(key_info) - 1 + sizeof(uuid->bytes)];
    g_autoptr(secret_buf_t) derived = secret_buf_new(MASTER_KEY_SIZE, error);

    memcpy(info, key_info, sizeof(key_info) - 1);
    memcpy(info + sizeof(key_info) - 1, uuid->bytes, sizeof(uuid->bytes));
    if (!derived || !expand(key->pseudorandom_key, info, sizeof(info), secret_buf_writable(derived),
                            MASTER_KEY_SIZE, error))
        return NULL;
    return g_steal_pointer(&derived);
}

/* A key with a purpose of its own. */
static struct secret_buf *
derive_for(const struct master_key *key, const char *info, GError **error)
{
    g_autoptr(secret_buf_t) derived = secret_buf_new(MASTER_KEY_SIZE, error);

    if (!derived || !expand(key->pseudorandom_key, info, strlen(info), secret_buf_writable(derived),
                            MASTER_KEY_SIZE, error))
        return NULL;
    return g_steal_pointer(&derived);
}

struct secret_buf *
master_key_derive_generations(const struct master_key *key, GError **error)
{
    return derive_for(key, generations_info, error);
}

struct secret_buf *
master_key_derive_index(const struct master_key *key, GError **error)
{
    return derive_for(key, index_info, error);
}
