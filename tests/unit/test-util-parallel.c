/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Parallel work: every piece is done exactly once, whatever their number.
 */
#include <glib.h>
#include <stdbool.h>

#include "util/parallel.h"

enum { PIECES_MAX = 1000 };

struct pieces {
    int done[PIECES_MAX];
    int threads_seen;
    GThread *caller;
};

static void
do_piece(size_t index, void *opaque)
{
    struct pieces *pieces = opaque;

    g_atomic_int_inc(&pieces->done[index]);
    if (g_thread_self() != pieces->caller)
        g_atomic_int_inc(&pieces->threads_seen);
}

static void
test_each_piece_is_done_once_in_a_run(void)
{
    static const size_t counts[] = {0, 1, 31, 32, 33, 64, 65, 127, 128, 500, PIECES_MAX};

    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        struct pieces pieces = {.caller = g_thread_self()};

        parallel_run(counts[i], do_piece, &pieces);
        parallel_run_waiting(counts[i], do_piece, &pieces);
        for (size_t j = 0; j < PIECES_MAX; j++)
            g_assert_cmpint(pieces.done[j], ==, j < counts[i] ? 2 : 0);
    }
}

static void
test_few_pieces_stay_in_the_callers_thread(void)
{
    struct pieces pieces = {.caller = g_thread_self()};

    parallel_run(63, do_piece, &pieces);
    g_assert_cmpint(pieces.threads_seen, ==, 0);
}

struct meeting {
    GMutex lock;
    GCond arrived;
    GThread *first;
    bool met;
};

/* The first thread to come waits for another one, or for so long that there is none. */
static void
meet(size_t index, void *opaque)
{
    struct meeting *meeting = opaque;
    gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    g_mutex_lock(&meeting->lock);
    if (!meeting->first)
        meeting->first = g_thread_self();
    if (meeting->first != g_thread_self() && !meeting->met) {
        meeting->met = true;
        g_cond_broadcast(&meeting->arrived);
    }
    while (!meeting->met && g_cond_wait_until(&meeting->arrived, &meeting->lock, deadline))
        continue;
    g_mutex_unlock(&meeting->lock);
}

static void
test_many_pieces_are_shared_by_threads(void)
{
    struct meeting meeting = {0};

    if (g_get_num_processors() < 2) {
        g_test_skip("there is one processor");
        return;
    }
    parallel_run(PIECES_MAX, meet, &meeting);
    g_assert_true(meeting.met);
}

static void
test_few_pieces_that_wait_are_shared_by_threads(void)
{
    struct meeting meeting = {0};

    parallel_run_waiting(8, meet, &meeting);
    g_assert_true(meeting.met);
}

struct crowd {
    gint now;
    gint most; /* at a time */
};

static void
stay(size_t index, void *opaque)
{
    struct crowd *crowd = opaque;
    gint count = g_atomic_int_add(&crowd->now, 1) + 1;
    gint most;

    do {
        most = g_atomic_int_get(&crowd->most);
    } while (count > most && !g_atomic_int_compare_and_exchange(&crowd->most, most, count));
    g_usleep(1000);
    g_atomic_int_add(&crowd->now, -1);
}

static void
test_a_limit_of_threads_is_kept(void)
{
    struct crowd crowd = {0};
    struct meeting meeting = {0};

    parallel_run_limited(100, 3, stay, &crowd);
    g_assert_cmpint(crowd.most, <=, 3);
    parallel_run_limited(8, 2, meet, &meeting);
    g_assert_true(meeting.met);
    parallel_run_limited(0, 3, stay, &crowd);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/parallel/each-piece-once", test_each_piece_is_done_once_in_a_run);
    g_test_add_func("/util/parallel/few-pieces", test_few_pieces_stay_in_the_callers_thread);
    g_test_add_func("/util/parallel/many-pieces", test_many_pieces_are_shared_by_threads);
    g_test_add_func("/util/parallel/few-that-wait",
                    test_few_pieces_that_wait_are_shared_by_threads);
    g_test_add_func("/util/parallel/limit", test_a_limit_of_threads_is_kept);
    return g_test_run();
}
