/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The file of key-encryption generations: a golden file, begin and finish, what each kind of damage
 * is called, and that an interrupted replacement is finished.
 */
#include <errno.h>
#include <sys/syscall.h>

#include "expect.h"
#include "folder.h"
#include "secret/generations.h"

#define NAME "generations"

enum { AT_FLAGS = 12, AT_COUNT = 14, AT_MASTER_KEY_ID = 16, GOLDEN_SIZE = 140, ONE_SIZE = 100 };

/* Made with OpenSSL's AES-256-GCM and Python's hmac as docs/sealed-format.md says: master key
 * 00..1f, generations 3 and 4 of repeated bytes a3 and a4, nonce of repeated bytes 33. */
static const char golden_hex[] =
    "564347454e4b455900010001000000027be082a037bcf7ee1f4df688ab6932d8000000000000000300000000"
    "00000004333333333333333333333333bfaad389fbaa903a1bb3b73f41e6a298c5787133e7b9e2e0394f365a"
    "7aad6ca968ce077b4dc5471bd7f087e653e2e7188a1ccb962189fe4aceb4724b60c9a88ce4c54b08707efb82"
    "348b0f7ad43a5f33";

/* Instead of libc's: overwriting takes space where data are copied on write. */
static bool is_full;

ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (!is_full)
        return (ssize_t)syscall(SYS_pwrite64, fd, bytes, len, at);
    errno = ENOSPC;
    return -1;
}

struct fixture {
    struct folder folder;
    char *path;
    char *text; /* what an error starts with */
    struct master_key *master;
    uint8_t golden[GOLDEN_SIZE];
};

static struct master_key *
new_key(uint8_t first, uint8_t step)
{
    uint8_t raw[MASTER_KEY_SIZE];

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)(first + i * step);
    return master_key_new(secret_buf_take_bytes(raw, sizeof(raw), NULL), NULL);
}

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->path = folder_path(&test->folder, NAME);
    test->text = g_strdup_printf("the key-encryption generations (%s) ", test->path);
    test->master = new_key(0, 1);
    for (size_t i = 0; i < GOLDEN_SIZE; i++)
        test->golden[i] = (uint8_t)(g_ascii_xdigit_value(golden_hex[2 * i]) * 16 +
                                    g_ascii_xdigit_value(golden_hex[2 * i + 1]));
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    master_key_free(test->master);
    g_free(test->path);
    g_free(test->text);
    folder_clear(&test->folder);
}

static struct generations *
open_file(const struct fixture *test)
{
    g_autoptr(GError) error = NULL;
    struct generations *generations = generations_open(test->path, test->master, NULL, &error);

    g_assert_no_error(error);
    return generations;
}

static struct generations *
make_file(const struct fixture *test, bool has_legacy)
{
    g_autoptr(GError) error = NULL;
    struct generations *generations =
        generations_make(test->path, test->master, has_legacy, &error);

    g_assert_no_error(error);
    return generations;
}

static void
begin(struct generations *generations)
{
    g_autoptr(GError) error = NULL;

    generations_begin(generations, &error);
    g_assert_no_error(error);
}

static void
finish(struct generations *generations)
{
    g_autoptr(GError) error = NULL;

    generations_finish(generations, &error);
    g_assert_no_error(error);
}

static void
expect_refused(const struct fixture *test, const void *bytes, size_t len, const char *part)
{
    g_autoptr(GError) error = NULL;

    folder_put(&test->folder, NAME, bytes, len);
    g_assert_null(generations_open(test->path, test->master, NULL, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, test->text);
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, part);
}

static void
test_golden_file_opens(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) generations = NULL;
    g_autoptr(master_key_t) third = new_key(0xa3, 0);
    g_autoptr(master_key_t) fourth = new_key(0xa4, 0);

    folder_put(&test->folder, NAME, test->golden, GOLDEN_SIZE);
    generations = open_file(test);
    g_assert_cmpuint(generations_number(generations), ==, 4);
    g_assert_true(generations_is_rotating(generations));
    g_assert_cmpmem(master_key_id(generations_current(generations)), MASTER_KEY_ID_SIZE,
                    master_key_id(fourth), MASTER_KEY_ID_SIZE);
    g_assert_nonnull(generations_find(generations, master_key_id(third)));
    g_assert_true(generations_find(generations, master_key_id(fourth)) ==
                  generations_current(generations));
    g_assert_null(generations_find(generations, master_key_id(test->master)));
}

