/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: those bytes. What is parsed was authenticated before, and is checked nevertheless: who made
 * it may have had a bug, or be a newer program.
 */
#include "secret/backup_records.h"

#include <string.h>

#include "secret/store.h"
#include "util/big_endian.h"
#include "util/error.h"

enum { HEAD_SIZE = 5, END_SIZE = 16, GENERATIONS_MAX = 4096 };

/* Where each field of a secret starts. */
enum {
    AT_UUID = 0,
    AT_OWNER = 16,
    AT_XML_LEN = 32,
    AT_SEALED_LEN = 36,
    AT_GUEST_COUNT = 40,
    AT_XML = 44,
};
G_STATIC_ASSERT(AT_XML + STORE_XML_MAX + STORE_KEY_MAX + STORE_OWNERS_MAX * 16 < BACKUP_RECORD_MAX);

struct backup_records {
    const struct backup_records_funcs *funcs;
    void *opaque;
    GByteArray *rest; /* the beginning of a record */
    bool has_generations;
    bool has_end;
    struct uuid last; /* secret */
    uint64_t secrets;
    uint64_t lost;
    uint64_t told_secrets; /* by the end */
    uint64_t told_lost;
    bool has_gap;    /* bytes were lost */
    bool is_seeking; /* where `rest` has a record's beginning is not known */
    bool is_ended;   /* by one of funcs */
};

static const struct uuid nobody;

/* ---- to bytes ---- */

static uint8_t *
new_record(enum backup_kind kind, size_t told_len, size_t len)
{
    uint8_t *bytes = g_malloc0(HEAD_SIZE + len);

    bytes[0] = (uint8_t)kind;
    big_endian_put(bytes + 1, told_len, 4);
    return bytes;
}

static GBytes *
format(enum backup_kind kind, const void *content, size_t len)
{
    uint8_t *bytes = new_record(kind, len, len);

    memcpy(bytes + HEAD_SIZE, content, len);
    return g_bytes_new_take(bytes, HEAD_SIZE + len);
}

GBytes *
backup_records_format_generations(GBytes *generations)
{
    return format(BACKUP_GENERATIONS, g_bytes_get_data(generations, NULL),
                  g_bytes_get_size(generations));
}

GBytes *
backup_records_format_lost(const char *text)
{
    g_autofree char *cut = g_utf8_make_valid(text, (gssize)MIN(strlen(text), BACKUP_LOST_MAX / 4));

    return format(BACKUP_LOST, cut, strlen(cut));
}

GBytes *
backup_records_format_end(uint64_t secrets, uint64_t lost)
{
    uint8_t content[END_SIZE];

    big_endian_put(content, secrets, 8);
    big_endian_put(content + 8, lost, 8);
    return format(BACKUP_END, content, sizeof(content));
}

void
backup_records_add_secret(GPtrArray *pieces, const struct backup_secret *secret)
{
    gsize xml_len = 0;
    const void *xml = g_bytes_get_data(secret->xml, &xml_len);
    size_t sealed_len = secret->sealed ? g_bytes_get_size(secret->sealed) : 0;
    size_t guests_len = (size_t)secret->guest_count * sizeof(struct uuid);
    uint8_t *bytes =
        new_record(BACKUP_SECRET, AT_XML + xml_len + sealed_len + guests_len, AT_XML + xml_len);
    uint8_t *at = bytes + HEAD_SIZE;

    memcpy(at + AT_UUID, secret->uuid.bytes, sizeof(secret->uuid.bytes));
    if (secret->has_owner)
        memcpy(at + AT_OWNER, secret->owner.bytes, sizeof(secret->owner.bytes));
    big_endian_put(at + AT_XML_LEN, xml_len, 4);
    big_endian_put(at + AT_SEALED_LEN, sealed_len, 4);
    big_endian_put(at + AT_GUEST_COUNT, secret->guest_count, 4);
    memcpy(at + AT_XML, xml, xml_len);
    g_ptr_array_add(pieces, g_bytes_new_take(bytes, HEAD_SIZE + AT_XML + xml_len));
    if (sealed_len > 0)
        g_ptr_array_add(pieces, g_bytes_ref(secret->sealed));
    if (guests_len > 0)
        g_ptr_array_add(pieces, g_bytes_new(secret->guests, guests_len));
}

/* ---- from bytes ---- */

/* What one of funcs said. */
static bool
end_unless(struct backup_records *records, bool goes_on)
{
    records->is_ended |= !goes_on;
    return goes_on;
}

static bool
refuse(GError **error, const char *reason)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "the content of the backup is not as it has to be: %s", reason);
    return false;
}

