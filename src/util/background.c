/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: background.h. The thread tells its end by an eventfd; whoever reads that takes the end, and
 * who finds nothing to read comes late.
 */
#include "util/background.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(background, "eventfd2 read write close poll ppoll rt_sigprocmask");

struct background {
    gatomicrefcount refs; /* the owner's, and the thread's */
    file_fd event_fd;
    struct loop_watch *watch;
    background_func ended;
    void *opaque;
    GThread *thread; /* whose end is not taken, or NULL */
    background_func run;
    void *work;
};

static void
unref(struct background *background)
{
    if (!g_atomic_ref_count_dec(&background->refs))
        return;
    file_fd_clear(&background->event_fd);
    g_free(background);
}

static void *
thread_main(void *opaque)
{
    struct background *background = opaque;
    const uint64_t one = 1;
    sigset_t all;

    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    background->run(background->work);
    /* It can't be full: each end is taken before the next thread begins. */
    if (write(background->event_fd, &one, sizeof(one)) < 0)
        g_assert_not_reached();
    unref(background);
    return NULL;
}

static bool
read_event(const struct background *background)
{
    uint64_t count;

    return read(background->event_fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static bool
take_end(struct background *background)
{
    if (!read_event(background))
        return false;
    g_thread_join(g_steal_pointer(&background->thread));
    return true;
}

/* What was done before in the same round of the loop may have taken the end, and begun another
 * piece, which is not waited for. */
static void
on_event(uint32_t events, void *opaque)
{
    struct background *background = opaque;

    if (take_end(background))
        background->ended(background->opaque);
}

struct background *
background_new(struct loop *loop, background_func ended, void *opaque, GError **error)
{
    struct background *background = g_new0(struct background, 1);

    g_atomic_ref_count_init(&background->refs);
    background->ended = ended;
    background->opaque = opaque;
    background->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (background->event_fd < 0)
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot make an event descriptor");
    else
        background->watch =
            loop_watch_new(loop, background->event_fd, EPOLLIN, on_event, background, error);
    if (!background->watch) {
        unref(background);
        return NULL;
    }
    return background;
}

void
background_free(struct background *background)
{
    if (!background)
        return;
    loop_watch_free(background->watch);
    if (background->thread)
        g_thread_unref(background->thread);
    unref(background);
}

bool
background_begin(struct background *background, const char *name, background_func run, void *work,
                 GError **error)
{
    g_assert(!background->thread);
    background->run = run;
    background->work = work;
    g_atomic_ref_count_inc(&background->refs);
    background->thread = g_thread_try_new(name, thread_main, background, NULL);
    if (background->thread)
        return true;
    unref(background);
    /* GLib reports no other failure. */
    error_set_errno(error, ERROR_FROM_NONE, EAGAIN, "cannot start the thread '%s'", name);
    return false;
}

bool
background_is_busy(const struct background *background)
{
    return background->thread != NULL;
}

/* A signal that somebody handles does not lengthen it. */
static void
wait_for_event(const struct background *background, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = background->event_fd, .events = POLLIN};
    int64_t end_us = g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
    int left_ms = timeout_ms;

    while (poll(&poll_fd, 1, left_ms) < 0 && errno == EINTR)
        left_ms = (int)(MAX(end_us - g_get_monotonic_time(), 0) / 1000);
}

bool
background_wait(struct background *background, int timeout_ms)
{
    if (!background->thread)
        return true;
    if (timeout_ms != BACKGROUND_NO_LIMIT) {
        wait_for_event(background, timeout_ms);
        return take_end(background);
    }
    g_thread_join(g_steal_pointer(&background->thread));
    if (!read_event(background))
        g_assert_not_reached();
    return true;
}
