/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the event loop. Freed watches and timers stay allocated until the end of the round in
 * which they are freed, since events already fetched may still point at them.
 *
 * Timers share one timerfd. A timeout of epoll_wait would do as well, but the kernel sets up and
 * takes down a timer of its own for each wait that has one, which a small request would feel.
 */
#include "util/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(loop, "epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 read write "
                       "timerfd_create timerfd_settime signalfd4 rt_sigprocmask close");

enum { EVENTS_PER_ROUND = 64 };

struct loop_watch {
    struct loop *loop;
    int epoll_fd; /* the loop's or a group's */
    int fd;
    loop_fd_func func; /* NULL once freed */
    void *opaque;
};

/* An epoll within the loop's. */
struct loop_group {
    struct loop *loop;
    file_fd epoll_fd;
    struct loop_watch *watch;
};

struct loop_timer {
    struct loop *loop;
    unsigned int interval_ms;
    int64_t due_us;
    loop_func func;
    void *opaque;
};

struct post {
    loop_func func;
    void *opaque;
};

struct signal_watch {
    struct loop *loop;
    int signum;
    file_fd fd;
    struct loop_watch *watch;
    loop_signal_func func;
    void *opaque;
};

struct loop {
    int epoll_fd;
    int wake_fd;
    struct loop_watch *wake_watch;
    int timer_fd;
    struct loop_watch *timer_watch;
    int64_t alarm_us; /* when timer_fd expires; INT64_MAX: never */
    bool alarmed;     /* it has */
    bool quit;
    GPtrArray *timers;
    GPtrArray *signals;
    GPtrArray *freed; /* watches and timers to g_free after this round */
    GMutex post_lock;
    GArray *posts; /* struct post, guarded by post_lock */
};

static void
run_posts(struct loop *loop)
{
    g_autoptr(GArray) posts = NULL;

    g_mutex_lock(&loop->post_lock);
    posts = loop->posts;
    loop->posts = g_array_new(FALSE, FALSE, sizeof(struct post));
    g_mutex_unlock(&loop->post_lock);
    for (guint i = 0; i < posts->len; i++) {
        struct post *post = &g_array_index(posts, struct post, i);

        post->func(post->opaque);
    }
}

