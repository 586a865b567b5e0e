/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the committing thread. It takes all that is queued at once, so that changes which arrive
 * during a flush share the next one. Results go back through an eventfd of its own instead of
 * loop_post, because it can be taken out of the loop when the store is closed.
 */
#include "secret/store_worker.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "secret/store_change.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(store_worker, "eventfd2 read write rt_sigprocmask");

enum { BATCH_MAX = 64, IDLE_SECONDS = 1, RETRY_SECONDS = 30 };

struct item {
    struct commit_item commit; /* first: the committer sees this part */
    bool is_checkpoint;
    store_done_func done;
    void *opaque;
    bool is_awaited; /* by worker_run, which frees it */
    bool is_finished;
};

struct worker {
    struct committer *committer; /* the thread's alone */
    int64_t checkpoint_due_us;   /* likewise */
    char *last_failure;          /* likewise: of a checkpoint */
    GThread *thread;
    file_fd event_fd;
    struct loop_watch *watch;
    GMutex lock; /* of all that follows */
    GCond queue_changed;
    GCond items_finished;
    GQueue queue;
    GQueue finished; /* to be delivered in the loop */
    guint unfinished;
    bool is_stopping;
};

static void
item_free(void *opaque)
{
    struct item *item = opaque;

    store_change_clear(&item->commit.change);
    g_clear_error(&item->commit.error);
    g_free(item);
}

static void
plan_checkpoint(struct worker *worker, int64_t seconds)
{
    worker->checkpoint_due_us = committer_needs_checkpoint(worker->committer)
                                    ? g_get_monotonic_time() + seconds * G_USEC_PER_SEC
                                    : G_MAXINT64;
}

/* Of its own accord, so that nobody else hears of an error. */
static void
checkpoint(struct worker *worker)
{
    g_autoptr(GError) error = NULL;
    bool done = committer_checkpoint(worker->committer, &error);

    /* It may be the same for days. */
    if (!done && g_strcmp0(error->message, worker->last_failure) != 0)
        log_error("%s; changes that are committed stay in the journal", error->message);
    g_free(worker->last_failure);
    worker->last_failure = done ? NULL : g_strdup(error->message);
    plan_checkpoint(worker, done ? IDLE_SECONDS : RETRY_SECONDS);
}

/* Waits for work; false when there is none and there will be none. Called and left locked. */
static bool
wait_for_work(struct worker *worker)
{
    while (g_queue_is_empty(&worker->queue)) {
        if (worker->is_stopping)
            return false;
        if (worker->checkpoint_due_us == G_MAXINT64) {
            g_cond_wait(&worker->queue_changed, &worker->lock);
        } else if (!g_cond_wait_until(&worker->queue_changed, &worker->lock,
                                      worker->checkpoint_due_us)) {
            g_mutex_unlock(&worker->lock);
            checkpoint(worker);
            g_mutex_lock(&worker->lock);
        }
    }
    return true;
}

/* The next changes, or one request for a checkpoint. Called locked. */
static GPtrArray *
take_batch(struct worker *worker)
{
    GPtrArray *batch = g_ptr_array_new();

    while (batch->len < BATCH_MAX && !g_queue_is_empty(&worker->queue)) {
        const struct item *next = g_queue_peek_head(&worker->queue);

        if (next->is_checkpoint && batch->len > 0)
            break;
        g_ptr_array_add(batch, g_queue_pop_head(&worker->queue));
        if (next->is_checkpoint)
            break;
    }
    return batch;
}

static void
carry_out(struct worker *worker, GPtrArray *batch)
{
    struct item *first = g_ptr_array_index(batch, 0);

    if (first->is_checkpoint)
        committer_checkpoint(worker->committer, &first->commit.error);
    else
        committer_commit(worker->committer, batch);
    plan_checkpoint(worker, IDLE_SECONDS);
}

/* Called locked. */
static void
hand_back(struct worker *worker, GPtrArray *batch)
{
    uint64_t one = 1;
    bool is_first = g_queue_is_empty(&worker->finished);

    for (guint i = 0; i < batch->len; i++) {
        struct item *item = g_ptr_array_index(batch, i);

        item->is_finished = true;
        if (!item->is_awaited)
            g_queue_push_tail(&worker->finished, item);
    }
    worker->unfinished -= batch->len;
    g_cond_broadcast(&worker->items_finished);
    /* The counter can't overflow: it is read after every first result. */
    if (is_first && !g_queue_is_empty(&worker->finished) &&
        write(worker->event_fd, &one, sizeof(one)) < 0)
        g_assert_not_reached();
}

