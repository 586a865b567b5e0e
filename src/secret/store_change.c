/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: changes as values and as journal records.
 */
#include "secret/store_change.h"

#include <string.h>

#include "conf/audit_line.h"
#include "util/big_endian.h"
#include "util/error.h"

/* Where each field of a record starts; see docs/store.md. */
enum {
    AT_XML_ACTION = 0,
    AT_KEY_ACTION = 1,
    AT_OWNER_COUNT = 2,
    AT_AUDIT_LEN = 4,
    AT_UUID = 8,
    AT_XML_LEN = 24,
    AT_KEY_LEN = 28,
};
G_STATIC_ASSERT(AT_KEY_LEN + 4 == STORE_CHANGE_HEAD_SIZE);
G_STATIC_ASSERT(STORE_OWNERS_MAX <= UINT16_MAX);

/* The same of the head of a guest's copy. */
enum { OWNER_AT_GUEST = 0, OWNER_AT_ACTION = 16, OWNER_AT_ZERO = 17, OWNER_AT_LEN = 20 };
G_STATIC_ASSERT(OWNER_AT_LEN + 4 == STORE_CHANGE_OWNER_SIZE);

static void
clear_owner(void *element)
{
    struct store_owner_change *owner = element;

    g_clear_pointer(&owner->key, g_bytes_unref);
}

GArray *
store_change_new_owners(void)
{
    GArray *owners = g_array_new(FALSE, FALSE, sizeof(struct store_owner_change));

    g_array_set_clear_func(owners, clear_owner);
    return owners;
}

void
store_change_add_owner(struct store_change *change, const struct uuid *guest,
                       enum store_action action, GBytes *key)
{
    struct store_owner_change owner = {
        .guest = *guest,
        .action = action,
        .key = key ? g_bytes_ref(key) : NULL,
    };

    if (!change->owners)
        change->owners = store_change_new_owners();
    g_array_append_val(change->owners, owner);
}

guint
store_change_owner_count(const struct store_change *change)
{
    return change->owners ? change->owners->len : 0;
}

const struct store_owner_change *
store_change_owner(const struct store_change *change, guint index)
{
    return &g_array_index(change->owners, struct store_owner_change, index);
}

struct store_change
store_change_take(struct store_change *from)
{
    struct store_change change = *from;

    from->xml = NULL;
    from->key = NULL;
    from->owners = NULL;
    from->audit = NULL;
    return change;
}

void
store_change_clear(struct store_change *change)
{
    g_clear_pointer(&change->xml, g_bytes_unref);
    g_clear_pointer(&change->key, g_bytes_unref);
    g_clear_pointer(&change->owners, g_array_unref);
    g_clear_pointer(&change->audit, g_free);
}

static size_t
size_of(GBytes *bytes, enum store_action action)
{
    return action == STORE_WRITE ? g_bytes_get_size(bytes) : 0;
}

static size_t
audit_len(const struct store_change *change)
{
    return change->audit ? strlen(change->audit) : 0;
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

static bool
has_guests_once(const struct store_change *change)
{
    g_autoptr(GHashTable) seen = NULL;

    if (store_change_owner_count(change) < 2)
        return true;
    seen = g_hash_table_new(uuid_hash_key, uuid_equal_key);
    for (guint i = 0; i < change->owners->len; i++) {
        if (!g_hash_table_add(seen, (void *)&store_change_owner(change, i)->guest))
            return false;
    }
    return true;
}

static bool
check_owners(const struct store_change *change, GError **error)
{
    guint count = store_change_owner_count(change);
    char uuid[UUID_TEXT_SIZE];

    if (count > STORE_OWNERS_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "secret %s would have the copies of %u guests changed at once, more than the "
                  "maximum of %d",
                  uuid_format(&change->uuid, uuid), count, STORE_OWNERS_MAX);
        return false;
    }
    g_assert(has_guests_once(change));
    for (guint i = 0; i < count; i++) {
        const struct store_owner_change *owner = store_change_owner(change, i);

        g_assert(owner->action != STORE_KEEP);
        g_assert((owner->key != NULL) == (owner->action == STORE_WRITE));
        if (!check_size(change, "a guest's copy of the sealed value",
                        size_of(owner->key, owner->action), STORE_KEY_MAX, error))
            return false;
    }
    return true;
}

static bool
check_audit(const struct store_change *change, GError **error)
{
    if (!change->audit)
        return true;
    if (!check_size(change, "the audit text", strlen(change->audit), AUDIT_MEMBERS_MAX, error))
        return false;
    g_assert(audit_line_are_members(change->audit));
    return true;
}

bool
store_change_check(const struct store_change *change, GError **error)
{
    g_assert((change->xml != NULL) == (change->xml_action == STORE_WRITE));
    g_assert((change->key != NULL) == (change->key_action == STORE_WRITE));
    return check_size(change, "the XML", size_of(change->xml, change->xml_action), STORE_XML_MAX,
                      error) &&
           check_size(change, "the sealed value", size_of(change->key, change->key_action),
                      STORE_KEY_MAX, error) &&
           check_owners(change, error) && check_audit(change, error);
}

size_t
store_change_record_size(const struct store_change *change)
{
    size_t size = STORE_CHANGE_HEAD_SIZE + size_of(change->xml, change->xml_action) +
                  size_of(change->key, change->key_action) + audit_len(change);

    for (guint i = 0; i < store_change_owner_count(change); i++) {
        const struct store_owner_change *owner = store_change_owner(change, i);

        size += STORE_CHANGE_OWNER_SIZE + size_of(owner->key, owner->action);
    }
    return size;
}

