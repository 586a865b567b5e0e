/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the encoding that recovery_text.h describes. Characters are looked up by going through all
 * of the alphabet, so that no memory access depends on what they are.
 */
#include "master/recovery_text.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "master/crypto_error.h"
#include "util/error.h"

/* Without I, L, O and U. */
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

enum {
    BITS = 5, /* of a character */
    CHARACTERS = 1 << BITS,
    VALUES = RECOVERY_GROUPS * RECOVERY_GROUP_LEN,
    PAYLOAD = RECOVERY_GROUP_LEN - 1, /* characters of a group before the one that checks it */
    CHECK_SIZE = 3,                   /* bytes: of the whole */
    ALL_SIZE = RECOVERY_SIZE + CHECK_SIZE,
    HASH_SIZE = 32,
    HASH_BLOCK_SIZE = 64,
};
G_STATIC_ASSERT(sizeof(alphabet) - 1 == CHARACTERS);
G_STATIC_ASSERT(RECOVERY_GROUPS *PAYLOAD *BITS == ALL_SIZE * 8);

/* GnuTLS leaves in freed memory what was hashed last: zeros take its place, in a way that puts each
 * of them into the state. */
static void
end_hash(gnutls_hash_hd_t state, uint8_t ret_hash[HASH_SIZE])
{
    static const uint8_t zeros[HASH_BLOCK_SIZE - 1];

    gnutls_hash_output(state, ret_hash);
    (void)gnutls_hash(state, zeros, sizeof(zeros));
    (void)gnutls_hash(state, zeros, 1);
    gnutls_hash_deinit(state, NULL);
}

/* SHA-256 of a purpose, a number and bytes. */
static bool
hash(const char *purpose, uint8_t number, const uint8_t *bytes, size_t len,
     uint8_t ret_hash[HASH_SIZE], GError **error)
{
    gnutls_hash_hd_t state = NULL;
    int rc = gnutls_hash_init(&state, GNUTLS_DIG_SHA256);

    if (rc >= 0) {
        rc = gnutls_hash(state, purpose, strlen(purpose));
        if (rc >= 0)
            rc = gnutls_hash(state, &number, 1);
        if (rc >= 0)
            rc = gnutls_hash(state, bytes, len);
        end_hash(state, ret_hash);
    }
    return crypto_error_check(rc, "compute a check", error);
}

static bool
hash_all(const uint8_t *bytes, uint8_t ret_check[HASH_SIZE], GError **error)
{
    return hash("virtcrypt recovery v1", 0, bytes, RECOVERY_SIZE, ret_check, error);
}

/* The value of the last character of a group. */
static bool
hash_group(const uint8_t *values, unsigned int group, uint8_t *ret_value, GError **error)
{
    uint8_t bytes[HASH_SIZE];

    if (!hash("virtcrypt recovery group v1", (uint8_t)group, values, PAYLOAD, bytes, error))
        return false;
    *ret_value = bytes[0] >> (8 - BITS);
    return true;
}

static uint8_t
character_of(uint8_t value)
{
    uint8_t character = 0;

    for (unsigned int i = 0; i < CHARACTERS; i++)
        character |= (uint8_t)(alphabet[i] & -(int)(i == value));
    return character;
}

/* CHARACTERS for one that is not in the alphabet. */
static uint8_t
value_of(uint8_t character)
{
    uint8_t upper = (uint8_t)g_ascii_toupper((gchar)character);
    uint8_t value = CHARACTERS;

    upper = upper == 'O' ? '0' : upper;
    upper = upper == 'I' || upper == 'L' ? '1' : upper;
    for (unsigned int i = 0; i < CHARACTERS; i++)
        value ^= (uint8_t)((i ^ CHARACTERS) & (unsigned int)-(int)((uint8_t)alphabet[i] == upper));
    return value;
}

/* The place of the `n`th payload value in a text of values. */
static size_t
payload_at(size_t n)
{
    return n / PAYLOAD * RECOVERY_GROUP_LEN + n % PAYLOAD;
}

static void
spread_bits(const uint8_t *bytes, uint8_t *values)
{
    for (size_t bit = 0; bit < (size_t)ALL_SIZE * 8; bit++) {
        uint8_t *value = &values[payload_at(bit / BITS)];

        *value = (uint8_t)(*value << 1 | (bytes[bit / 8] >> (7 - bit % 8) & 1));
    }
}

