/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: an audit in a temporary folder, for its tests.
 */
#pragma once

#include "conf/audit_line.h"
#include "expect.h"
#include "folder.h"
#include "secret/audit.h"
#include "secret/audit_reader.h"

struct fixture {
    struct folder folder;
    char *path; /* in a folder that is not made yet */
    struct audit *audit;
};

static inline void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->path = folder_path(&test->folder, "lib/audit.log");
    test->audit = audit_new(test->path);
}

static inline void
tear_down(struct fixture *test, gconstpointer unused)
{
    audit_free(test->audit);
    g_free(test->path);
    folder_clear(&test->folder);
}

/* As after the process' end. */
static inline void
reopen(struct fixture *test)
{
    audit_free(test->audit);
    test->audit = audit_new(test->path);
}

/* Of the line with that number in its id. */
static inline char *
members_of(unsigned int number)
{
    return g_strdup_printf("\"event\":\"test\",\"id\":\"00000000-0000-4000-8000-%012u\"", number);
}

/* A change that needs a line, from its staging to its end. */
static inline void
append(struct fixture *test, unsigned int number)
{
    g_autofree char *members = members_of(number);
    g_autoptr(GError) error = NULL;

    g_assert_true(audit_prepare(test->audit, strlen(members), &error));
    g_assert_true(audit_append(test->audit, members, &error));
    g_assert_no_error(error);
}

static inline void
flush(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(audit_flush(test->audit, &error));
    g_assert_no_error(error);
}

/* With the lines `first` to `last` in the journal. */
static inline bool
redo_lines(struct fixture *test, unsigned int first, unsigned int last, GError **error)
{
    g_autoptr(GPtrArray) audits = g_ptr_array_new_with_free_func(g_free);

    for (unsigned int number = first; number <= last; number++)
        g_ptr_array_add(audits, members_of(number));
    return audit_redo(test->audit, audits, error);
}

static inline void
redo(struct fixture *test, unsigned int first, unsigned int last)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(redo_lines(test, first, last, &error));
    g_assert_no_error(error);
    flush(test);
}

static inline void
expect_refused(struct fixture *test, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(audit_prepare(test->audit, 100, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
}

static inline char *
get_text(const struct fixture *test)
{
    char *text = NULL;

    g_assert_true(g_file_get_contents(test->path, &text, NULL, NULL));
    return text;
}

static inline void
put_text(const struct fixture *test, const char *text, gssize len)
{
    g_autofree char *dir = g_path_get_dirname(test->path);

    g_mkdir(dir, 0700);
    g_assert_true(g_file_set_contents(test->path, text, len, NULL));
}

/* The file has the lines 1 to `count`, each once, and nothing else. */
static inline void
expect_lines(const struct fixture *test, unsigned int count)
{
    g_autofree char *text = get_text(test);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    struct audit_line_chain chain;

    g_assert_cmpuint(g_strv_length(lines), ==, count + 1);
    g_assert_cmpstr(lines[count], ==, "");
    audit_line_chain_init(&chain);
    for (unsigned int i = 0; i < count; i++) {
        g_autofree char *members = members_of(i + 1);
        g_autoptr(GError) error = NULL;

        g_assert_true(audit_line_verify(&chain, lines[i], strlen(lines[i]), &error));
        g_assert_no_error(error);
        g_assert_nonnull(strstr(lines[i], members));
    }
}
