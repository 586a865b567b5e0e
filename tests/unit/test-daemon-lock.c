/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Locked pid files, against other processes that hold, leave or remove them.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "expect.h"
#include "folder.h"
#include "daemon/lock.h"

static void
set_up(struct folder *folder, gconstpointer unused)
{
    folder_init(folder);
}

static void
tear_down(struct folder *folder, gconstpointer unused)
{
    folder_clear(folder);
}

static struct daemon_lock *
take(const struct folder *folder, GError **error)
{
    g_autofree char *path = folder_path(folder, "run/driver.pid");

    return daemon_lock_new(path, 0700, "stop it", error);
}

struct holder {
    pid_t pid;
    int end; /* closing it ends the holder */
};

/* Another process that takes the lock with the calls that libvirt's drivers use. */
static void
holder_start(struct holder *holder, const struct folder *folder)
{
    int ready[2];
    int end[2];
    char byte;

    g_assert_cmpint(pipe(ready), ==, 0);
    g_assert_cmpint(pipe(end), ==, 0);
    holder->pid = fork();
    if (holder->pid == 0) {
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        g_autofree char *path = folder_path(folder, "run/driver.pid");
        int fd = open(path, O_WRONLY | O_CREAT, 0644);

        close(end[1]);
        if (fd < 0 || fcntl(fd, F_SETLK, &range) < 0 || write(ready[1], "r", 1) != 1)
            _exit(EXIT_FAILURE);
        while (read(end[0], &byte, 1) < 0 && errno == EINTR)
            ;
        _exit(EXIT_SUCCESS);
    }
    close(ready[1]);
    close(end[0]);
    holder->end = end[1];
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
}

static void
holder_stop(struct holder *holder)
{
    close(holder->end);
    g_assert_cmpint(waitpid(holder->pid, NULL, 0), ==, holder->pid);
}

static void
test_the_file_holds_our_pid_without_a_newline(struct folder *folder, gconstpointer unused)
{
    g_autoptr(daemon_lock_t) lock = take(folder, NULL);
    g_autofree char *text = g_strdup_printf("%d", (int)getpid());
    g_autoptr(GBytes) expected = g_bytes_new(text, strlen(text));

    g_assert_nonnull(lock);
    folder_expect(folder, "run/driver.pid", expected);
}

static void
test_its_folder_is_made_and_closed_to_others(struct folder *folder, gconstpointer unused)
{
    g_autoptr(daemon_lock_t) lock = take(folder, NULL);
    struct stat info;

    g_assert_nonnull(lock);
    g_assert_cmpint(fstatat(folder->fd, "run", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
    g_assert_cmpint(fstatat(folder->fd, "run/driver.pid", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
}

static void
test_a_lock_of_another_process_is_respected(struct folder *folder, gconstpointer unused)
{
    g_autofree char *path = folder_path(folder, "run/driver.pid");
    g_autofree char *expected = NULL;
    g_autoptr(GError) error = NULL;
    struct holder holder;

    g_assert_cmpint(mkdirat(folder->fd, "run", 0700), ==, 0);
    holder_start(&holder, folder);
    g_assert_null(take(folder, &error));
    holder_stop(&holder);
    expected = g_strdup_printf(" (process %d): stop it", (int)holder.pid);
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_NONE, expected);
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_NONE, path);
}

static void
test_a_file_that_a_killed_process_left_is_taken_over(struct folder *folder, gconstpointer unused)
{
    g_autoptr(daemon_lock_t) lock = NULL;
    g_autoptr(GError) error = NULL;
    struct holder holder;

    g_assert_cmpint(mkdirat(folder->fd, "run", 0700), ==, 0);
    holder_start(&holder, folder);
    kill(holder.pid, SIGKILL);
    holder_stop(&holder);
    folder_put_text(folder, "run/driver.pid", "123456789");
    lock = take(folder, &error);
    g_assert_no_error(error);
    g_assert_nonnull(lock);
}

static void
test_another_process_is_kept_out(struct folder *folder, gconstpointer unused)
{
    g_autoptr(daemon_lock_t) lock = take(folder, NULL);
    pid_t pid = fork();
    int status;

    g_assert_nonnull(lock);
    if (pid == 0) {
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        g_autofree char *path = folder_path(folder, "run/driver.pid");
        int fd = open(path, O_WRONLY);

        _exit(fd >= 0 && fcntl(fd, F_SETLK, &range) < 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

static void
test_the_file_is_gone_at_the_end_and_can_be_taken_again(struct folder *folder, gconstpointer unused)
{
    daemon_lock_free(take(folder, NULL));
    folder_expect_none(folder, "run/driver.pid");
    daemon_lock_free(take(folder, NULL));
    folder_expect_none(folder, "run/driver.pid");
}

static void
test_a_symbolic_link_is_not_followed(struct folder *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mkdirat(folder->fd, "run", 0700), ==, 0);
    g_assert_cmpint(symlinkat("../elsewhere", folder->fd, "run/driver.pid"), ==, 0);
    g_assert_null(take(folder, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_NONE, "cannot open the pid file");
    folder_expect_none(folder, "elsewhere");
}

#define ADD(name)                                                                                  \
    g_test_add("/daemon/lock/" #name, struct folder, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_file_holds_our_pid_without_a_newline);
    ADD(its_folder_is_made_and_closed_to_others);
    ADD(a_lock_of_another_process_is_respected);
    ADD(a_file_that_a_killed_process_left_is_taken_over);
    ADD(another_process_is_kept_out);
    ADD(the_file_is_gone_at_the_end_and_can_be_taken_again);
    ADD(a_symbolic_link_is_not_followed);
    return g_test_run();
}
