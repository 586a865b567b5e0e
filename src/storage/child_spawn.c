/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: child_spawn.h. The daemon has threads, so between fork and exec nothing is called that
 * takes a lock or memory: all words and paths are made before. posix_spawn would do, but for two
 * things that it can't: death with the daemon, and closing what others opened without O_CLOEXEC.
 */
#include "storage/child_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"
#include "util/exec.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum {
    STANDARD_FDS = 3,
    ALL_FDS = STANDARD_FDS + CHILD_SPAWN_FDS,
    FAILURE_FD_MIN = 64,
};

/* All that the child needs between fork and exec. */
struct start {
    const char *const *argv;
    const char *environment[3];
    int fds[ALL_FDS]; /* of the program, by number; -1: none */
    int failure_fd;   /* takes errno if the program can't be run */
    pid_t parent;
};

/* Puts the descriptors where they belong, by way of numbers above all of those, and closes all
 * others but `failure_fd`. */
static bool
arrange_fds(const struct start *start, int failure_fd)
{
    int above[ALL_FDS];

    for (int i = 0; i < ALL_FDS; i++) {
        above[i] = start->fds[i] < 0 ? -1 : fcntl(start->fds[i], F_DUPFD, ALL_FDS);
        if (start->fds[i] >= 0 && above[i] < 0)
            return false;
    }
    for (int i = 0; i < ALL_FDS; i++) {
        if (above[i] >= 0 ? dup2(above[i], i) < 0 : close(i) < 0 && errno != EBADF)
            return false;
    }
    return close_range(ALL_FDS, (unsigned int)failure_fd - 1, 0) == 0 &&
           close_range((unsigned int)failure_fd + 1, ~0U, 0) == 0;
}

static void G_GNUC_NORETURN
run_program(const struct start *start)
{
    int failure_fd = fcntl(start->failure_fd, F_DUPFD_CLOEXEC, FAILURE_FD_MIN);

    if (failure_fd >= 0 && exec_begin(start->parent) && arrange_fds(start, failure_fd))
        exec_run(start->argv[0], start->argv, start->environment);
    exec_fail(failure_fd >= 0 ? failure_fd : start->failure_fd);
}

static bool
open_pipe(file_fd *ret_read, file_fd *ret_write)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    *ret_read = ends[0];
    *ret_write = ends[1];
    return true;
}

/* fork with all signals blocked: a handler of the daemon must not run in the child. */
static pid_t
fork_program(const struct start *start)
{
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int saved_errno;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        run_program(start);
    saved_errno = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved_errno;
    return pid;
}

bool
child_spawn(const char *const *argv, const int fds[CHILD_SPAWN_FDS],
            struct child_process *ret_process, GError **error)
{
    const char *path = g_getenv("PATH");
    g_autofree char *path_word = g_strconcat("PATH=", path ? path : DEFAULT_PATH, NULL);
    g_auto(file_fd) null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    g_auto(file_fd) output_read = -1, output_write = -1, errors_read = -1, errors_write = -1;
    g_auto(file_fd) failure_read = -1, failure_write = -1, pid_fd = -1;
    struct start start = {.argv = argv, .environment = {path_word, "LC_ALL=C", NULL}};
    pid_t pid = -1;
    int failure;

    if (null_fd >= 0 && open_pipe(&output_read, &output_write) &&
        open_pipe(&errors_read, &errors_write) && open_pipe(&failure_read, &failure_write) &&
        fcntl(output_read, F_SETFL, O_NONBLOCK) == 0 &&
        fcntl(errors_read, F_SETFL, O_NONBLOCK) == 0) {
        start.fds[0] = null_fd;
        start.fds[1] = output_write;
        start.fds[2] = errors_write;
        memcpy(&start.fds[STANDARD_FDS], fds, sizeof(int) * CHILD_SPAWN_FDS);
        start.failure_fd = failure_write;
        start.parent = getpid();
        pid = fork_program(&start);
    }
    if (pid < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot start %s", argv[0]);
        return false;
    }
    file_fd_clear(&failure_write);
    failure = exec_read_failure(failure_read);
    if (failure == 0) {
        pid_fd = pidfd_open(pid, 0);
        failure = pid_fd < 0 ? errno : 0;
    }
    if (failure != 0) {
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        error_set_errno(error, ERROR_FROM_STORAGE, failure, "cannot start %s", argv[0]);
        return false;
    }
    ret_process->pid = pid;
    ret_process->pid_fd = g_steal_fd(&pid_fd);
    ret_process->output_fd = g_steal_fd(&output_read);
    ret_process->errors_fd = g_steal_fd(&errors_read);
    return true;
}
