/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The journal: what is committed comes back, in order and once; what is torn, stale or damaged
 * does not; and a failed write is never built upon.
 */
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "secret/journal.h"

enum { CAPACITY = 64 * 512, HEAD_SPACING = 4096, RECORDS_AT = 8192, SECTOR = 512 };

struct fixture {
    struct folder folder;
    char *path;
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->path = folder_path(&test->folder, "journal");
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    g_free(test->path);
    folder_clear(&test->folder);
}

static struct journal *
open_journal(const struct fixture *test)
{
    g_autoptr(GError) error = NULL;
    struct journal *journal = journal_open(test->folder.fd, "journal", CAPACITY, &error);

    g_assert_no_error(error);
    return journal;
}

static void
append_text(struct journal *journal, const char *text)
{
    g_assert_true(journal_has_room(journal, strlen(text)));
    journal_append(journal, text, strlen(text));
}

static void
commit(struct journal *journal)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(journal_commit(journal, &error));
    g_assert_no_error(error);
}

static void
reset(struct journal *journal)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(journal_reset(journal, &error));
    g_assert_no_error(error);
}

static bool
note_record(const void *record, size_t len, void *opaque, GError **error)
{
    GString *seen = opaque;

    g_string_append_len(seen, record, (gssize)len);
    g_string_append_c(seen, ' ');
    return true;
}

static void
expect_records(struct journal *journal, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) seen = g_string_new(NULL);

    g_assert_true(journal_replay(journal, note_record, seen, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(seen->str, ==, expected);
}

/* Opens the journal anew and expects these records. */
static void
expect_after_restart(const struct fixture *test, const char *expected)
{
    g_autoptr(journal_t) journal = open_journal(test);

    expect_records(journal, expected);
}

static void
expect_refused(const struct fixture *test, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(journal_t) journal = journal_open(test->folder.fd, "journal", CAPACITY, &error);

    g_assert_null(journal);
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    g_assert_nonnull(strstr(error->message, test->path));
}

static uint8_t *
read_file(const struct fixture *test, size_t *ret_len)
{
    char *content = NULL;
    gsize len = 0;

    g_assert_true(g_file_get_contents(test->path, &content, &len, NULL));
    *ret_len = len;
    return (uint8_t *)content;
}

static void
poke(const struct fixture *test, off_t at, const void *bytes, size_t len)
{
    int fd = openat(test->folder.fd, "journal", O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(pwrite(fd, bytes, len, at), ==, (ssize_t)len);
    close(fd);
}

/* Commits "one" and "two" in two batches, and "three" and "four" in a third. */
static void
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

static void
test_new_journal_is_preallocated_and_private(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);
    struct stat info;

    g_assert_true(journal_is_clean(journal));
    expect_records(journal, "");
    g_assert_cmpint(stat(test->path, &info), ==, 0);
    g_assert_cmpint(info.st_size, ==, RECORDS_AT + CAPACITY);
    g_assert_cmpint(info.st_blocks * 512, >=, RECORDS_AT + CAPACITY);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

static void
test_committed_records_come_back_in_order(struct fixture *test, gconstpointer unused)
{
    fill(test);
    expect_after_restart(test, "one two three four ");
    expect_after_restart(test, "one two three four ");
}

static void
test_records_can_be_replayed_without_a_restart(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);

    append_text(journal, "one");
    commit(journal);
    append_text(journal, "not committed");
    expect_records(journal, "one ");
}

static void
test_more_is_appended_after_a_restart(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;

    fill(test);
    journal = open_journal(test);
    append_text(journal, "five");
    commit(journal);
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, "one two three four five ");
}

static void
test_discarded_batch_does_not_come_back(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);

    append_text(journal, "one");
    journal_discard(journal);
    append_text(journal, "two");
    commit(journal);
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, "two ");
}

static bool
refuse_record(const void *record, size_t len, void *opaque, GError **error)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL, "no");
    return false;
}

static void
test_replay_stops_with_the_error_of_its_caller(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;
    g_autoptr(GError) error = NULL;

    fill(test);
    journal = open_journal(test);
    g_assert_false(journal_replay(journal, refuse_record, NULL, &error));
    expect_error(error, ERROR_INTERNAL, ERROR_FROM_SECRET, "no");
}

static void
test_reset_journal_is_empty_and_overwritten(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;
    g_autofree uint8_t *bytes = NULL;
    size_t len = 0;

    fill(test);
    journal = open_journal(test);
    g_assert_false(journal_is_clean(journal));
    reset(journal);
    g_assert_true(journal_is_clean(journal));
    expect_records(journal, "");
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, "");
    bytes = read_file(test, &len);
    for (size_t i = RECORDS_AT; i < len; i++)
        g_assert_cmpint(bytes[i], ==, 0);
}

