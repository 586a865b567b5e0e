/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: threads that take pieces in runs until there are none. A thread that can't be had is no
 * error: the others do its work.
 */
#include "util/parallel.h"

#include <glib.h>
#include <signal.h>

/* Pieces taken at once, and the fewest that are worth a thread more. */
enum { RUN_LENGTH = 32, WORTH_A_THREAD = 64 };
enum { THREADS_MAX = 8 };

struct work {
    size_t count;
    parallel_func func;
    void *opaque;
    gsize taken; /* atomic */
};

static gpointer
take_part(gpointer opaque)
{
    struct work *work = opaque;
    size_t first;

    while ((first = (size_t)g_atomic_pointer_add(&work->taken, RUN_LENGTH)) < work->count) {
        size_t end = MIN(first + RUN_LENGTH, work->count);

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

void
parallel_run(size_t count, parallel_func func, void *opaque)
{
    struct work work = {.count = count, .func = func, .opaque = opaque};
    GThread *threads[THREADS_MAX];
    size_t wanted = MIN(MIN(g_get_num_processors(), THREADS_MAX), count / WORTH_A_THREAD + 1);
    size_t running = 0;

    while (running + 1 < wanted) {
        threads[running] = g_thread_try_new("parallel", thread_main, &work, NULL);
        if (!threads[running])
            break;
        running++;
    }
    take_part(&work);
    while (running > 0)
        g_thread_join(threads[--running]);
}
