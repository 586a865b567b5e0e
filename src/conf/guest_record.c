/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading and writing records of guests (docs/guest-record.md). Reading is strict: a record
 * with something that is not understood was written by another version, and must not be acted on.
 */
#include "conf/guest_record.h"

#include <inttypes.h>
#include <string.h>

#include "conf/record_xml.h"
#include "conf/xml_document.h"
#include "conf/xml_strict.h"
#include "conf/xml_text.h"
#include "util/error.h"

static const char *const state_names[] = {
    [GUEST_STATE_PRESENT] = "present",   [GUEST_STATE_UNDEFINED] = "undefined",
    [GUEST_STATE_MIGRATED] = "migrated", [GUEST_STATE_DEFINING] = "defining",
    [GUEST_STATE_ARRIVING] = "arriving", [GUEST_STATE_LEAVING] = "leaving",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == GUEST_STATE_LAST);

static const char *const origin_names[] = {
    [GUEST_KEY_GENERATED] = "generated", [GUEST_KEY_SENT] = "sent",
    [GUEST_KEY_MANUAL] = "manual",       [GUEST_KEY_REFERENCED] = "referenced",
    [GUEST_KEY_REFUSED] = "refused",
};
G_STATIC_ASSERT(G_N_ELEMENTS(origin_names) == GUEST_KEY_ORIGIN_LAST);

static const char *const key_state_names[] = {
    [GUEST_KEY_BOUND] = "bound",
    [GUEST_KEY_MADE] = "made",
    [GUEST_KEY_WAITING] = "waiting",
    [GUEST_KEY_ORPHANED] = "orphaned",
};
G_STATIC_ASSERT(G_N_ELEMENTS(key_state_names) == GUEST_KEY_STATE_LAST);

#define SECONDS "a number of seconds"

const char *
guest_key_origin_name(enum guest_key_origin origin)
{
    return (unsigned int)origin < GUEST_KEY_ORIGIN_LAST ? origin_names[origin] : "unknown";
}

bool
guest_key_origin_parse(const char *name, enum guest_key_origin *ret_origin)
{
    int index = xml_find_name(name, origin_names, GUEST_KEY_ORIGIN_LAST);

    if (index >= 0)
        *ret_origin = (enum guest_key_origin)index;
    return index >= 0;
}

static bool
needs_operation(enum guest_state state)
{
    return state == GUEST_STATE_DEFINING || state == GUEST_STATE_ARRIVING ||
           state == GUEST_STATE_LEAVING;
}

static bool
needs_peer(enum guest_state state)
{
    return state == GUEST_STATE_ARRIVING || state == GUEST_STATE_LEAVING;
}

static bool
has_operation(const struct guest_record *record)
{
    static const struct uuid none;

    return !uuid_equal(&record->operation, &none);
}

static bool
has_since(enum guest_key_state state)
{
    return state == GUEST_KEY_WAITING || state == GUEST_KEY_ORPHANED;
}

/* ---- writing ---- */

static void
append_seconds(GString *text, unsigned int indent, int64_t since)
{
    xml_append_indent(text, indent);
    g_string_append_printf(text, "<since>%" PRId64 "</since>\n", since);
}

static void
append_key(GString *text, const struct guest_key *key)
{
    char uuid[UUID_TEXT_SIZE];

    g_string_append(text, "    <key>\n");
    xml_append_element(text, 6, "secret", uuid_format(&key->secret, uuid));
    xml_append_element(text, 6, "origin", origin_names[key->origin]);
    xml_append_element(text, 6, "state", key_state_names[key->state]);
    xml_append_element(text, 6, "volume", key->volume);
    xml_append_element(text, 6, "place", key->place);
    if (has_since(key->state))
        append_seconds(text, 6, key->since);
    xml_append_element(text, 6, "reason", key->reason);
    xml_append_element(text, 6, "remoteCopy", record_xml_yes_no[key->has_remote_copy]);
    g_string_append(text, "    </key>\n");
}

char *
guest_record_format(const struct guest_record *record)
{
    GString *text = g_string_sized_new(1024);
    char uuid[UUID_TEXT_SIZE];

    g_string_append(text, "<guestRecord version='1'>\n");
    xml_append_element(text, 2, "uuid", uuid_format(&record->uuid, uuid));
    xml_append_element(text, 2, "name", record->name);
    xml_append_element(text, 2, "uri", record->uri);
    xml_append_element(text, 2, "state", state_names[record->state]);
    append_seconds(text, 2, record->since);
    if (has_operation(record))
        xml_append_element(text, 2, "operation", uuid_format(&record->operation, uuid));
    xml_append_element(text, 2, "peer", record->peer);
    g_string_append(text, "  <keys>\n");
    for (guint i = 0; i < record->keys->len; i++)
        append_key(text, record->keys->pdata[i]);
    g_string_append(text, "  </keys>\n</guestRecord>\n");
    return g_string_free(text, FALSE);
}