static void
test_stale_record_of_an_older_epoch_does_not_come_back(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;
    g_autofree uint8_t *bytes = NULL;
    size_t len = 0;

    fill(test);
    bytes = read_file(test, &len);
    journal = open_journal(test);
    reset(journal);
    append_text(journal, "new");
    commit(journal);
    g_clear_pointer(&journal, journal_free);
    /* As if overwriting had not reached the disk: the same places, whole records. */
    poke(test, RECORDS_AT + SECTOR, bytes + RECORDS_AT + SECTOR, 3 * SECTOR);
    expect_after_restart(test, "new ");
}

static void
test_leftovers_of_an_older_epoch_are_no_clean_journal(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;
    g_autofree uint8_t *bytes = NULL;
    size_t len = 0;

    fill(test);
    bytes = read_file(test, &len);
    journal = open_journal(test);
    reset(journal);
    g_clear_pointer(&journal, journal_free);
    poke(test, RECORDS_AT, bytes + RECORDS_AT, 4 * SECTOR);
    journal = open_journal(test);
    expect_records(journal, "");
    g_assert_false(journal_is_clean(journal));
    reset(journal);
    g_clear_pointer(&bytes, g_free);
    bytes = read_file(test, &len);
    for (size_t i = RECORDS_AT; i < len; i++)
        g_assert_cmpint(bytes[i], ==, 0);
}

/* Every byte of the third record's sector that matters: the two before it stay. */
static void
test_torn_record_ends_the_replay(struct fixture *test, gconstpointer unused)
{
    const size_t third = RECORDS_AT + (size_t)2 * SECTOR;
    g_autofree uint8_t *bytes = NULL;
    size_t len = 0;

    fill(test);
    bytes = read_file(test, &len);
    for (size_t i = 0; i < 64 + strlen("three"); i++) {
        uint8_t other = bytes[third + i] ^ 1;

        poke(test, (off_t)(third + i), &other, 1);
        expect_after_restart(test, "one two ");
        poke(test, (off_t)(third + i), bytes + third + i, 1);
    }
    expect_after_restart(test, "one two three four ");
}

static void
test_torn_record_is_followed_by_new_ones_after_reset(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;

    fill(test);
    poke(test, RECORDS_AT + 2 * SECTOR, "torn", 4);
    journal = open_journal(test);
    reset(journal);
    append_text(journal, "new");
    commit(journal);
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, "new ");
}

static void
test_head_in_the_making_does_not_count(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;

    fill(test);
    /* Epoch 1 stands in the second place; epoch 2 was being written to the first. */
    poke(test, 0, "VCJOURNL torn", 13);
    expect_after_restart(test, "one two three four ");
    journal = open_journal(test);
    reset(journal);
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, "");
}

static void
test_many_epochs_follow_each_other(struct fixture *test, gconstpointer unused)
{
    for (int i = 0; i < 5; i++) {
        g_autoptr(journal_t) journal = open_journal(test);

        append_text(journal, "x");
        commit(journal);
        reset(journal);
        append_text(journal, "y");
        commit(journal);
        g_clear_pointer(&journal, journal_free);
        expect_after_restart(test, "y ");
        journal = open_journal(test);
        reset(journal);
    }
}

static void
test_damaged_heads_are_refused_and_the_file_is_kept(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) damaged = NULL;

    fill(test);
    poke(test, HEAD_SPACING + 30, "damage", 6);
    damaged = folder_get(&test->folder, "journal");
    expect_refused(test, ERROR_INVALID_SECRET, "is damaged or not one of virtcrypt's");
    folder_expect(&test->folder, "journal", damaged);
}

static void
test_empty_file_is_refused(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "journal", "");
    expect_refused(test, ERROR_INVALID_SECRET, "is damaged or not one of virtcrypt's");
}

static void
test_foreign_file_is_refused(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "journal", "dear diary");
    expect_refused(test, ERROR_INVALID_SECRET, "is damaged or not one of virtcrypt's");
}

static void
test_newer_format_is_refused(struct fixture *test, gconstpointer unused)
{
    fill(test);
    poke(test, HEAD_SPACING + 8, "\0\0\0\2", 4);
    expect_refused(test, ERROR_CONFIG_UNSUPPORTED, "has format 2, and this program knows format 1");
}

static void
test_symbolic_link_is_refused(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(symlinkat("other", test->folder.fd, "journal"), ==, 0);
    expect_refused(test, ERROR_SYSTEM, "cannot open the journal ");
    folder_expect_none(&test->folder, "other");
}

static void
test_pipe_does_not_hang(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(mkfifoat(test->folder.fd, "journal", 0600), ==, 0);
    expect_refused(test, ERROR_INVALID_SECRET, "is not a regular file of root's");
}

static void
test_second_opener_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);

    expect_refused(test, ERROR_RESOURCE_BUSY, "is in use by another process");
}

static void
test_cut_file_gives_what_it_has_and_is_made_whole(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;
    struct stat info;

    fill(test);
    g_assert_cmpint(truncate(test->path, RECORDS_AT + 2 * SECTOR + 60), ==, 0);
    journal = open_journal(test);
    expect_records(journal, "one two ");
    reset(journal);
    g_assert_cmpint(stat(test->path, &info), ==, 0);
    g_assert_cmpint(info.st_size, ==, RECORDS_AT + CAPACITY);
}

