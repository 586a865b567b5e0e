/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The end of the audit: what is appended, what is repeated after a crash, and what is refused.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "audit_fixture.h"

static void
test_file_and_folder_are_made_private(struct fixture *test, gconstpointer unused)
{
    g_autofree char *dir = g_path_get_dirname(test->path);
    struct stat info;

    append(test, 1);
    g_assert_cmpint(stat(test->path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpint(stat(dir, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
}

static void
test_lines_are_chained_over_restarts(struct fixture *test, gconstpointer unused)
{
    append(test, 1);
    append(test, 2);
    flush(test);
    reopen(test);
    append(test, 3);
    expect_lines(test, 3);
}

static void
test_nothing_is_touched_before_it_is_needed(struct fixture *test, gconstpointer unused)
{
    flush(test);
    redo(test, 1, 0);
    g_assert_false(g_file_test(test->path, G_FILE_TEST_EXISTS));
}

static void
test_lines_of_the_journal_are_there_once_however_often_they_are_redone(struct fixture *test,
                                                                       gconstpointer unused)
{
    append(test, 1);
    append(test, 2);
    append(test, 3);
    for (unsigned int first = 1; first <= 3; first++) {
        reopen(test);
        redo(test, first, 3);
        expect_lines(test, 3);
    }
    append(test, 4);
    expect_lines(test, 4);
}

static void
test_redo_in_the_same_process_adds_what_is_missing(struct fixture *test, gconstpointer unused)
{
    append(test, 1);
    redo(test, 1, 2);
    append(test, 3);
    expect_lines(test, 3);
}

/* Whatever of the last lines a power cut left: cut anywhere, or with zeros in place of any part. */
static void
test_a_torn_end_is_mended_at_any_byte(struct fixture *test, gconstpointer unused)
{
    g_autofree char *text = NULL;
    size_t len;
    size_t durable;

    append(test, 1);
    append(test, 2);
    append(test, 3);
    text = get_text(test);
    len = strlen(text);
    durable = strcspn(text, "\n") + 1;
    for (size_t at = durable; at <= len; at++) {
        g_autofree char *zeros = g_memdup2(text, len + 1);
        g_autofree char *hole = g_memdup2(text, len + 1);

        put_text(test, text, (gssize)at);
        redo(test, 2, 3);
        expect_lines(test, 3);
        memset(zeros + at, 0, len - at);
        put_text(test, zeros, (gssize)len);
        redo(test, 2, 3);
        expect_lines(test, 3);
        memset(hole + durable, 0, at - durable);
        put_text(test, hole, (gssize)len);
        redo(test, 2, 3);
        expect_lines(test, 3);
    }
}

static void
test_a_torn_first_line_is_mended(struct fixture *test, gconstpointer unused)
{
    put_text(test, "{\"seq\":0,", -1);
    redo(test, 1, 1);
    expect_lines(test, 1);
}

static void
test_what_is_behind_the_lines_of_the_journal_is_cut_off(struct fixture *test, gconstpointer unused)
{
    g_autofree char *text = NULL;
    g_autofree char *more = NULL;

    append(test, 1);
    append(test, 2);
    text = get_text(test);
    more = g_strconcat(text, "{\"seq\":2,", NULL);
    put_text(test, more, -1);
    redo(test, 2, 2);
    expect_lines(test, 2);
}

/* More than is read at once. */
static void
test_a_long_audit_goes_on(struct fixture *test, gconstpointer unused)
{
    enum { COUNT = 2000 };

    for (unsigned int i = 1; i <= COUNT; i++)
        append(test, i);
    flush(test);
    reopen(test);
    append(test, COUNT + 1);
    reopen(test);
    redo(test, COUNT + 1, COUNT + 2);
    expect_lines(test, COUNT + 2);
}

/* Evidence is not cut off: without a record in the journal nothing explains such an end. */
static void
test_a_torn_end_that_no_journal_explains_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autofree char *text = NULL;
    g_autofree char *after = NULL;

    append(test, 1);
    append(test, 2);
    text = get_text(test);
    text[strlen(text) - 5] = '\0';
    put_text(test, text, -1);
    reopen(test);
    expect_refused(test, ERROR_INVALID_SECRET, "is damaged or was changed: move it away");
    after = get_text(test);
    g_assert_cmpstr(after, ==, text);
}

static void
test_a_line_of_another_origin_is_not_written_over(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    g_autofree char *after = NULL;

    append(test, 1);
    append(test, 2);
    append(test, 3);
    text = get_text(test);
    reopen(test);
    g_assert_false(redo_lines(test, 2, 2, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, "is damaged or was changed");
    after = get_text(test);
    g_assert_cmpstr(after, ==, text);
}

static void
test_a_changed_line_before_the_end_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autofree char *text = NULL;

    append(test, 1);
    append(test, 2);
    text = get_text(test);
    text[strlen("{\"seq\":0,\"event\":\"")] = 'b';
    put_text(test, text, -1);
    reopen(test);
    expect_refused(test, ERROR_INVALID_SECRET, test->path);
}

static void
test_what_another_program_appends_is_noticed(struct fixture *test, gconstpointer unused)
{
    g_autofree char *text = NULL;
    g_autofree char *more = NULL;

    append(test, 1);
    text = get_text(test);
    more = g_strconcat(text, "hello\n", NULL);
    put_text(test, more, -1);
    expect_refused(test, ERROR_INVALID_SECRET, "is damaged or was changed");
}

static void
test_a_file_that_is_moved_away_is_begun_anew(struct fixture *test, gconstpointer unused)
{
    g_autofree char *old = g_strconcat(test->path, ".1", NULL);

    append(test, 9);
    g_assert_cmpint(g_rename(test->path, old), ==, 0);
    append(test, 1);
    expect_lines(test, 1);
}

static void
test_a_link_is_refused_and_not_followed(struct fixture *test, gconstpointer unused)
{
    g_autofree char *dir = g_path_get_dirname(test->path);

    folder_put_text(&test->folder, "target", "");
    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    g_assert_cmpint(symlink("../target", test->path), ==, 0);
    expect_refused(test, ERROR_OPERATION_INVALID,
                   "/lib/audit.log is not a regular file of root's; move it away");
    g_assert_cmpint(g_remove(test->path), ==, 0);
    append(test, 1);
    expect_lines(test, 1);
}

static void
test_a_folder_and_a_pipe_are_refused(struct fixture *test, gconstpointer unused)
{
    g_autofree char *dir = g_path_get_dirname(test->path);

    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(test->path, 0700), ==, 0);
    expect_refused(test, ERROR_OPERATION_INVALID, "is not a regular file of root's");
    g_assert_cmpint(g_rmdir(test->path), ==, 0);
    g_assert_cmpint(mkfifo(test->path, 0600), ==, 0);
    expect_refused(test, ERROR_OPERATION_INVALID, "is not a regular file of root's");
}

static void
test_without_a_path_a_line_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(audit_t) none = audit_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(audit_prepare(none, 100, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, "has no audit");
}

static void
set_file_limit(rlim_t size)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    limit.rlim_cur = size > 0 ? size : limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

/* A full disk, as far as one process can have it. */
static void
test_nothing_is_appended_behind_a_line_that_failed(struct fixture *test, gconstpointer unused)
{
    g_autofree char *second = members_of(2);
    g_autofree char *third = members_of(3);
    g_autoptr(GError) error = NULL;

    append(test, 1);
    g_assert_true(audit_prepare(test->audit, 100, NULL));
    set_file_limit(300);
    g_assert_false(audit_append(test->audit, second, &error));
    set_file_limit(0);
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_SECRET, "cannot write the audit ");
    g_assert_false(audit_append(test->audit, third, NULL));
    redo(test, 2, 3);
    expect_lines(test, 3);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/audit/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(file_and_folder_are_made_private);
    ADD(lines_are_chained_over_restarts);
    ADD(nothing_is_touched_before_it_is_needed);
    ADD(lines_of_the_journal_are_there_once_however_often_they_are_redone);
    ADD(redo_in_the_same_process_adds_what_is_missing);
    ADD(a_torn_end_is_mended_at_any_byte);
    ADD(a_torn_first_line_is_mended);
    ADD(what_is_behind_the_lines_of_the_journal_is_cut_off);
    ADD(a_long_audit_goes_on);
    ADD(a_torn_end_that_no_journal_explains_is_refused);
    ADD(a_line_of_another_origin_is_not_written_over);
    ADD(a_changed_line_before_the_end_is_refused);
    ADD(what_another_program_appends_is_noticed);
    ADD(a_file_that_is_moved_away_is_begun_anew);
    ADD(a_link_is_refused_and_not_followed);
    ADD(a_folder_and_a_pipe_are_refused);
    ADD(without_a_path_a_line_is_refused);
    ADD(nothing_is_appended_behind_a_line_that_failed);
    return g_test_run();
}
