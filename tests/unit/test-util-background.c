/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Work in the background: that its end is taken once and only once, in the loop or by waiting, in
 * whatever order that and the loop's events come. Every case ends by itself: a timer stops a loop
 * that would hang, and work that waits to be released gives up.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "expect.h"
#include "patience.h"
#include "util/background.h"

enum { HANGS_MS = 10000, GIVES_UP_MS = 10000, MOMENT_MS = 20 };

struct fixture {
    struct loop *loop;
    struct loop_timer *limit;
    struct background *background;
    GThread *main_thread;
    guint ends;        /* told in the loop */
    bool begins_again; /* at the first of them */
    gint runs;         /* atomic */
    gint may_end;      /* atomic: of run_until_released */
    gint has_gone;     /* atomic: run_until_released is over */
    bool blocks_signals;
    int pipe[2];
};

static guint other_threads;

static void
fail_for_hanging(void *opaque)
{
    g_error("the loop hangs");
}

static void
run(void *opaque)
{
    struct fixture *on = opaque;
    sigset_t blocked;

    g_assert_true(g_thread_self() != on->main_thread);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    on->blocks_signals = sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGUSR1) == 1;
    g_atomic_int_inc(&on->runs);
}

static void
run_until_released(void *opaque)
{
    struct fixture *on = opaque;
    int64_t end_us = g_get_monotonic_time() + patient_ms(GIVES_UP_MS) * INT64_C(1000);

    while (!g_atomic_int_get(&on->may_end) && g_get_monotonic_time() < end_us)
        g_usleep(1000);
    g_atomic_int_inc(&on->runs);
    g_atomic_int_set(&on->has_gone, 1);
}

static void
begin(struct fixture *on, background_func func)
{
    g_autoptr(GError) error = NULL;

    background_begin(on->background, "test", func, on, &error);
    g_assert_no_error(error);
}

static void
on_end(void *opaque)
{
    struct fixture *on = opaque;

    g_assert_true(g_thread_self() == on->main_thread);
    g_assert_false(background_is_busy(on->background));
    on->ends++;
    if (on->begins_again && on->ends == 1)
        begin(on, run);
    else
        loop_quit(on->loop);
}

static guint
count_threads(void)
{
    g_autoptr(GDir) tasks = g_dir_open("/proc/self/task", 0, NULL);
    guint count = 0;

    while (g_dir_read_name(tasks))
        count++;
    return count;
}

static void
set_up(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    on->main_thread = g_thread_self();
    /* Before there was any: one that was joined is there a little longer. */
    if (other_threads == 0)
        other_threads = count_threads();
    on->loop = loop_new(&error);
    g_assert_no_error(error);
    on->limit = loop_timer_new(on->loop, patient_ms(HANGS_MS), fail_for_hanging, NULL);
    on->background = background_new(on->loop, on_end, on, &error);
    g_assert_no_error(error);
    g_assert_cmpint(pipe(on->pipe), ==, 0);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    background_free(on->background);
    loop_timer_free(on->limit);
    loop_free(on->loop);
    close(on->pipe[0]);
    close(on->pipe[1]);
}

static void
quit(void *opaque)
{
    struct fixture *on = opaque;

    loop_quit(on->loop);
}

/* Lets the loop report whatever there is to report. */
static void
run_for_a_moment(struct fixture *on)
{
    struct loop_timer *timer = loop_timer_new(on->loop, MOMENT_MS, quit, on);

    loop_run(on->loop);
    loop_timer_free(timer);
}

/* Then the loop has an event to report. */
static void
wait_until_the_thread_is_gone(void)
{
    int64_t end_us = g_get_monotonic_time() + patient_ms(GIVES_UP_MS) * INT64_C(1000);

    while (count_threads() > other_threads) {
        g_assert_cmpint(g_get_monotonic_time(), <, end_us);
        g_usleep(1000);
    }
}

static void
test_the_end_is_told_once_in_the_loop(struct fixture *on, gconstpointer unused)
{
    begin(on, run);
    g_assert_true(background_is_busy(on->background));
    loop_run(on->loop);
    run_for_a_moment(on);
    g_assert_cmpuint(on->ends, ==, 1);
    g_assert_cmpint(on->runs, ==, 1);
}

