/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The event loop: descriptors, timers, posts from other threads, signals, and freeing any of them
 * at any moment. Every case ends by itself: a timer stops a loop that would hang.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "expect.h"
#include "patience.h"
#include "util/loop.h"

struct fixture {
    struct loop *loop;
    struct loop_timer *limit;
    GString *trace; /* what happened, a character each */
    int pipes[2][2];
    struct loop_watch *watches[2];
    struct loop_timer *timers[3];
};

static void
fail_for_hanging(void *opaque)
{
    g_error("the loop hangs");
}

static void
set_up(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    on->loop = loop_new(&error);
    g_assert_no_error(error);
    on->limit = loop_timer_new(on->loop, patient_ms(10000), fail_for_hanging, NULL);
    on->trace = g_string_new(NULL);
    for (int i = 0; i < 2; i++)
        g_assert_cmpint(pipe(on->pipes[i]), ==, 0);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    loop_timer_free(on->limit);
    loop_free(on->loop);
    g_string_free(on->trace, TRUE);
    for (int i = 0; i < 2; i++) {
        close(on->pipes[i][0]);
        close(on->pipes[i][1]);
    }
}

static struct loop_watch *
watch(struct fixture *on, int i, uint32_t events, loop_fd_func func)
{
    g_autoptr(GError) error = NULL;
    int end = events & EPOLLOUT ? 1 : 0;
    struct loop_watch *made = loop_watch_new(on->loop, on->pipes[i][end], events, func, on, &error);

    g_assert_no_error(error);
    return made;
}

static void
fill(struct fixture *on, int i)
{
    g_assert_cmpint(write(on->pipes[i][1], "x", 1), ==, 1);
}

static void
quit(void *opaque)
{
    struct fixture *on = opaque;

    loop_quit(on->loop);
}

static void
on_readable(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;
    char c;

    g_assert_cmpuint(events & EPOLLIN, ==, EPOLLIN);
    g_assert_cmpint(read(on->pipes[0][0], &c, 1), ==, 1);
    g_string_append_c(on->trace, c);
    if (on->trace->len == 3)
        loop_quit(on->loop);
}

static void
test_a_readable_descriptor_is_reported_until_it_is_read(struct fixture *on, gconstpointer unused)
{
    struct loop_watch *made = watch(on, 0, EPOLLIN, on_readable);

    g_assert_cmpint(write(on->pipes[0][1], "abc", 3), ==, 3);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "abc");
    loop_watch_free(made);
}

static void
on_writable(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'w');
    loop_watch_update(on->watches[0], 0);
    loop_post(on->loop, quit, on);
}

static void
test_an_update_changes_what_is_reported(struct fixture *on, gconstpointer unused)
{
    on->watches[0] = watch(on, 0, EPOLLOUT, on_writable);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "w");
    loop_watch_free(on->watches[0]);
}

static void
free_both_watches(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'f');
    loop_watch_free(on->watches[0]);
    loop_watch_free(on->watches[1]);
    loop_post(on->loop, quit, on);
}

static void
test_a_watch_freed_by_another_in_the_same_round_is_not_called(struct fixture *on,
                                                              gconstpointer unused)
{
    for (int i = 0; i < 2; i++) {
        on->watches[i] = watch(on, i, EPOLLIN, free_both_watches);
        fill(on, i);
    }
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "f");
}

static void
replace_descriptor(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;

    /* The other pipe takes the place of this one's descriptor, with a watch of its own. */
    loop_watch_free(on->watches[0]);
    loop_watch_free(on->watches[1]);
    g_assert_cmpint(dup2(on->pipes[1][0], on->pipes[0][0]), ==, on->pipes[0][0]);
    g_string_append_c(on->trace, 'r');
    on->watches[0] = watch(on, 0, EPOLLIN, on_readable);
}

static void
test_a_reused_descriptor_belongs_to_its_new_watch(struct fixture *on, gconstpointer unused)
{
    for (int i = 0; i < 2; i++)
        on->watches[i] = watch(on, i, EPOLLIN, replace_descriptor);
    g_assert_cmpint(write(on->pipes[1][1], "yz", 2), ==, 2);
    fill(on, 0);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "ryz");
    loop_watch_free(on->watches[0]);
}

static void
test_a_bad_descriptor_is_refused(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(loop_watch_new(on->loop, -1, EPOLLIN, on_readable, on, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_NONE,
                 "cannot watch descriptor -1: Bad file descriptor");
}

static void
test_freeing_nothing_is_allowed(struct fixture *on, gconstpointer unused)
{
    loop_watch_free(NULL);
    loop_timer_free(NULL);
    loop_free(NULL);
}

static void
on_tick(void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 't');
    if (on->trace->len == 3)
        loop_quit(on->loop);
}

