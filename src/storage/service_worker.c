/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the thread that tries again what could not be done at once: mappings that were busy when
 * their last user went (QEMU may take a moment to end), and volumes that the absence of the
 * custodian or of a pool kept from being finished or undone.
 */
#include <string.h>

#include "storage/service_state.h"
#include "util/error.h"
#include "util/log.h"

enum {
    CLOSE_INTERVAL_MS = 250,
    CLOSE_TRIES = 240, /* one minute */
};

struct closing {
    char *pool;
    char *name;
    unsigned int tries;
};

struct service_worker {
    struct storage_service *service;
    GThread *thread;
    GMutex mutex;
    GCond changed;
    GQueue closings; /* of struct closing */
    bool is_woken;
    bool is_stopped;
};

static void
closing_free(void *opaque)
{
    struct closing *closing = opaque;

    g_free(closing->pool);
    g_free(closing->name);
    g_free(closing);
}

/* True: no more to be done. */
static bool
try_close(struct storage_service *service, const struct closing *closing, GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being closed",
    };
    g_autoptr(service_lock_t) lock =
        service_lock_take(service->locks, closing->pool, closing->name, &wish, error);
    g_autoptr(volume_record_t) record = NULL;

    if (!lock)
        return false;
    record = storage_records_get(service->records, closing->pool, closing->name, NULL);
    return !record || service_close_unused(service, record, error);
}

static void
try_closings(struct service_worker *worker, GQueue *closings)
{
    guint count = closings->length;

    for (guint i = 0; i < count; i++) {
        struct closing *closing = g_queue_pop_head(closings);
        g_autoptr(GError) error = NULL;

        if (try_close(worker->service, closing, &error)) {
            closing_free(closing);
        } else if (++closing->tries < CLOSE_TRIES && error_is(error, ERROR_RESOURCE_BUSY)) {
            g_queue_push_tail(closings, closing);
        } else {
            log_warn("volume '%s' of pool '%s' stays open though nobody uses it: %s", closing->name,
                     closing->pool, error->message);
            closing_free(closing);
        }
    }
}

static void
recover_pending(struct storage_service *service)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being recovered",
    };
    g_autoptr(GPtrArray) records = storage_records_list(service->records, NULL);

    for (guint i = 0; i < records->len; i++) {
        const struct volume_record *listed = records->pdata[i];
        g_autoptr(service_lock_t) lock = NULL;
        g_autoptr(volume_record_t) record = NULL;
        g_autoptr(GError) error = NULL;

        if (listed->state == VOLUME_STATE_READY)
            continue;
        lock = service_lock_take(service->locks, listed->pool, listed->name, &wish, NULL);
        record =
            lock ? storage_records_get(service->records, listed->pool, listed->name, NULL) : NULL;
        if (record && !service_recover(service, record, &error))
            log_warn("volume '%s' of pool '%s' is not whole yet, and is tried again: %s",
                     record->name, record->pool, error->message);
    }
}

/* With the mutex held: until there is something to do. */
static void
wait_for_work(struct service_worker *worker, gint64 recover_at)
{
    gint64 now = g_get_monotonic_time();
    gint64 until = recover_at;

    if (worker->closings.length > 0)
        until = MIN(until, now + (gint64)CLOSE_INTERVAL_MS * G_TIME_SPAN_MILLISECOND);
    while (!worker->is_stopped && !worker->is_woken &&
           g_cond_wait_until(&worker->changed, &worker->mutex, until)) {
    }
}

static void *
run(void *opaque)
{
    struct service_worker *worker = opaque;
    gint64 interval = (gint64)worker->service->retry_s * G_TIME_SPAN_SECOND;
    gint64 recover_at = g_get_monotonic_time() + interval;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&worker->mutex);

    while (!worker->is_stopped) {
        GQueue closings = worker->closings;
        bool is_woken;

        g_queue_init(&worker->closings);
        is_woken = worker->is_woken;
        worker->is_woken = false;
        g_mutex_unlock(&worker->mutex);
        try_closings(worker, &closings);
        if (is_woken || g_get_monotonic_time() >= recover_at) {
            recover_pending(worker->service);
            recover_at = g_get_monotonic_time() + interval;
        }
        g_mutex_lock(&worker->mutex);
        while (closings.length > 0)
            g_queue_push_head(&worker->closings, g_queue_pop_tail(&closings));
        wait_for_work(worker, recover_at);
    }
    return NULL;
}

struct service_worker *
service_worker_new(struct storage_service *service)
{
    struct service_worker *worker = g_new0(struct service_worker, 1);

    worker->service = service;
    g_mutex_init(&worker->mutex);
    g_cond_init(&worker->changed);
    g_queue_init(&worker->closings);
    worker->thread = g_thread_new("retry", run, worker);
    return worker;
}

void
service_worker_free(struct service_worker *worker)
{
    if (!worker)
        return;
    g_mutex_lock(&worker->mutex);
    worker->is_stopped = true;
    g_cond_signal(&worker->changed);
    g_mutex_unlock(&worker->mutex);
    g_thread_join(worker->thread);
    g_queue_clear_full(&worker->closings, closing_free);
    g_cond_clear(&worker->changed);
    g_mutex_clear(&worker->mutex);
    g_free(worker);
}

void
service_worker_close_later(struct service_worker *worker, const char *pool, const char *name)
{
    struct closing *closing = g_new0(struct closing, 1);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&worker->mutex);

    closing->pool = g_strdup(pool);
    closing->name = g_strdup(name);
    g_queue_push_tail(&worker->closings, closing);
    g_cond_signal(&worker->changed);
}

void
service_worker_wake(struct service_worker *worker)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&worker->mutex);

    worker->is_woken = true;
    g_cond_signal(&worker->changed);
}