static void
test_room_is_counted_in_whole_sectors(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);

    g_assert_true(journal_fits(journal, CAPACITY - 64));
    g_assert_false(journal_fits(journal, CAPACITY - 63));
    for (int i = 0; i < 63; i++)
        append_text(journal, "x");
    g_assert_true(journal_has_room(journal, SECTOR - 64));
    g_assert_false(journal_has_room(journal, SECTOR - 63));
    append_text(journal, "x");
    g_assert_false(journal_has_room(journal, 0));
    commit(journal);
    g_assert_false(journal_has_room(journal, 0));
    g_assert_true(journal_is_half_full(journal));
    reset(journal);
    g_assert_false(journal_is_half_full(journal));
    g_assert_true(journal_has_room(journal, CAPACITY - 64));
}

static void
test_absurd_lengths_do_not_fit(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);

    g_assert_false(journal_has_room(journal, SIZE_MAX));
    g_assert_false(journal_fits(journal, SIZE_MAX - 100));
}

static void
test_largest_record_comes_back(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);
    g_autofree char *text = g_strnfill(CAPACITY - 64, 'z');
    g_autofree char *expected = g_strconcat(text, " ", NULL);

    append_text(journal, text);
    commit(journal);
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, expected);
}

/* Makes writes behind `size` fail with EFBIG, as a full disk would. */
static void
limit_file_size(size_t size)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    limit.rlim_cur = size > 0 ? size : limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static void
test_failed_commit_blocks_until_reset(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) second = NULL;

    append_text(journal, "one");
    commit(journal);
    append_text(journal, "two");
    append_text(journal, "three");
    limit_file_size(RECORDS_AT + 2 * SECTOR); /* "two" gets to the disk, "three" does not */
    g_assert_false(journal_commit(journal, &error));
    limit_file_size(0);
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_SECRET, "cannot write the journal ");
    g_assert_false(journal_is_clean(journal));
    append_text(journal, "four");
    g_assert_false(journal_commit(journal, &second));
    expect_error_part(second, ERROR_OPERATION_FAILED, ERROR_FROM_SECRET,
                      " could not be written before");
    expect_records(journal, "one ");
    reset(journal);
    append_text(journal, "five");
    commit(journal);
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, "five ");
}

static void
test_failed_reset_can_be_tried_again(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);
    g_autoptr(GError) error = NULL;

    append_text(journal, "one");
    commit(journal);
    limit_file_size(100);
    g_assert_false(journal_reset(journal, &error));
    limit_file_size(0);
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_SECRET, "cannot write the journal ");
    expect_records(journal, "one ");
    reset(journal);
    g_clear_pointer(&journal, journal_free);
    expect_after_restart(test, "");
}

static void
test_half_made_file_is_replaced(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "journal.new", "half");
    expect_after_restart(test, "");
    folder_expect_none(&test->folder, "journal.new");
}

static void
test_file_that_can_not_be_made_is_an_error(struct fixture *test, gconstpointer unused)
{
    limit_file_size(1000);
    expect_refused(test, ERROR_SYSTEM, "cannot open the journal ");
    limit_file_size(0);
    g_assert_cmpuint(folder_count(&test->folder), ==, 0);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/journal/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(new_journal_is_preallocated_and_private);
    ADD(committed_records_come_back_in_order);
    ADD(records_can_be_replayed_without_a_restart);
    ADD(more_is_appended_after_a_restart);
    ADD(discarded_batch_does_not_come_back);
    ADD(replay_stops_with_the_error_of_its_caller);
    ADD(reset_journal_is_empty_and_overwritten);
    ADD(stale_record_of_an_older_epoch_does_not_come_back);
    ADD(leftovers_of_an_older_epoch_are_no_clean_journal);
    ADD(torn_record_ends_the_replay);
    ADD(torn_record_is_followed_by_new_ones_after_reset);
    ADD(head_in_the_making_does_not_count);
    ADD(many_epochs_follow_each_other);
    ADD(damaged_heads_are_refused_and_the_file_is_kept);
    ADD(empty_file_is_refused);
    ADD(foreign_file_is_refused);
    ADD(newer_format_is_refused);
    ADD(symbolic_link_is_refused);
    ADD(pipe_does_not_hang);
    ADD(second_opener_is_refused);
    ADD(cut_file_gives_what_it_has_and_is_made_whole);
    ADD(room_is_counted_in_whole_sectors);
    ADD(absurd_lengths_do_not_fit);
    ADD(largest_record_comes_back);
    ADD(failed_commit_blocks_until_reset);
    ADD(failed_reset_can_be_tried_again);
    ADD(half_made_file_is_replaced);
    ADD(file_that_can_not_be_made_is_an_error);
    return g_test_run();
}
