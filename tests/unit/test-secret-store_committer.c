/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The order of steps: what a crash left is finished, what failed changes nothing, what can't be
 * finished is served from memory, and a journal that can't be used keeps nobody from reading.
 */
#include "store_fixture.h"

static void
test_staged_files_of_a_crash_are_removed_at_start(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    close_store(test);
    folder_put_text(&test->folder, A ".xml.new", "<half");
    folder_put_text(&test->folder, B ".key.new", "");
    open_store(test);
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_staged_files_in_the_way_are_replaced(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, A ".key.new", "left by a change that failed");
    commit(test, A, "<a/>", "sealed");
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_failed_staging_changes_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *key = g_strnfill(STORE_KEY_MAX, 'k');
    struct store_change change = change_of(A, "<new/>", key);

    commit(test, A, "<a/>", "sealed");
    limit_file_size(20000);
    expect_commit_error(test, &change, ERROR_SYSTEM, "cannot write the file " A ".key.new: ");
    limit_file_size(0);
    expect_files(test, A, "<a/>", "sealed");
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
    commit(test, A, "<b/>", "sealed again");
    expect_files(test, A, "<b/>", "sealed again");
}

static void
test_failed_journal_changes_nothing(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, "<new/>", "new");

    commit(test, A, "<a/>", "sealed");
    limit_file_size(1000);
    expect_commit_error(test, &change, ERROR_SYSTEM,
                        "it is not known whether the change will be there after the daemon's next "
                        "start");
    change = change_of(B, "<b/>", "other");
    expect_commit_error(test, &change, ERROR_SYSTEM,
                        "nothing was changed, since an earlier change could not be finished: ");
    limit_file_size(0);
    expect_files(test, A, "<a/>", "sealed");
    expect_list(test, "aaaaaaaa:xk- ");
    commit(test, B, "<b/>", "other");
    close_store(test);
    open_store(test);
    expect_files(test, A, "<a/>", "sealed");
    expect_files(test, B, "<b/>", "other");
}

static void
test_many_changes_pass_through_a_small_journal(struct fixture *test, gconstpointer unused)
{
    g_autofree char *filler = g_strnfill(60000, 'k');

    for (int i = 0; i < 100; i++) {
        g_autofree char *uuid = g_strdup_printf("aaaaaaaa-0000-4000-8000-%012d", i);
        g_autofree char *key = g_strdup_printf("%d %s", i, filler);

        submit(test, uuid, "<a/>", key);
    }
    loop_run(test->loop);
    g_assert_null(strstr(test->log->str, "error"));
    close_store(test);
    open_store(test);
    for (int i = 0; i < 100; i++) {
        g_autofree char *uuid = g_strdup_printf("aaaaaaaa-0000-4000-8000-%012d", i);
        g_autofree char *key = g_strdup_printf("%d %s", i, filler);

        expect_files(test, uuid, "<a/>", key);
    }
}