static bool
are_guests_good(const struct uuid *guests, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct uuid *below = i == 0 ? &nobody : &guests[i - 1];

        if (uuid_compare(below, &guests[i]) >= 0)
            return false;
    }
    return true;
}

static bool
take_secret(struct backup_records *records, const uint8_t *at, size_t len, GError **error)
{
    struct backup_secret secret = {0};
    g_autoptr(GBytes) xml = NULL;
    g_autoptr(GBytes) sealed = NULL;
    g_autofree struct uuid *guests = NULL;
    uint64_t xml_len;
    uint64_t sealed_len;
    uint64_t count;

    if (len < AT_XML)
        return refuse(error, "a secret is cut off");
    xml_len = big_endian_get(at + AT_XML_LEN, 4);
    sealed_len = big_endian_get(at + AT_SEALED_LEN, 4);
    count = big_endian_get(at + AT_GUEST_COUNT, 4);
    if (xml_len > STORE_XML_MAX || sealed_len > STORE_KEY_MAX || count > STORE_OWNERS_MAX ||
        len != AT_XML + xml_len + sealed_len + count * sizeof(struct uuid))
        return refuse(error, "the lengths in a secret are wrong");
    memcpy(secret.uuid.bytes, at + AT_UUID, sizeof(secret.uuid.bytes));
    memcpy(secret.owner.bytes, at + AT_OWNER, sizeof(secret.owner.bytes));
    secret.has_owner = !uuid_equal(&secret.owner, &nobody);
    if (records->secrets > 0 && uuid_compare(&records->last, &secret.uuid) >= 0)
        return refuse(error, "the secrets are not in their order");
    xml = g_bytes_new(at + AT_XML, xml_len);
    secret.xml = xml;
    if (sealed_len > 0)
        sealed = g_bytes_new(at + AT_XML + xml_len, sealed_len);
    secret.sealed = sealed;
    guests = g_memdup2(at + AT_XML + xml_len + sealed_len, count * sizeof(struct uuid));
    secret.guests = guests;
    secret.guest_count = (uint32_t)count;
    if (!are_guests_good(guests, secret.guest_count))
        return refuse(error, "the guests of a secret are not in their order");
    if (!secret.sealed && (count > 0 || secret.has_owner))
        return refuse(error, "a secret belongs to guests and has no value");
    records->last = secret.uuid;
    records->secrets++;
    return end_unless(records, records->funcs->secret(records->opaque, &secret, error));
}

static bool
take_lost(struct backup_records *records, const uint8_t *at, size_t len, GError **error)
{
    g_autofree char *text = NULL;

    if (len > BACKUP_LOST_MAX || !g_utf8_validate((const char *)at, (gssize)len, NULL))
        return refuse(error, "a text is none");
    text = g_strndup((const char *)at, len);
    records->lost++;
    return !records->funcs->lost ||
           end_unless(records, records->funcs->lost(records->opaque, text, error));
}

static bool
take_generations(struct backup_records *records, const uint8_t *at, size_t len, GError **error)
{
    g_autoptr(GBytes) generations = NULL;

    if (records->has_generations || len > GENERATIONS_MAX)
        return refuse(error, "there are generations where none may be");
    records->has_generations = true;
    generations = g_bytes_new(at, len);
    return !records->funcs->generations ||
           end_unless(records, records->funcs->generations(records->opaque, generations, error));
}

static bool
take_record(struct backup_records *records, uint8_t kind, const uint8_t *at, size_t len,
            GError **error)
{
    if (records->has_end || (!records->has_generations && kind != BACKUP_GENERATIONS))
        return refuse(error, "its records are not in their order");
    switch (kind) {
    case BACKUP_GENERATIONS:
        return take_generations(records, at, len, error);
    case BACKUP_SECRET:
        return take_secret(records, at, len, error);
    case BACKUP_LOST:
        return take_lost(records, at, len, error);
    case BACKUP_END:
        if (len != END_SIZE)
            return refuse(error, "its end is none");
        records->has_end = true;
        records->told_secrets = big_endian_get(at, 8);
        records->told_lost = big_endian_get(at + 8, 8);
        return true;
    default:
        return refuse(error, "a record is of a kind that this program does not know");
    }
}

struct backup_records *
backup_records_new(const struct backup_records_funcs *funcs, void *opaque)
{
    struct backup_records *records = g_new0(struct backup_records, 1);

    records->funcs = funcs;
    records->opaque = opaque;
    records->rest = g_byte_array_new();
    return records;
}

void
backup_records_free(struct backup_records *records)
{
    if (!records)
        return;
    g_byte_array_unref(records->rest);
    g_free(records);
}

