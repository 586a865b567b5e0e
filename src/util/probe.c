/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: probes, and which of them are stuck. That belongs to the process, as its threads do: hence
 * the one variable here.
 */
#include "util/probe.h"

#include <linux/close_range.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/error.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(probe, "rt_sigprocmask close_range");

enum {
    US_PER_MS = 1000,
    TURN_MS = 50, /* how often that is looked for: nobody is waited for any longer */
    /* What answers at once is read even then: the end of a change may need it. */
    CANCELLED_WAIT_MS = 100,
    /* Another is tried at the same object when the last one has been stuck for so many times its
     * bound: the object may be there again while the old one is stuck for good, as after 'umount
     * -l' and a new mount. */
    RETRY_FACTOR = 6,
    STUCK_MAX = 16,
    FIRST_OWN_FD = 3,
};

struct job {
    char *object;
    void (*run)(void *data);
    GDestroyNotify free_data;
    void *data;
    gint64 begun_us;
    gint64 retry_us; /* not before that another one */
    bool is_done;
    bool is_left; /* nobody waits: in `stuck` */
};

static struct {
    GMutex lock;
    GCond ended;
    GSList *stuck; /* of struct job, the last one first */
} probes;

static void
job_free(struct job *job)
{
    if (job->data && job->free_data)
        job->free_data(job->data);
    g_free(job->object);
    g_free(job);
}

/* A thread that is stuck outlives its process, in what it holds: locks and sockets, which the next
 * daemon needs. What is closed here is closed in this thread alone. */
static void
leave_descriptors(void)
{
    (void)syscall(SYS_close_range, FIRST_OWN_FD, UINT_MAX, CLOSE_RANGE_UNSHARE);
}

static gpointer
thread_main(gpointer opaque)
{
    struct job *job = opaque;
    bool is_left;
    sigset_t all;

    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    leave_descriptors();
    job->run(job->data);
    g_mutex_lock(&probes.lock);
    job->is_done = true;
    is_left = job->is_left;
    g_cond_broadcast(&probes.ended);
    g_mutex_unlock(&probes.lock);
    if (!is_left)
        return NULL;
    /* In the list until it holds nothing any more. */
    g_clear_pointer(&job->data, job->free_data);
    g_mutex_lock(&probes.lock);
    probes.stuck = g_slist_remove(probes.stuck, job);
    g_mutex_unlock(&probes.lock);
    job_free(job);
    return NULL;
}

/* ---- who waits ---- */

static unsigned int
timeout_of(const struct probe *probe)
{
    return probe->timeout_ms > 0 ? probe->timeout_ms : PROBE_DEFAULT_MS;
}

static void
set_overdue(const char *object, gint64 waited_us, const char *what, GError **error)
{
    error_set(
        error, ERROR_FROM_NONE, ERROR_OPERATION_TIMEOUT,
        "%s %s for %.1f s: the file system that it is on hangs; see to its server, or unmount "
        "it by force ('umount -f')",
        object, what, (double)waited_us / G_USEC_PER_SEC);
}

/* With the lock held. */
static bool
check_can_begin(const struct probe *probe, GError **error)
{
    gint64 now = g_get_monotonic_time();

    for (const GSList *item = probes.stuck; item; item = item->next) {
        const struct job *other = item->data;

        if (g_str_equal(other->object, probe->object) && now < other->retry_us) {
            set_overdue(probe->object, now - other->begun_us, "still does not answer", error);
            return false;
        }
    }
    if (g_slist_length(probes.stuck) < STUCK_MAX)
        return true;
    error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_TIMEOUT,
              "%s is not read, because %d readings of files do not end: see to the file systems "
              "that hang, then restart this program",
              probe->object, STUCK_MAX);
    return false;
}

/* With the lock held. Whether it is done; else the reason why nobody waits any longer. */
static bool
wait_for(const struct probe *probe, const struct job *job, GError **error)
{
    gint64 deadline = job->begun_us + (gint64)timeout_of(probe) * US_PER_MS;
    gint64 now;

    while (!job->is_done) {
        now = g_get_monotonic_time();
        if (probe->cancel && g_atomic_int_get(probe->cancel) != 0 &&
            now - job->begun_us >= (gint64)CANCELLED_WAIT_MS * US_PER_MS) {
            error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_ABORTED,
                      "the reading of %s was broken off", probe->object);
            return false;
        }
        if (now >= deadline) {
            set_overdue(probe->object, now - job->begun_us, "has not answered", error);
            return false;
        }
        g_cond_wait_until(&probes.ended, &probes.lock,
                          MIN(deadline, now + (gint64)TURN_MS * US_PER_MS));
    }
    return true;
}

static struct job *
job_new(const struct probe *probe, void *take_data)
{
    struct job *job = g_new0(struct job, 1);

    job->object = g_strdup(probe->object);
    job->run = probe->run;
    job->free_data = probe->free_data;
    job->data = take_data;
    job->begun_us = g_get_monotonic_time();
    job->retry_us = job->begun_us + (gint64)timeout_of(probe) * US_PER_MS * RETRY_FACTOR;
    return job;
}

void *
probe_run(const struct probe *probe, void *take_data, GError **error)
{
    struct job *job = job_new(probe, take_data);
    GThread *thread = NULL;
    void *data = NULL;
    bool is_done;

    g_mutex_lock(&probes.lock);
    if (check_can_begin(probe, error))
        thread = g_thread_try_new("probe", thread_main, job, error);
    is_done = thread && wait_for(probe, job, error);
    if (thread && !is_done) {
        job->is_left = true;
        probes.stuck = g_slist_prepend(probes.stuck, job);
    }
    g_mutex_unlock(&probes.lock);
    if (thread && !is_done) {
        g_thread_unref(thread);
        return NULL;
    }
    if (thread) {
        g_thread_join(thread);
        data = g_steal_pointer(&job->data);
    }
    job_free(job);
    return data;
}

/* ---- the end ---- */

size_t
probe_count_stuck(void)
{
    size_t count;

    g_mutex_lock(&probes.lock);
    count = g_slist_length(probes.stuck);
    g_mutex_unlock(&probes.lock);
    return count;
}

void
probe_end_process(int status)
{
    if (probe_count_stuck() == 0)
        return;
    fflush(NULL);
    _exit(status);
}