static void
test_what_was_made_opens_again(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) made = make_file(test, false);
    g_autoptr(generations_t) opened = open_file(test);
    g_autoptr(GBytes) content = folder_get(&test->folder, NAME);

    g_assert_cmpuint(generations_number(opened), ==, 1);
    g_assert_false(generations_is_rotating(opened));
    g_assert_cmpmem(master_key_id(generations_current(opened)), MASTER_KEY_ID_SIZE,
                    master_key_id(generations_current(made)), MASTER_KEY_ID_SIZE);
    g_assert_cmpuint(g_bytes_get_size(content), ==, ONE_SIZE);
    g_assert_null(generations_find(opened, master_key_id(test->master)));
}

/* Each has two keys while values are moved, and then the new one alone, in the file, too. */
static void
test_an_older_generation_is_there_until_the_end(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) generations = make_file(test, false);
    uint8_t old[MASTER_KEY_ID_SIZE];

    for (unsigned int number = 2; number < 5; number++) {
        g_autoptr(generations_t) reopened = NULL;
        g_autoptr(generations_t) finished = NULL;

        memcpy(old, master_key_id(generations_current(generations)), sizeof(old));
        begin(generations);
        reopened = open_file(test);
        g_assert_true(generations_is_rotating(reopened));
        g_assert_cmpuint(generations_number(reopened), ==, number);
        g_assert_nonnull(generations_find(reopened, old));
        g_assert_true(generations_find(reopened, old) != generations_current(reopened));
        finish(generations);
        finished = open_file(test);
        g_assert_false(generations_is_rotating(generations));
        g_assert_false(generations_is_rotating(finished));
        g_assert_null(generations_find(generations, old));
        g_assert_null(generations_find(finished, old));
        g_assert_cmpuint(generations_number(finished), ==, number);
    }
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

static void
test_the_master_key_counts_until_what_is_under_it_was_moved(struct fixture *test,
                                                            gconstpointer unused)
{
    g_autoptr(generations_t) generations = make_file(test, true);
    g_autoptr(generations_t) reopened = open_file(test);
    g_autoptr(generations_t) finished = NULL;

    g_assert_true(generations_is_rotating(reopened));
    g_assert_true(generations_find(reopened, master_key_id(test->master)) == test->master);
    g_assert_true(generations_current(reopened) != test->master);
    finish(generations);
    finished = open_file(test);
    g_assert_false(generations_is_rotating(finished));
    g_assert_null(generations_find(finished, master_key_id(test->master)));
    g_assert_null(generations_find(generations, master_key_id(test->master)));
}

static struct generations *
open_under(const struct fixture *test, const struct master_key *master,
           const struct master_key *previous)
{
    g_autoptr(GError) error = NULL;
    struct generations *generations = generations_open(test->path, master, previous, &error);

    g_assert_no_error(error);
    return generations;
}