/* ---- reading ---- */

static bool
parse_seconds(const xmlNode *node, int64_t *ret_since, GError **error)
{
    uint64_t since;

    if (!record_xml_get_number(node, "since", SECONDS, INT64_MAX, &since, error))
        return false;
    *ret_since = (int64_t)since;
    return true;
}

static bool
parse_key_state(const xmlNode *node, struct guest_key *key, GError **error)
{
    int state;

    if (!record_xml_get_word(node, "state", key_state_names, GUEST_KEY_STATE_LAST, &state, error))
        return false;
    key->state = (enum guest_key_state)state;
    if (has_since(key->state))
        return parse_seconds(node, &key->since, error);
    if (!xml_find_element(node->children, "since"))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
              "the record has a key that is '%s' with <since>", key_state_names[state]);
    return false;
}

static bool
parse_key(const xmlNode *node, struct guest_key *key, GError **error)
{
    static const char *const attributes[] = {NULL};
    static const char *const children[] = {"secret", "origin", "state",      "volume", "place",
                                           "since",  "reason", "remoteCopy", NULL};
    int origin;

    if (!xml_check_attributes(node, attributes, error) ||
        !xml_check_children(node, children, error) ||
        !record_xml_get_uuid(node, "secret", &key->secret, error) ||
        !record_xml_get_word(node, "origin", origin_names, GUEST_KEY_ORIGIN_LAST, &origin, error) ||
        !parse_key_state(node, key, error) ||
        !record_xml_find_text(node, "volume", &key->volume, error) ||
        !record_xml_find_text(node, "place", &key->place, error) ||
        !record_xml_find_text(node, "reason", &key->reason, error))
        return false;
    key->origin = (enum guest_key_origin)origin;
    return record_xml_get_yes_no(node, "remoteCopy", &key->has_remote_copy, error);
}

static void
free_key(void *data)
{
    struct guest_key *key = data;

    g_free(key->volume);
    g_free(key->place);
    g_free(key->reason);
    g_free(key);
}

static bool
add_key(const xmlNode *node, struct guest_record *record, GHashTable *known, GError **error)
{
    struct guest_key *key = g_new0(struct guest_key, 1);
    char uuid[UUID_TEXT_SIZE];

    g_ptr_array_add(record->keys, key);
    if (!parse_key(node, key, error))
        return false;
    if (g_hash_table_add(known, &key->secret))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the record has two keys of secret %s",
              uuid_format(&key->secret, uuid));
    return false;
}

static bool
is_blank(const xmlNode *node)
{
    const char *content = (const char *)node->content;

    return node->type == XML_COMMENT_NODE ||
           (node->type == XML_TEXT_NODE &&
            (!content || content[strspn(content, " \t\r\n")] == '\0'));
}

static bool
parse_keys(const xmlNode *root, struct guest_record *record, GError **error)
{
    static const char *const attributes[] = {NULL};
    g_autoptr(GHashTable) known = g_hash_table_new(uuid_hash_key, uuid_equal_key);
    const xmlNode *keys = xml_find_element(root->children, "keys");

    if (!keys) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the record has no <keys>");
        return false;
    }
    if (!xml_check_attributes(keys, attributes, error))
        return false;
    for (xmlNode *node = keys->children; node; node = node->next) {
        if (is_blank(node))
            continue;
        if (xml_find_element(node, "key") != node) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                      "<keys> of the record holds something else than <key>");
            return false;
        }
        if (!add_key(node, record, known, error))
            return false;
    }
    return true;
}

/* An operation that has ended is still named: who asks about it again gets its answer. */
static bool
parse_operation(const xmlNode *root, struct guest_record *record, GError **error)
{
    bool is_there = xml_find_element(root->children, "operation") != NULL;

    if ((is_there || needs_operation(record->state)) &&
        !record_xml_get_uuid(root, "operation", &record->operation, error))
        return false;
    return needs_peer(record->state) ? record_xml_get_text(root, "peer", &record->peer, error)
                                     : record_xml_find_text(root, "peer", &record->peer, error);
}

