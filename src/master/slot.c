/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one slot, as slot.h says.
 */
#include "master/slot.h"

#include <string.h>

#include "master/hkdf.h"
#include "util/big_endian.h"
#include "util/error.h"

enum { ID_SIZE = 16, METHOD_SIZE = 2, LENGTH_SIZE = 2, CREATED_SIZE = 8, SHOWN_DIGITS = 8 };

static const char wrapping_purpose[] = "virtcrypt slot v1";

static const char *const method_names[] = {
    [SLOT_KEY_FILE] = "key-file",     [SLOT_PASSPHRASE] = "passphrase",
    [SLOT_CREDENTIAL] = "credential", [SLOT_TPM2] = "tpm2",
    [SLOT_PKCS11] = "pkcs11",         [SLOT_RECOVERY] = "recovery",
};
G_STATIC_ASSERT(G_N_ELEMENTS(method_names) == SLOT_RECOVERY + 1);

const char *
slot_method_name(enum slot_method method)
{
    return (size_t)method < G_N_ELEMENTS(method_names) ? method_names[method] : NULL;
}

static bool
is_label(const char *label, size_t len)
{
    return len <= SLOT_LABEL_MAX && fields_is_text(label, len);
}

struct slot *
slot_new(enum slot_method method, const char *label, GError **error)
{
    g_autoptr(slot_t) slot = g_new0(struct slot, 1);

    if (label && !is_label(label, strlen(label))) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the label of a slot is a text of at most %d bytes without control characters",
                  SLOT_LABEL_MAX);
        return NULL;
    }
    if (!uuid_generate_random(&slot->id, error))
        return NULL;
    slot->method = method;
    slot->label = g_strdup(label ? label : "");
    slot->created = (uint64_t)MAX(g_get_real_time(), 0) / G_USEC_PER_SEC;
    slot->fields = fields_new();
    return g_steal_pointer(&slot);
}

struct slot *
slot_copy(const struct slot *slot)
{
    struct slot *copy = g_memdup2(slot, sizeof(*slot));

    copy->label = g_strdup(slot->label);
    copy->fields = fields_copy(slot->fields);
    return copy;
}

void
slot_free(struct slot *slot)
{
    if (!slot)
        return;
    g_free(slot->label);
    fields_free(slot->fields);
    g_free(slot);
}

char *
slot_describe(const struct slot *slot)
{
    const char *name = slot_method_name(slot->method);
    g_autoptr(GString) text = g_string_new(name);
    char id[UUID_TEXT_SIZE];

    if (!name)
        g_string_printf(text, "method-%u", (unsigned int)slot->method);
    uuid_format(&slot->id, id);
    g_string_append_printf(text, " slot %.*s", SHOWN_DIGITS, id);
    if (*slot->label)
        g_string_append_printf(text, " (%s)", slot->label);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* ---- the bytes ---- */

static void
append_number(GByteArray *to, uint64_t value, size_t size)
{
    uint8_t bytes[8];

    g_assert(size <= sizeof(bytes));
    big_endian_put(bytes, value, size);
    g_byte_array_append(to, bytes, (guint)size);
}

/* What is authenticated with the wrapped key. */
static void
append_head(const struct slot *slot, GByteArray *to)
{
    g_byte_array_append(to, slot->id.bytes, sizeof(slot->id.bytes));
    append_number(to, slot->method, METHOD_SIZE);
    append_number(to, strlen(slot->label), LENGTH_SIZE);
    g_byte_array_append(to, (const uint8_t *)slot->label, (guint)strlen(slot->label));
    append_number(to, slot->created, CREATED_SIZE);
    fields_append(slot->fields, to);
}

void
slot_append(const struct slot *slot, GByteArray *to)
{
    append_head(slot, to);
    g_byte_array_append(to, slot->nonce, sizeof(slot->nonce));
    g_byte_array_append(to, slot->wrapped, sizeof(slot->wrapped));
}

/* The next `len` bytes, or NULL. */
static const uint8_t *
take(const uint8_t **at, const uint8_t *end, size_t len)
{
    const uint8_t *taken = *at;

    if ((size_t)(end - *at) < len)
        return NULL;
    *at += len;
    return taken;
}

static bool
take_number(const uint8_t **at, const uint8_t *end, size_t size, uint64_t *ret_value)
{
    const uint8_t *taken = take(at, end, size);

    if (!taken)
        return false;
    *ret_value = big_endian_get(taken, size);
    return true;
}

static bool
take_bytes(const uint8_t **at, const uint8_t *end, uint8_t *to, size_t len)
{
    const uint8_t *taken = take(at, end, len);

    if (!taken)
        return false;
    memcpy(to, taken, len);
    return true;
}

static bool
take_label(const uint8_t **at, const uint8_t *end, struct slot *slot)
{
    uint64_t len;
    const uint8_t *label;

    if (!take_number(at, end, LENGTH_SIZE, &len) || len > SLOT_LABEL_MAX)
        return false;
    label = take(at, end, (size_t)len);
    if (!label || !is_label((const char *)label, (size_t)len))
        return false;
    slot->label = g_strndup((const char *)label, (size_t)len);
    return true;
}

static bool
take_head(const uint8_t **at, const uint8_t *end, struct slot *slot)
{
    uint64_t method;

    if (!take_bytes(at, end, slot->id.bytes, ID_SIZE) ||
        !take_number(at, end, METHOD_SIZE, &method) || !take_label(at, end, slot))
        return false;
    slot->method = (enum slot_method)method;
    return take_number(at, end, CREATED_SIZE, &slot->created);
}

struct slot *
slot_parse(const uint8_t **at, const uint8_t *end, GError **error)
{
    g_autoptr(slot_t) slot = g_new0(struct slot, 1);
    bool is_whole = take_head(at, end, slot);

    if (is_whole) {
        slot->fields = fields_parse(at, end, error);
        if (!slot->fields)
            return NULL;
        is_whole = take_bytes(at, end, slot->nonce, sizeof(slot->nonce)) &&
                   take_bytes(at, end, slot->wrapped, sizeof(slot->wrapped));
    }
    if (!is_whole) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "a slot is damaged");
        return NULL;
    }
    return g_steal_pointer(&slot);
}

