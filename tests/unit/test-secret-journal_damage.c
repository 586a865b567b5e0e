/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The journal, damaged: what is torn, stale, foreign or of another format does not come back, and a
 * failed write is never built upon.
 */
#include "journal_fixture.h"

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
    expect_refused(test, ERROR_INVALID_SECRET, "is not a regular file of root's");
    folder_expect_none(&test->folder, "other");
}

static void
test_folder_is_refused(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(mkdirat(test->folder.fd, "journal", 0700), ==, 0);
    expect_refused(test, ERROR_INVALID_SECRET, "is not a regular file of root's");
}

static void
poke_head(const struct fixture *test, off_t at, uint64_t capacity, uint64_t epoch)
{
    uint8_t head[64] = "VCJOURNL\0\0\0\1";
    uint64_t numbers[] = {GUINT64_TO_BE(capacity), GUINT64_TO_BE(epoch)};
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    gsize len = 32;

    memcpy(head + 16, numbers, sizeof(numbers));
    g_checksum_update(sum, head, 32);
    g_checksum_get_digest(sum, head + 32, &len);
    poke(test, at, head, sizeof(head));
}

static void
test_whole_head_of_the_next_epoch_counts(struct fixture *test, gconstpointer unused)
{
    fill(test);
    poke_head(test, 0, CAPACITY, 2);
    expect_after_restart(test, "");
}

static void
test_head_in_another_ones_place_does_not_count(struct fixture *test, gconstpointer unused)
{
    fill(test);
    poke_head(test, 0, CAPACITY, 3);
    expect_after_restart(test, "one two three four ");
}

static void
test_heads_with_absurd_numbers_do_not_count(struct fixture *test, gconstpointer unused)
{
    static const struct {
        uint64_t capacity;
        uint64_t epoch;
    } bad[] = {
        {0, 2},
        {15 * 512, 2},
        {CAPACITY + 1, 2},
        {64 * 1024 * 1024 + 512, 2},
        {UINT64_MAX - 511, 2},
        {CAPACITY, 0},
        {CAPACITY, UINT64_MAX - 1},
    };

    fill(test);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        poke_head(test, 0, bad[i].capacity, bad[i].epoch);
        expect_after_restart(test, "one two three four ");
    }
    poke(test, HEAD_SPACING, "x", 1);
    expect_refused(test, ERROR_INVALID_SECRET, "is damaged or not one of virtcrypt's");
}

static void
test_huge_capacity_is_taken_as_it_is(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = NULL;

    fill(test);
    poke_head(test, HEAD_SPACING, 64 * 1024 * 1024, 1);
    journal = open_journal(test);
    expect_records(journal, "one two three four ");
    g_assert_true(journal_has_room(journal, 63 * 1024 * 1024));
}

static void
test_settled_journal_is_as_it_was(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(journal_t) journal = NULL;
    g_autoptr(GBytes) before = NULL;

    fill(test);
    poke(test, RECORDS_AT + 3 * SECTOR, "torn", 4);
    before = folder_get(&test->folder, "journal");
    journal = open_journal(test);
    g_assert_true(journal_settle(journal, &error));
    g_assert_no_error(error);
    folder_expect(&test->folder, "journal", before);
    expect_records(journal, "one two three ");
    g_assert_false(journal_is_empty(journal));
}

static void
test_journal_that_can_not_be_settled_says_so(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(journal_t) journal = NULL;

    fill(test);
    journal = open_journal(test);
    limit_file_size(RECORDS_AT);
    g_assert_false(journal_settle(journal, &error));
    limit_file_size(0);
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_SECRET, "cannot write the journal ");
}

static void
test_pipe_does_not_hang(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(mkfifoat(test->folder.fd, "journal", 0600), ==, 0);
    expect_refused(test, ERROR_INVALID_SECRET, "is not a regular file of root's");
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
test_absurd_lengths_do_not_fit(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);

    g_assert_false(journal_has_room(journal, SIZE_MAX));
    g_assert_false(journal_fits(journal, SIZE_MAX - 100));
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
    g_test_add("/secret/journal_damage/" #name, struct fixture, NULL, set_up, test_##name,         \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(stale_record_of_an_older_epoch_does_not_come_back);
    ADD(leftovers_of_an_older_epoch_are_no_clean_journal);
    ADD(torn_record_ends_the_replay);
    ADD(torn_record_is_followed_by_new_ones_after_reset);
    ADD(head_in_the_making_does_not_count);
    ADD(damaged_heads_are_refused_and_the_file_is_kept);
    ADD(empty_file_is_refused);
    ADD(foreign_file_is_refused);
    ADD(newer_format_is_refused);
    ADD(symbolic_link_is_refused);
    ADD(folder_is_refused);
    ADD(whole_head_of_the_next_epoch_counts);
    ADD(head_in_another_ones_place_does_not_count);
    ADD(heads_with_absurd_numbers_do_not_count);
    ADD(huge_capacity_is_taken_as_it_is);
    ADD(settled_journal_is_as_it_was);
    ADD(journal_that_can_not_be_settled_says_so);
    ADD(pipe_does_not_hang);
    ADD(cut_file_gives_what_it_has_and_is_made_whole);
    ADD(absurd_lengths_do_not_fit);
    ADD(failed_commit_blocks_until_reset);
    ADD(failed_reset_can_be_tried_again);
    ADD(half_made_file_is_replaced);
    ADD(file_that_can_not_be_made_is_an_error);
    return g_test_run();
}