static void
test_checkpoint_empties_the_journal(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    commit(test, A, "<a/>", "sealed");
    g_assert_cmpuint(count_journal_bytes(test), >, 0);
    g_assert_true(store_checkpoint(test->store, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
}

static void
test_idle_store_empties_the_journal_by_itself(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    for (int i = 0; i < 1000 && count_journal_bytes(test) > 0; i++)
        g_usleep(20000);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_closed_store_leaves_an_empty_journal(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    close_store(test);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
}

static void
test_committed_change_is_finished_at_the_next_start(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    commit(test, B, "<b/>", "sealed");
    close_store(test);
    put_record(test, change_of(A, "<new/>", "new"));
    put_record(test, change_of(B, "", ""));
    open_store(test);
    expect_files(test, A, "<new/>", "new");
    expect_list(test, "aaaaaaaa:xk- ");
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
}

static void
test_last_of_several_committed_changes_counts(struct fixture *test, gconstpointer unused)
{
    close_store(test);
    put_record(test, change_of(A, "<one/>", "one"));
    put_record(test, change_of(A, NULL, "two"));
    put_record(test, change_of(A, "<three/>", NULL));
    put_record(test, change_of(B, "<b/>", "b"));
    put_record(test, change_of(B, NULL, ""));
    open_store(test);
    expect_files(test, A, "<three/>", "two");
    expect_files(test, B, "<b/>", NULL);
}

static void
test_replay_of_finished_changes_changes_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->folder, A ".key");
    struct stat before;
    struct stat after;

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    g_assert_cmpint(stat(path, &before), ==, 0);
    put_record(test, change_of(A, "<a/>", "sealed"));
    open_store(test);
    g_assert_cmpint(stat(path, &after), ==, 0);
    g_assert_cmpuint(before.st_ino, ==, after.st_ino);
    expect_files(test, A, "<a/>", "sealed");
}

/* Nobody may sign such a record, so the journal is another's or damaged; what is before it counts.
 */
static void
test_record_that_is_no_change_makes_a_damaged_journal(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    put_record(test, change_of(A, "<new/>", "new"));
    journal = journal_open(test->journal_folder.fd, "journal", CAPACITY, NULL);
    journal_append(journal, "nonsense", 8);
    g_assert_true(journal_commit(journal, NULL));
    g_clear_pointer(&journal, journal_free);
    put_record(test, change_of(B, "<b/>", NULL));
    open_store(test);
    expect_list(test, "aaaaaaaa:xk- ");
    expect_files(test, A, "<new/>", "new");
    g_assert_cmpuint(folder_count(&test->journal_folder), ==, 2);
    commit(test, B, "<b/>", NULL);
}

static void
test_what_stands_in_the_way_of_a_committed_change_is_kept(struct fixture *test,
                                                          gconstpointer unused)
{
    g_autoptr(GBytes) precious = g_bytes_new_static("precious", 8);
    g_autofree char *victim = folder_path(&test->journal_folder, "victim");

    close_store(test);
    put_record(test, change_of(A, "<a/>", "sealed"));
    put_record(test, change_of(B, "", ""));
    folder_put_text(&test->journal_folder, "victim", "precious");
    g_assert_cmpint(mkdirat(test->folder.fd, A ".xml", 0700), ==, 0);
    g_assert_cmpint(mkdirat(test->folder.fd, A ".key.new", 0700), ==, 0);
    g_assert_cmpint(symlinkat(victim, test->folder.fd, A ".key"), ==, 0);
    g_assert_cmpint(mkdirat(test->folder.fd, B ".xml", 0700), ==, 0);
    open_store(test);
    expect_files(test, A, "<a/>", "sealed");
    expect_list(test, "aaaaaaaa:xk- ");
    folder_expect(&test->journal_folder, "victim", precious);
    folder_expect(&test->folder, A ".key.foreign.1", precious);
    g_assert_cmpuint(folder_count(&test->folder), ==, 6);
}

/* A full disk at the start after a crash: nothing that was committed is missing meanwhile. */
static void
test_committed_changes_are_served_while_the_disk_is_full(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(B, "<other/>", NULL);

    commit(test, A, "<a/>", "sealed");
    commit(test, B, "<b/>", "sealed");
    close_store(test);
    put_record(test, change_of(A, NULL, "new"));
    put_record(test, change_of(B, "", ""));
    put_record(test, change_of(C, "<c/>", "c"));
    limit_file_size(2);
    open_store(test);
    expect_list(test, "aaaaaaaa:xk- cccccccc:xk- ");
    expect_files(test, A, "<a/>", "new");
    expect_files(test, B, NULL, NULL);
    expect_files(test, C, "<c/>", "c");
    expect_commit_error(test, &change, ERROR_SYSTEM,
                        "nothing was changed, since an earlier change could not be finished: ");
    folder_expect_none(&test->folder, C ".key");
    limit_file_size(0);
    commit(test, B, "<again/>", NULL);
    expect_list(test, "aaaaaaaa:xk- bbbbbbbb:x-- cccccccc:xk- ");
    expect_files(test, A, "<a/>", "new");
    expect_files(test, B, "<again/>", NULL);
    g_assert_cmpuint(folder_count(&test->folder), ==, 5);
}

static void
test_missing_file_of_a_pending_change_is_told_by_its_errno(struct fixture *test,
                                                           gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct uuid uuid;

    g_assert_true(uuid_parse(A, &uuid));
    commit(test, A, "<a/>", "sealed");
    close_store(test);
    put_record(test, change_of(A, NULL, ""));
    limit_file_size(2);
    open_store(test);
    g_assert_null(store_read_key(test->store, &uuid, &error));
    limit_file_size(0);
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_secrets_are_read_while_the_journal_can_not_be_made(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, NULL, "new");

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    g_assert_cmpint(unlinkat(test->journal_folder.fd, "journal", 0), ==, 0);
    limit_file_size(1000);
    open_store(test);
    expect_files(test, A, "<a/>", "sealed");
    expect_commit_error(test, &change, ERROR_SYSTEM,
                        "nothing was changed: cannot open the journal ");
    limit_file_size(0);
    commit(test, A, NULL, "newer");
    expect_files(test, A, "<a/>", "newer");
}

static void
test_secrets_are_read_beside_a_newer_journal(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, NULL, "new");
    int fd;

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    fd = openat(test->journal_folder.fd, "journal", O_WRONLY | O_CLOEXEC);
    for (off_t head = 0; head < 8192; head += 4096)
        g_assert_cmpint(pwrite(fd, "\0\0\0\2", 4, head + 8), ==, 4);
    close(fd);
    open_store(test);
    expect_files(test, A, "<a/>", "sealed");
    expect_commit_error(test, &change, ERROR_CONFIG_UNSUPPORTED,
                        "nothing was changed: the journal ");
}

