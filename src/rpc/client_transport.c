/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: client_transport.h. A command gets one end of a socket pair as standard input and output,
 * so that MSG_NOSIGNAL and MSG_DONTWAIT work for it as for a socket, and no process-wide signal
 * handling is needed.
 */
#include "rpc/client_transport.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

enum {
    RETRY_US = 20000,         /* between looks at something that can't be waited for */
    SAID_MAX = 1024,          /* bytes kept of a command's standard error */
    LAST_WORDS_MS = 1000,     /* for a command to say why it closed the connection */
    COMMAND_END_US = 2000000, /* for a command to end by itself, and again after SIGTERM */
};

int64_t
rpc_transport_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
}

/* What poll takes. */
static int
milliseconds_left(int64_t deadline)
{
    int64_t left_us;

    if (deadline < 0)
        return -1;
    left_us = deadline - g_get_monotonic_time();
    return left_us <= 0 ? 0 : (int)MIN((left_us + 999) / 1000, G_MAXINT);
}

void
rpc_transport_take_fd(struct rpc_transport *transport, int fd)
{
    *transport = (struct rpc_transport){.fd = fd, .err_fd = -1};
}

bool
rpc_transport_open_unix(struct rpc_transport *transport, const char *path, int64_t deadline,
                        GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_auto(file_fd) fd = -1;

    if (strlen(path) >= sizeof(address.sun_path)) {
        error_set(error, ERROR_FROM_RPC, ERROR_INVALID_ARG,
                  "the path of the socket is longer than %zu bytes: %s",
                  sizeof(address.sun_path) - 1, path);
        return false;
    }
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "Failed to create socket");
        return false;
    }
    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        /* EAGAIN: the listener's queue is full, and nothing tells when it no longer is. */
        if ((errno != EAGAIN && errno != EINTR) || milliseconds_left(deadline) == 0) {
            error_set_errno(error, ERROR_FROM_RPC, errno, "Failed to connect socket to '%s'", path);
            return false;
        }
        g_usleep(RETRY_US);
    }
    rpc_transport_take_fd(transport, g_steal_fd(&fd));
    return true;
}

bool
rpc_transport_open_command(struct rpc_transport *transport, const char *const *argv, GError **error)
{
    g_autoptr(GError) spawn_error = NULL;
    g_auto(file_fd) ours = -1;
    g_auto(file_fd) theirs = -1;
    int pair[2];
    int err_fd;
    GPid pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "unable to create socket pair");
        return false;
    }
    ours = pair[0];
    theirs = pair[1];
    if (!g_spawn_async_with_pipes_and_fds(
            NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, theirs,
            theirs, -1, NULL, NULL, 0, &pid, NULL, NULL, &err_fd, &spawn_error)) {
        error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "cannot run %s: %s", argv[0],
                  spawn_error->message);
        return false;
    }
    rpc_transport_take_fd(transport, g_steal_fd(&ours));
    transport->pid = pid;
    transport->err_fd = err_fd;
    transport->said = g_string_new(NULL);
    return true;
}

/* Whether the process is gone by then. */
static bool
reap(GPid pid, int64_t bound_us)
{
    int64_t deadline = g_get_monotonic_time() + bound_us;

    for (;;) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);

        if (ended == pid || (ended < 0 && errno != EINTR))
            return true;
        if (g_get_monotonic_time() >= deadline)
            return false;
        g_usleep(RETRY_US);
    }
}

