/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the set of slots and its bytes, as slots.h says.
 */
#include "master/slots.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "master/crypto_error.h"
#include "util/big_endian.h"
#include "util/error.h"

enum { FORMAT_VERSION = 1, FORMAT_ALGORITHM = 1, TAG_SIZE = 32, PREFIX_MIN = 4 };

/* Where each field starts. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_ALGORITHM = 10,
    AT_FLAGS = 12,
    AT_SEQUENCE = 16,
    AT_MASTER_KEY_ID = 24,
    AT_COUNT = AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE,
    AT_HAS_PREVIOUS = AT_COUNT + 2,
    HEADER_SIZE = AT_HAS_PREVIOUS + 2,
};

enum { WRAPPED_SIZE = MASTER_KEY_SIZE + AEAD_TAG_SIZE };

static const uint8_t format_magic[8] = {'V', 'C', 'S', 'L', 'O', 'T', 'S', '1'};

static void
free_slot(gpointer slot)
{
    slot_free(slot);
}

static struct slots *
new_empty(void)
{
    struct slots *slots = g_new0(struct slots, 1);

    slots->slots = g_ptr_array_new_with_free_func(free_slot);
    return slots;
}

struct slots *
slots_new(const struct master_key *master)
{
    struct slots *slots = new_empty();

    memcpy(slots->master_key_id, master_key_id(master), MASTER_KEY_ID_SIZE);
    return slots;
}

struct slots *
slots_copy(const struct slots *slots)
{
    struct slots *copy = g_memdup2(slots, sizeof(*slots));

    copy->slots = g_ptr_array_new_with_free_func(free_slot);
    for (guint i = 0; i < slots->slots->len; i++)
        g_ptr_array_add(copy->slots, slot_copy(slots->slots->pdata[i]));
    return copy;
}

void
slots_free(struct slots *slots)
{
    if (!slots)
        return;
    g_ptr_array_unref(slots->slots);
    g_free(slots);
}

/* ---- finding and changing ---- */

static bool
find_index(const struct slots *slots, const struct uuid *id, guint *ret_index)
{
    for (guint i = 0; i < slots->slots->len; i++) {
        const struct slot *slot = slots->slots->pdata[i];

        if (uuid_equal(&slot->id, id)) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

struct slot *
slots_find(const struct slots *slots, const struct uuid *id)
{
    guint index;

    return find_index(slots, id, &index) ? slots->slots->pdata[index] : NULL;
}

/* By label, whole uuid, or the beginning of one, with or without dashes and in either case. */
static bool
fits(const struct slot *slot, const char *name)
{
    char text[UUID_TEXT_SIZE];

    if (*slot->label && strcmp(slot->label, name) == 0)
        return true;
    uuid_format(&slot->id, text);
    return strlen(name) >= PREFIX_MIN && g_ascii_strncasecmp(text, name, strlen(name)) == 0;
}

struct slot *
slots_find_named(const struct slots *slots, const char *name, GError **error)
{
    struct slot *found = NULL;

    for (guint i = 0; i < slots->slots->len; i++) {
        struct slot *slot = slots->slots->pdata[i];

        if (!fits(slot, name))
            continue;
        if (found) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "several slots of the master key fit '%s'; give the whole uuid", name);
            return NULL;
        }
        found = slot;
    }
    if (!found)
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
                  "no slot of the master key has the label or (the first %d digits at least of) "
                  "the uuid '%s'; see 'virtcrypt master status'",
                  PREFIX_MIN, name);
    return found;
}

bool
slots_put(struct slots *slots, struct slot *take_slot, GError **error)
{
    g_autoptr(slot_t) taken = take_slot;
    guint index = slots->slots->len;

    find_index(slots, &taken->id, &index);
    if (index == SLOTS_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the master key has %d slots, which is the maximum; remove one first", SLOTS_MAX);
        return false;
    }
    for (guint i = 0; i < slots->slots->len; i++) {
        const struct slot *other = slots->slots->pdata[i];

        if (i != index && *taken->label && strcmp(other->label, taken->label) == 0) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "another slot of the master key has the label '%s'", taken->label);
            return false;
        }
    }
    if (index < slots->slots->len) {
        slot_free(slots->slots->pdata[index]);
        slots->slots->pdata[index] = g_steal_pointer(&taken);
    } else {
        g_ptr_array_add(slots->slots, g_steal_pointer(&taken));
    }
    return true;
}

bool
slots_remove(struct slots *slots, const struct uuid *id)
{
    guint index;

    if (!find_index(slots, id, &index))
        return false;
    g_ptr_array_remove_index(slots->slots, index);
    return true;
}

/* ---- the bytes ---- */

