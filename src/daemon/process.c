/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: limits, privacy and background. The first child ends at once, so that the daemon is no
 * leader of its session and can get no terminal.
 */
#include "daemon/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(process, "openat dup2 dup3 write close");

/* Beside clients: the log, D-Bus, and the files of changes under way, of which one of a secret with
 * many owners has most: two for each. */
enum { OTHER_DESCRIPTORS = 3 * 1024 };

struct daemon_process_parent {
    file_fd fd;
};

/* Raises the soft limit to `wanted`, or as far as the hard limit lets us. */
static void
raise_limit(int resource, const char *name, rlim_t wanted)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = MIN(wanted, limit.rlim_max);
    if (setrlimit(resource, &limit) < 0)
        log_warn("cannot raise the limit %s: %s", name, g_strerror(errno));
    else if (limit.rlim_cur < wanted && wanted != RLIM_INFINITY)
        log_warn("the limit %s is %llu, and %llu may be needed: raise its hard limit", name,
                 (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

void
daemon_process_harden(unsigned int max_clients)
{
    const struct rlimit no_core = {0, 0};

    umask(077);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0)
        log_warn("cannot switch off core dumps: %s", g_strerror(errno));
    raise_limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", RLIM_INFINITY);
    raise_limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", (rlim_t)max_clients + OTHER_DESCRIPTORS);
}

/* In the first process: passes on how the daemon fared. */
static G_GNUC_NORETURN void
wait_for_daemon(int fd, pid_t first_child)
{
    uint8_t byte;
    ssize_t got;

    do
        got = read(fd, &byte, sizeof(byte));
    while (got < 0 && errno == EINTR);
    waitpid(first_child, NULL, 0);
    _exit(got == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

struct daemon_process_parent *
daemon_process_go_background(GError **error)
{
    g_autoptr(daemon_process_parent_t) parent = g_new0(struct daemon_process_parent, 1);
    g_auto(file_fd) reader = -1;
    int fds[2];
    pid_t pid;

    parent->fd = -1;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot make a pipe");
        return NULL;
    }
    reader = fds[0];
    parent->fd = fds[1];
    pid = fork();
    if (pid > 0) {
        file_fd_clear(&parent->fd);
        wait_for_daemon(reader, pid);
    }
    if (pid == 0 && setsid() >= 0) {
        pid = fork();
        if (pid > 0)
            _exit(EXIT_SUCCESS);
    }
    if (pid < 0 || chdir("/") < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot go into the background");
        return NULL;
    }
    return g_steal_pointer(&parent);
}

void
daemon_process_tell_ready(struct daemon_process_parent *parent)
{
    g_auto(file_fd) null_fd = -1;
    const uint8_t byte = 1;

    if (!parent || parent->fd < 0)
        return;
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; null_fd >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null_fd, fd);
    if (!file_write_all(parent->fd, &byte, sizeof(byte)))
        log_warn("cannot tell the parent process: %s", g_strerror(errno));
    file_fd_clear(&parent->fd);
}

void
daemon_process_parent_free(struct daemon_process_parent *parent)
{
    if (!parent)
        return;
    file_fd_clear(&parent->fd);
    g_free(parent);
}
