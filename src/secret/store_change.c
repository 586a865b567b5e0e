/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: changes as values and as journal records.
 */
#include "secret/store_change.h"

#include <string.h>

#include "util/big_endian.h"
#include "util/error.h"

/* Where each field of a record starts; see docs/store.md. */
enum { AT_XML_ACTION = 0, AT_KEY_ACTION = 1, AT_UUID = 8, AT_XML_LEN = 24, AT_KEY_LEN = 28 };
G_STATIC_ASSERT(AT_KEY_LEN + 4 == STORE_CHANGE_HEAD_SIZE);

struct store_change
store_change_take(struct store_change *from)
{
    struct store_change change = *from;

    from->xml = NULL;
    from->key = NULL;
    return change;
}

void
store_change_clear(struct store_change *change)
{
    g_clear_pointer(&change->xml, g_bytes_unref);
    g_clear_pointer(&change->key, g_bytes_unref);
}

static size_t
size_of(GBytes *bytes, enum store_action action)
{
    return action == STORE_WRITE ? g_bytes_get_size(bytes) : 0;
}

static bool
check_size(const struct store_change *change, const char *what, size_t size, size_t max,
           GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (size <= max)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "%s of secret %s has %zu bytes, more than the maximum of %zu", what,
              uuid_format(&change->uuid, uuid), size, max);
    return false;
}

bool
store_change_check(const struct store_change *change, GError **error)
{
    g_assert((change->xml != NULL) == (change->xml_action == STORE_WRITE));
    g_assert((change->key != NULL) == (change->key_action == STORE_WRITE));
    return check_size(change, "the XML", size_of(change->xml, change->xml_action), STORE_XML_MAX,
                      error) &&
           check_size(change, "the sealed value", size_of(change->key, change->key_action),
                      STORE_KEY_MAX, error);
}

size_t
store_change_record_size(const struct store_change *change)
{
    return STORE_CHANGE_HEAD_SIZE + size_of(change->xml, change->xml_action) +
           size_of(change->key, change->key_action);
}

GBytes *
store_change_format(const struct store_change *change)
{
    size_t xml_len = size_of(change->xml, change->xml_action);
    size_t key_len = size_of(change->key, change->key_action);
    uint8_t *record = g_malloc0(STORE_CHANGE_HEAD_SIZE + xml_len + key_len);

    record[AT_XML_ACTION] = (uint8_t)change->xml_action;
    record[AT_KEY_ACTION] = (uint8_t)change->key_action;
    memcpy(record + AT_UUID, change->uuid.bytes, sizeof(change->uuid.bytes));
    big_endian_put(record + AT_XML_LEN, xml_len, 4);
    big_endian_put(record + AT_KEY_LEN, key_len, 4);
    if (xml_len > 0)
        memcpy(record + STORE_CHANGE_HEAD_SIZE, g_bytes_get_data(change->xml, NULL), xml_len);
    if (key_len > 0)
        memcpy(record + STORE_CHANGE_HEAD_SIZE + xml_len, g_bytes_get_data(change->key, NULL),
               key_len);
    return g_bytes_new_take(record, STORE_CHANGE_HEAD_SIZE + xml_len + key_len);
}

/* Not used yet: a program that does not know what stands there must not act on it. */
static bool
is_reserved_zero(const uint8_t *bytes)
{
    for (size_t i = AT_KEY_ACTION + 1; i < AT_UUID; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static bool
is_action(uint8_t action, size_t len)
{
    return action <= STORE_REMOVE && (action == STORE_WRITE || len == 0);
}

bool
store_change_parse(const void *record, size_t len, struct store_change *ret_change)
{
    const uint8_t *bytes = record;
    struct store_change change = {0};
    size_t xml_len;
    size_t key_len;

    if (len < STORE_CHANGE_HEAD_SIZE || len > STORE_RECORD_MAX)
        return false;
    xml_len = big_endian_get(bytes + AT_XML_LEN, 4);
    key_len = big_endian_get(bytes + AT_KEY_LEN, 4);
    if (xml_len > STORE_XML_MAX || key_len > STORE_KEY_MAX ||
        len != STORE_CHANGE_HEAD_SIZE + xml_len + key_len || !is_reserved_zero(bytes) ||
        !is_action(bytes[AT_XML_ACTION], xml_len) || !is_action(bytes[AT_KEY_ACTION], key_len))
        return false;
    memcpy(change.uuid.bytes, bytes + AT_UUID, sizeof(change.uuid.bytes));
    change.xml_action = bytes[AT_XML_ACTION];
    change.key_action = bytes[AT_KEY_ACTION];
    bytes += STORE_CHANGE_HEAD_SIZE;
    if (change.xml_action == STORE_WRITE)
        change.xml = g_bytes_new(bytes, xml_len);
    if (change.key_action == STORE_WRITE)
        change.key = g_bytes_new(bytes + xml_len, key_len);
    *ret_change = change;
    return true;
}