static void
append_content(GByteArray *record, GBytes *content)
{
    gsize len = 0;
    const void *bytes = content ? g_bytes_get_data(content, &len) : NULL;

    if (len > 0)
        g_byte_array_append(record, bytes, (guint)len);
}

static void
append_owner(GByteArray *record, const struct store_owner_change *owner)
{
    uint8_t head[STORE_CHANGE_OWNER_SIZE] = {0};

    memcpy(head + OWNER_AT_GUEST, owner->guest.bytes, sizeof(owner->guest.bytes));
    head[OWNER_AT_ACTION] = (uint8_t)owner->action;
    big_endian_put(head + OWNER_AT_LEN, size_of(owner->key, owner->action), 4);
    g_byte_array_append(record, head, sizeof(head));
    append_content(record, owner->key);
}

GBytes *
store_change_format(const struct store_change *change)
{
    GByteArray *record = g_byte_array_sized_new((guint)store_change_record_size(change));
    uint8_t head[STORE_CHANGE_HEAD_SIZE] = {0};

    head[AT_XML_ACTION] = (uint8_t)change->xml_action;
    head[AT_KEY_ACTION] = (uint8_t)change->key_action;
    big_endian_put(head + AT_OWNER_COUNT, store_change_owner_count(change), 2);
    big_endian_put(head + AT_AUDIT_LEN, audit_len(change), 4);
    memcpy(head + AT_UUID, change->uuid.bytes, sizeof(change->uuid.bytes));
    big_endian_put(head + AT_XML_LEN, size_of(change->xml, change->xml_action), 4);
    big_endian_put(head + AT_KEY_LEN, size_of(change->key, change->key_action), 4);
    g_byte_array_append(record, head, sizeof(head));
    append_content(record, change->xml);
    append_content(record, change->key);
    for (guint i = 0; i < store_change_owner_count(change); i++)
        append_owner(record, store_change_owner(change, i));
    if (change->audit)
        g_byte_array_append(record, (const uint8_t *)change->audit, (guint)audit_len(change));
    return g_byte_array_free_to_bytes(record);
}

/* What of a record was not read yet. */
struct rest {
    const uint8_t *bytes;
    size_t len;
};

static const uint8_t *
take_bytes(struct rest *rest, size_t len)
{
    const uint8_t *bytes = rest->bytes;

    if (len > rest->len)
        return NULL;
    rest->bytes += len;
    rest->len -= len;
    return bytes;
}

/* Content that stands there if it is written. */
static bool
take_content(struct rest *rest, enum store_action action, size_t len, size_t max,
             GBytes **ret_content)
{
    const uint8_t *bytes = len <= max ? take_bytes(rest, len) : NULL;

    if (!bytes || action > STORE_REMOVE || (action != STORE_WRITE && len > 0))
        return false;
    if (action == STORE_WRITE)
        *ret_content = g_bytes_new(bytes, len);
    return true;
}

static bool
take_owner(struct rest *rest, struct store_change *change)
{
    static const uint8_t zero[OWNER_AT_LEN - OWNER_AT_ZERO];
    const uint8_t *head = take_bytes(rest, STORE_CHANGE_OWNER_SIZE);
    struct store_owner_change owner = {0};

    /* A program that does not know what stands in place of zeros must not act on it. */
    if (!head || head[OWNER_AT_ACTION] == STORE_KEEP ||
        memcmp(head + OWNER_AT_ZERO, zero, sizeof(zero)) != 0)
        return false;
    owner.action = head[OWNER_AT_ACTION];
    memcpy(owner.guest.bytes, head + OWNER_AT_GUEST, sizeof(owner.guest.bytes));
    if (!take_content(rest, owner.action, big_endian_get(head + OWNER_AT_LEN, 4), STORE_KEY_MAX,
                      &owner.key))
        return false;
    g_array_append_val(change->owners, owner);
    return true;
}

static bool
take_owners(struct rest *rest, size_t count, struct store_change *change)
{
    if (count == 0)
        return true;
    if (count > STORE_OWNERS_MAX)
        return false;
    change->owners = store_change_new_owners();
    for (size_t i = 0; i < count; i++) {
        if (!take_owner(rest, change))
            return false;
    }
    return has_guests_once(change);
}

static bool
take_audit(struct rest *rest, size_t len, struct store_change *change)
{
    const uint8_t *text = len <= AUDIT_MEMBERS_MAX ? take_bytes(rest, len) : NULL;

    if (len == 0)
        return true;
    if (!text || memchr(text, '\0', len))
        return false;
    change->audit = g_strndup((const char *)text, len);
    return audit_line_are_members(change->audit);
}

bool
store_change_parse(const void *record, size_t len, struct store_change *ret_change)
{
    struct rest rest = {record, len};
    const uint8_t *head = take_bytes(&rest, STORE_CHANGE_HEAD_SIZE);
    g_auto(store_change_t) change = {0};

    if (!head)
        return false;
    change.xml_action = head[AT_XML_ACTION];
    change.key_action = head[AT_KEY_ACTION];
    memcpy(change.uuid.bytes, head + AT_UUID, sizeof(change.uuid.bytes));
    if (!take_content(&rest, change.xml_action, big_endian_get(head + AT_XML_LEN, 4), STORE_XML_MAX,
                      &change.xml) ||
        !take_content(&rest, change.key_action, big_endian_get(head + AT_KEY_LEN, 4), STORE_KEY_MAX,
                      &change.key) ||
        !take_owners(&rest, big_endian_get(head + AT_OWNER_COUNT, 2), &change) ||
        !take_audit(&rest, big_endian_get(head + AT_AUDIT_LEN, 4), &change) || rest.len > 0)
        return false;
    *ret_change = store_change_take(&change);
    return true;
}
