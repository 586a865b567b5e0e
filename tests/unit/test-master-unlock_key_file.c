/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The unlock method "key-file": whose file is taken, and that a new key is PATH.next until it
 * counts, PATH afterwards, and never lost between, whichever of the steps a kill prevents.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "key_file_fixture.h"

#define OWN_KEY "0123456789abcdefghijklmnopqrstuv"

/* Instead of libc's. */
static bool fsync_fails;

int
fsync(int fd)
{
    if (!fsync_fails)
        return (int)syscall(SYS_fsync, fd);
    errno = EIO;
    return -1;
}

static void
add_and_settle(struct fixture *test)
{
    add(test);
    unlock_settle(&test->context, test->slots);
}

/* The slots of a new master key, with a new key for the first slot; not settled. */
static struct slots *
renew(struct fixture *test, const struct master_key *newer)
{
    g_autoptr(GError) error = NULL;
    struct slots *slots = slots_new(newer);

    unlock_renew_slot(&test->context, slots, first(test), NULL, newer, &error);
    g_assert_no_error(error);
    return slots;
}

static void
expect_closed(struct fixture *test, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(unlock_slot(&test->context, test->slots, first(test), NULL, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    g_assert_nonnull(strstr(error->message, test->path));
}

static void
refuse_add(struct fixture *test, const char *path, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    guint before = test->slots->slots->len;

    g_assert_false(
        unlock_add_slot(&test->context, test->slots, new_slot(path), NULL, test->master, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    g_assert_cmpuint(test->slots->slots->len, ==, before);
}

/* ---- a new file ---- */

static void
test_a_new_key_is_next_until_it_counts(struct fixture *test, gconstpointer unused)
{
    struct stat info;

    add(test);
    folder_expect_none(&test->folder, "key");
    g_assert_cmpint(fstatat(test->folder.fd, "key.next", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpint(info.st_size, ==, SLOT_KEY_SIZE);
    expect_opens(test, test->slots, test->master);
    unlock_settle(&test->context, test->slots);
    g_assert_cmpint(stat(test->path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpint(info.st_nlink, ==, 1);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
    expect_opens(test, test->slots, test->master);
    g_assert_cmpstr(fields_get(first(test)->fields, "made"), ==, "yes");
}

static void
test_settling_again_changes_nothing(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;

    add_and_settle(test);
    before = folder_get(&test->folder, "key");
    unlock_settle(&test->context, test->slots);
    folder_expect(&test->folder, "key", before);
}

static void
test_what_an_interrupted_start_left_is_no_hindrance(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "key.next", "torn");
    add_and_settle(test);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
    expect_opens(test, test->slots, test->master);
}

static void
test_the_folder_is_made_private(struct fixture *test, gconstpointer unused)
{
    g_autofree char *folder = folder_path(&test->folder, "a/b");
    struct stat info;

    g_free(test->path);
    test->path = g_build_filename(folder, "key", NULL);
    add_and_settle(test);
    g_assert_cmpint(stat(folder, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
    expect_opens(test, test->slots, test->master);
}

static void
test_paths_have_to_be_plain(struct fixture *test, gconstpointer unused)
{
    static const char *const bad[] = {"", "key", "/", "/tmp/../key", "/tmp//key", "/tmp/key/"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        refuse_add(test, bad[i], ERROR_INVALID_ARG, "the path of a key file is needed");
}

static void
test_two_slots_do_not_share_a_file(struct fixture *test, gconstpointer unused)
{
    g_autofree char *alias = folder_path(&test->folder, "alias");
    g_autofree char *same = g_build_filename(alias, "key", NULL);
    g_autoptr(GError) error = NULL;

    add_and_settle(test);
    refuse_add(test, test->path, ERROR_INVALID_ARG, " of the master key has the same path, '");
    refuse_add(test, test->path, ERROR_INVALID_ARG, "remove that slot first");
    g_assert_cmpint(symlink(test->folder.path, alias), ==, 0);
    expect_opens(test, test->slots, test->master);
    g_assert_false(
        unlock_add_slot(&test->context, test->slots, new_slot(same), NULL, test->master, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_NONE, "cannot open the folder");
}

/* ---- an operator's file ---- */

static void
test_a_file_that_is_there_is_used_and_left(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;

    folder_put_text(&test->folder, "key", OWN_KEY);
    before = folder_get(&test->folder, "key");
    add_and_settle(test);
    expect_opens(test, test->slots, test->master);
    g_assert_null(fields_get(first(test)->fields, "made"));
    unlock_settle_removed(&test->context, first(test));
    folder_expect(&test->folder, "key", before);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

static void
test_an_operators_file_is_kept_by_a_renewal(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = NULL;
    g_autoptr(GBytes) before = NULL;

    folder_put_text(&test->folder, "key", OWN_KEY);
    before = folder_get(&test->folder, "key");
    add_and_settle(test);
    slots = renew(test, newer);
    unlock_settle(&test->context, slots);
    expect_opens(test, slots, newer);
    folder_expect(&test->folder, "key", before);
}

static void
test_a_key_of_before_is_taken_over_and_renewed_later(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) after = NULL;
    g_autoptr(slots_t) slots = NULL;
    struct slot *slot = new_slot(test->path);

    folder_put_text(&test->folder, "key", OWN_KEY);
    before = folder_get(&test->folder, "key");
    g_assert_true(fields_set(slot->fields, "made", "yes", NULL));
    unlock_add_slot(&test->context, test->slots, slot, NULL, test->master, &error);
    g_assert_no_error(error);
    folder_expect(&test->folder, "key", before);
    slots = renew(test, newer);
    unlock_settle(&test->context, slots);
    after = folder_get(&test->folder, "key");
    g_assert_false(g_bytes_equal(before, after));
    expect_opens(test, slots, newer);
}

static void
test_a_failed_takeover_leaves_the_key_of_before(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;
    struct slot *slot = new_slot(test->path);

    slots_fixture_add(test->slots, "taken", 1, test->master);
    g_free(slot->label);
    slot->label = g_strdup("taken");
    folder_put_text(&test->folder, "key", OWN_KEY);
    before = folder_get(&test->folder, "key");
    g_assert_true(fields_set(slot->fields, "made", "yes", NULL));
    g_assert_false(unlock_add_slot(&test->context, test->slots, slot, NULL, test->master, NULL));
    folder_expect(&test->folder, "key", before);
}

/* Before a slot is in a file. */
static void
test_bytes_are_read_without_a_check(struct fixture *test, gconstpointer unused)
{
    g_autoptr(slot_t) slot = new_slot(test->path);
    g_autoptr(secret_buf_t) bytes = NULL;

    folder_put_text(&test->folder, "key", OWN_KEY);
    bytes = unlock_method_of(SLOT_KEY_FILE)->open(&test->context, slot, NULL, NULL);
    g_assert_cmpmem(secret_buf_bytes(bytes), secret_buf_len(bytes), OWN_KEY, SLOT_KEY_SIZE);
}

/* ---- renewal ---- */

static void
test_both_keys_open_until_the_new_one_counts(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = NULL;

    add_and_settle(test);
    slots = renew(test, newer);
    expect_opens(test, test->slots, test->master);
    expect_opens(test, slots, newer);
    unlock_settle(&test->context, slots);
    expect_opens(test, slots, newer);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
    expect_closed(test, ERROR_INVALID_SECRET, "is not the one that the slot was made with");
}

static void
test_a_start_without_the_new_slots_drops_the_new_key(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = NULL;

    add_and_settle(test);
    slots = renew(test, newer);
    unlock_settle(&test->context, test->slots);
    expect_opens(test, test->slots, test->master);
    folder_expect_none(&test->folder, "key.next");
}

static void
test_a_renewal_settles_the_one_of_before_first(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = NULL;

    add(test); /* never settled: its key is key.next */
    slots = renew(test, newer);
    expect_opens(test, test->slots, test->master);
    expect_opens(test, slots, newer);
}

static void
test_what_a_kill_left_of_settling_is_wiped(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = NULL;

    add_and_settle(test);
    key = folder_get(&test->folder, "key");
    folder_put_text(&test->folder, "key.new", "the key of before of 32 bytes...");
    folder_put(&test->folder, "key.next", g_bytes_get_data(key, NULL), g_bytes_get_size(key));
    unlock_settle(&test->context, test->slots);
    folder_expect(&test->folder, "key", key);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

/* Releases of before linked the key to its name; wiping the other name would wipe the key. */
static void
test_a_second_name_of_the_key_goes_and_the_key_stays(struct fixture *test, gconstpointer unused)
{
    static const char *const names[] = {"key.new", "key.next"};
    g_autoptr(GBytes) key = NULL;

    add_and_settle(test);
    key = folder_get(&test->folder, "key");
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(linkat(test->folder.fd, "key", test->folder.fd, names[i], 0), ==, 0);
        unlock_settle(&test->context, test->slots);
        folder_expect(&test->folder, "key", key);
        folder_expect_none(&test->folder, names[i]);
    }
}

static void
test_settling_does_not_replace_what_is_no_key_file(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;

    add(test);
    folder_put_text(&test->folder, "key", "something else");
    before = folder_get(&test->folder, "key");
    unlock_settle(&test->context, test->slots);
    folder_expect(&test->folder, "key", before);
    expect_opens(test, test->slots, test->master);
}

static void
test_a_file_that_is_not_the_slots_is_left(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) other = NULL;

    add_and_settle(test);
    folder_put_text(&test->folder, "key", OWN_KEY);
    folder_put_text(&test->folder, "key.next", "vutsrqponmlkjihgfedcba9876543210");
    other = folder_get(&test->folder, "key");
    unlock_settle(&test->context, test->slots);
    unlock_settle_removed(&test->context, first(test));
    folder_expect(&test->folder, "key", other);
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
}

static void
test_removing_wipes_a_file_that_was_made(struct fixture *test, gconstpointer unused)
{
    int fd;
    uint8_t bytes[SLOT_KEY_SIZE];
    static const uint8_t zeros[SLOT_KEY_SIZE];

    add_and_settle(test);
    fd = openat(test->folder.fd, "key", O_RDONLY | O_CLOEXEC);
    unlock_settle_removed(&test->context, first(test));
    g_assert_cmpuint(folder_count(&test->folder), ==, 0);
    g_assert_cmpint(read(fd, bytes, sizeof(bytes)), ==, SLOT_KEY_SIZE);
    g_assert_cmpmem(bytes, sizeof(bytes), zeros, sizeof(zeros));
    close(fd);
}

static void
test_a_failed_renewal_leaves_the_slot_and_no_new_key(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = slots_new(newer);
    g_autoptr(slot_t) renamed = NULL;

    add_and_settle(test);
    slots_fixture_add(slots, "taken", 1, newer);
    renamed = slot_copy(first(test));
    g_free(renamed->label);
    renamed->label = g_strdup("taken");
    g_assert_false(unlock_renew_slot(&test->context, slots, renamed, NULL, newer, NULL));
    folder_expect_none(&test->folder, "key.next");
    expect_opens(test, test->slots, test->master);
}

/* Another store's, perhaps: this one was put in its place by a restore. */
static void
test_a_renewal_keeps_a_file_that_is_not_the_slots(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = NULL;
    g_autoptr(GBytes) other = NULL;

    add_and_settle(test);
    folder_put_text(&test->folder, "key", OWN_KEY);
    other = folder_get(&test->folder, "key");
    slots = renew(test, newer);
    unlock_settle(&test->context, slots);
    expect_opens(test, slots, newer);
    folder_expect(&test->folder, "key.replaced-1", other);
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
}

/* A start needs the key, and changes nothing. */
static void
test_a_disk_that_cannot_be_flushed_keeps_nothing_from_opening(struct fixture *test,
                                                              gconstpointer unused)
{
    add_and_settle(test);
    fsync_fails = true;
    expect_opens(test, test->slots, test->master);
    fsync_fails = false;
}

static void
test_what_is_not_flushed_gets_no_slot(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "key", OWN_KEY);
    fsync_fails = true;
    refuse_add(test, test->path, ERROR_SYSTEM, "cannot flush the key file");
    fsync_fails = false;
}

/* ---- files that are refused ---- */

/* They would be taken for what a renewal left, and wiped. */
static void
test_names_of_renewals_are_refused(struct fixture *test, gconstpointer unused)
{
    static const char *const names[] = {"key.next", "key.new"};

    add_and_settle(test);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = folder_path(&test->folder, names[i]);

        folder_put_text(&test->folder, names[i], OWN_KEY);
        refuse_add(test, path, ERROR_INVALID_ARG, "may not end in '.next' or '.new'");
    }
}

static void
test_other_lengths_are_refused(struct fixture *test, gconstpointer unused)
{
    add_and_settle(test);
    folder_put_text(&test->folder, "key", "");
    expect_closed(test, ERROR_OPERATION_INVALID, " has 0 bytes instead of 32");
    folder_put_text(&test->folder, "key", OWN_KEY "\n");
    expect_closed(test, ERROR_OPERATION_INVALID, " has 33 bytes instead of 32");
}

static void
test_a_file_open_to_others_is_refused(struct fixture *test, gconstpointer unused)
{
    static const mode_t modes[] = {0640, 0604, 0610, 0602};

    add_and_settle(test);
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        g_assert_cmpint(g_chmod(test->path, (int)modes[i]), ==, 0);
        expect_closed(test, ERROR_OPERATION_INVALID, "is open to others (mode 06");
    }
}

static void
test_a_file_of_another_user_is_refused(struct fixture *test, gconstpointer unused)
{
    add_and_settle(test);
    if (chown(test->path, 12345, (gid_t)-1) < 0) {
        g_test_skip("needs root");
        return;
    }
    expect_closed(test, ERROR_OPERATION_INVALID, "belongs to user 12345");
}

static void
test_a_link_is_refused(struct fixture *test, gconstpointer unused)
{
    add_and_settle(test);
    g_assert_cmpint(renameat(test->folder.fd, "key", test->folder.fd, "other"), ==, 0);
    g_assert_cmpint(symlinkat("other", test->folder.fd, "key"), ==, 0);
    expect_closed(test, ERROR_OPERATION_INVALID, "is a symbolic link");
    g_assert_cmpint(unlinkat(test->folder.fd, "other", 0), ==, 0);
    expect_closed(test, ERROR_OPERATION_INVALID, "is a symbolic link");
}

static void
test_a_pipe_does_not_hang(struct fixture *test, gconstpointer unused)
{
    add_and_settle(test);
    g_unlink(test->path);
    g_assert_cmpint(mkfifoat(test->folder.fd, "key", 0600), ==, 0);
    expect_closed(test, ERROR_OPERATION_INVALID, "is not a regular file");
}

static void
test_a_missing_file_is_named(struct fixture *test, gconstpointer unused)
{
    add_and_settle(test);
    g_unlink(test->path);
    expect_closed(test, ERROR_SYSTEM, "cannot open the key file ");
}

#define ADD(name)                                                                                  \
    g_test_add("/master/unlock_key_file/" #name, struct fixture, NULL, set_up, test_##name,        \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_new_key_is_next_until_it_counts);
    ADD(settling_again_changes_nothing);
    ADD(what_an_interrupted_start_left_is_no_hindrance);
    ADD(the_folder_is_made_private);
    ADD(paths_have_to_be_plain);
    ADD(two_slots_do_not_share_a_file);
    ADD(a_file_that_is_there_is_used_and_left);
    ADD(an_operators_file_is_kept_by_a_renewal);
    ADD(a_key_of_before_is_taken_over_and_renewed_later);
    ADD(a_failed_takeover_leaves_the_key_of_before);
    ADD(bytes_are_read_without_a_check);
    ADD(both_keys_open_until_the_new_one_counts);
    ADD(a_start_without_the_new_slots_drops_the_new_key);
    ADD(a_renewal_settles_the_one_of_before_first);
    ADD(what_a_kill_left_of_settling_is_wiped);
    ADD(a_second_name_of_the_key_goes_and_the_key_stays);
    ADD(settling_does_not_replace_what_is_no_key_file);
    ADD(a_file_that_is_not_the_slots_is_left);
    ADD(removing_wipes_a_file_that_was_made);
    ADD(a_failed_renewal_leaves_the_slot_and_no_new_key);
    ADD(a_renewal_keeps_a_file_that_is_not_the_slots);
    ADD(a_disk_that_cannot_be_flushed_keeps_nothing_from_opening);
    ADD(what_is_not_flushed_gets_no_slot);
    ADD(names_of_renewals_are_refused);
    ADD(other_lengths_are_refused);
    ADD(a_file_open_to_others_is_refused);
    ADD(a_file_of_another_user_is_refused);
    ADD(a_link_is_refused);
    ADD(a_pipe_does_not_hang);
    ADD(a_missing_file_is_named);
    return g_test_run();
}