static struct guest_record *
new_empty(void)
{
    struct guest_record *record = g_new0(struct guest_record, 1);

    record->keys = g_ptr_array_new_with_free_func(free_key);
    return record;
}

static struct guest_record *
parse_record(const xmlNode *root, GError **error)
{
    static const char *const children[] = {"uuid",      "name", "uri",  "state", "since",
                                           "operation", "peer", "keys", NULL};
    g_autoptr(guest_record_t) record = new_empty();
    int state;

    if (!record_xml_check_version(root, error) || !xml_check_children(root, children, error) ||
        !record_xml_get_uuid(root, "uuid", &record->uuid, error) ||
        !record_xml_get_text(root, "name", &record->name, error) ||
        !record_xml_find_text(root, "uri", &record->uri, error) ||
        !record_xml_get_word(root, "state", state_names, GUEST_STATE_LAST, &state, error) ||
        !parse_seconds(root, &record->since, error))
        return NULL;
    record->state = (enum guest_state)state;
    if (!parse_operation(root, record, error) || !parse_keys(root, record, error))
        return NULL;
    return g_steal_pointer(&record);
}

struct guest_record *
guest_record_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(xml_document_t) doc = NULL;

    if (len > GUEST_RECORD_XML_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "the record has %zu bytes, which is more than %d", len, GUEST_RECORD_XML_MAX);
        return NULL;
    }
    doc = xml_document_parse("(guest_record)", "guestRecord", xml, len, ERROR_FROM_STORAGE, error);
    return doc ? parse_record(xmlDocGetRootElement(doc), error) : NULL;
}

/* ---- in memory ---- */

struct guest_record *
guest_record_new(const struct uuid *uuid, const char *name, const char *uri)
{
    struct guest_record *record = new_empty();

    record->uuid = *uuid;
    record->name = g_strdup(name);
    record->uri = g_strdup(uri);
    return record;
}

static void *
copy_key(const void *data, void *unused)
{
    const struct guest_key *key = data;
    struct guest_key *copy = g_new(struct guest_key, 1);

    (void)unused;
    *copy = *key;
    copy->volume = g_strdup(key->volume);
    copy->place = g_strdup(key->place);
    copy->reason = g_strdup(key->reason);
    return copy;
}

struct guest_record *
guest_record_copy(const struct guest_record *record)
{
    struct guest_record *copy = g_new(struct guest_record, 1);

    *copy = *record;
    copy->name = g_strdup(record->name);
    copy->uri = g_strdup(record->uri);
    copy->peer = g_strdup(record->peer);
    copy->keys = g_ptr_array_copy(record->keys, copy_key, NULL);
    return copy;
}

void
guest_record_free(struct guest_record *record)
{
    if (!record)
        return;
    g_free(record->name);
    g_free(record->uri);
    g_free(record->peer);
    g_ptr_array_unref(record->keys);
    g_free(record);
}

struct guest_key *
guest_record_find(const struct guest_record *record, const struct uuid *secret)
{
    for (guint i = 0; i < record->keys->len; i++) {
        struct guest_key *key = record->keys->pdata[i];

        if (uuid_equal(&key->secret, secret))
            return key;
    }
    return NULL;
}

struct guest_key *
guest_record_take(struct guest_record *record, const struct uuid *secret,
                  enum guest_key_origin origin)
{
    struct guest_key *key = guest_record_find(record, secret);

    if (key)
        return key;
    key = g_new0(struct guest_key, 1);
    key->secret = *secret;
    key->origin = origin;
    key->state = GUEST_KEY_BOUND;
    g_ptr_array_add(record->keys, key);
    return key;
}

void
guest_record_drop(struct guest_record *record, const struct uuid *secret)
{
    struct guest_key *key = guest_record_find(record, secret);

    if (key)
        g_ptr_array_remove(record->keys, key);
}

void
guest_key_set_volume(struct guest_key *key, const char *volume)
{
    if (g_strcmp0(key->volume, volume) == 0)
        return;
    g_free(key->volume);
    key->volume = g_strdup(volume);
    guest_key_set_place(key, NULL);
}

bool
guest_key_has_several(const struct guest_key *key)
{
    return g_strcmp0(key->place, GUEST_KEY_SEVERAL) == 0;
}

void
guest_key_set_place(struct guest_key *key, char *place)
{
    if (guest_key_has_several(key)) {
        g_free(place);
        return;
    }
    g_free(key->place);
    key->place = place;
}
