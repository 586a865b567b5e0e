/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a journal in a temporary folder, for its tests.
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "expect.h"
#include "file_limit.h"
#include "folder.h"
#include "secret/journal.h"

enum { CAPACITY = 64 * 512, HEAD_SPACING = 4096, RECORDS_AT = 8192, SECTOR = 512 };

struct fixture {
    struct folder folder;
    char *path;
};

static inline void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->path = folder_path(&test->folder, "journal");
}

static inline void
tear_down(struct fixture *test, gconstpointer unused)
{
    g_free(test->path);
    folder_clear(&test->folder);
}

static inline struct journal *
open_journal(const struct fixture *test)
{
    g_autoptr(GError) error = NULL;
    struct journal *journal = journal_open(test->folder.fd, "journal", CAPACITY, &error);

    g_assert_no_error(error);
    return journal;
}

static inline void
append_text(struct journal *journal, const char *text)
{
    g_assert_true(journal_has_room(journal, strlen(text)));
    journal_append(journal, text, strlen(text));
}

static inline void
commit(struct journal *journal)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(journal_commit(journal, &error));
    g_assert_no_error(error);
}

static inline void
reset(struct journal *journal)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(journal_reset(journal, &error));
    g_assert_no_error(error);
}

static inline bool
note_record(const void *record, size_t len, void *opaque, GError **error)
{
    GString *seen = opaque;

    g_string_append_len(seen, record, (gssize)len);
    g_string_append_c(seen, ' ');
    return true;
}

static inline void
expect_records(struct journal *journal, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) seen = g_string_new(NULL);

    g_assert_true(journal_replay(journal, note_record, seen, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(seen->str, ==, expected);
}

/* Opens the journal anew and expects these records. */
static inline void
expect_after_restart(const struct fixture *test, const char *expected)
{
    g_autoptr(journal_t) journal = open_journal(test);

    expect_records(journal, expected);
}

static inline void
expect_refused(const struct fixture *test, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(journal_t) journal = journal_open(test->folder.fd, "journal", CAPACITY, &error);

    g_assert_null(journal);
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    g_assert_nonnull(strstr(error->message, test->path));
}

static inline uint8_t *
read_file(const struct fixture *test, size_t *ret_len)
{
    char *content = NULL;
    gsize len = 0;

    g_assert_true(g_file_get_contents(test->path, &content, &len, NULL));
    *ret_len = len;
    return (uint8_t *)content;
}

static inline void
poke(const struct fixture *test, off_t at, const void *bytes, size_t len)
{
    int fd = openat(test->folder.fd, "journal", O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(pwrite(fd, bytes, len, at), ==, (ssize_t)len);
    close(fd);
}

/* Commits "one" and "two" in two batches, and "three" and "four" in a third. */
static inline void
fill(const struct fixture *test)
{
    g_autoptr(journal_t) journal = open_journal(test);

    append_text(journal, "one");
    commit(journal);
    append_text(journal, "two");
    commit(journal);
    append_text(journal, "three");
    append_text(journal, "four");
    commit(journal);
}