static void
on_wake(uint32_t events, void *opaque)
{
    struct loop *loop = opaque;
    uint64_t count;

    if (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        g_assert_not_reached();
    run_posts(loop);
}

/* Makes timer_fd expire at `due_us`. */
static void
set_alarm(struct loop *loop, int64_t due_us)
{
    struct itimerspec spec = {0};
    int rc;

    if (due_us == loop->alarm_us)
        return;
    loop->alarm_us = due_us;
    if (due_us != INT64_MAX) {
        spec.it_value.tv_sec = due_us / G_USEC_PER_SEC;
        spec.it_value.tv_nsec = due_us % G_USEC_PER_SEC * 1000;
    }
    /* g_get_monotonic_time reads the same clock. */
    rc = timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    g_assert(rc == 0);
}

static void
on_alarm(uint32_t events, void *opaque)
{
    struct loop *loop = opaque;
    uint64_t count;

    if (read(loop->timer_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        g_assert_not_reached();
    loop->alarm_us = INT64_MAX;
    loop->alarmed = true;
}

static void
signal_watch_free(void *opaque)
{
    struct signal_watch *signal_watch = opaque;

    loop_watch_free(signal_watch->watch);
    file_fd_clear(&signal_watch->fd);
    g_free(signal_watch);
}

struct loop *
loop_new(GError **error)
{
    struct loop *loop = g_new0(struct loop, 1);

    g_mutex_init(&loop->post_lock);
    loop->posts = g_array_new(FALSE, FALSE, sizeof(struct post));
    loop->timers = g_ptr_array_new();
    loop->signals = g_ptr_array_new_with_free_func(signal_watch_free);
    loop->freed = g_ptr_array_new_with_free_func(g_free);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    loop->alarm_us = INT64_MAX;
    if (loop->epoll_fd >= 0 && loop->wake_fd >= 0 && loop->timer_fd >= 0)
        loop->wake_watch = loop_watch_new(loop, loop->wake_fd, EPOLLIN, on_wake, loop, error);
    else
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot create an event loop");
    if (loop->wake_watch)
        loop->timer_watch = loop_watch_new(loop, loop->timer_fd, EPOLLIN, on_alarm, loop, error);
    if (!loop->timer_watch) {
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void
loop_free(struct loop *loop)
{
    if (!loop)
        return;
    g_ptr_array_unref(loop->signals);
    loop_watch_free(loop->wake_watch);
    loop_watch_free(loop->timer_watch);
    for (guint i = 0; i < loop->timers->len; i++)
        g_free(g_ptr_array_index(loop->timers, i));
    g_ptr_array_unref(loop->timers);
    g_ptr_array_unref(loop->freed);
    g_array_unref(loop->posts);
    g_mutex_clear(&loop->post_lock);
    file_fd_clear(&loop->epoll_fd);
    file_fd_clear(&loop->wake_fd);
    file_fd_clear(&loop->timer_fd);
    g_free(loop);
}

static void
set_alarm_for_soonest(struct loop *loop)
{
    int64_t soonest = INT64_MAX;

    for (guint i = 0; i < loop->timers->len; i++) {
        struct loop_timer *timer = g_ptr_array_index(loop->timers, i);

        soonest = MIN(soonest, timer->due_us);
    }
    set_alarm(loop, soonest);
}

static void
run_timers(struct loop *loop)
{
    int64_t now = g_get_monotonic_time();

    loop->alarmed = false;
    /* Backwards: a callback may free its timer or add new ones. */
    for (guint i = loop->timers->len; i > 0; i--) {
        struct loop_timer *timer =
            i <= loop->timers->len ? g_ptr_array_index(loop->timers, i - 1) : NULL;

        if (!timer || timer->due_us > now)
            continue;
        timer->due_us = now + (int64_t)timer->interval_ms * 1000;
        timer->func(timer->opaque);
    }
    set_alarm_for_soonest(loop);
}

static void
run_watch(const struct epoll_event *event)
{
    struct loop_watch *watch = event->data.ptr;

    if (watch->func)
        watch->func(event->events, watch->opaque);
}

void
loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS_PER_ROUND];

    while (!loop->quit) {
        int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_ROUND, -1);

        for (int i = 0; i < n; i++)
            run_watch(&events[i]);
        if (loop->alarmed)
            run_timers(loop);
        if (loop->freed->len > 0)
            g_ptr_array_set_size(loop->freed, 0);
    }
    loop->quit = false;
}

void
loop_quit(struct loop *loop)
{
    loop->quit = true;
}

static struct loop_watch *
watch_new(struct loop *loop, int epoll_fd, int fd, uint32_t events, loop_fd_func func, void *opaque)
{
    g_autofree struct loop_watch *watch = g_new0(struct loop_watch, 1);
    struct epoll_event event = {.events = events, .data.ptr = watch};

    watch->loop = loop;
    watch->epoll_fd = epoll_fd;
    watch->fd = fd;
    watch->func = func;
    watch->opaque = opaque;
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? g_steal_pointer(&watch) : NULL;
}

struct loop_watch *
loop_watch_new(struct loop *loop, int fd, uint32_t events, loop_fd_func func, void *opaque,
               GError **error)
{
    struct loop_watch *watch = watch_new(loop, loop->epoll_fd, fd, events, func, opaque);

    if (!watch)
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot watch descriptor %d", fd);
    return watch;
}

void
loop_watch_update(struct loop_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int rc = epoll_ctl(watch->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);

    g_assert(rc == 0);
}

void
loop_watch_free(struct loop_watch *watch)
{
    if (!watch)
        return;
    epoll_ctl(watch->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->func = NULL;
    g_ptr_array_add(watch->loop->freed, watch);
}

/* One event at a time: the next one is due when everybody else had a turn. The kernel puts a watch
 * that was reported behind the group's others. */
static void
on_group(uint32_t events, void *opaque)
{
    struct loop_group *group = opaque;
    struct epoll_event event;

    if (epoll_wait(group->epoll_fd, &event, 1, 0) == 1)
        run_watch(&event);
}

struct loop_group *
loop_group_new(struct loop *loop, GError **error)
{
    struct loop_group *group = g_new0(struct loop_group, 1);

    group->loop = loop;
    group->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (group->epoll_fd < 0)
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot create a group of watches");
    else
        group->watch = loop_watch_new(loop, group->epoll_fd, EPOLLIN, on_group, group, error);
    if (!group->watch) {
        file_fd_clear(&group->epoll_fd);
        g_free(group);
        return NULL;
    }
    return group;
}

void
loop_group_free(struct loop_group *group)
{
    if (!group)
        return;
    loop_watch_free(group->watch);
    file_fd_clear(&group->epoll_fd);
    g_ptr_array_add(group->loop->freed, group);
}

struct loop_watch *
loop_group_watch(struct loop_group *group, int fd, uint32_t events, loop_fd_func func, void *opaque,
                 GError **error)
{
    struct loop_watch *watch = watch_new(group->loop, group->epoll_fd, fd, events, func, opaque);

    if (!watch)
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot watch descriptor %d", fd);
    return watch;
}

struct loop_timer *
loop_timer_new(struct loop *loop, unsigned int interval_ms, loop_func func, void *opaque)
{
    struct loop_timer *timer = g_new0(struct loop_timer, 1);

    timer->loop = loop;
    timer->interval_ms = interval_ms;
    timer->due_us = g_get_monotonic_time() + (int64_t)interval_ms * 1000;
    timer->func = func;
    timer->opaque = opaque;
    g_ptr_array_add(loop->timers, timer);
    if (timer->due_us < loop->alarm_us)
        set_alarm(loop, timer->due_us);
    return timer;
}

void
loop_timer_free(struct loop_timer *timer)
{
    if (!timer)
        return;
    g_ptr_array_remove(timer->loop->timers, timer);
    g_ptr_array_add(timer->loop->freed, timer);
}

void
loop_post(struct loop *loop, loop_func func, void *opaque)
{
    struct post post = {.func = func, .opaque = opaque};
    uint64_t one = 1;
    bool first;

    g_mutex_lock(&loop->post_lock);
    first = loop->posts->len == 0;
    g_array_append_val(loop->posts, post);
    g_mutex_unlock(&loop->post_lock);
    /* The counter can't overflow: it is read after every first post. */
    if (first && write(loop->wake_fd, &one, sizeof(one)) < 0)
        g_assert_not_reached();
}

static void
on_signal(uint32_t events, void *opaque)
{
    struct signal_watch *signal_watch = opaque;
    struct signalfd_siginfo info;

    if (read(signal_watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        signal_watch->func(signal_watch->signum, signal_watch->opaque);
}

bool
loop_add_signal(struct loop *loop, int signum, loop_signal_func func, void *opaque, GError **error)
{
    struct signal_watch *signal_watch = g_new0(struct signal_watch, 1);
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, signum);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal_watch->loop = loop;
    signal_watch->signum = signum;
    signal_watch->func = func;
    signal_watch->opaque = opaque;
    signal_watch->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    g_ptr_array_add(loop->signals, signal_watch);
    if (signal_watch->fd < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot watch signal %d", signum);
        return false;
    }
    signal_watch->watch =
        loop_watch_new(loop, signal_watch->fd, EPOLLIN, on_signal, signal_watch, error);
    return signal_watch->watch != NULL;
}
