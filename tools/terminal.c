/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: terminal.h. While a value is read, signals that would end or stop the program are blocked
 * and read from a descriptor; each is then let through with the terminal restored. So there is no
 * signal handler, and nothing global.
 */
#include "tools/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

struct terminal {
    file_fd own_fd; /* /dev/tty, -1 where there is none */
    int fd;         /* that, or standard input */
    bool is_tty;
    struct termios before;
    sigset_t signals; /* blocked while reading */
    sigset_t mask_before;
    file_fd signal_fd;
};

static void
echo_off(const struct terminal *terminal)
{
    struct termios quiet = terminal->before;

    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ECHONL; /* the end of the line is shown nevertheless */
    if (terminal->is_tty)
        tcsetattr(terminal->fd, TCSAFLUSH, &quiet);
}

static void
echo_as_before(const struct terminal *terminal)
{
    if (terminal->is_tty)
        tcsetattr(terminal->fd, TCSAFLUSH, &terminal->before);
}

static bool
terminal_open(struct terminal *terminal, GError **error)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

    terminal->own_fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    terminal->fd = terminal->own_fd >= 0 ? terminal->own_fd : STDIN_FILENO;
    terminal->is_tty = tcgetattr(terminal->fd, &terminal->before) == 0;
    sigemptyset(&terminal->signals);
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        sigaddset(&terminal->signals, numbers[i]);
    terminal->signal_fd = signalfd(-1, &terminal->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (terminal->signal_fd < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot watch signals");
        file_fd_clear(&terminal->own_fd);
        return false;
    }
    sigprocmask(SIG_BLOCK, &terminal->signals, &terminal->mask_before);
    echo_off(terminal);
    return true;
}

static void
terminal_close(struct terminal *terminal)
{
    if (terminal->signal_fd < 0)
        return;
    echo_as_before(terminal);
    sigprocmask(SIG_SETMASK, &terminal->mask_before, NULL);
    file_fd_clear(&terminal->signal_fd);
    file_fd_clear(&terminal->own_fd);
}

typedef struct terminal terminal_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(terminal_t, terminal_close)

/* Lets the signal do what it does. If the program goes on after it (SIGTSTP and SIGCONT), so does
 * the question. */
static void
pass_signal(const struct terminal *terminal, const char *prompt)
{
    struct signalfd_siginfo info;
    sigset_t one;

    if (read(terminal->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    echo_as_before(terminal);
    sigemptyset(&one);
    sigaddset(&one, (int)info.ssi_signo);
    raise((int)info.ssi_signo);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* it is delivered here */
    sigprocmask(SIG_BLOCK, &one, NULL);
    echo_off(terminal);
    printf("\n%s", prompt);
    fflush(stdout);
}

/* False with errno set. */
static bool
wait_for_input(const struct terminal *terminal, const char *prompt)
{
    for (;;) {
        struct pollfd fds[] = {
            {.fd = terminal->signal_fd, .events = POLLIN},
            {.fd = terminal->fd, .events = POLLIN},
        };

        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
            return false;
        if (fds[0].revents)
            pass_signal(terminal, prompt);
        else if (fds[1].revents)
            return true;
    }
}

/* Up to the end of the line or of the input. */
static struct secret_buf *
read_line(const struct terminal *terminal, const char *prompt, size_t max, GError **error)
{
    g_autoptr(secret_buf_t) line = secret_buf_new(max + 1, error);
    size_t len = 0;

    if (!line)
        return NULL;
    while (len <= max) {
        uint8_t *next = secret_buf_writable(line) + len;
        ssize_t got = wait_for_input(terminal, prompt) ? read(terminal->fd, next, 1) : -1;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_FROM_NONE, errno, "Failed to read secret");
            return NULL;
        }
        if (got == 0 || *next == '\n')
            break;
        len++;
    }
    if (len > max) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "the value is longer than the maximum of %zu bytes", max);
        return NULL;
    }
    secret_buf_truncate(line, len);
    return g_steal_pointer(&line);
}

static struct secret_buf *
ask_once(const struct terminal *terminal, const char *prompt, size_t max, GError **error)
{
    printf("%s", prompt);
    fflush(stdout);
    return read_line(terminal, prompt, max, error);
}

struct secret_buf *
terminal_ask(const char *prompt, const char *again, size_t max, GError **error)
{
    g_auto(terminal_t) terminal = {.own_fd = -1, .signal_fd = -1};
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(secret_buf_t) repeated = NULL;

    if (!terminal_open(&terminal, error))
        return NULL;
    value = ask_once(&terminal, prompt, max, error);
    if (!value || !again || !terminal.is_tty || secret_buf_len(value) == 0)
        return g_steal_pointer(&value);
    repeated = ask_once(&terminal, again, max, error);
    if (!repeated)
        return NULL;
    if (!secret_buf_equal(value, repeated)) {
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "The two values differ; nothing was changed");
        return NULL;
    }
    return g_steal_pointer(&value);
}
