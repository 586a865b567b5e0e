/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The files of secrets while others change the folder between the steps of a change, which can't be
 * timed from outside of the store.
 */
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "secret/store_change.h"
#include "secret/store_files.h"

#define A "aaaaaaaa-0000-4000-8000-000000000001"

struct fixture {
    struct folder folder;
    struct folder backup;
    GRWLock contents;
    struct store_files *files;
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    folder_init(&test->backup);
    g_rw_lock_init(&test->contents);
    test->files = store_files_new(test->folder.fd, NULL, &test->contents);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    store_files_free(test->files);
    g_rw_lock_clear(&test->contents);
    folder_clear(&test->folder);
    folder_clear(&test->backup);
}

/* NULL: removes it. */
static struct store_change
key_change(const char *key)
{
    struct store_change change = {.key_action = key ? STORE_WRITE : STORE_REMOVE};

    g_assert_true(uuid_parse(A, &change.uuid));
    change.key = key ? g_bytes_new(key, strlen(key)) : NULL;
    return change;
}

static void
stage(struct fixture *test, const struct store_change *change)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(store_files_stage(test->files, change, &error));
    g_assert_no_error(error);
}

static void
apply(struct fixture *test, const struct store_change *change)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(store_files_apply(test->files, change, &error));
    g_assert_no_error(error);
}

static void
make_change(struct fixture *test, const char *key)
{
    g_auto(store_change_t) change = key_change(key);

    stage(test, &change);
    apply(test, &change);
}

static void
flush(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(store_files_flush(test->files, &error));
    g_assert_no_error(error);
}

static void
link_to_backup(struct fixture *test)
{
    g_assert_cmpint(linkat(test->folder.fd, A ".key", test->backup.fd, "copy", 0), ==, 0);
}

static void
expect_text(const struct folder *folder, const char *name, const char *text)
{
    g_autoptr(GBytes) expected = g_bytes_new(text, strlen(text));

    folder_expect(folder, name, expected);
}

static void
test_what_can_not_be_written_over_any_more_is_put_in_place(struct fixture *test,
                                                           gconstpointer unused)
{
    g_auto(store_change_t) change = key_change("newest");

    make_change(test, "sealed");
    stage(test, &change);
    link_to_backup(test);
    apply(test, &change);
    expect_text(&test->folder, A ".key", "newest");
    expect_text(&test->backup, "copy", "sealed");
    flush(test);
}

static void
test_a_file_that_is_gone_meanwhile_is_put_in_place(struct fixture *test, gconstpointer unused)
{
    g_auto(store_change_t) change = key_change("newest");

    make_change(test, "sealed");
    stage(test, &change);
    g_assert_cmpint(unlinkat(test->folder.fd, A ".key", 0), ==, 0);
    apply(test, &change);
    expect_text(&test->folder, A ".key", "newest");
    flush(test);
}

/* An unlink that failed can leave one. */
static void
test_a_staged_file_of_an_earlier_change_is_never_put_in_place(struct fixture *test,
                                                              gconstpointer unused)
{
    g_auto(store_change_t) change = key_change("newest");

    make_change(test, "sealed");
    folder_put_text(&test->folder, A ".key.new", "oldest");
    stage(test, &change);
    link_to_backup(test);
    apply(test, &change);
    expect_text(&test->folder, A ".key", "newest");
    folder_expect_none(&test->folder, A ".key.new");
    flush(test);
}

static void
test_a_linked_copy_survives_the_removal(struct fixture *test, gconstpointer unused)
{
    make_change(test, "sealed");
    link_to_backup(test);
    make_change(test, NULL);
    folder_expect_none(&test->folder, A ".key");
    expect_text(&test->backup, "copy", "sealed");
    flush(test);
}

/* Which of two values is the newer one is told by the times of their files (clear_value.h). */
static void
test_a_file_that_is_repeated_keeps_its_time(struct fixture *test, gconstpointer unused)
{
    const struct timespec times[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000, .tv_nsec = 5}};
    g_auto(store_change_t) change = key_change("sealed");
    g_autoptr(GError) error = NULL;
    struct stat info;

    make_change(test, "sealed");
    flush(test);
    g_assert_cmpint(utimensat(test->folder.fd, A ".key", times, 0), ==, 0);
    g_assert_true(store_files_redo(test->files, &change, &error));
    g_assert_no_error(error);
    flush(test);
    g_assert_cmpint(fstatat(test->folder.fd, A ".key", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mtim.tv_sec, ==, times[1].tv_sec);
    g_assert_cmpint(info.st_mtim.tv_nsec, ==, times[1].tv_nsec);
}

/* As chattr does. */
static bool
set_immutable(struct fixture *test, bool is_immutable)
{
    int fd = openat(test->folder.fd, A ".key", O_RDONLY | O_CLOEXEC);
    int flags = 0;
    bool done = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;

    flags = is_immutable ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
    done = done && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    close(fd);
    return done;
}

/* After the commit it would hold up all changes that follow. */
static void
test_a_change_of_an_immutable_file_is_refused(struct fixture *test, gconstpointer unused)
{
    static const char *const contents[] = {"SEALED", "longer than before", NULL};

    make_change(test, "sealed");
    flush(test);
    if (!set_immutable(test, true)) {
        g_test_skip("the file system has no immutable files");
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(contents); i++) {
        g_auto(store_change_t) change = key_change(contents[i]);
        g_autoptr(GError) error = NULL;
        bool staged;

        set_immutable(test, true);
        staged = store_files_stage(test->files, &change, &error);
        set_immutable(test, false);
        g_assert_false(staged);
        expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_SECRET,
                          "cannot change the file " A ".key: Operation not permitted");
        folder_expect_none(&test->folder, A ".key.new");
    }
    make_change(test, "SEALED");
    expect_text(&test->folder, A ".key", "SEALED");
}

/* A daemon may be started without standard input. */
static void
test_descriptor_zero_is_one_like_others(struct fixture *test, gconstpointer unused)
{
    int saved = dup(0);

    close(0);
    make_change(test, "sealed"); /* staged and renamed */
    make_change(test, "SEALED"); /* written over */
    g_assert_cmpint(fcntl(0, F_GETFD), >=, 0);
    flush(test);
    g_assert_cmpint(fcntl(0, F_GETFD), ==, -1);
    make_change(test, "third!");
    expect_text(&test->folder, A ".key", "third!");
    make_change(test, NULL);
    flush(test);
    g_assert_cmpint(fcntl(0, F_GETFD), ==, -1);
    dup2(saved, 0);
    close(saved);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/store_files/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(what_can_not_be_written_over_any_more_is_put_in_place);
    ADD(a_file_that_is_gone_meanwhile_is_put_in_place);
    ADD(a_staged_file_of_an_earlier_change_is_never_put_in_place);
    ADD(a_linked_copy_survives_the_removal);
    ADD(a_file_that_is_repeated_keeps_its_time);
    ADD(a_change_of_an_immutable_file_is_refused);
    ADD(descriptor_zero_is_one_like_others);
    return g_test_run();
}
