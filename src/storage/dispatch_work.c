/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see dispatch_work.h.
 */
#include "storage/dispatch_work.h"

/* Most of it waits: for a disk, for the custodian, for another operation on the same volume. */
static const int threads[] = {
    [DISPATCH_POOL_STATUS] = 2,  [DISPATCH_POOL_LOOKS] = 4, [DISPATCH_POOL_CHANGES] = 8,
    [DISPATCH_POOL_GUESTS] = 16, [DISPATCH_POOL_JOBS] = 8,  [DISPATCH_POOL_LIBVIRT] = 16,
};
G_STATIC_ASSERT(G_N_ELEMENTS(threads) == DISPATCH_POOL_LAST);

struct dispatch_workers {
    struct loop *loop;
    GThreadPool *pools[DISPATCH_POOL_LAST];
    unsigned int count;
    loop_func on_idle;
    void *on_idle_opaque;
};

static void
call_idle(struct dispatch_workers *workers)
{
    loop_func func = workers->on_idle;

    workers->on_idle = NULL;
    if (func)
        func(workers->on_idle_opaque);
}

static void
on_done(void *opaque)
{
    struct dispatch_work *work = opaque;
    struct dispatch_workers *workers = work->workers;
    g_autoptr(GError) error = g_steal_pointer(&work->error);

    work->done(work, error);
    if (--workers->count == 0)
        call_idle(workers);
}

static void
run_in_thread(gpointer data, gpointer unused)
{
    struct dispatch_work *work = data;
    struct loop *loop = work->workers->loop;
    bool is_right = work->run(work, &work->error);

    g_assert(is_right == (work->error == NULL));
    loop_post(loop, on_done, work);
}

struct dispatch_workers *
dispatch_workers_new(struct loop *loop)
{
    struct dispatch_workers *workers = g_new0(struct dispatch_workers, 1);

    workers->loop = loop;
    for (int i = 0; i < DISPATCH_POOL_LAST; i++)
        workers->pools[i] = g_thread_pool_new(run_in_thread, NULL, threads[i], FALSE, NULL);
    return workers;
}

void
dispatch_workers_free(struct dispatch_workers *workers)
{
    if (!workers)
        return;
    g_assert(workers->count == 0);
    /* Nobody could wait for the end of a thread that left now, while the process ends; what
     * libraries free at a thread's end (the errors of libcrypto) would be lost. They stay. */
    g_thread_pool_set_max_unused_threads(-1);
    g_thread_pool_set_max_idle_time(0);
    for (int i = 0; i < DISPATCH_POOL_LAST; i++)
        g_thread_pool_free(workers->pools[i], FALSE, TRUE);
    g_free(workers);
}

void
dispatch_workers_push(struct dispatch_workers *workers, enum dispatch_pool pool,
                      struct dispatch_work *work)
{
    work->workers = workers;
    workers->count++;
    /* An error says that no thread could be started now; the work stays queued for the others. */
    g_thread_pool_push(workers->pools[pool], work, NULL);
}

unsigned int
dispatch_workers_count(const struct dispatch_workers *workers)
{
    return workers->count;
}

void
dispatch_workers_on_idle(struct dispatch_workers *workers, loop_func func, void *opaque)
{
    workers->on_idle = func;
    workers->on_idle_opaque = opaque;
    if (workers->count == 0)
        call_idle(workers);
}
