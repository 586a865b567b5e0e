/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Files below a folder: what is refused, and that a replace is whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expect.h"
#include "util/file.h"

struct fixture {
    char *path;
    int fd;
};

static void
set_up(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    folder->path = g_dir_make_tmp("virtcrypt-XXXXXX", &error);
    g_assert_no_error(error);
    folder->fd = file_open_dir(folder->path, false, 0700, &error);
    g_assert_no_error(error);
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
            remove_tree(child);
        else
            g_unlink(child);
    }
    g_rmdir(path);
}

static void
tear_down(struct fixture *folder, gconstpointer unused)
{
    close(folder->fd);
    remove_tree(folder->path);
    g_free(folder->path);
}

static char *
path_in(const struct fixture *folder, const char *name)
{
    return g_build_filename(folder->path, name, NULL);
}

static void
put(const struct fixture *folder, const char *name, const char *text)
{
    g_autofree char *path = path_in(folder, name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
expect_content(const struct fixture *folder, const char *name, const char *text)
{
    g_autofree char *path = path_in(folder, name);
    g_autofree char *content = NULL;

    g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, text);
}

static mode_t
mode_of(const struct fixture *folder, const char *name)
{
    struct stat info;

    g_assert_cmpint(fstatat(folder->fd, name, &info, AT_SYMLINK_NOFOLLOW), ==, 0);
    return info.st_mode & 07777;
}

static guint
count_entries(const struct fixture *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder->path, 0, NULL);
    guint count = 0;

    while (g_dir_read_name(dir))
        count++;
    return count;
}

static void
test_a_folder_is_made_with_its_parents(struct fixture *folder, gconstpointer unused)
{
    g_autofree char *path = path_in(folder, "a/b/c");
    g_autoptr(GError) error = NULL;
    g_auto(file_fd) fd = file_open_dir(path, true, 0700, &error);

    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(mode_of(folder, "a/b/c"), ==, 0700);
    g_assert_cmpint(mode_of(folder, "a/b") & 0777, ==, 0755);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
}

static void
test_a_folder_that_exists_keeps_its_mode(struct fixture *folder, gconstpointer unused)
{
    g_auto(file_fd) fd = -1;

    g_assert_cmpint(chmod(folder->path, 0711), ==, 0);
    fd = file_open_dir(folder->path, true, 0700, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(mode_of(folder, "."), ==, 0711);
}

static void
test_a_missing_folder_is_an_error(struct fixture *folder, gconstpointer unused)
{
    g_autofree char *path = path_in(folder, "none");
    g_autofree char *detail =
        g_strdup_printf("cannot open the folder %s: No such file or directory", path);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(file_open_dir(path, false, 0700, &error), ==, -1);
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_NONE, detail);
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_a_symbolic_link_or_file_is_no_folder(struct fixture *folder, gconstpointer unused)
{
    g_autofree char *link = path_in(folder, "link");
    g_autofree char *file = path_in(folder, "file");
    g_autoptr(GError) link_error = NULL;
    g_autoptr(GError) file_error = NULL;

    g_assert_cmpint(symlink(".", link), ==, 0);
    put(folder, "file", "x");
    g_assert_cmpint(file_open_dir(link, true, 0700, &link_error), ==, -1);
    expect_error_part(link_error, ERROR_SYSTEM, ERROR_FROM_NONE, "cannot open the folder");
    expect_error_part(link_error, ERROR_SYSTEM, ERROR_FROM_NONE, "which is a symbolic link");
    g_assert_cmpint(file_open_dir(file, true, 0700, &file_error), ==, -1);
    expect_error_part(file_error, ERROR_SYSTEM, ERROR_FROM_NONE, "Not a directory");
}

static void
test_a_foreign_owners_folder_is_refused(struct fixture *folder, gconstpointer unused)
{
    g_autofree char *path = path_in(folder, "foreign");
    g_autofree char *detail =
        g_strdup_printf("the folder %s belongs to user 65534; make it root's", path);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mkdir(path, 0700), ==, 0);
    if (chown(path, 65534, 65534) < 0) {
        g_test_skip("only root can give a folder away");
        return;
    }
    g_assert_cmpint(file_open_dir(path, true, 0700, &error), ==, -1);
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_NONE, detail);
}

static void
test_a_file_is_read_whole(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GBytes) exact = NULL;
    g_autoptr(secret_buf_t) secret = NULL;

    put(folder, "f", "content");
    bytes = file_read(folder->fd, "f", 100, NULL);
    exact = file_read(folder->fd, "f", 7, NULL);
    secret = file_read_secret(folder->fd, "f", 7, NULL);
    g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), "content", 7);
    g_assert_cmpuint(g_bytes_get_size(exact), ==, 7);
    g_assert_cmpmem(secret_buf_bytes(secret), secret_buf_len(secret), "content", 7);
}

