/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: backups for tests, made by the functions that the daemon makes them with: a master key
 * whose slots open by a recovery passphrase alone, and any secrets.
 */
#pragma once

#include "conf/secret_def.h"
#include "expect.h"
#include "folder.h"
#include "master/recovery_text.h"
#include "master/unlock.h"
#include "recover/backup_reader.h"
#include "secret/generations.h"
#include "secret/sealed.h"

#define SECRET_A "0a000000-0000-4000-8000-00000000000a"
#define SECRET_B "0b000000-0000-4000-8000-00000000000b"
#define SECRET_C "0c000000-0000-4000-8000-00000000000c"
#define GUEST_1  "11111111-1111-4111-8111-111111111111"
#define GUEST_2  "22222222-2222-4222-8222-222222222222"

struct backup_fixture {
    struct folder root; /* what the restored host's / is */
    struct master_key *master;
    struct secret_buf *recovery; /* the passphrase */
    struct slots *slots;
    struct generations *generations;
    GPtrArray *pieces; /* of the content */
    uint64_t secrets;
    uint64_t lost;
};

static const struct unlock_context backup_fixture_context = {.timeout_ms = 10000};

static inline struct uuid
backup_fixture_uuid(const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

static inline void
backup_fixture_make_slots(struct backup_fixture *test)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) bits = secret_buf_new_random(RECOVERY_SIZE, &error);

    test->master = master_key_new_random(&error);
    g_assert_no_error(error);
    test->recovery = recovery_text_format(bits, &error);
    g_assert_no_error(error);
    test->slots = slots_new(test->master);
    unlock_add_slot(&backup_fixture_context, test->slots, slot_new(SLOT_RECOVERY, "paper", NULL),
                    test->recovery, test->master, &error);
    g_assert_no_error(error);
}

static inline void
backup_fixture_set_up(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    g_autoptr(GBytes) bytes = NULL;

    folder_init(&test->root);
    backup_fixture_make_slots(test);
    test->slots->flags = SLOTS_HAS_INDEX;
    path = folder_path(&test->root, "generations-of-before");
    test->generations = generations_make(path, test->master, false, &error);
    g_assert_no_error(error);
    g_unlink(path);
    test->pieces = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    bytes = generations_format(test->generations, &error);
    g_assert_no_error(error);
    g_ptr_array_add(test->pieces, backup_records_format_generations(bytes));
}

static inline void
backup_fixture_tear_down(struct backup_fixture *test, gconstpointer unused)
{
    g_ptr_array_unref(test->pieces);
    generations_free(test->generations);
    slots_free(test->slots);
    secret_buf_free(test->recovery);
    master_key_free(test->master);
    folder_clear(&test->root);
}

static inline char *
backup_fixture_xml(const char *uuid)
{
    return g_strdup_printf("<secret ephemeral='no' private='yes'>\n  <uuid>%s</uuid>\n"
                           "  <usage type='volume'>\n    <volume>/srv/%s</volume>\n  </usage>\n"
                           "</secret>\n",
                           uuid, uuid);
}

/* With `value` (NULL: none) sealed for the first of `guests`, or for none. */
static inline void
backup_fixture_add(struct backup_fixture *test, const char *uuid, const char *value,
                   const struct uuid *guests, uint32_t guest_count)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = backup_fixture_xml(uuid);
    g_autoptr(GBytes) xml = g_bytes_new(text, strlen(text));
    g_autoptr(secret_def_t) def = secret_def_parse(text, strlen(text), false, &error);
    g_autoptr(GBytes) sealed = NULL;
    struct backup_secret record = {.uuid = def->uuid, .xml = xml};

    if (value) {
        g_autoptr(secret_buf_t) plain = secret_buf_new_from(value, strlen(value), NULL);
        const struct sealed_binding binding = {def, guest_count > 0 ? guests : NULL};

        sealed = sealed_format(generations_current(test->generations), &binding, 5, plain, &error);
        g_assert_no_error(error);
    }
    record.sealed = sealed;
    record.guests = guests;
    record.guest_count = guest_count;
    record.has_owner = guest_count > 0;
    if (guest_count > 0)
        record.owner = guests[0];
    backup_records_add_secret(test->pieces, &record);
    test->secrets++;
}

/* A without owners, B of two guests, C without a value. */
static inline void
backup_fixture_add_three(struct backup_fixture *test)
{
    const struct uuid guests[] = {backup_fixture_uuid(GUEST_1), backup_fixture_uuid(GUEST_2)};

    backup_fixture_add(test, SECRET_A, "value of a", NULL, 0);
    backup_fixture_add(test, SECRET_B, "value of b", guests, G_N_ELEMENTS(guests));
    backup_fixture_add(test, SECRET_C, NULL, NULL, 0);
}

static inline void
backup_fixture_lose(struct backup_fixture *test, const char *text)
{
    g_ptr_array_add(test->pieces, backup_records_format_lost(text));
    test->lost++;
}

/* The bytes of a backup with `content`. */
static inline GByteArray *
backup_fixture_seal(const struct backup_fixture *test, const GByteArray *content)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) slots = slots_format(test->slots, test->master, &error);
    g_autoptr(backup_chunks_t) chunks = backup_chunks_new(test->master, slots, &error);
    GByteArray *file = g_byte_array_new();
    GBytes *head = backup_chunks_head(chunks);

    g_assert_no_error(error);
    g_byte_array_append(file, g_bytes_get_data(head, NULL), (guint)g_bytes_get_size(head));
    for (guint at = 0, number = 0; at < content->len; at += BACKUP_CHUNK_SIZE, number++) {
        guint len = MIN(content->len - at, BACKUP_CHUNK_SIZE);
        guint before = file->len;

        g_byte_array_set_size(file, before + len + AEAD_TAG_SIZE);
        backup_chunks_encrypt(chunks, (struct backup_chunk){number, at + len == content->len},
                              content->data + at, len, file->data + before, &error);
        g_assert_no_error(error);
    }
    return file;
}

/* The content of what was added; `has_end` false: without its end. */
static inline GByteArray *
backup_fixture_content(const struct backup_fixture *test, bool has_end)
{
    GByteArray *content = g_byte_array_new();
    g_autoptr(GBytes) end = backup_records_format_end(test->secrets, test->lost);

    for (guint i = 0; i < test->pieces->len; i++)
        g_byte_array_append(content, g_bytes_get_data(test->pieces->pdata[i], NULL),
                            (guint)g_bytes_get_size(test->pieces->pdata[i]));
    if (has_end)
        g_byte_array_append(content, g_bytes_get_data(end, NULL), (guint)g_bytes_get_size(end));
    return content;
}

static inline GByteArray *
backup_fixture_make(const struct backup_fixture *test)
{
    g_autoptr(GByteArray) content = backup_fixture_content(test, true);

    return backup_fixture_seal(test, content);
}

/* Opens these bytes as a backup; *error says why not. */
static inline struct backup_reader *
backup_fixture_open(const struct backup_fixture *test, const void *bytes, size_t len,
                    GError **error)
{
    g_autofree char *path = folder_path(&test->root, "backup");
    g_autoptr(backup_reader_t) reader = NULL;

    folder_put(&test->root, "backup", bytes, len);
    reader = backup_reader_open(path, error);
    if (!reader || !backup_reader_unlock(reader, test->master, error))
        return NULL;
    return g_steal_pointer(&reader);
}