/* As a start finds it that was killed before the file was rewritten, and one after it. */
static void
test_the_file_names_the_present_or_the_previous_master_key(struct fixture *test,
                                                           gconstpointer unused)
{
    g_autoptr(generations_t) made = make_file(test, false);
    g_autoptr(master_key_t) next = new_key(77, 3);
    g_autoptr(generations_t) before = open_under(test, next, test->master);
    g_autoptr(generations_t) after = NULL;
    g_autoptr(GError) error = NULL;
    uint8_t old[MASTER_KEY_ID_SIZE];

    memcpy(old, master_key_id(generations_current(made)), sizeof(old));
    g_assert_true(generations_is_under(before, test->master));
    g_assert_false(generations_is_under(before, next));
    generations_rekey(before, next, false, &error);
    g_assert_no_error(error);
    g_assert_true(generations_is_under(before, next));
    g_assert_cmpuint(generations_number(before), ==, 2);
    after = open_under(test, next, test->master);
    g_assert_true(generations_is_under(after, next));
    g_assert_true(generations_is_rotating(after));
    g_assert_false(generations_is_resealing(after));
    g_assert_nonnull(generations_find(after, old));
    g_assert_cmpmem(master_key_id(generations_current(after)), MASTER_KEY_ID_SIZE,
                    master_key_id(generations_current(before)), MASTER_KEY_ID_SIZE);
    g_assert_null(generations_open(test->path, test->master, NULL, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "were made with another master key than the present one");
}

static void
test_what_was_under_the_previous_master_key_is_overwritten(struct fixture *test,
                                                           gconstpointer unused)
{
    g_autoptr(generations_t) made = make_file(test, false);
    g_autoptr(master_key_t) next = new_key(77, 3);
    g_autofree char *link = folder_path(&test->folder, "link");
    g_autoptr(GBytes) seen = NULL;

    g_assert_cmpint(linkat(AT_FDCWD, test->path, AT_FDCWD, link, 0), ==, 0);
    g_assert_true(generations_rekey(made, next, false, NULL));
    seen = folder_get(&test->folder, "link");
    for (size_t i = 0; i < g_bytes_get_size(seen); i++)
        g_assert_cmpuint(((const uint8_t *)g_bytes_get_data(seen, NULL))[i], ==, 0);
}

static void
test_new_data_keys_are_wanted_until_the_end(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) made = make_file(test, false);
    g_autoptr(master_key_t) next = new_key(77, 3);
    g_autoptr(generations_t) reopened = NULL;
    g_autoptr(generations_t) finished = NULL;

    g_assert_false(generations_is_resealing(made));
    g_assert_true(generations_rekey(made, next, true, NULL));
    reopened = open_under(test, next, NULL);
    g_assert_true(generations_is_resealing(reopened));
    finish(reopened);
    g_assert_false(generations_is_resealing(reopened));
    finished = open_under(test, next, NULL);
    g_assert_false(generations_is_resealing(finished));
    g_assert_false(generations_is_rotating(finished));
    begin(finished);
    g_assert_false(generations_is_resealing(finished));
}

/* A file in the way of the new one: nothing is changed, and what is sealed goes on opening. */
static void
test_a_failed_rekey_leaves_everything(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) made = make_file(test, false);
    g_autoptr(master_key_t) next = new_key(77, 3);
    g_autoptr(generations_t) reopened = NULL;
    g_autofree char *obstacle = folder_path(&test->folder, NAME ".new");
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(g_mkdir(obstacle, 0700), ==, 0);
    g_assert_false(generations_rekey(made, next, true, &error));
    g_assert_nonnull(error);
    g_assert_false(generations_is_rotating(made));
    g_assert_false(generations_is_resealing(made));
    g_assert_true(generations_is_under(made, test->master));
    g_assert_cmpint(g_rmdir(obstacle), ==, 0);
    reopened = open_file(test);
    g_assert_cmpuint(generations_number(reopened), ==, 1);
    g_assert_true(generations_rekey(made, next, true, NULL));
    g_assert_true(generations_is_resealing(made));
}

static void
test_each_changed_byte_is_refused(struct fixture *test, gconstpointer unused)
{
    for (size_t i = 0; i < GOLDEN_SIZE; i++) {
        test->golden[i] ^= 1;
        expect_refused(test, test->golden, GOLDEN_SIZE, "");
        test->golden[i] ^= 1;
    }
}

static void
test_each_other_length_is_refused(struct fixture *test, gconstpointer unused)
{
    for (size_t len = 1; len < GOLDEN_SIZE; len++) {
        g_assert_cmpint(g_unlink(test->path), <=, 0);
        expect_refused(test, test->golden, len, "are damaged; put a good copy of the file back");
    }
}

static void
test_refusals_say_what_to_do(struct fixture *test, gconstpointer unused)
{
    test->golden[AT_MASTER_KEY_ID] ^= 1;
    expect_refused(test, test->golden, GOLDEN_SIZE,
                   "were made with another master key than the present one; put that master key "
                   "back, or the file that goes with this one");
    test->golden[AT_MASTER_KEY_ID] ^= 1;
    test->golden[9] = 2;
    expect_refused(test, test->golden, GOLDEN_SIZE,
                   "are in a format that this program does not know");
    test->golden[9] = 1;
    test->golden[AT_FLAGS + 1] = 1;
    expect_refused(test, test->golden, GOLDEN_SIZE,
                   "are damaged or were tampered with; put a good copy of the file back");
}

