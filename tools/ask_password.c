/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: running systemd-ask-password, whose output goes from the pipe to secret memory.
 */
#include "tools/ask_password.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

#define PROGRAM "systemd-ask-password"

extern char **environ;

/* Its standard output is `fd`. */
static bool
spawn(char *const *words, int fd, pid_t *ret_pid, GError **error)
{
    posix_spawn_file_actions_t actions;
    int errnum = posix_spawn_file_actions_init(&actions);

    if (errnum == 0) {
        errnum = posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
        if (errnum == 0)
            errnum = posix_spawnp(ret_pid, PROGRAM, &actions, NULL, words, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    if (errnum == 0)
        return true;
    error_set_errno(error, ERROR_FROM_NONE, errnum, "cannot run " PROGRAM);
    return false;
}

/* Whether it ended well. It ends by itself: at its own timeout, or when nobody reads any more. */
static bool
wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct secret_buf *
ask_password(const char *prompt, unsigned int timeout_s, size_t max, GError **error)
{
    g_autofree char *timeout = g_strdup_printf("--timeout=%u", timeout_s);
    char *const words[] = {(char *)PROGRAM, (char *)"--id=virtcrypt", timeout, (char *)"-n",
                           (char *)"--",    (char *)prompt,           NULL};
    g_autoptr(secret_buf_t) answer = NULL;
    g_auto(file_fd) read_fd = -1;
    g_auto(file_fd) write_fd = -1;
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot make a pipe");
        return NULL;
    }
    read_fd = fds[0];
    write_fd = fds[1];
    if (!spawn(words, write_fd, &pid, error))
        return NULL;
    file_fd_clear(&write_fd);
    answer = secret_buf_read_fd(read_fd, max, error);
    file_fd_clear(&read_fd);
    if (!wait_for(pid) && answer) {
        error_set(error, ERROR_FROM_NONE, ERROR_AUTH_CANCELLED,
                  "nobody answered " PROGRAM " within %u seconds, or the question was cancelled",
                  timeout_s);
        return NULL;
    }
    return g_steal_pointer(&answer);
}
