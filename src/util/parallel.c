/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: threads that take pieces in runs until there are none. A thread that can't be had is no
 * error: the others do its work.
 */
#include "util/parallel.h"

#include <glib.h>
#include <signal.h>

#include "util/syscalls.h"

SYSCALLS_DECLARE(parallel, "rt_sigprocmask");

/* Of work that computes: pieces taken at once, and the fewest that are worth a thread more. */
enum { RUN_LENGTH = 32, WORTH_A_THREAD = 64, THREADS_MAX = 8 };
/* Of work that waits: as many flushes at a time become few, and more threads gain little. */
enum { WAITING_WORTH_A_THREAD = 4, WAITING_THREADS_MAX = 32 };

struct work {
    size_t count;
    parallel_func func;
    void *opaque;
    size_t run_length;
    gsize taken; /* atomic */
};

static gpointer
take_part(gpointer opaque)
{
    struct work *work = opaque;
    size_t first;

    while ((first = (size_t)g_atomic_pointer_add(&work->taken, work->run_length)) < work->count) {
        size_t end = MIN(first + work->run_length, work->count);

        for (size_t i = first; i < end; i++)
            work->func(i, work->opaque);
    }
    return NULL;
}

static gpointer
thread_main(gpointer opaque)
{
    sigset_t all;

    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    return take_part(opaque);
}

/* On `wanted` threads at most, the caller's among them. */
static void
run(struct work *work, size_t wanted)
{
    GThread *threads[WAITING_THREADS_MAX];
    size_t running = 0;

    while (running + 1 < wanted) {
        threads[running] = g_thread_try_new("parallel", thread_main, work, NULL);
        if (!threads[running])
            break;
        running++;
    }
    take_part(work);
    while (running > 0)
        g_thread_join(threads[--running]);
}

void
parallel_run(size_t count, parallel_func func, void *opaque)
{
    struct work work = {.count = count, .func = func, .opaque = opaque, .run_length = RUN_LENGTH};

    run(&work, MIN(MIN(g_get_num_processors(), THREADS_MAX), count / WORTH_A_THREAD + 1));
}

void
parallel_run_waiting(size_t count, parallel_func func, void *opaque)
{
    struct work work = {.count = count, .func = func, .opaque = opaque, .run_length = 1};

    run(&work, MIN(WAITING_THREADS_MAX, count / WAITING_WORTH_A_THREAD + 1));
}

void
parallel_run_limited(size_t count, size_t limit, parallel_func func, void *opaque)
{
    struct work work = {.count = count, .func = func, .opaque = opaque, .run_length = 1};

    run(&work, MIN(MIN(limit, WAITING_THREADS_MAX), count));
}
