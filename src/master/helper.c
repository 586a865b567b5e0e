/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the daemon's side. Threads take turns in asking the broker, which takes a millisecond, and
 * wait for their helpers each on a socket of its own.
 */
#include "master/helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/helper_broker.h"
#include "master/helper_wire.h"
#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(helper, "poll ppoll recvmsg sendto wait4 clock_nanosleep close");

enum {
    ORDER_MAX_MS = 10 * 1000, /* how long the broker may take to start a process */
    BUSY_WAIT_US = 20 * 1000,
    END_TURN_US = 2 * 1000,
    END_TURNS = 2500, /* how often that is waited for the broker's end */
    US_PER_MS = 1000,
};

#define PROGRAM_NAME     "virtcrypt-unlock-helper"
#define PROGRAM_VARIABLE "VIRTCRYPT_UNLOCK_HELPER"
/* What of the daemon's environment is the helper's, without this. Who starts the daemon sets it. */
#define PASSED_PREFIX "VIRTCRYPT_HELPER_"

static const char *const own_environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL=C",
    "TSS2_LOG=all+none",
};

struct helper {
    char *program;
    file_fd fd;
    pid_t pid;
    GMutex lock; /* of all below, and of the broker's socket */
    uint32_t serial;
    bool is_broken; /* it ended */
};

void
helper_reply_clear(struct helper_reply *reply)
{
    fields_free(reply->fields);
    secret_buf_free(reply->key);
    *reply = (struct helper_reply){0};
}

const char *
helper_default_program(void)
{
    const char *program = g_getenv(PROGRAM_VARIABLE);

    return program && g_path_is_absolute(program) ? program : LIBEXECDIR "/" PROGRAM_NAME;
}

/* ---- start and end ---- */

static GPtrArray *
make_environment(void)
{
    GPtrArray *environment = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) ours = g_get_environ();

    for (unsigned int i = 0; i < G_N_ELEMENTS(own_environment); i++)
        g_ptr_array_add(environment, g_strdup(own_environment[i]));
    for (unsigned int i = 0; ours[i]; i++) {
        if (g_str_has_prefix(ours[i], PASSED_PREFIX))
            g_ptr_array_add(environment, g_strdup(ours[i] + strlen(PASSED_PREFIX)));
    }
    g_ptr_array_add(environment, NULL);
    return environment;
}

struct helper *
helper_start(const char *program, GError **error)
{
    g_autoptr(helper_t) helper = g_new0(struct helper, 1);
    g_autoptr(GPtrArray) environment = make_environment();
    g_auto(file_fd) theirs = -1;
    pid_t parent = getpid();
    int pair[2];

    g_mutex_init(&helper->lock);
    helper->fd = -1;
    helper->program = g_strdup(program);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot make a socket for helpers");
        return NULL;
    }
    helper->fd = pair[0];
    theirs = pair[1];
    helper->pid = fork();
    if (helper->pid == 0) {
        const struct helper_broker_params params = {
            .fd = theirs,
            .program = program,
            .environment = (const char *const *)environment->pdata,
            .parent = parent,
        };

        helper_broker_run(&params);
    }
    if (helper->pid < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot start the broker of helpers");
        return NULL;
    }
    return g_steal_pointer(&helper);
}

/* It ends by itself when our socket is closed; being root's, it may not be ours to kill. */
static void
wait_for_end(pid_t pid)
{
    for (unsigned int turn = 0; turn < END_TURNS; turn++) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);

        if (ended == pid || (ended < 0 && errno != EINTR))
            return;
        g_usleep(END_TURN_US);
    }
    if (kill(pid, SIGKILL) == 0)
        waitpid(pid, NULL, 0);
}

void
helper_free(struct helper *helper)
{
    if (!helper)
        return;
    file_fd_clear(&helper->fd);
    if (helper->pid > 0)
        wait_for_end(helper->pid);
    g_mutex_clear(&helper->lock);
    g_free(helper->program);
    g_free(helper);
}

/* ---- a helper's socket ---- */

static int
take_descriptor(struct msghdr *message)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int fd = -1;

    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(header), sizeof(int));
    return fd;
}

