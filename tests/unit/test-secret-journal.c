/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The journal: what is committed comes back, in order and once, in the bytes that docs/store.md
 * draws.
 */
#include "journal_fixture.h"

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

/* The bytes of `file` from `at` on, in hex. */
static void
expect_hex(const uint8_t *file, size_t at, const char *hex)
{
    g_autoptr(GString) found = g_string_new(NULL);

    for (size_t i = 0; i < strlen(hex) / 2; i++)
        g_string_append_printf(found, "%02x", file[at + i]);
    g_assert_cmpstr(found->str, ==, hex);
}

/* The digests are sha256sum's. */
static void
test_bytes_are_as_the_manual_draws_them(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);
    g_autofree uint8_t *file = NULL;
    size_t len = 0;

    append_text(journal, "three");
    append_text(journal, "four");
    commit(journal);
    file = read_file(test, &len);
    expect_hex(file, 0, "0000000000000000");
    expect_hex(file, HEAD_SPACING,
               "56434a4f55524e4c" /* VCJOURNL */
               "00000001"
               "00000000"
               "0000000000008000"
               "0000000000000001"
               "e8dc4a88d39ccc764dec779709139b4c045eae05c7d4108f9560cf2bf9a93850"
               "00");
    expect_hex(file, RECORDS_AT,
               "e56fb23184b530ae22bc797038936d758d8960a11beffaadc861172ed3203e82"
               "56434a52" /* VCJR */
               "00000005"
               "0000000000000001"
               "0000000000000000"
               "0000000000000000"
               "746872656500");
    expect_hex(file, RECORDS_AT + SECTOR,
               "b08423d95712b81c0f6671206fd881a5c2c2d57418993d82d976a7e298bf7828"
               "56434a52"
               "00000004"
               "0000000000000001"
               "0000000000000001"
               "0000000000000000"
               "666f757200");
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

/* Every byte of the third record's sector that matters: the two before it stay. */
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

/* Writes a whole head, with its digest. */
/* More is promised than the file has: what is not there is no record. */
static void
test_second_opener_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(journal_t) journal = open_journal(test);

    g_assert_nonnull(journal);
    expect_refused(test, ERROR_RESOURCE_BUSY, "is in use by another process");
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

#define ADD(name)                                                                                  \
    g_test_add("/secret/journal/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(new_journal_is_preallocated_and_private);
    ADD(bytes_are_as_the_manual_draws_them);
    ADD(committed_records_come_back_in_order);
    ADD(records_can_be_replayed_without_a_restart);
    ADD(more_is_appended_after_a_restart);
    ADD(discarded_batch_does_not_come_back);
    ADD(replay_stops_with_the_error_of_its_caller);
    ADD(reset_journal_is_empty_and_overwritten);
    ADD(many_epochs_follow_each_other);
    ADD(second_opener_is_refused);
    ADD(room_is_counted_in_whole_sectors);
    ADD(largest_record_comes_back);
    return g_test_run();
}