static bool
make_tag(const void *bytes, size_t len, const struct master_key *master, uint8_t ret_tag[TAG_SIZE],
         GError **error)
{
    g_autoptr(secret_buf_t) key = master_key_derive_slots(master, error);
    int rc;

    if (!key)
        return false;
    rc = gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret_buf_bytes(key), secret_buf_len(key), bytes, len,
                          ret_tag);
    return crypto_error_check(rc, "compute a tag", error);
}

static void
append_header(const struct slots *slots, GByteArray *to)
{
    uint8_t header[HEADER_SIZE];

    memcpy(header + AT_MAGIC, format_magic, sizeof(format_magic));
    big_endian_put(header + AT_VERSION, FORMAT_VERSION, 2);
    big_endian_put(header + AT_ALGORITHM, FORMAT_ALGORITHM, 2);
    big_endian_put(header + AT_FLAGS, slots->flags, 4);
    big_endian_put(header + AT_SEQUENCE, slots->sequence, 8);
    memcpy(header + AT_MASTER_KEY_ID, slots->master_key_id, MASTER_KEY_ID_SIZE);
    big_endian_put(header + AT_COUNT, slots->slots->len, 2);
    big_endian_put(header + AT_HAS_PREVIOUS, slots->has_previous, 2);
    g_byte_array_append(to, header, sizeof(header));
}

GBytes *
slots_format(const struct slots *slots, const struct master_key *master, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t tag[TAG_SIZE];

    g_assert(master_key_equal_id(master, slots->master_key_id));
    append_header(slots, bytes);
    if (slots->has_previous) {
        g_byte_array_append(bytes, slots->previous_id, sizeof(slots->previous_id));
        g_byte_array_append(bytes, slots->previous_nonce, sizeof(slots->previous_nonce));
        g_byte_array_append(bytes, slots->previous_wrapped, sizeof(slots->previous_wrapped));
    }
    for (guint i = 0; i < slots->slots->len; i++)
        slot_append(slots->slots->pdata[i], bytes);
    if (slots->slots->len > SLOTS_MAX || bytes->len > SLOTS_FILE_MAX - TAG_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the slots of the master key would have %u bytes, more than the maximum of %d; "
                  "remove some first",
                  bytes->len, SLOTS_FILE_MAX);
        return NULL;
    }
    if (!make_tag(bytes->data, bytes->len, master, tag, error))
        return NULL;
    g_byte_array_append(bytes, tag, sizeof(tag));
    return g_byte_array_free_to_bytes(g_steal_pointer(&bytes));
}

static bool
refuse_damage(GError **error, const char *what)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "%s; put a good copy of the file back", what);
    return false;
}

static bool
parse_header(struct slots *slots, const uint8_t *bytes, size_t len, uint64_t *ret_count,
             GError **error)
{
    uint64_t has_previous;

    if (len < HEADER_SIZE || memcmp(bytes, format_magic, sizeof(format_magic)) != 0)
        return refuse_damage(error, "it is no file of slots, or damaged");
    if (big_endian_get(bytes + AT_VERSION, 2) != FORMAT_VERSION ||
        big_endian_get(bytes + AT_ALGORITHM, 2) != FORMAT_ALGORITHM) {
        error_set(error, ERROR_FROM_SECRET, ERROR_CONFIG_UNSUPPORTED,
                  "it is in a format that this program does not know; use the newer virtcrypt that "
                  "wrote it");
        return false;
    }
    slots->flags = (uint32_t)big_endian_get(bytes + AT_FLAGS, 4);
    slots->sequence = big_endian_get(bytes + AT_SEQUENCE, 8);
    memcpy(slots->master_key_id, bytes + AT_MASTER_KEY_ID, MASTER_KEY_ID_SIZE);
    has_previous = big_endian_get(bytes + AT_HAS_PREVIOUS, 2);
    slots->has_previous = has_previous == 1;
    *ret_count = big_endian_get(bytes + AT_COUNT, 2);
    if (*ret_count > SLOTS_MAX || has_previous > 1)
        return refuse_damage(error, "it is damaged");
    return true;
}

static bool
parse_previous(struct slots *slots, const uint8_t **at, const uint8_t *end)
{
    if (!slots->has_previous)
        return true;
    if (end - *at < MASTER_KEY_ID_SIZE + AEAD_NONCE_SIZE + WRAPPED_SIZE)
        return false;
    memcpy(slots->previous_id, *at, MASTER_KEY_ID_SIZE);
    *at += MASTER_KEY_ID_SIZE;
    memcpy(slots->previous_nonce, *at, AEAD_NONCE_SIZE);
    *at += AEAD_NONCE_SIZE;
    memcpy(slots->previous_wrapped, *at, WRAPPED_SIZE);
    *at += WRAPPED_SIZE;
    return true;
}