static void
gather_bits(const uint8_t *values, uint8_t *bytes)
{
    for (size_t bit = 0; bit < (size_t)ALL_SIZE * 8; bit++) {
        uint8_t value = values[payload_at(bit / BITS)];

        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] << 1 | (value >> (BITS - 1 - bit % BITS) & 1));
    }
}

struct secret_buf *
recovery_text_format(const struct secret_buf *bytes, GError **error)
{
    g_autoptr(secret_buf_t) all = secret_buf_new(ALL_SIZE, error);
    g_autoptr(secret_buf_t) values = secret_buf_new(VALUES, error);
    g_autoptr(secret_buf_t) text = secret_buf_new(RECOVERY_TEXT_LEN, error);
    uint8_t check[HASH_SIZE];
    uint8_t *to;

    g_assert(secret_buf_len(bytes) == RECOVERY_SIZE);
    if (!all || !values || !text || !hash_all(secret_buf_bytes(bytes), check, error))
        return NULL;
    memcpy(secret_buf_writable(all), secret_buf_bytes(bytes), RECOVERY_SIZE);
    memcpy(secret_buf_writable(all) + RECOVERY_SIZE, check, CHECK_SIZE);
    spread_bits(secret_buf_bytes(all), secret_buf_writable(values));
    to = secret_buf_writable(text);
    for (unsigned int group = 0; group < RECOVERY_GROUPS; group++) {
        uint8_t *of_group = secret_buf_writable(values) + (size_t)group * RECOVERY_GROUP_LEN;

        if (!hash_group(of_group, group, &of_group[PAYLOAD], error))
            return NULL;
        if (group > 0)
            *to++ = '-';
        for (unsigned int i = 0; i < RECOVERY_GROUP_LEN; i++)
            *to++ = character_of(of_group[i]);
    }
    return g_steal_pointer(&text);
}

/* VALUES values, one byte each. */
static struct secret_buf *
read_values(const struct secret_buf *text, GError **error)
{
    g_autoptr(secret_buf_t) values = secret_buf_new(VALUES, error);
    unsigned int count = 0;

    for (size_t i = 0; values && i < secret_buf_len(text); i++) {
        uint8_t character = secret_buf_bytes(text)[i];
        uint8_t value;

        if (character == '-' || g_ascii_isspace(character))
            continue;
        value = value_of(character);
        if (value == CHARACTERS) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "this is no recovery passphrase: group %u has a character that is in none",
                      count / RECOVERY_GROUP_LEN + 1);
            return NULL;
        }
        if (count < VALUES)
            secret_buf_writable(values)[count] = value;
        count++;
    }
    if (values && count != VALUES) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "this is no recovery passphrase: it has %u letters and digits instead of %d",
                  count, VALUES);
        return NULL;
    }
    return g_steal_pointer(&values);
}

static bool
check_groups(const struct secret_buf *values, GError **error)
{
    for (unsigned int group = 0; group < RECOVERY_GROUPS; group++) {
        const uint8_t *of_group = secret_buf_bytes(values) + (size_t)group * RECOVERY_GROUP_LEN;
        uint8_t check;

        if (!hash_group(of_group, group, &check, error))
            return false;
        if (check != of_group[PAYLOAD]) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "group %u of the recovery passphrase is mistyped, or in a wrong place",
                      group + 1);
            return false;
        }
    }
    return true;
}

struct secret_buf *
recovery_text_parse(const struct secret_buf *text, GError **error)
{
    g_autoptr(secret_buf_t) values = read_values(text, error);
    g_autoptr(secret_buf_t) all = NULL;
    uint8_t check[HASH_SIZE];

    if (!values || !check_groups(values, error))
        return NULL;
    all = secret_buf_new(ALL_SIZE, error);
    if (!all)
        return NULL;
    gather_bits(secret_buf_bytes(values), secret_buf_writable(all));
    if (!hash_all(secret_buf_bytes(all), check, error))
        return NULL;
    if (!secret_bytes_equal(secret_buf_bytes(all) + RECOVERY_SIZE, check, CHECK_SIZE)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the recovery passphrase is mistyped in more than one place");
        return NULL;
    }
    secret_buf_truncate(all, RECOVERY_SIZE);
    return g_steal_pointer(&all);
}