static void
test_signals_are_blocked_in_the_thread(struct fixture *on, gconstpointer unused)
{
    begin(on, run);
    loop_run(on->loop);
    g_assert_true(on->blocks_signals);
}

static void
test_who_is_told_of_the_end_may_begin_again(struct fixture *on, gconstpointer unused)
{
    on->begins_again = true;
    begin(on, run);
    loop_run(on->loop);
    g_assert_cmpuint(on->ends, ==, 2);
    g_assert_cmpint(on->runs, ==, 2);
}

static void
test_an_end_that_was_waited_for_is_not_told(struct fixture *on, gconstpointer unused)
{
    begin(on, run);
    g_assert_true(background_wait(on->background, BACKGROUND_NO_LIMIT));
    g_assert_cmpint(on->runs, ==, 1);
    g_assert_false(background_is_busy(on->background));
    run_for_a_moment(on);
    g_assert_cmpuint(on->ends, ==, 0);
}

static void
test_waiting_for_nothing_is_over_at_once(struct fixture *on, gconstpointer unused)
{
    g_assert_true(background_wait(on->background, BACKGROUND_NO_LIMIT));
}

static void
test_a_wait_ends_at_its_limit_and_the_end_is_told_later(struct fixture *on, gconstpointer unused)
{
    begin(on, run_until_released);
    g_assert_false(background_wait(on->background, MOMENT_MS));
    g_assert_true(background_is_busy(on->background));
    g_assert_cmpint(on->runs, ==, 0);
    g_atomic_int_set(&on->may_end, 1);
    loop_run(on->loop);
    g_assert_cmpuint(on->ends, ==, 1);
    g_assert_cmpint(on->runs, ==, 1);
}

static void
test_a_wait_with_a_limit_takes_an_end_that_comes_in_time(struct fixture *on, gconstpointer unused)
{
    begin(on, run);
    g_assert_true(background_wait(on->background, HANGS_MS));
    run_for_a_moment(on);
    g_assert_cmpuint(on->ends, ==, 0);
}

/* In the same round as the event of the work that it waits for. */
static void
wait_and_begin(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;
    char byte;

    g_assert_cmpint(read(on->pipe[0], &byte, 1), ==, 1);
    g_assert_true(background_wait(on->background, BACKGROUND_NO_LIMIT));
    begin(on, run_until_released);
}

/* The loop has both events before it reports the first one, and reports them in this order. */
static void
test_an_event_of_an_end_that_was_taken_is_not_the_next_ones(struct fixture *on,
                                                            gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct loop_watch *watch;

    g_assert_cmpint(write(on->pipe[1], "x", 1), ==, 1);
    watch = loop_watch_new(on->loop, on->pipe[0], EPOLLIN, wait_and_begin, on, &error);
    g_assert_no_error(error);
    begin(on, run);
    wait_until_the_thread_is_gone();
    run_for_a_moment(on);
    g_assert_cmpuint(on->ends, ==, 0);
    g_assert_true(background_is_busy(on->background));
    g_atomic_int_set(&on->may_end, 1);
    loop_run(on->loop);
    g_assert_cmpuint(on->ends, ==, 1);
    loop_watch_free(watch);
}

static void
test_work_of_which_nobody_hears_any_more_goes_on(struct fixture *on, gconstpointer unused)
{
    begin(on, run_until_released);
    background_free(g_steal_pointer(&on->background));
    g_atomic_int_set(&on->may_end, 1);
    wait_until_the_thread_is_gone();
    run_for_a_moment(on);
    g_assert_cmpint(on->has_gone, ==, 1);
    g_assert_cmpuint(on->ends, ==, 0);
}

#define ADD(name)                                                                                  \
    g_test_add("/util/background/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_end_is_told_once_in_the_loop);
    ADD(signals_are_blocked_in_the_thread);
    ADD(who_is_told_of_the_end_may_begin_again);
    ADD(an_end_that_was_waited_for_is_not_told);
    ADD(waiting_for_nothing_is_over_at_once);
    ADD(a_wait_ends_at_its_limit_and_the_end_is_told_later);
    ADD(a_wait_with_a_limit_takes_an_end_that_comes_in_time);
    ADD(an_event_of_an_end_that_was_taken_is_not_the_next_ones);
    ADD(work_of_which_nobody_hears_any_more_goes_on);
    return g_test_run();
}