struct slots *
slots_parse(const void *bytes, size_t len, GError **error)
{
    g_autoptr(slots_t) slots = new_empty();
    const uint8_t *at = bytes;
    const uint8_t *end;
    uint64_t count;

    if (len > SLOTS_FILE_MAX || len < HEADER_SIZE + TAG_SIZE) {
        refuse_damage(error, "it is no file of slots, or damaged");
        return NULL;
    }
    end = at + len - TAG_SIZE;
    if (!parse_header(slots, at, len, &count, error))
        return NULL;
    at += HEADER_SIZE;
    if (!parse_previous(slots, &at, end)) {
        refuse_damage(error, "it is cut off");
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++) {
        g_autoptr(slot_t) slot = slot_parse(&at, end, error);

        if (!slot || slots_find(slots, &slot->id)) {
            g_clear_error(error);
            refuse_damage(error, "one of its slots is damaged");
            return NULL;
        }
        g_ptr_array_add(slots->slots, g_steal_pointer(&slot));
    }
    if (at != end) {
        refuse_damage(error, "it is damaged: its length is wrong");
        return NULL;
    }
    return g_steal_pointer(&slots);
}

bool
slots_authenticate(const void *bytes, size_t len, const struct master_key *master, GError **error)
{
    const uint8_t *all = bytes;
    uint8_t tag[TAG_SIZE];

    if (len < TAG_SIZE)
        return refuse_damage(error, "it is cut off");
    if (!make_tag(all, len - TAG_SIZE, master, tag, error))
        return false;
    return secret_bytes_equal(all + len - TAG_SIZE, tag, TAG_SIZE) ||
           refuse_damage(error, "it is not as who has the master key wrote it");
}

/* ---- keys ---- */

struct master_key *
slots_unwrap(const struct slots *slots, const struct slot *slot, const struct secret_buf *slot_key,
             GError **error)
{
    return slot_unwrap(slot, slot_key, slots->master_key_id, error);
}

/* What the wrapped key of before is authenticated with: both ids. */
struct previous_aad {
    uint8_t id[MASTER_KEY_ID_SIZE];
    uint8_t previous_id[MASTER_KEY_ID_SIZE];
};

static struct previous_aad
new_previous_aad(const struct slots *slots)
{
    struct previous_aad aad;

    memcpy(aad.id, slots->master_key_id, MASTER_KEY_ID_SIZE);
    memcpy(aad.previous_id, slots->previous_id, MASTER_KEY_ID_SIZE);
    return aad;
}

bool
slots_set_previous(struct slots *slots, const struct master_key *master,
                   const struct master_key *previous, GError **error)
{
    g_autoptr(secret_buf_t) key = master_key_derive_previous(master, error);
    const struct secret_buf *bytes = master_key_bytes(previous);
    struct previous_aad aad;
    struct aead_params params = {key, slots->previous_nonce, &aad, sizeof(aad)};

    g_assert(master_key_equal_id(master, slots->master_key_id));
    memcpy(slots->previous_id, master_key_id(previous), MASTER_KEY_ID_SIZE);
    aad = new_previous_aad(slots);
    if (!key || !aead_make_nonce(slots->previous_nonce, error) ||
        !aead_encrypt(&params, secret_buf_bytes(bytes), secret_buf_len(bytes),
                      slots->previous_wrapped, error))
        return false;
    slots->has_previous = true;
    return true;
}

struct master_key *
slots_open_previous(const struct slots *slots, const struct master_key *master, GError **error)
{
    g_autoptr(secret_buf_t) key = master_key_derive_previous(master, error);
    g_autoptr(secret_buf_t) bytes = secret_buf_new(MASTER_KEY_SIZE, error);
    struct previous_aad aad = new_previous_aad(slots);
    struct aead_params params = {key, slots->previous_nonce, &aad, sizeof(aad)};
    g_autoptr(GError) failure = NULL;
    bool is_tampered = false;

    g_assert(slots->has_previous);
    if (!key || !bytes)
        return NULL;
    if (aead_decrypt(&params, slots->previous_wrapped, bytes, &is_tampered, &failure)) {
        g_autoptr(master_key_t) previous = master_key_new(g_steal_pointer(&bytes), error);

        if (!previous || master_key_equal_id(previous, slots->previous_id))
            return g_steal_pointer(&previous);
        is_tampered = true;
    }
    if (is_tampered)
        refuse_damage(error, "the master key of before, in the file of slots, is damaged");
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    return NULL;
}