static void
test_an_empty_file_is_read_as_nothing(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(secret_buf_t) secret = NULL;

    put(folder, "f", "");
    bytes = file_read(folder->fd, "f", 100, NULL);
    secret = file_read_secret(folder->fd, "f", 100, NULL);
    g_assert_cmpuint(g_bytes_get_size(bytes), ==, 0);
    g_assert_cmpuint(secret_buf_len(secret), ==, 0);
}

static void
test_a_missing_file_is_told_apart(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(file_read(folder->fd, "none", 100, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_NONE,
                 "cannot open the file none: No such file or directory");
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_a_file_that_is_too_large_is_refused(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) secret_error = NULL;

    put(folder, "f", "content");
    g_assert_null(file_read(folder->fd, "f", 6, &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_NONE,
                 "the file f has more than the maximum of 6 bytes");
    g_assert_null(file_read_secret(folder->fd, "f", 6, &secret_error));
    expect_error(secret_error, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                 "f: the value is longer than the maximum of 6 bytes");
}

static void
test_a_symbolic_link_is_not_read(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put(folder, "f", "content");
    g_assert_cmpint(symlinkat("f", folder->fd, "link"), ==, 0);
    g_assert_null(file_read(folder->fd, "link", 100, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_NONE,
                 "cannot open the file link: Too many levels of symbolic links");
}

static void
test_a_pipe_or_folder_is_not_read_and_does_not_hang(struct fixture *folder, gconstpointer unused)
{
    static const char *const names[] = {"pipe", "folder"};

    g_assert_cmpint(mkfifoat(folder->fd, "pipe", 0600), ==, 0);
    g_assert_cmpint(mkdirat(folder->fd, "folder", 0700), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *detail = g_strdup_printf("%s is not a regular file", names[i]);
        g_autoptr(GError) error = NULL;

        g_assert_null(file_read(folder->fd, names[i], 100, &error));
        expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_NONE, detail);
    }
}

static void
test_a_replace_creates_with_exactly_the_mode_given(struct fixture *folder, gconstpointer unused)
{
    mode_t old = umask(0077);
    g_autoptr(GError) error = NULL;

    g_assert_true(file_replace(folder->fd, "f", "one", 3, 0644, &error));
    umask(old);
    g_assert_no_error(error);
    expect_content(folder, "f", "one");
    g_assert_cmpint(mode_of(folder, "f"), ==, 0644);
    g_assert_cmpuint(count_entries(folder), ==, 1);
}

static void
test_a_reader_keeps_the_old_file_while_it_is_replaced(struct fixture *folder, gconstpointer unused)
{
    g_auto(file_fd) reader = -1;
    char text[8] = "";

    put(folder, "f", "old");
    reader = file_open_read(folder->fd, "f", NULL);
    g_assert_true(file_replace(folder->fd, "f", "newer", 5, 0600, NULL));
    g_assert_cmpint(read(reader, text, sizeof(text)), ==, 3);
    g_assert_cmpstr(text, ==, "old");
    expect_content(folder, "f", "newer");
}

static void
test_a_replace_removes_what_a_crash_left(struct fixture *folder, gconstpointer unused)
{
    put(folder, "f.new", "half");
    g_assert_true(file_replace(folder->fd, "f", "x", 1, 0600, NULL));
    expect_content(folder, "f", "x");
    g_assert_cmpuint(count_entries(folder), ==, 1);
}

static void
test_a_replace_does_not_write_through_a_link(struct fixture *folder, gconstpointer unused)
{
    put(folder, "victim", "safe");
    g_assert_cmpint(symlinkat("victim", folder->fd, "f"), ==, 0);
    g_assert_cmpint(symlinkat("victim", folder->fd, "f.new"), ==, 0);
    g_assert_true(file_replace(folder->fd, "f", "x", 1, 0600, NULL));
    expect_content(folder, "victim", "safe");
    expect_content(folder, "f", "x");
}

static void
test_a_failed_replace_leaves_the_old_file_alone(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    /* A folder in the file's place: the last step, the rename, fails. */
    g_assert_cmpint(mkdirat(folder->fd, "f", 0700), ==, 0);
    g_assert_false(file_replace(folder->fd, "f", "x", 1, 0600, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_NONE, "cannot write the file f: Is a directory");
    g_assert_cmpuint(count_entries(folder), ==, 1);
}

static void
test_a_failure_before_the_rename_leaves_the_old_file_alone(struct fixture *folder,
                                                           gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put(folder, "f", "old");
    /* A folder where the new file would go: it cannot be made. */
    g_assert_cmpint(mkdirat(folder->fd, "f.new", 0700), ==, 0);
    g_assert_false(file_replace(folder->fd, "f", "x", 1, 0600, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_NONE, "cannot write the file f: ");
    expect_content(folder, "f", "old");
}

static void
test_a_wipe_overwrites_and_removes(struct fixture *folder, gconstpointer unused)
{
    g_autofree char *secret = g_strnfill(10000, 's');
    g_autofree char *seen = g_malloc(10000);
    g_auto(file_fd) watcher = -1;
    g_autoptr(GError) error = NULL;

    put(folder, "f", secret);
    watcher = file_open_read(folder->fd, "f", NULL);
    g_assert_true(file_wipe(folder->fd, "f", &error));
    g_assert_no_error(error);
    g_assert_cmpuint(count_entries(folder), ==, 0);
    g_assert_cmpint(read(watcher, seen, 10000), ==, 10000);
    for (size_t i = 0; i < 10000; i++)
        g_assert_true(seen[i] == 0);
}

static void
test_wiping_a_missing_file_is_no_error(struct fixture *folder, gconstpointer unused)
{
    g_assert_true(file_wipe(folder->fd, "none", NULL));
}

static void
test_a_wipe_follows_no_link_and_takes_only_files(struct fixture *folder, gconstpointer unused)
{
    static const char *const names[] = {"link", "pipe", "folder"};

    put(folder, "victim", "safe");
    g_assert_cmpint(symlinkat("victim", folder->fd, "link"), ==, 0);
    g_assert_cmpint(mkfifoat(folder->fd, "pipe", 0600), ==, 0);
    g_assert_cmpint(mkdirat(folder->fd, "folder", 0700), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(file_wipe(folder->fd, names[i], &error));
        g_assert_nonnull(strstr(error->message, "cannot erase"));
        g_assert_nonnull(strstr(error->message, names[i]));
        g_assert_null(strstr(error->message, "Success"));
    }
    expect_content(folder, "victim", "safe");
}

/* Both the old contents and what an earlier, interrupted call left are zeros for who has them open.
 */
static void
test_a_wiping_replace_overwrites_what_was_there(struct fixture *folder, gconstpointer unused)
{
    static const char *const names[] = {"f", "f.new"};
    g_autoptr(GError) error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_auto(file_fd) watcher = -1;
        char seen[8] = "";

        put(folder, "f", "earlier");
        put(folder, names[i], "old one");
        watcher = file_open_read(folder->fd, names[i], NULL);
        g_assert_true(file_replace_wiping(folder->fd, "f", "new", 3, 0600, &error));
        g_assert_no_error(error);
        expect_content(folder, "f", "new");
        g_assert_cmpuint(count_entries(folder), ==, 1);
        g_assert_cmpint(read(watcher, seen, sizeof(seen)), ==, 7);
        g_assert_cmpmem(seen, 7, "\0\0\0\0\0\0\0", 7);
    }
}

static void
test_a_wiping_replace_makes_a_file_that_is_not_there(struct fixture *folder, gconstpointer unused)
{
    struct stat info;

    g_assert_true(file_replace_wiping(folder->fd, "f", "new", 3, 0600, NULL));
    expect_content(folder, "f", "new");
    g_assert_cmpint(fstatat(folder->fd, "f", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpuint(count_entries(folder), ==, 1);
}

static void
test_an_interrupted_wiping_replace_is_finished(struct fixture *folder, gconstpointer unused)
{
    put(folder, "f", "new");
    put(folder, "f.new", "old");
    g_assert_true(file_finish_replace(folder->fd, "f", NULL));
    expect_content(folder, "f", "new");
    g_assert_cmpuint(count_entries(folder), ==, 1);
}

static void
test_a_wiping_replace_that_can_not_be_changes_nothing(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put(folder, "f", "old");
    g_assert_cmpint(mkdirat(folder->fd, "f.new", 0700), ==, 0);
    g_assert_false(file_replace_wiping(folder->fd, "f", "new", 3, 0600, &error));
    g_assert_nonnull(strstr(error->message, "f.new"));
    expect_content(folder, "f", "old");
}

static void
test_a_pipe_with_a_reader_is_not_wiped(struct fixture *folder, gconstpointer unused)
{
    g_auto(file_fd) reader = -1;
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mkfifoat(folder->fd, "pipe", 0600), ==, 0);
    reader = openat(folder->fd, "pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    g_assert_cmpint(reader, >=, 0);
    g_assert_false(file_wipe(folder->fd, "pipe", &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_NONE,
                 "cannot erase pipe: it is not a regular file");
}

static void
test_closing_keeps_errno(struct fixture *folder, gconstpointer unused)
{
    file_fd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    errno = ENOSPC;
    file_fd_clear(&fd);
    g_assert_cmpint(errno, ==, ENOSPC);
    g_assert_cmpint(fd, ==, -1);
}

static void
test_writing_to_nowhere_tells_errno(struct fixture *folder, gconstpointer unused)
{
    g_auto(file_fd) full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    g_assert_false(file_write_all(full, "x", 1));
    g_assert_cmpint(errno, ==, ENOSPC);
    g_assert_true(file_write_all(full, "", 0));
    g_assert_false(file_write_all_at(full, "x", 1, 0));
    g_assert_false(file_write_zeros_at(full, 1, 0));
}

static void
test_writing_in_the_middle_leaves_the_rest(struct fixture *folder, gconstpointer unused)
{
    g_auto(file_fd) fd = openat(folder->fd, "f", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char found[8] = "";

    g_assert_true(file_write_all(fd, "abcdefg", 7));
    g_assert_true(file_write_all_at(fd, "XY", 2, 1));
    g_assert_true(file_write_zeros_at(fd, 2, 4));
    g_assert_cmpint(pread(fd, found, sizeof(found), 0), ==, 7);
    g_assert_cmpmem(found, 7, "aXYd\0\0g", 7);
}

static void
test_names_are_listed_in_order(struct fixture *folder, gconstpointer unused)
{
    static const char *const wanted[] = {".hidden", "a", "b"};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) none = file_list_names(folder->fd, &error);
    g_autoptr(GPtrArray) names = NULL;

    g_assert_no_error(error);
    g_assert_cmpuint(none->len, ==, 0);
    for (size_t i = G_N_ELEMENTS(wanted); i-- > 0;)
        g_assert_true(file_replace(folder->fd, wanted[i], "", 0, 0600, NULL));
    names = file_list_names(folder->fd, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(names->len, ==, G_N_ELEMENTS(wanted));
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        g_assert_cmpstr(names->pdata[i], ==, wanted[i]);
}

static void
test_what_is_no_folder_has_no_names(struct fixture *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(file_fd) fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    g_assert_null(file_list_names(fd, &error));
    g_assert_true(error_is(error, ERROR_SYSTEM));
    g_assert_true(g_str_has_prefix(error->message, "cannot read the folder: "));
}

#define ADD(name)                                                                                  \
    g_test_add("/util/file/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_folder_is_made_with_its_parents);
    ADD(a_folder_that_exists_keeps_its_mode);
    ADD(a_missing_folder_is_an_error);
    ADD(a_symbolic_link_or_file_is_no_folder);
    ADD(a_foreign_owners_folder_is_refused);
    ADD(names_are_listed_in_order);
    ADD(what_is_no_folder_has_no_names);
    ADD(a_file_is_read_whole);
    ADD(an_empty_file_is_read_as_nothing);
    ADD(a_missing_file_is_told_apart);
    ADD(a_file_that_is_too_large_is_refused);
    ADD(a_symbolic_link_is_not_read);
    ADD(a_pipe_or_folder_is_not_read_and_does_not_hang);
    ADD(a_replace_creates_with_exactly_the_mode_given);
    ADD(a_reader_keeps_the_old_file_while_it_is_replaced);
    ADD(a_replace_removes_what_a_crash_left);
    ADD(a_replace_does_not_write_through_a_link);
    ADD(a_failed_replace_leaves_the_old_file_alone);
    ADD(a_failure_before_the_rename_leaves_the_old_file_alone);
    ADD(a_wipe_overwrites_and_removes);
    ADD(wiping_a_missing_file_is_no_error);
    ADD(a_wipe_follows_no_link_and_takes_only_files);
    ADD(a_wiping_replace_overwrites_what_was_there);
    ADD(a_wiping_replace_makes_a_file_that_is_not_there);
    ADD(an_interrupted_wiping_replace_is_finished);
    ADD(a_wiping_replace_that_can_not_be_changes_nothing);
    ADD(a_pipe_with_a_reader_is_not_wiped);
    ADD(closing_keeps_errno);
    ADD(writing_to_nowhere_tells_errno);
    ADD(writing_in_the_middle_leaves_the_rest);
    return g_test_run();
}
