/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: polkit_agent.h.
 */
#include "tools/polkit_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

enum { REGISTER_MS = 10000 };

struct polkit_agent {
    GPid pid;
};

/* pkttyagent closes the descriptor that it is told once it is registered. */
static bool
wait_until_registered(int fd, GError **error)
{
    struct pollfd registered = {.fd = fd, .events = POLLIN};
    int n;

    do
        n = poll(&registered, 1, REGISTER_MS);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_UNAVAILABLE,
                  "pkttyagent did not register with polkit within %d s", REGISTER_MS / 1000);
    return n > 0;
}

struct polkit_agent *
polkit_agent_start(GError **error)
{
    static const char *const argv[] = {"pkttyagent", "--notify-fd", "3", "--fallback", NULL};
    g_autoptr(polkit_agent_t) agent = g_new0(struct polkit_agent, 1);
    g_autoptr(GError) spawn_error = NULL;
    const int target = 3;
    g_auto(file_fd) ours = -1;
    g_auto(file_fd) theirs = -1;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        error_set_errno(error, ERROR_FROM_POLKIT, errno, "cannot make a pipe for pkttyagent");
        return NULL;
    }
    ours = ends[0];
    theirs = ends[1];
    if (!g_spawn_async_with_pipes_and_fds(
            NULL, argv, NULL,
            G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CHILD_INHERITS_STDIN, NULL,
            NULL, -1, -1, -1, &theirs, &target, 1, &agent->pid, NULL, NULL, NULL, &spawn_error)) {
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_UNAVAILABLE, "cannot run pkttyagent: %s",
                  spawn_error->message);
        return NULL;
    }
    file_fd_clear(&theirs);
    return wait_until_registered(ours, error) ? g_steal_pointer(&agent) : NULL;
}

void
polkit_agent_free(struct polkit_agent *agent)
{
    if (!agent)
        return;
    if (agent->pid > 0) {
        kill(agent->pid, SIGTERM);
        while (waitpid(agent->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    g_free(agent);
}