static void
test_a_file_that_is_not_there_is_no_other_error(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(generations_exists(test->path));
    g_assert_null(generations_open(test->path, test->master, NULL, &error));
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_a_full_disk_keeps_nothing_from_opening(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) made G_GNUC_UNUSED = make_file(test, false);
    g_autoptr(generations_t) opened = NULL;

    folder_put_text(&test->folder, NAME ".new", "generations that were not written as a whole");
    is_full = true;
    opened = open_file(test);
    is_full = false;
    g_assert_cmpuint(generations_number(opened), ==, 1);
}

/* A kill between the exchange and the end leaves the old file, with the old key, beside. */
static void
test_what_an_interrupted_replacement_left_is_overwritten(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) made G_GNUC_UNUSED = make_file(test, false);
    g_autoptr(generations_t) opened = NULL;
    g_autofree char *left = folder_path(&test->folder, NAME ".new");
    g_autofree char *link = folder_path(&test->folder, "link");
    g_autoptr(GBytes) seen = NULL;

    folder_put(&test->folder, NAME ".new", test->golden, GOLDEN_SIZE);
    g_assert_cmpint(linkat(AT_FDCWD, left, AT_FDCWD, link, 0), ==, 0);
    opened = open_file(test);
    folder_expect_none(&test->folder, NAME ".new");
    seen = folder_get(&test->folder, "link");
    for (size_t i = 0; i < GOLDEN_SIZE; i++)
        g_assert_cmpuint(((const uint8_t *)g_bytes_get_data(seen, NULL))[i], ==, 0);
}

static void
test_the_file_with_the_old_key_is_overwritten(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) made = make_file(test, false);
    g_autofree char *link = folder_path(&test->folder, "link");
    g_autoptr(GBytes) seen = NULL;

    begin(made);
    g_assert_cmpint(linkat(AT_FDCWD, test->path, AT_FDCWD, link, 0), ==, 0);
    finish(made);
    seen = folder_get(&test->folder, "link");
    for (size_t i = 0; i < g_bytes_get_size(seen); i++)
        g_assert_cmpuint(((const uint8_t *)g_bytes_get_data(seen, NULL))[i], ==, 0);
}

static void
test_a_file_that_went_away_is_written_again(struct fixture *test, gconstpointer unused)
{
    g_autoptr(generations_t) made = make_file(test, false);
    g_autoptr(generations_t) opened = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(g_unlink(test->path), ==, 0);
    g_assert_true(generations_write(made, &error));
    opened = open_file(test);
    g_assert_nonnull(generations_find(opened, master_key_id(generations_current(made))));
}

static void
test_a_mark_outlives_the_process(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(generations_is_due(test->path));
    g_assert_true(generations_mark_due(test->path, &error));
    g_assert_true(generations_mark_due(test->path, &error));
    g_assert_true(generations_is_due(test->path));
    g_assert_true(generations_clear_due(test->path, &error));
    g_assert_true(generations_clear_due(test->path, &error));
    g_assert_false(generations_is_due(test->path));
    g_assert_cmpuint(folder_count(&test->folder), ==, 0);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/generations/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(golden_file_opens);
    ADD(what_was_made_opens_again);
    ADD(an_older_generation_is_there_until_the_end);
    ADD(the_master_key_counts_until_what_is_under_it_was_moved);
    ADD(the_file_names_the_present_or_the_previous_master_key);
    ADD(what_was_under_the_previous_master_key_is_overwritten);
    ADD(new_data_keys_are_wanted_until_the_end);
    ADD(a_failed_rekey_leaves_everything);
    ADD(each_changed_byte_is_refused);
    ADD(each_other_length_is_refused);
    ADD(refusals_say_what_to_do);
    ADD(a_file_that_is_not_there_is_no_other_error);
    ADD(a_full_disk_keeps_nothing_from_opening);
    ADD(what_an_interrupted_replacement_left_is_overwritten);
    ADD(the_file_with_the_old_key_is_overwritten);
    ADD(a_file_that_went_away_is_written_again);
    ADD(a_mark_outlives_the_process);
    return g_test_run();
}
