/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt_migration.h. libvirt's call lasts as long as the migration, so it has a thread of
 * its own; the one that asked for it looks and listens meanwhile.
 */
#include "tools/libvirt_migration.h"

#include "tools/libvirt_host_state.h"
#include "util/error.h"

enum {
    LOOK_INTERVAL_MS = 500,
    ABORT_BOUND_S = 60,
};

/* Shared by both threads; the one of libvirt's call may be left behind. */
struct run {
    struct libvirt_migration migration; /* with the hosts held */
    virDomainPtr domain;
    virTypedParameterPtr params;
    int param_count;
    GMutex lock;
    GCond done;
    bool is_done;
    GError *error;
};

static void
run_clear(void *opaque)
{
    struct run *run = opaque;
    const struct libvirt_calls *calls = &run->migration.source->calls;

    if (run->domain)
        calls->virDomainFree(run->domain);
    calls->virTypedParamsFree(run->params, run->param_count);
    libvirt_host_close(run->migration.destination);
    libvirt_host_close(run->migration.source);
    g_mutex_clear(&run->lock);
    g_cond_clear(&run->done);
    g_clear_error(&run->error);
}

static void *
run_migration(void *opaque)
{
    struct run *run = opaque;
    const struct libvirt_migration *migration = &run->migration;
    const struct libvirt_calls *calls = &migration->source->calls;
    virDomainPtr moved =
        calls->virDomainMigrate3(run->domain, migration->destination->connection, run->params,
                                 (unsigned int)run->param_count, (unsigned int)migration->flags);
    GError *error = NULL;

    if (moved)
        calls->virDomainFree(moved);
    else
        libvirt_host_take_error(migration->source, &error);
    g_mutex_lock(&run->lock);
    run->is_done = true;
    run->error = error;
    g_cond_signal(&run->done);
    g_mutex_unlock(&run->lock);
    g_atomic_rc_box_release_full(run, run_clear);
    return NULL;
}

/* Whether it is over; waits a little. */
static bool
wait_a_little(struct run *run)
{
    gint64 deadline = g_get_monotonic_time() + LOOK_INTERVAL_MS * G_TIME_SPAN_MILLISECOND;
    bool is_done;

    g_mutex_lock(&run->lock);
    while (!run->is_done && g_cond_wait_until(&run->done, &run->lock, deadline))
        ;
    is_done = run->is_done;
    g_mutex_unlock(&run->lock);
    return is_done;
}

/* As virsh counts. */
static void
show_progress(const struct run *run)
{
    const struct libvirt_calls *calls = &run->migration.source->calls;
    virDomainJobInfo info;

    if (calls->virDomainGetJobInfo(run->domain, &info) == 0 && info.dataTotal > 0 &&
        info.dataRemaining <= info.dataTotal)
        job_show(run->migration.job,
                 (uint32_t)(1000.0 * (double)(info.dataTotal - info.dataRemaining) /
                            (double)info.dataTotal));
}

/* True when it is over, false when it did not end in spite of being told so. */
static bool
watch(struct run *run)
{
    const struct libvirt_migration *migration = &run->migration;
    const struct libvirt_calls *calls = &migration->source->calls;
    gint64 start = g_get_monotonic_time();
    gint64 give_up = 0;
    bool is_suspended = migration->suspend_after == 0;

    while (!wait_a_little(run)) {
        gint64 now = g_get_monotonic_time();

        if (give_up > 0 && now > give_up)
            return false;
        if (give_up == 0 && job_take_interrupt(migration->job)) {
            give_up = now + ABORT_BOUND_S * G_TIME_SPAN_SECOND;
            calls->virDomainAbortJob(run->domain);
        }
        if (!is_suspended && now - start > migration->suspend_after * G_TIME_SPAN_SECOND) {
            is_suspended = true;
            calls->virDomainSuspend(run->domain);
        }
        show_progress(run);
        migration->idle(migration->opaque);
    }
    return true;
}

static bool
add_params(struct run *run, int *max_params, GError **error)
{
    const struct libvirt_migration *migration = &run->migration;
    const struct libvirt_calls *calls = &migration->source->calls;
    bool is_added =
        (!migration->uri ||
         calls->virTypedParamsAddString(&run->params, &run->param_count, max_params,
                                        VIR_MIGRATE_PARAM_URI, migration->uri) == 0) &&
        (migration->limit == 0 ||
         calls->virTypedParamsAddULLong(&run->params, &run->param_count, max_params,
                                        VIR_MIGRATE_PARAM_BANDWIDTH, migration->limit) == 0);

    if (!is_added)
        libvirt_host_take_error(migration->source, error);
    return is_added;
}

static bool
run_in_thread(struct run *run, GError **error)
{
    GThread *thread = g_thread_new("migration", run_migration, g_atomic_rc_box_acquire(run));
    bool is_over = watch(run);

    /* As virsh does, also where there was nothing to see before. */
    if (is_over && !run->error)
        job_show(run->migration.job, 1000);
    job_end_line(run->migration.job);
    if (!is_over) {
        g_thread_unref(thread);
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_TIMEOUT,
                  "libvirt did not end the migration within %d s", ABORT_BOUND_S);
        return false;
    }
    g_thread_join(thread);
    if (!run->error)
        return true;
    g_propagate_error(error, g_steal_pointer(&run->error));
    return false;
}

bool
libvirt_migration_run(const struct libvirt_migration *migration, GError **error)
{
    struct libvirt_host *source = g_atomic_rc_box_acquire(migration->source);
    struct run *run = g_atomic_rc_box_new0(struct run);
    int max_params = 0;
    bool is_moved = false;

    run->migration = *migration;
    g_atomic_rc_box_acquire(migration->destination);
    g_mutex_init(&run->lock);
    g_cond_init(&run->done);
    run->domain = source->calls.virDomainLookupByUUID(source->connection, migration->guest->bytes);
    if (!run->domain)
        libvirt_host_take_error(source, error);
    else if (add_params(run, &max_params, error))
        is_moved = run_in_thread(run, error);
    g_atomic_rc_box_release_full(run, run_clear);
    return is_moved;
}
