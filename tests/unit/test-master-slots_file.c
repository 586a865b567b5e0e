/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The file of slots: written and read again, what a crash left is finished, and one that others
 * could have written is refused.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "folder.h"
#include "slots_fixture.h"
#include "slots_golden.h"

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
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) golden = slots_golden_new();

    folder_init(&test->folder);
    test->path = folder_path(&test->folder, "master.slots");
    folder_put(&test->folder, "master.slots", g_bytes_get_data(golden, NULL),
               g_bytes_get_size(golden));
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    g_free(test->path);
    folder_clear(&test->folder);
}

static void
expect_refusal(const struct fixture *test, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(slots_read(test->path, NULL, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    g_assert_nonnull(strstr(error->message, test->path));
    g_assert_true(slots_exists(test->path));
}

static void
test_bytes_that_were_read_are_given(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) golden = slots_golden_new();
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(slots_t) slots = slots_read(test->path, &bytes, NULL);

    g_assert_nonnull(slots);
    g_assert_true(g_bytes_equal(bytes, golden));
}

static void
test_what_is_written_is_read_with_a_higher_sequence(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_read(test->path, NULL, NULL);
    g_autoptr(slots_t) again = NULL;
    g_autoptr(GBytes) bytes = NULL;
    struct stat info;

    slots_fixture_add(slots, "third", 3, master);
    slots->has_previous = false;
    slots_write(test->path, slots, master, &error);
    g_assert_no_error(error);
    again = slots_read(test->path, &bytes, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(again->slots->len, ==, 3);
    g_assert_cmpuint(again->sequence, ==, 6);
    g_assert_false(again->has_previous);
    g_assert_true(
        slots_authenticate(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), master, NULL));
    g_assert_cmpint(stat(test->path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

static void
test_a_missing_file_or_folder_is_told_apart(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *nowhere = folder_path(&test->folder, "no/master.slots");

    g_unlink(test->path);
    g_assert_false(slots_exists(test->path));
    g_assert_null(slots_read(test->path, NULL, &error));
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
    g_clear_error(&error);
    g_assert_false(slots_exists(nowhere));
    g_assert_null(slots_read(nowhere, NULL, &error));
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_the_first_write_makes_the_folder(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);
    g_autofree char *folder = folder_path(&test->folder, "a/b");
    g_autofree char *path = g_build_filename(folder, "master.slots", NULL);
    struct stat info;

    slots_write(path, slots, master, &error);
    g_assert_no_error(error);
    g_assert_true(slots_exists(path));
    g_assert_cmpint(stat(folder, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
}

static void
test_what_a_crash_left_is_wiped(struct fixture *test, gconstpointer unused)
{
    g_autoptr(slots_t) slots = NULL;

    folder_put_text(&test->folder, "master.slots.new", "slots of before");
    slots = slots_read(test->path, NULL, NULL);
    g_assert_nonnull(slots);
    folder_expect_none(&test->folder, "master.slots.new");
}

static void
test_a_full_disk_keeps_nothing_from_opening(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(slots_t) slots = NULL;

    folder_put_text(&test->folder, "master.slots.new", "slots that were not written as a whole");
    is_full = true;
    slots = slots_read(test->path, NULL, &error);
    is_full = false;
    g_assert_no_error(error);
    g_assert_nonnull(slots);
}

static void
test_the_other_copy_is_kept_beside_a_damaged_file(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "master.slots", "");
    folder_put_text(&test->folder, "master.slots.new", "perhaps the good one");
    expect_refusal(test, ERROR_INVALID_SECRET, "put a good copy of the file back");
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
}

static void
test_a_link_is_not_followed(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(renameat(test->folder.fd, "master.slots", test->folder.fd, "other"), ==, 0);
    g_assert_cmpint(symlinkat("other", test->folder.fd, "master.slots"), ==, 0);
    expect_refusal(test, ERROR_OPERATION_INVALID, "is a symbolic link; put the file itself in its");
}

static void
test_a_pipe_does_not_hang(struct fixture *test, gconstpointer unused)
{
    g_unlink(test->path);
    g_assert_cmpint(mkfifoat(test->folder.fd, "master.slots", 0600), ==, 0);
    expect_refusal(test, ERROR_OPERATION_INVALID, "is not a regular file");
}

static void
test_a_file_that_others_may_write_is_refused(struct fixture *test, gconstpointer unused)
{
    static const mode_t modes[] = {0620, 0602, 0666};

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        g_assert_cmpint(g_chmod(test->path, (int)modes[i]), ==, 0);
        expect_refusal(test, ERROR_OPERATION_INVALID, "may be written by others (mode 06");
    }
    g_assert_cmpint(g_chmod(test->path, 0600), ==, 0);
    if (chown(test->path, 12345, (gid_t)-1) < 0) {
        g_test_skip("needs root");
        return;
    }
    expect_refusal(test, ERROR_OPERATION_INVALID, "belongs to user 12345");
}

static void
test_a_file_that_is_too_large_is_refused(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(truncate(test->path, SLOTS_FILE_MAX + 1), ==, 0);
    expect_refusal(test, ERROR_INVALID_SECRET, "has more than the maximum of ");
}

#define ADD(name)                                                                                  \
    g_test_add("/master/slots_file/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(bytes_that_were_read_are_given);
    ADD(what_is_written_is_read_with_a_higher_sequence);
    ADD(a_missing_file_or_folder_is_told_apart);
    ADD(the_first_write_makes_the_folder);
    ADD(what_a_crash_left_is_wiped);
    ADD(a_full_disk_keeps_nothing_from_opening);
    ADD(the_other_copy_is_kept_beside_a_damaged_file);
    ADD(a_link_is_not_followed);
    ADD(a_pipe_does_not_hang);
    ADD(a_file_that_others_may_write_is_refused);
    ADD(a_file_that_is_too_large_is_refused);
    return g_test_run();
}