static void
end_command(GPid pid)
{
    if (reap(pid, COMMAND_END_US))
        return;
    kill(pid, SIGTERM);
    if (reap(pid, COMMAND_END_US))
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void
rpc_transport_close(struct rpc_transport *transport)
{
    file_fd_clear(&transport->fd);
    file_fd_clear(&transport->err_fd);
    if (transport->pid > 0)
        end_command(transport->pid);
    transport->pid = 0;
    if (transport->said)
        g_string_free(transport->said, TRUE);
    transport->said = NULL;
}

/* Reads what is there of the command's standard error, so that it never blocks on us. */
static void
listen_to_command(struct rpc_transport *transport)
{
    char bytes[SAID_MAX];
    ssize_t got = read(transport->err_fd, bytes, sizeof(bytes));

    if (got <= 0) {
        file_fd_clear(&transport->err_fd);
        return;
    }
    g_string_append_len(transport->said, bytes, got);
    if (transport->said->len > SAID_MAX)
        g_string_erase(transport->said, 0, (gssize)(transport->said->len - SAID_MAX));
}

enum rpc_transport_state
rpc_transport_wait(struct rpc_transport *transport, short poll_events, int64_t deadline,
                   GError **error)
{
    for (;;) {
        struct pollfd fds[] = {
            {.fd = transport->fd, .events = poll_events},
            {.fd = transport->err_fd, .events = POLLIN}, /* ignored by poll when -1 */
        };
        int n = poll(fds, G_N_ELEMENTS(fds), milliseconds_left(deadline));

        if (n < 0 && errno != EINTR) {
            error_set_errno(error, ERROR_FROM_RPC, errno, "cannot wait for the server");
            return RPC_TRANSPORT_FAILED;
        }
        if (n > 0 && fds[1].revents)
            listen_to_command(transport);
        if (n > 0 && fds[0].revents)
            return RPC_TRANSPORT_READY;
        if (milliseconds_left(deadline) == 0)
            return RPC_TRANSPORT_TIMED_OUT;
    }
}

static bool
wait_or_fail(struct rpc_transport *transport, short poll_events, int64_t deadline, GError **error)
{
    enum rpc_transport_state state = rpc_transport_wait(transport, poll_events, deadline, error);

    if (state == RPC_TRANSPORT_TIMED_OUT)
        error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_TIMEOUT,
                  "the server did not answer in time");
    return state == RPC_TRANSPORT_READY;
}

/* What the command said before it closed the connection, in one line, or NULL. */
static char *
last_words(struct rpc_transport *transport)
{
    int64_t deadline = rpc_transport_deadline(LAST_WORDS_MS);

    while (transport->err_fd >= 0) {
        struct pollfd err = {.fd = transport->err_fd, .events = POLLIN};

        if (poll(&err, 1, milliseconds_left(deadline)) <= 0)
            break;
        listen_to_command(transport);
    }
    if (!transport->said || transport->said->len == 0)
        return NULL;
    return g_strdelimit(g_strstrip(g_strdup(transport->said->str)), "\r\n", ' ');
}

static void
set_end(struct rpc_transport *transport, const char *doing, int errnum, GError **error)
{
    g_autofree char *said = last_words(transport);

    if (said)
        error_set_errno(error, ERROR_FROM_RPC, errnum, "%s: %s", doing, said);
    else
        error_set_errno(error, ERROR_FROM_RPC, errnum, "%s", doing);
}

bool
rpc_transport_send(struct rpc_transport *transport, const void *bytes, size_t len, int64_t deadline,
                   GError **error)
{
    const uint8_t *next = bytes;

    while (len > 0) {
        ssize_t put = send(transport->fd, next, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN) {
            if (!wait_or_fail(transport, POLLOUT, deadline, error))
                return false;
            continue;
        }
        if (put < 0) {
            set_end(transport, "Cannot write data", errno, error);
            return false;
        }
        next += put;
        len -= (size_t)put;
    }
    return true;
}

bool
rpc_transport_recv(struct rpc_transport *transport, void *ret_bytes, size_t len, int64_t deadline,
                   GError **error)
{
    uint8_t *next = ret_bytes;

    while (len > 0) {
        ssize_t got = recv(transport->fd, next, len, MSG_DONTWAIT);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN) {
            if (!wait_or_fail(transport, POLLIN, deadline, error))
                return false;
            continue;
        }
        if (got < 0) {
            set_end(transport, "Cannot recv data", errno, error);
            return false;
        }
        if (got == 0) {
            set_end(transport, "End of file while reading data", EIO, error);
            return false;
        }
        next += got;
        len -= (size_t)got;
    }
    return true;
}