/* One packet, if it comes in time: its descriptor in *ret_fd (-1: none). */
static bool
receive_answer(struct helper *helper, gint64 deadline, struct helper_order_answer *ret_answer,
               int *ret_fd)
{
    for (;;) {
        struct iovec part = {.iov_base = ret_answer, .iov_len = sizeof(*ret_answer)};
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(helper->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        struct pollfd poll_fd = {.fd = helper->fd, .events = POLLIN};
        gint64 left = deadline - g_get_monotonic_time();

        if (got >= 0)
            *ret_fd = take_descriptor(&message);
        if (got == (ssize_t)sizeof(*ret_answer))
            return true;
        if (got >= 0 || (errno != EAGAIN && errno != EINTR) || left <= 0)
            return false;
        if (poll(&poll_fd, 1, (int)(left / US_PER_MS + 1)) < 0 && errno != EINTR)
            return false;
    }
}

static unsigned int
timeout_of(const struct helper_request *request)
{
    return CLAMP(request->timeout_ms, 1, HELPER_TIMEOUT_MAX_MS);
}

/* One that is slow, on a host that is busy or was asleep, answers later: what comes late is told by
 * its serial. */
static bool
has_ended(const struct helper *helper)
{
    struct pollfd poll_fd = {.fd = helper->fd};

    return poll(&poll_fd, 1, 0) < 0 || (poll_fd.revents & (POLLHUP | POLLERR));
}

/* Asks the broker once, with the lock held. */
static bool
exchange(struct helper *helper, const struct helper_request *request,
         struct helper_order_answer *ret_answer, int *ret_fd)
{
    const struct helper_order order = {
        .serial = ++helper->serial,
        .operation = request->operation,
        .timeout_ms = timeout_of(request),
    };
    gint64 deadline = g_get_monotonic_time() + (gint64)ORDER_MAX_MS * US_PER_MS;

    if (send(helper->fd, &order, sizeof(order), MSG_NOSIGNAL | MSG_DONTWAIT) !=
        (ssize_t)sizeof(order))
        return false;
    for (;;) {
        g_auto(file_fd) fd = -1;

        if (!receive_answer(helper, deadline, ret_answer, &fd))
            return false;
        if (ret_answer->serial == order.serial) {
            *ret_fd = g_steal_fd(&fd);
            return true;
        }
    }
}

static bool
ask_broker(struct helper *helper, const struct helper_request *request,
           struct helper_order_answer *ret_answer, int *ret_fd, GError **error)
{
    bool is_answered;

    g_mutex_lock(&helper->lock);
    is_answered = !helper->is_broken && exchange(helper, request, ret_answer, ret_fd);
    helper->is_broken = !is_answered && has_ended(helper);
    g_mutex_unlock(&helper->lock);
    if (!is_answered)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "the process that starts %s has ended or does not answer: restart the daemon",
                  PROGRAM_NAME);
    return is_answered;
}

/* The socket of a new helper, or -1. */
static int
open_helper(struct helper *helper, const struct helper_request *request, gint64 deadline,
            GError **error)
{
    struct helper_order_answer answer;
    int fd = -1;

    for (;;) {
        if (!ask_broker(helper, request, &answer, &fd, error))
            return -1;
        if (answer.result != HELPER_BUSY || g_get_monotonic_time() >= deadline)
            break;
        g_usleep(BUSY_WAIT_US);
    }
    if (answer.result == HELPER_STARTED && fd >= 0)
        return fd;
    if (answer.result == HELPER_BUSY)
        error_set(error, ERROR_FROM_SECRET, ERROR_RESOURCE_BUSY,
                  "too much is being unlocked at the same time; try again");
    else if (answer.result == HELPER_NOT_STARTED)
        error_set_errno(error, ERROR_FROM_SECRET, (int)answer.errnum, "cannot start %s",
                        helper->program);
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL, "the broker refused operation %u",
                  request->operation);
    return -1;
}

/* ---- requests ---- */

/* What happened to the helper itself, in words that name what it was to do. */
static void
explain(const struct helper_request *request, const GError *failure, GError **error)
{
    const char *name = helper_operation_name(request->operation);

    if (error_is(failure, ERROR_OPERATION_TIMEOUT))
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_TIMEOUT,
                  "%s did not finish %s within %u ms", PROGRAM_NAME, name, timeout_of(request));
    else
        error_set(error, ERROR_FROM_SECRET, (enum error_code)error_get_code(failure),
                  "%s ended without an answer to %s: %s", PROGRAM_NAME, name, failure->message);
}

/* Until there is an answer, or nobody wants it any more. What else can happen is the receiver's. */
static bool
wait_for_answer(int fd, int cancel_fd, gint64 deadline, GError **error)
{
    struct pollfd fds[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = cancel_fd, .events = POLLIN},
    };
    gint64 left;

    do
        left = deadline - g_get_monotonic_time();
    while (left > 0 && poll(fds, G_N_ELEMENTS(fds), (int)(left / US_PER_MS + 1)) < 0 &&
           errno == EINTR);
    if (!fds[1].revents)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_ABORTED, "it was cancelled");
    return false;
}

static bool
converse(int fd, const struct helper_request *request, gint64 deadline,
         struct helper_message *ret_answer, GError **error)
{
    const struct helper_message question = {
        .kind = request->operation,
        .fields = (struct fields *)request->fields,
        .key = (struct secret_buf *)request->key,
    };

    return helper_wire_send(fd, &question, deadline, error) &&
           (request->cancel_fd <= 0 || wait_for_answer(fd, request->cancel_fd, deadline, error)) &&
           helper_wire_receive(fd, ret_answer, deadline, error);
}

bool
helper_run(struct helper *helper, const struct helper_request *request,
           struct helper_reply *ret_reply, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_of(request) * US_PER_MS;
    g_auto(helper_message_t) answer = {0};
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) fd = -1;

    g_assert(helper_operation_name(request->operation));
    fd = open_helper(helper, request, deadline, error);
    if (fd < 0)
        return false;
    if (!converse(fd, request, deadline, &answer, &failure)) {
        explain(request, failure, error);
        return false;
    }
    if (answer.kind != HELPER_ANSWER_DONE) {
        helper_wire_take_error(&answer, error);
        return false;
    }
    ret_reply->fields = g_steal_pointer(&answer.fields);
    ret_reply->key = g_steal_pointer(&answer.key);
    return true;
}