static void
test_a_timer_repeats_at_its_interval(struct fixture *on, gconstpointer unused)
{
    int64_t start = g_get_monotonic_time();
    struct loop_timer *timer = loop_timer_new(on->loop, 20, on_tick, on);

    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "ttt");
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 60000);
    loop_timer_free(timer);
}

static void
on_long_tick(void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'l');
    loop_quit(on->loop);
}

static void
on_short_tick(void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 's');
    loop_timer_free(on->timers[1]);
}

static void
test_timers_fire_in_the_order_they_are_due(struct fixture *on, gconstpointer unused)
{
    on->timers[0] = loop_timer_new(on->loop, 60, on_long_tick, on);
    on->timers[1] = loop_timer_new(on->loop, 10, on_short_tick, on);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "sl");
    loop_timer_free(on->timers[0]);
}

static void
free_all_timers(void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'f');
    for (int i = 0; i < 3; i++)
        loop_timer_free(on->timers[i]);
    loop_post(on->loop, quit, on);
}

static void
test_timers_freed_by_another_in_the_same_round_are_not_called(struct fixture *on,
                                                              gconstpointer unused)
{
    for (int i = 0; i < 3; i++)
        on->timers[i] = loop_timer_new(on->loop, 1, free_all_timers, on);
    g_usleep(5000);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "f");
}

static void
add_timer(void *opaque)
{
    struct fixture *on = opaque;

    loop_timer_free(on->timers[0]);
    on->timers[1] = loop_timer_new(on->loop, 1, on_long_tick, on);
}

static void
test_a_timer_may_be_made_in_a_timer(struct fixture *on, gconstpointer unused)
{
    on->timers[0] = loop_timer_new(on->loop, 1, add_timer, on);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "l");
    loop_timer_free(on->timers[1]);
}

static void
on_second_post(void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, '2');
    loop_quit(on->loop);
}

static void
on_first_post(void *opaque)
{
    struct fixture *on = opaque;

    loop_post(on->loop, on_second_post, on);
    g_string_append_c(on->trace, '1');
}

static void
test_a_post_runs_after_what_runs_now(struct fixture *on, gconstpointer unused)
{
    loop_post(on->loop, on_first_post, on);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "12");
}

enum { POSTS_PER_THREAD = 5000, THREADS = 4 };

static void
count_post(void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'p');
    if (on->trace->len == POSTS_PER_THREAD * THREADS)
        loop_quit(on->loop);
}

static gpointer
post_many(gpointer opaque)
{
    struct fixture *on = opaque;

    for (int i = 0; i < POSTS_PER_THREAD; i++)
        loop_post(on->loop, count_post, on);
    return NULL;
}

static void
test_no_post_of_several_threads_is_lost(struct fixture *on, gconstpointer unused)
{
    GThread *threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("posts", post_many, on);
    loop_run(on->loop);
    for (int i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    g_assert_cmpuint(on->trace->len, ==, POSTS_PER_THREAD * THREADS);
}

struct numbered_post {
    struct fixture *on;
    char number;
};

static void
note_number(void *opaque)
{
    struct numbered_post *post = opaque;

    g_string_append_c(post->on->trace, post->number);
    if (post->number == '5')
        loop_quit(post->on->loop);
}

static void
test_posts_of_one_thread_keep_their_order(struct fixture *on, gconstpointer unused)
{
    struct numbered_post posts[5];

    for (int i = 0; i < 5; i++) {
        posts[i] = (struct numbered_post){.on = on, .number = (char)('1' + i)};
        loop_post(on->loop, note_number, &posts[i]);
    }
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "12345");
}

static void
test_quitting_before_running_counts(struct fixture *on, gconstpointer unused)
{
    loop_quit(on->loop);
    loop_run(on->loop);
    /* And once only. */
    loop_post(on->loop, on_first_post, on);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "12");
}

static void
on_signal(int signum, void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, signum == SIGUSR1 ? '1' : '2');
    if (on->trace->len == 2)
        loop_quit(on->loop);
}

static void
test_signals_call_their_function_in_the_loop(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(loop_add_signal(on->loop, SIGUSR1, on_signal, on, &error));
    g_assert_true(loop_add_signal(on->loop, SIGUSR2, on_signal, on, &error));
    g_assert_no_error(error);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    g_assert_cmpstr(on->trace->str, ==, "");
    loop_run(on->loop);
    g_assert_cmpuint(on->trace->len, ==, 2);
    g_assert_nonnull(strchr(on->trace->str, '1'));
    g_assert_nonnull(strchr(on->trace->str, '2'));
}