static void
drop(struct backup_records *records, size_t len)
{
    g_byte_array_remove_range(records->rest, 0, (guint)len);
}

/* All that are whole. After an error `rest` begins with the one that was refused. */
static bool
take_whole(struct backup_records *records, GError **error)
{
    size_t done = 0;
    bool is_good = true;

    while (is_good && records->rest->len - done >= HEAD_SIZE) {
        const uint8_t *at = records->rest->data + done;
        size_t content = (size_t)big_endian_get(at + 1, 4);

        if (content > BACKUP_RECORD_MAX) {
            is_good = refuse(error, "a record is too long");
        } else {
            if (records->rest->len - done - HEAD_SIZE < content)
                break;
            is_good = take_record(records, at[0], at + HEAD_SIZE, content, error);
        }
        if (is_good)
            done += HEAD_SIZE + content;
    }
    drop(records, done);
    return is_good;
}

/* Whether a secret may begin there: its five lengths have to agree. */
static bool
may_begin(const struct backup_records *records, const uint8_t *at)
{
    const uint8_t *content = at + HEAD_SIZE;
    uint64_t xml_len = big_endian_get(content + AT_XML_LEN, 4);
    uint64_t sealed_len = big_endian_get(content + AT_SEALED_LEN, 4);
    uint64_t count = big_endian_get(content + AT_GUEST_COUNT, 4);
    struct uuid uuid;

    memcpy(uuid.bytes, content + AT_UUID, sizeof(uuid.bytes));
    return at[0] == BACKUP_SECRET && xml_len <= STORE_XML_MAX && sealed_len <= STORE_KEY_MAX &&
           count <= STORE_OWNERS_MAX &&
           big_endian_get(at + 1, 4) ==
               AT_XML + xml_len + sealed_len + count * sizeof(struct uuid) &&
           (records->secrets == 0 || uuid_compare(&records->last, &uuid) < 0);
}

/* Drops what is before the next secret; false: none begins in what there is. */
static bool
seek(struct backup_records *records)
{
    size_t done = 0;

    while (records->rest->len - done >= HEAD_SIZE + AT_XML) {
        if (may_begin(records, records->rest->data + done)) {
            records->is_seeking = false;
            break;
        }
        done++;
    }
    drop(records, done);
    return !records->is_seeking;
}

bool
backup_records_feed(struct backup_records *records, const uint8_t *bytes, size_t len,
                    GError **error)
{
    g_byte_array_append(records->rest, bytes, (guint)len);
    while (!records->is_seeking || seek(records)) {
        g_autoptr(GError) failure = NULL;

        if (take_whole(records, &failure))
            return true;
        if (!records->has_gap || records->is_ended) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        }
        /* It was none. */
        drop(records, 1);
        records->is_seeking = true;
    }
    return true;
}

bool
backup_records_note_gap(struct backup_records *records, struct uuid *ret_secret)
{
    const uint8_t *at = records->rest->data;
    bool is_known = !records->is_seeking &&
                    records->rest->len >= HEAD_SIZE + AT_UUID + sizeof(struct uuid) &&
                    at[0] == BACKUP_SECRET;

    if (is_known)
        memcpy(ret_secret->bytes, at + HEAD_SIZE + AT_UUID, sizeof(ret_secret->bytes));
    g_byte_array_set_size(records->rest, 0);
    records->has_gap = records->is_seeking = true;
    return is_known;
}

/* What is looked for behind a gap are secrets: the end is where the bytes end. */
static void
find_end(struct backup_records *records)
{
    const GByteArray *rest = records->rest;
    const uint8_t *at;

    if (!records->is_seeking || rest->len < HEAD_SIZE + END_SIZE)
        return;
    at = rest->data + rest->len - HEAD_SIZE - END_SIZE;
    if (at[0] != BACKUP_END || big_endian_get(at + 1, 4) != END_SIZE)
        return;
    records->has_end = true;
    records->told_secrets = big_endian_get(at + HEAD_SIZE, 8);
}

void
backup_records_get_tally(struct backup_records *records, struct backup_tally *ret_tally)
{
    find_end(records);
    *ret_tally = (struct backup_tally){
        .has_generations = records->has_generations,
        .has_end = records->has_end,
        .secrets = records->secrets,
        .told_secrets = records->told_secrets,
    };
}

bool
backup_records_finish(const struct backup_records *records, GError **error)
{
    if (!records->has_end || records->rest->len > 0)
        return refuse(error, "it has no end");
    if (records->told_secrets != records->secrets || records->told_lost != records->lost)
        return refuse(error, "it has other secrets than its end says");
    return true;
}
