/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: exec.h.
 */
#include "util/exec.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { STATUS_UNTOLD = 126, STATUS_TOLD = 127 };

bool
exec_begin(pid_t parent)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &plain, NULL);
    if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return false;
    errno = ESRCH;
    return getppid() == parent;
}

void
exec_run(const char *program, const char *const *argv, const char *const *environment)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(program, (char *const *)argv, (char *const *)environment);
}

void
exec_fail(int failure_fd)
{
    int failure = errno;

    _exit(write(failure_fd, &failure, sizeof(failure)) < 0 ? STATUS_UNTOLD : STATUS_TOLD);
}

int
exec_read_failure(int failure_fd)
{
    int failure = 0;
    ssize_t got;

    do
        got = read(failure_fd, &failure, sizeof(failure));
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof(failure) ? MAX(failure, 1) : 0;
}