static gpointer
thread_main(gpointer opaque)
{
    struct worker *worker = opaque;
    sigset_t all;

    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    plan_checkpoint(worker, IDLE_SECONDS);
    g_mutex_lock(&worker->lock);
    while (wait_for_work(worker)) {
        g_autoptr(GPtrArray) batch = take_batch(worker);

        g_mutex_unlock(&worker->lock);
        carry_out(worker, batch);
        g_mutex_lock(&worker->lock);
        hand_back(worker, batch);
        g_mutex_unlock(&worker->lock);
        /* After the results, which need not wait for it. */
        if (committer_wants_checkpoint(worker->committer))
            checkpoint(worker);
        g_mutex_lock(&worker->lock);
    }
    g_mutex_unlock(&worker->lock);
    if (committer_needs_checkpoint(worker->committer))
        checkpoint(worker);
    return NULL;
}

/* Takes the finished items; the caller frees them. */
static void
take_finished(struct worker *worker, GQueue *ret_items)
{
    g_mutex_lock(&worker->lock);
    *ret_items = worker->finished;
    g_queue_init(&worker->finished);
    g_mutex_unlock(&worker->lock);
}

static void
deliver(struct worker *worker)
{
    GQueue items;
    struct item *item;

    take_finished(worker, &items);
    while ((item = g_queue_pop_head(&items))) {
        item->done(item->opaque, item->commit.error);
        item_free(item);
    }
}

static void
on_event(uint32_t events, void *opaque)
{
    struct worker *worker = opaque;
    uint64_t count;

    if (read(worker->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        g_assert_not_reached();
    deliver(worker);
}

static bool
start(struct worker *worker, struct loop *loop, GError **error)
{
    if (worker->event_fd < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot make an event descriptor");
        return false;
    }
    if (loop) {
        worker->watch = loop_watch_new(loop, worker->event_fd, EPOLLIN, on_event, worker, error);
        if (!worker->watch)
            return false;
    }
    worker->thread = g_thread_try_new("store", thread_main, worker, error);
    return worker->thread != NULL;
}

struct worker *
worker_new(struct committer *take_committer, struct loop *loop, GError **error)
{
    struct worker *worker = g_new0(struct worker, 1);

    worker->committer = take_committer;
    worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_mutex_init(&worker->lock);
    g_cond_init(&worker->queue_changed);
    g_cond_init(&worker->items_finished);
    g_queue_init(&worker->queue);
    g_queue_init(&worker->finished);
    if (!start(worker, loop, error)) {
        worker_free(worker);
        return NULL;
    }
    return worker;
}

static void
stop(struct worker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->is_stopping = true;
    g_cond_signal(&worker->queue_changed);
    g_mutex_unlock(&worker->lock);
    g_thread_join(worker->thread);
}

void
worker_free(struct worker *worker)
{
    if (!worker)
        return;
    if (worker->thread)
        stop(worker);
    loop_watch_free(worker->watch);
    g_queue_clear_full(&worker->finished, item_free);
    committer_free(worker->committer);
    g_free(worker->last_failure);
    file_fd_clear(&worker->event_fd);
    g_cond_clear(&worker->queue_changed);
    g_cond_clear(&worker->items_finished);
    g_mutex_clear(&worker->lock);
    g_free(worker);
}

static void
enqueue(struct worker *worker, struct item *item)
{
    g_mutex_lock(&worker->lock);
    g_queue_push_tail(&worker->queue, item);
    worker->unfinished++;
    g_cond_signal(&worker->queue_changed);
    g_mutex_unlock(&worker->lock);
}

void
worker_submit(struct worker *worker, struct store_change *take_change, store_done_func done,
              void *opaque)
{
    struct item *item = g_new0(struct item, 1);

    g_assert(worker->watch);
    if (take_change)
        item->commit.change = store_change_take(take_change);
    item->is_checkpoint = !take_change;
    item->done = done;
    item->opaque = opaque;
    enqueue(worker, item);
}

/* Waits until nothing is under way; whether there is something to deliver then. */
static bool
wait_until_finished(struct worker *worker)
{
    bool any;

    g_mutex_lock(&worker->lock);
    while (worker->unfinished > 0)
        g_cond_wait(&worker->items_finished, &worker->lock);
    any = !g_queue_is_empty(&worker->finished);
    g_mutex_unlock(&worker->lock);
    return any;
}

void
worker_drain(struct worker *worker)
{
    /* What is delivered may submit more. */
    while (wait_until_finished(worker))
        deliver(worker);
}

bool
worker_run(struct worker *worker, struct store_change *take_change, GError **error)
{
    struct item *item = g_new0(struct item, 1);
    bool done;

    if (take_change)
        item->commit.change = store_change_take(take_change);
    item->is_checkpoint = !take_change;
    item->is_awaited = true;
    enqueue(worker, item);
    g_mutex_lock(&worker->lock);
    while (!item->is_finished)
        g_cond_wait(&worker->items_finished, &worker->lock);
    g_mutex_unlock(&worker->lock);
    done = !item->commit.error;
    if (!done)
        g_propagate_error(error, g_steal_pointer(&item->commit.error));
    item_free(item);
    return done;
}
