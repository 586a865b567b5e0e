/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the kernel says about the other end of a socket.
 */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "rpc/peer.h"

static void
test_peer_of_a_socket(void)
{
    g_autoptr(GError) error = NULL;
    struct rpc_identity identity = {.forwarded = true, .elevated = true};
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_true(rpc_peer_identify(fds[0], &identity, &error));
    g_assert_no_error(error);
    g_assert_cmpint(identity.peer_pid, ==, getpid());
    g_assert_cmpuint(identity.peer_uid, ==, geteuid());
    g_assert_cmpuint(identity.peer_gid, ==, getegid());
    g_assert_cmpuint(identity.peer_start_time, ==, rpc_peer_read_start_time(getpid()));
    g_assert_false(identity.forwarded);
    g_assert_false(identity.elevated);
    close(fds[0]);
    close(fds[1]);
}

static void
test_no_socket_is_an_error(void)
{
    g_autoptr(GError) error = NULL;
    struct rpc_identity identity;
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_false(rpc_peer_identify(fds[0], &identity, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_RPC, "cannot tell who connected");
    close(fds[0]);
    close(fds[1]);
}

/* A command with spaces and parentheses must not shift the fields. */
static void
test_start_time_whatever_the_command(void)
{
    unsigned long long before = rpc_peer_read_start_time(getpid());

    g_assert_cmpuint(before, >, 0);
    g_assert_cmpint(prctl(PR_SET_NAME, "a) S 1 (2 3"), ==, 0);
    g_assert_cmpuint(rpc_peer_read_start_time(getpid()), ==, before);
}

static void
test_start_time_of_a_later_process_is_later(void)
{
    unsigned long long later;
    pid_t pid;

    g_usleep(50 * 1000);
    pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    later = rpc_peer_read_start_time(pid);
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_assert_cmpuint(later, >, rpc_peer_read_start_time(getpid()));
    /* It has ended. */
    g_assert_cmpuint(rpc_peer_read_start_time(pid), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/peer/peer_of_a_socket", test_peer_of_a_socket);
    g_test_add_func("/rpc/peer/no_socket_is_an_error", test_no_socket_is_an_error);
    g_test_add_func("/rpc/peer/start_time_whatever_the_command",
                    test_start_time_whatever_the_command);
    g_test_add_func("/rpc/peer/start_time_of_a_later_process_is_later",
                    test_start_time_of_a_later_process_is_later);
    return g_test_run();
}
