/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: helper_broker.h. Invariant: it never waits for who asks. An answer that has no room in the
 * socket is dropped, with its helper's socket, by which that helper ends.
 */
#include "master/helper_broker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/helper.h"
#include "master/helper_wire.h"
#include "util/exec.h"
#include "util/file.h"

enum {
    POLKIT_MAX = 32, /* each waits for a person */
    OTHERS_MAX = 4,  /* each may need a GiB */
    HELPERS_MAX = POLKIT_MAX + OTHERS_MAX,
    GRACE_MS = 500, /* so that who asked sees the end of the time before the end of the helper */
    US_PER_MS = 1000,
    MS_PER_S = 1000,
    FD_MIN = 64, /* above those that are arranged */
    SECONDS_SIZE = 16,
};

struct child {
    pid_t pid; /* 0: the place is free */
    bool is_polkit;
    gint64 deadline; /* monotonic us */
};

struct broker {
    const struct helper_broker_params *params;
    int fd;
    int signal_fd;
    struct child children[HELPERS_MAX];
};

static void
close_from(unsigned int first)
{
    DIR *dir;
    struct dirent *entry;

    if (close_range(first, ~0U, 0) == 0)
        return;
    dir = opendir("/proc/self/fd");
    while (dir && (entry = readdir(dir))) {
        long fd = strtol(entry->d_name, NULL, 10);

        if (fd >= (long)first && fd != dirfd(dir))
            close((int)fd);
    }
    if (dir)
        closedir(dir);
}

/* Standard streams to nowhere: what a vendor's library prints is nobody's, and may tell secrets. */
static bool
silence(void)
{
    int null_fd = open("/dev/null", O_RDWR);

    for (int fd = STDIN_FILENO; null_fd >= 0 && fd <= STDERR_FILENO; fd++) {
        if (dup2(null_fd, fd) < 0)
            return false;
    }
    return null_fd >= 0;
}

/* Only `kept` is left open, as number 3. */
static bool
keep_one(int kept)
{
    int above = fcntl(kept, F_DUPFD, FD_MIN);

    if (above < 0 || !silence() || dup2(above, STDERR_FILENO + 1) < 0)
        return false;
    close_from(STDERR_FILENO + 2);
    return true;
}

/* ---- the helper's side of the fork ---- */

static G_GNUC_NORETURN void
run_helper(const struct broker *broker, int socket_fd, int failure_fd,
           const struct helper_order *order, pid_t parent)
{
    char seconds[SECONDS_SIZE];
    const char *argv[] = {"virtcrypt-unlock-helper", helper_operation_name(order->operation),
                          seconds, NULL};

    g_snprintf(seconds, sizeof(seconds), "%u", (order->timeout_ms + GRACE_MS) / MS_PER_S + 1);
    /* Both were made above the numbers that keep their meaning; all others close at the exec. */
    if (exec_begin(parent) && dup2(socket_fd, STDERR_FILENO + 1) >= 0)
        exec_run(broker->params->program, argv, broker->params->environment);
    exec_fail(failure_fd);
}

/* Takes the two of `pair` over, above the numbers that keep their meaning. */
static bool
take_above(const int pair[2], file_fd *ret_first, file_fd *ret_second)
{
    *ret_first = fcntl(pair[0], F_DUPFD_CLOEXEC, FD_MIN);
    *ret_second = fcntl(pair[1], F_DUPFD_CLOEXEC, FD_MIN);
    close(pair[0]);
    close(pair[1]);
    return *ret_first >= 0 && *ret_second >= 0;
}

/* Starts a helper and returns our end of its socket; -1 with errno set if that fails. */
static int
start_helper(struct broker *broker, struct child *child, const struct helper_order *order)
{
    g_auto(file_fd) ours = -1, theirs = -1, failure_read = -1, failure_write = -1;
    int pair[2];
    pid_t parent = getpid();
    pid_t pid;
    int failure;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
        !take_above(pair, &ours, &theirs) || pipe2(pair, O_CLOEXEC) < 0 ||
        !take_above(pair, &failure_read, &failure_write))
        return -1;
    pid = fork();
    if (pid == 0)
        run_helper(broker, theirs, failure_write, order, parent);
    if (pid < 0)
        return -1;
    file_fd_clear(&failure_write);
    failure = exec_read_failure(failure_read);
    if (failure != 0) {
        waitpid(pid, NULL, 0);
        errno = failure;
        return -1;
    }
    *child = (struct child){
        .pid = pid,
        .is_polkit = order->operation == HELPER_POLKIT,
        .deadline = g_get_monotonic_time() + ((gint64)order->timeout_ms + GRACE_MS) * US_PER_MS,
    };
    file_fd_clear(&theirs);
    return g_steal_fd(&ours);
}

/* ---- orders ---- */

static struct child *
find_place(struct broker *broker, bool is_polkit)
{
    struct child *place = NULL;
    unsigned int count = 0;

    for (unsigned int i = 0; i < HELPERS_MAX; i++) {
        if (broker->children[i].pid == 0)
            place = &broker->children[i];
        else if (broker->children[i].is_polkit == is_polkit)
            count++;
    }
    return count < (is_polkit ? POLKIT_MAX : OTHERS_MAX) ? place : NULL;
}