/* They would change what the daemon has loaded under its feet. */
static void
test_records_that_turn_up_after_the_start_are_left_to_the_next(struct fixture *test,
                                                               gconstpointer unused)
{
    struct store_change change = change_of(B, "<b/>", NULL);

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    put_record(test, change_of(A, "<new/>", "new"));
    g_assert_cmpint(chown(test->journal_folder.path, 12345, 12345), ==, 0);
    open_store(test);
    expect_files(test, A, "<a/>", "sealed");
    g_assert_cmpint(chown(test->journal_folder.path, 0, 0), ==, 0);
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        " holds changes from before the daemon's start: restart it");
    close_store(test);
    open_store(test);
    expect_files(test, A, "<new/>", "new");
}

static void
test_change_larger_than_the_journal_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autofree char *key = g_strnfill(20000, 'k');
    struct store_change change = change_of(A, NULL, key);

    close_store(test);
    g_assert_cmpint(unlinkat(test->journal_folder.fd, "journal", 0), ==, 0);
    journal_free(journal_open(test->journal_folder.fd, "journal", 16 * 512, NULL));
    open_store(test);
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        "the change is larger than the journal in ");
    for (int i = 0; i < 40; i++)
        commit(test, A, "<a/>", "sealed");
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_link_in_the_place_of_the_journal_is_put_aside(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) precious = g_bytes_new_static("precious", 8);

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    folder_put_text(&test->journal_folder, "victim", "precious");
    g_assert_cmpint(unlinkat(test->journal_folder.fd, "journal", 0), ==, 0);
    g_assert_cmpint(symlinkat("victim", test->journal_folder.fd, "journal"), ==, 0);
    open_store(test);
    commit(test, A, NULL, "new");
    folder_expect(&test->journal_folder, "victim", precious);
    folder_expect(&test->journal_folder, "journal.damaged.1", precious);
}

static void
test_damaged_journal_is_put_aside(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) damaged = g_bytes_new_static("damaged", 7);

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    folder_put_text(&test->journal_folder, "journal", "damaged");
    open_store(test);
    folder_expect(&test->journal_folder, "journal.damaged.1", damaged);
    expect_files(test, A, "<a/>", "sealed");
    commit(test, B, "<b/>", NULL);
    close_store(test);
    folder_put_text(&test->journal_folder, "journal", "damaged");
    open_store(test);
    folder_expect(&test->journal_folder, "journal.damaged.2", damaged);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/store_committer/" #name, struct fixture, NULL, set_up, test_##name,        \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(staged_files_of_a_crash_are_removed_at_start);
    ADD(staged_files_in_the_way_are_replaced);
    ADD(failed_staging_changes_nothing);
    ADD(failed_journal_changes_nothing);
    ADD(many_changes_pass_through_a_small_journal);
    ADD(checkpoint_empties_the_journal);
    ADD(idle_store_empties_the_journal_by_itself);
    ADD(closed_store_leaves_an_empty_journal);
    ADD(committed_change_is_finished_at_the_next_start);
    ADD(last_of_several_committed_changes_counts);
    ADD(replay_of_finished_changes_changes_nothing);
    ADD(record_that_is_no_change_makes_a_damaged_journal);
    ADD(what_stands_in_the_way_of_a_committed_change_is_kept);
    ADD(committed_changes_are_served_while_the_disk_is_full);
    ADD(missing_file_of_a_pending_change_is_told_by_its_errno);
    ADD(secrets_are_read_while_the_journal_can_not_be_made);
    ADD(secrets_are_read_beside_a_newer_journal);
    ADD(records_that_turn_up_after_the_start_are_left_to_the_next);
    ADD(change_larger_than_the_journal_is_refused);
    ADD(link_in_the_place_of_the_journal_is_put_aside);
    ADD(damaged_journal_is_put_aside);
    return g_test_run();
}