/* ---- wrapping ---- */

static GByteArray *
new_aad(const struct slot *slot, const uint8_t *master_key_id)
{
    GByteArray *aad = g_byte_array_new();

    append_head(slot, aad);
    g_byte_array_append(aad, master_key_id, MASTER_KEY_ID_SIZE);
    return aad;
}

static struct secret_buf *
derive_wrapping_key(const struct slot *slot, const struct secret_buf *slot_key, GError **error)
{
    if (secret_buf_len(slot_key) != SLOT_KEY_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL, "a slot key has %d bytes, not %zu",
                  SLOT_KEY_SIZE, secret_buf_len(slot_key));
        return NULL;
    }
    return hkdf_derive(slot->id.bytes, sizeof(slot->id.bytes), slot_key, wrapping_purpose, error);
}

bool
slot_wrap(struct slot *slot, const struct secret_buf *slot_key, const struct master_key *master,
          GError **error)
{
    g_autoptr(secret_buf_t) wrapping_key = derive_wrapping_key(slot, slot_key, error);
    g_autoptr(GByteArray) aad = new_aad(slot, master_key_id(master));
    const struct secret_buf *bytes = master_key_bytes(master);
    struct aead_params params = {wrapping_key, slot->nonce, aad->data, aad->len};

    return wrapping_key && aead_make_nonce(slot->nonce, error) &&
           aead_encrypt(&params, secret_buf_bytes(bytes), secret_buf_len(bytes), slot->wrapped,
                        error);
}

static void
refuse(const struct slot *slot, GError **error)
{
    g_autofree char *description = slot_describe(slot);

    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "what was given or found does not unlock the %s (or the slot is damaged)",
              description);
}

struct master_key *
slot_unwrap(const struct slot *slot, const struct secret_buf *slot_key,
            const uint8_t master_key_id[MASTER_KEY_ID_SIZE], GError **error)
{
    g_autoptr(secret_buf_t) wrapping_key = derive_wrapping_key(slot, slot_key, error);
    g_autoptr(secret_buf_t) bytes = secret_buf_new(MASTER_KEY_SIZE, error);
    g_autoptr(GByteArray) aad = new_aad(slot, master_key_id);
    struct aead_params params = {wrapping_key, slot->nonce, aad->data, aad->len};
    g_autoptr(GError) failure = NULL;
    g_autoptr(master_key_t) master = NULL;
    bool is_tampered = false;

    if (!wrapping_key || !bytes)
        return NULL;
    if (!aead_decrypt(&params, slot->wrapped, bytes, &is_tampered, &failure)) {
        if (is_tampered)
            refuse(slot, error);
        else
            g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    master = master_key_new(g_steal_pointer(&bytes), error);
    if (master && !master_key_equal_id(master, master_key_id)) {
        refuse(slot, error);
        return NULL;
    }
    return g_steal_pointer(&master);
}