static void
test_everything_still_watched_is_freed_with_the_loop(struct fixture *on, gconstpointer unused)
{
    struct loop *loop = loop_new(NULL);
    struct loop_watch *made = loop_watch_new(loop, on->pipes[0][0], EPOLLIN, on_readable, on, NULL);

    loop_timer_new(loop, 1000, on_tick, on);
    loop_post(loop, on_first_post, on);
    g_assert_true(loop_add_signal(loop, SIGUSR1, on_signal, on, NULL));
    loop_watch_free(made);
    loop_free(loop);
    g_assert_cmpstr(on->trace->str, ==, "");
}

static void
on_busy(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'b');
}

static void
on_other(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'o');
    if (on->trace->len >= 12)
        loop_quit(on->loop);
}

static void
test_a_busy_group_has_as_many_turns_as_one_watch(struct fixture *on, gconstpointer unused)
{
    struct loop_group *group = loop_group_new(on->loop, NULL);
    struct loop_watch *busy[8];
    struct loop_watch *other = watch(on, 1, EPOLLIN, on_other);
    int copies[G_N_ELEMENTS(busy)];

    fill(on, 0);
    fill(on, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(busy); i++) {
        copies[i] = dup(on->pipes[0][0]);
        busy[i] = loop_group_watch(group, copies[i], EPOLLIN, on_busy, on, NULL);
        g_assert_nonnull(busy[i]);
    }
    loop_run(on->loop);
    g_assert_nonnull(strstr("bobobobobobobobobo", on->trace->str));
    for (size_t i = 0; i < G_N_ELEMENTS(busy); i++) {
        loop_watch_free(busy[i]);
        close(copies[i]);
    }
    loop_watch_free(other);
    loop_group_free(group);
}

static void
on_each(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'e');
    loop_quit(on->loop);
}

static void
on_each_other(uint32_t events, void *opaque)
{
    struct fixture *on = opaque;

    g_string_append_c(on->trace, 'E');
    loop_quit(on->loop);
}

static void
test_the_watches_of_a_group_take_turns(struct fixture *on, gconstpointer unused)
{
    struct loop_group *group = loop_group_new(on->loop, NULL);

    fill(on, 0);
    fill(on, 1);
    on->watches[0] = loop_group_watch(group, on->pipes[0][0], EPOLLIN, on_each, on, NULL);
    on->watches[1] = loop_group_watch(group, on->pipes[1][0], EPOLLIN, on_each_other, on, NULL);
    for (int i = 0; i < 4; i++)
        loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "eEeE");
    loop_watch_update(on->watches[0], 0);
    for (int i = 0; i < 2; i++)
        loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "eEeEEE");
    loop_watch_free(on->watches[0]);
    loop_watch_free(on->watches[1]);
    loop_group_free(group);
}

struct dissolving {
    struct fixture *on;
    struct loop_group *group;
    struct loop_watch *watch;
};

static void
dissolve(uint32_t events, void *opaque)
{
    struct dissolving *dissolving = opaque;

    g_string_append_c(dissolving->on->trace, 'd');
    loop_watch_free(dissolving->watch);
    loop_group_free(dissolving->group);
    loop_post(dissolving->on->loop, quit, dissolving->on);
}

static void
test_a_group_may_be_freed_in_a_callback_of_its_own(struct fixture *on, gconstpointer unused)
{
    struct dissolving dissolving = {.on = on, .group = loop_group_new(on->loop, NULL)};

    fill(on, 0);
    dissolving.watch =
        loop_group_watch(dissolving.group, on->pipes[0][0], EPOLLIN, dissolve, &dissolving, NULL);
    loop_run(on->loop);
    g_assert_cmpstr(on->trace->str, ==, "d");
}

#define ADD(name)                                                                                  \
    g_test_add("/util/loop/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_readable_descriptor_is_reported_until_it_is_read);
    ADD(an_update_changes_what_is_reported);
    ADD(a_watch_freed_by_another_in_the_same_round_is_not_called);
    ADD(a_reused_descriptor_belongs_to_its_new_watch);
    ADD(a_bad_descriptor_is_refused);
    ADD(freeing_nothing_is_allowed);
    ADD(a_timer_repeats_at_its_interval);
    ADD(timers_fire_in_the_order_they_are_due);
    ADD(timers_freed_by_another_in_the_same_round_are_not_called);
    ADD(a_timer_may_be_made_in_a_timer);
    ADD(a_post_runs_after_what_runs_now);
    ADD(no_post_of_several_threads_is_lost);
    ADD(posts_of_one_thread_keep_their_order);
    ADD(quitting_before_running_counts);
    ADD(signals_call_their_function_in_the_loop);
    ADD(a_busy_group_has_as_many_turns_as_one_watch);
    ADD(the_watches_of_a_group_take_turns);
    ADD(a_group_may_be_freed_in_a_callback_of_its_own);
    ADD(everything_still_watched_is_freed_with_the_loop);
    return g_test_run();
}
