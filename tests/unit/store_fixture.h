/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a store in temporary folders, for its tests.
 */
#pragma once

#include <errno.h>
#include <sys/stat.h>

#include "expect.h"
#include "file_limit.h"
#include "folder.h"
#include "secret/journal.h"
#include "secret/store.h"
#include "secret/store_change.h"

#define A "aaaaaaaa-0000-4000-8000-000000000001"
#define B "bbbbbbbb-0000-4000-8000-000000000002"
#define C "cccccccc-0000-4000-8000-000000000003"

enum { CAPACITY = 2 * 1024 * 1024 };

struct fixture {
    struct folder folder;         /* of secrets */
    struct folder journal_folder; /* beside it */
    struct folder other_folder;   /* of guests' keys and the audit */
    char *guests_dir;             /* not made yet */
    char *audit;                  /* likewise */
    struct loop *loop;
    struct store *store;
    guint expected; /* completions to wait for */
    GString *log;   /* what completions said */
};

/* One that no guest has keys in. */
static inline struct store *
open_store_at(const char *dir, const char *journal_dir, struct loop *loop, GError **error)
{
    return store_open(&(struct store_params){.dir = dir, .journal_dir = journal_dir, .loop = loop},
                      error);
}

static inline struct store_params
params_of(const struct fixture *test)
{
    return (struct store_params){
        .dir = test->folder.path,
        .journal_dir = test->journal_folder.path,
        .guests_dir = test->guests_dir,
        .audit = test->audit,
        .loop = test->loop,
    };
}

static inline void
open_store(struct fixture *test)
{
    const struct store_params params = params_of(test);
    g_autoptr(GError) error = NULL;

    test->store = store_open(&params, &error);
    g_assert_no_error(error);
    g_assert_nonnull(test->store);
}

static inline void
close_store(struct fixture *test)
{
    g_clear_pointer(&test->store, store_free);
}

static inline void
set_up(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    folder_init(&test->folder);
    folder_init(&test->journal_folder);
    folder_init(&test->other_folder);
    test->guests_dir = folder_path(&test->other_folder, "qemu/keys");
    test->audit = folder_path(&test->other_folder, "lib/audit.log");
    test->loop = loop_new(&error);
    g_assert_no_error(error);
    test->log = g_string_new(NULL);
    open_store(test);
}

static inline void
tear_down(struct fixture *test, gconstpointer unused)
{
    close_store(test);
    loop_free(test->loop);
    g_string_free(test->log, TRUE);
    folder_clear(&test->folder);
    folder_clear(&test->journal_folder);
    folder_clear(&test->other_folder);
    g_free(test->guests_dir);
    g_free(test->audit);
}

/* NULL: keep; "": remove; else write. */
static inline struct store_change
change_of(const char *uuid, const char *xml, const char *key)
{
    struct store_change change = {0};

    g_assert_true(uuid_parse(uuid, &change.uuid));
    if (xml) {
        change.xml_action = *xml ? STORE_WRITE : STORE_REMOVE;
        change.xml = *xml ? g_bytes_new(xml, strlen(xml)) : NULL;
    }
    if (key) {
        change.key_action = *key ? STORE_WRITE : STORE_REMOVE;
        change.key = *key ? g_bytes_new(key, strlen(key)) : NULL;
    }
    return change;
}

static inline void
commit(struct fixture *test, const char *uuid, const char *xml, const char *key)
{
    g_autoptr(GError) error = NULL;
    struct store_change change = change_of(uuid, xml, key);

    g_assert_true(store_commit(test->store, &change, &error));
    g_assert_no_error(error);
    g_assert_null(change.xml);
    g_assert_null(change.key);
}

static inline void
expect_commit_error(struct fixture *test, struct store_change *change, enum error_code code,
                    const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(store_commit(test->store, change, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
}

static inline char *
text_of(GBytes *bytes)
{
    return bytes ? g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)) : NULL;
}

static inline void
expect_files(struct fixture *test, const char *uuid_text, const char *xml, const char *key)
{
    struct uuid uuid;
    g_autoptr(GBytes) xml_bytes = NULL;
    g_autoptr(GBytes) key_bytes = NULL;
    g_autofree char *xml_found = NULL;
    g_autofree char *key_found = NULL;

    g_assert_true(uuid_parse(uuid_text, &uuid));
    xml_bytes = store_read_xml(test->store, &uuid, NULL);
    key_bytes = store_read_key(test->store, &uuid, NULL);
    xml_found = text_of(xml_bytes);
    key_found = text_of(key_bytes);
    g_assert_cmpstr(xml_found, ==, xml);
    g_assert_cmpstr(key_found, ==, key);
}

/* The list as "aaaaaaaa:xkb bbbbbbbb:x-- ". */
static inline char *
list_text(struct fixture *test)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) entries = store_list(test->store, &error);
    GString *text = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < entries->len; i++) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i);
        char uuid[UUID_TEXT_SIZE];

        g_string_append_printf(text, "%.8s:%c%c%c ", uuid_format(&entry->uuid, uuid),
                               entry->has_xml ? 'x' : '-', entry->has_key ? 'k' : '-',
                               entry->has_base64      ? 'b'
                               : entry->has_aes256cbc ? 'a'
                                                      : '-');
    }
    return g_string_free(text, FALSE);
}

static inline void
expect_list(struct fixture *test, const char *expected)
{
    g_autofree char *text = list_text(test);

    g_assert_cmpstr(text, ==, expected);
}

static inline guint
count_journal_bytes(const struct fixture *test)
{
    g_autoptr(GBytes) journal = folder_get(&test->journal_folder, "journal");
    gsize len = 0;
    const char *bytes = g_bytes_get_data(journal, &len);
    guint count = 0;

    for (gsize i = 8192; i < len; i++)
        count += bytes[i] != 0;
    return count;
}

/* Writes a journal as a killed daemon leaves it. */
static inline void
put_record(struct fixture *test, struct store_change change)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) record = store_change_format(&change);
    g_autoptr(journal_t) journal =
        journal_open(test->journal_folder.fd, "journal", CAPACITY, &error);

    g_assert_no_error(error);
    journal_append(journal, g_bytes_get_data(record, NULL), g_bytes_get_size(record));
    g_assert_true(journal_commit(journal, NULL));
    store_change_clear(&change);
}

static inline void
note_done(void *opaque, const GError *error)
{
    struct fixture *test = opaque;

    g_string_append(test->log, error ? "error " : "done ");
    if (--test->expected == 0)
        loop_quit(test->loop);
}

static inline void
submit(struct fixture *test, const char *uuid, const char *xml, const char *key)
{
    struct store_change change = change_of(uuid, xml, key);

    test->expected++;
    store_submit(test->store, &change, note_done, test);
}