static void
send_answer(const struct broker *broker, const struct helper_order_answer *answer, int fd)
{
    struct iovec part = {.iov_base = (void *)answer, .iov_len = sizeof(*answer)};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct cmsghdr *header;

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    while (sendmsg(broker->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR)
        ;
}

static void
take_order(struct broker *broker, const struct helper_order *order)
{
    struct helper_order_answer answer = {.serial = order->serial};
    struct child *place = find_place(broker, order->operation == HELPER_POLKIT);
    g_auto(file_fd) fd = -1;

    if (!helper_operation_name(order->operation) || order->timeout_ms < 1 ||
        order->timeout_ms > HELPER_TIMEOUT_MAX_MS) {
        answer.result = HELPER_REFUSED;
    } else if (!place) {
        answer.result = HELPER_BUSY;
    } else {
        fd = start_helper(broker, place, order);
        answer.result = fd >= 0 ? HELPER_STARTED : HELPER_NOT_STARTED;
        answer.errnum = fd >= 0 ? 0 : (uint32_t)errno;
    }
    send_answer(broker, &answer, fd);
}

/* False at the end. What is no order is dropped, with descriptors that came along. */
static bool
serve_socket(struct broker *broker)
{
    struct helper_order order;
    ssize_t got = recv(broker->fd, &order, sizeof(order), MSG_DONTWAIT | MSG_TRUNC);

    if (got == (ssize_t)sizeof(order))
        take_order(broker, &order);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* ---- children ---- */

static void
reap(struct broker *broker)
{
    struct signalfd_siginfo info;

    while (read(broker->signal_fd, &info, sizeof(info)) > 0)
        ;
    for (unsigned int i = 0; i < HELPERS_MAX; i++) {
        struct child *child = &broker->children[i];

        if (child->pid > 0 && waitpid(child->pid, NULL, WNOHANG) != 0)
            child->pid = 0;
    }
}

static void
kill_child(const struct child *child)
{
    /* With all that it started. Its number can't be another's yet: it was not waited for. */
    kill(-child->pid, SIGKILL);
    kill(child->pid, SIGKILL);
}

/* Ends what is late; how long the next one has, in ms, or -1. */
static int
end_late_ones(struct broker *broker)
{
    gint64 now = g_get_monotonic_time();
    gint64 next = -1;

    for (unsigned int i = 0; i < HELPERS_MAX; i++) {
        struct child *child = &broker->children[i];

        if (child->pid == 0)
            continue;
        if (child->deadline <= now) {
            kill_child(child);
            child->deadline = now + (gint64)GRACE_MS * US_PER_MS; /* until it is seen to be gone */
        }
        if (next < 0 || child->deadline - now < next)
            next = child->deadline - now;
    }
    return next < 0 ? -1 : (int)(next / US_PER_MS + 1);
}

static bool
become_broker(struct broker *broker)
{
    const struct rlimit no_core = {0, 0};
    struct sigaction plain = {.sa_handler = SIG_DFL};
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigset_t child_only;

    prctl(PR_SET_NAME, "virtcrypt-broke");
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &plain, NULL);
    /* It ends with the daemon, which may still want it while that ends in good order. */
    sigaction(SIGTERM, &ignored, NULL);
    sigaction(SIGINT, &ignored, NULL);
    sigaction(SIGHUP, &ignored, NULL);
    sigemptyset(&child_only);
    sigaddset(&child_only, SIGCHLD);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != broker->params->parent ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        setrlimit(RLIMIT_CORE, &no_core) < 0 || setsid() < 0 || chdir("/") < 0 ||
        !keep_one(broker->params->fd))
        return false;
    umask(077);
    broker->fd = STDERR_FILENO + 1;
    if (fcntl(broker->fd, F_SETFD, FD_CLOEXEC) < 0 ||
        sigprocmask(SIG_SETMASK, &child_only, NULL) < 0)
        return false;
    broker->signal_fd = signalfd(-1, &child_only, SFD_CLOEXEC | SFD_NONBLOCK);
    return broker->signal_fd >= 0;
}

void
helper_broker_run(const struct helper_broker_params *params)
{
    struct broker broker = {.params = params};
    bool going_on = become_broker(&broker);

    while (going_on) {
        struct pollfd fds[] = {
            {.fd = broker.fd, .events = POLLIN},
            {.fd = broker.signal_fd, .events = POLLIN},
        };
        int ready = poll(fds, G_N_ELEMENTS(fds), end_late_ones(&broker));

        if (ready < 0 && errno != EINTR)
            break;
        if (ready > 0 && fds[1].revents)
            reap(&broker);
        if (ready > 0 && fds[0].revents)
            going_on = serve_socket(&broker);
    }
    for (unsigned int i = 0; i < HELPERS_MAX; i++) {
        if (broker.children[i].pid > 0)
            kill_child(&broker.children[i]);
    }
    _exit(EXIT_SUCCESS);
}
