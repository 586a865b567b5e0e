/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see dispatch_job.h. A job is in the table until its end was told to somebody, or there is
 * nobody left to be told.
 */
#include "storage/dispatch_job.h"

#include "storage/dispatch.h"
#include "util/error.h"

enum { PERMILLE_DONE = 1000 };

struct dispatch_jobs {
    struct loop *loop;
    struct dispatch_workers *workers;
    struct dispatch_clients *clients;
    GHashTable *jobs; /* guint64 -> struct job */
    uint64_t last_number;
};

struct job {
    struct dispatch_work work; /* first */
    struct dispatch_closing closing;
    uint64_t number;
    struct dispatch_jobs *jobs;
    struct dispatch_client *client; /* NULL once its connection has ended */
    struct dispatch_job_request request;
    struct storage_progress progress;
    struct rpc_call *waiting; /* to be answered, or NULL */
    struct loop_timer *timer; /* while `waiting` */
    bool is_done;
    struct storage_volume *volume; /* when done; or NULL */
    GError *error;                 /* when done; or NULL */
};

struct dispatch_jobs *
dispatch_jobs_new(struct loop *loop, struct dispatch_workers *workers,
                  struct dispatch_clients *clients)
{
    struct dispatch_jobs *jobs = g_new0(struct dispatch_jobs, 1);

    jobs->loop = loop;
    jobs->workers = workers;
    jobs->clients = clients;
    jobs->jobs = g_hash_table_new(g_int64_hash, g_int64_equal);
    return jobs;
}

void
dispatch_jobs_free(struct dispatch_jobs *jobs)
{
    if (!jobs)
        return;
    g_assert(g_hash_table_size(jobs->jobs) == 0);
    g_hash_table_unref(jobs->jobs);
    g_free(jobs);
}

unsigned int
dispatch_jobs_count(const struct dispatch_jobs *jobs)
{
    return g_hash_table_size(jobs->jobs);
}

static void
job_free(struct job *job)
{
    g_hash_table_remove(job->jobs->jobs, &job->number);
    if (job->client) {
        job->client->jobs--;
        dispatch_client_drop_closing(job->client, &job->closing);
        dispatch_client_unref(job->client);
    }
    storage_volume_free(job->volume);
    g_clear_error(&job->error);
    g_free(job);
}

/* ---- answers ---- */

static struct rpc_call *
take_waiting(struct job *job)
{
    g_clear_pointer(&job->timer, loop_timer_free);
    return g_steal_pointer(&job->waiting);
}

static void
on_answer_time(void *opaque)
{
    struct job *job = opaque;
    struct rpc_call *call = take_waiting(job);
    struct virtcrypt_volume_job_ret *ret = rpc_call_get_ret(call);

    ret->job = job->number;
    ret->permille = (uint32_t)g_atomic_int_get(&job->progress.permille);
    rpc_call_reply(call);
}

static void
start_waiting(struct job *job, struct rpc_call *call)
{
    job->waiting = call;
    job->timer = loop_timer_new(job->jobs->loop, DISPATCH_JOB_ANSWER_MS, on_answer_time, job);
}

static void
fill_end(const struct job *job, struct virtcrypt_volume_job_ret *ret)
{
    guint count = job->volume && job->volume->warnings ? g_strv_length(job->volume->warnings) : 0;

    ret->job = job->number;
    ret->done = true;
    ret->permille = PERMILLE_DONE;
    if (!job->volume)
        return;
    ret->volume = g_new0(struct virtcrypt_volume_entry, 1);
    dispatch_describe_volume(job->volume, ret->volume);
    ret->warnings_len = MIN(count, VIRTCRYPT_VOLUME_WARNINGS_MAX);
    ret->warnings = g_new0(char *, ret->warnings_len);
    for (guint i = 0; i < ret->warnings_len; i++)
        ret->warnings[i] = g_strdup(job->volume->warnings[i]);
}

/* Ends the job too. */
static void
answer_end(struct job *job, struct rpc_call *call)
{
    GError *error = g_steal_pointer(&job->error);

    if (!error)
        fill_end(job, rpc_call_get_ret(call));
    job_free(job);
    if (error)
        rpc_call_fail(call, error);
    else
        rpc_call_reply(call);
}

/* ---- the work ---- */

static bool
run_job(struct dispatch_work *work, GError **error)
{
    struct job *job = (struct job *)work;

    /* It may have been cancelled while it waited for a worker. */
    return storage_progress_check(&job->progress, error) &&
           job->request.run(job->request.opaque, &job->progress, &job->volume, error);
}

static void
on_job_done(struct dispatch_work *work, const GError *error)
{
    struct job *job = (struct job *)work;

    job->is_done = true;
    job->error = error ? g_error_copy(error) : NULL;
    /* It holds the key. */
    job->request.free(g_steal_pointer(&job->request.opaque));
    if (job->waiting)
        answer_end(job, take_waiting(job));
    else if (!job->client)
        job_free(job);
}

static void
cancel(struct job *job)
{
    g_atomic_int_set(&job->progress.is_cancelled, 1);
}

static void
on_connection_closed(struct dispatch_closing *closing)
{
    struct job *job = (struct job *)((char *)closing - G_STRUCT_OFFSET(struct job, closing));

    job->client->jobs--;
    g_clear_pointer(&job->client, dispatch_client_unref);
    cancel(job);
    if (job->is_done)
        job_free(job);
}

/* ---- calls ---- */

static bool
check_limits(const struct dispatch_jobs *jobs, const struct dispatch_client *client, GError **error)
{
    if (!dispatch_clients_check(jobs->clients, error))
        return false;
    if (client->jobs >= DISPATCH_CLIENT_JOBS_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                  "this connection has %d jobs already, the most that one can have: wait for the "
                  "end of one",
                  DISPATCH_CLIENT_JOBS_MAX);
        return false;
    }
    if (g_hash_table_size(jobs->jobs) >= DISPATCH_JOBS_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                  "virtcryptd has %d jobs already, the most that it takes: try again when some "
                  "have ended",
                  DISPATCH_JOBS_MAX);
        return false;
    }
    return true;
}

enum rpc_outcome
dispatch_job_start(struct dispatch_jobs *jobs, struct rpc_call *call,
                   const struct dispatch_job_request *request, GError **error)
{
    struct dispatch_client *client = dispatch_clients_get(jobs->clients, call);
    struct job *job;

    if (!check_limits(jobs, client, error)) {
        request->free(request->opaque);
        return RPC_FAILED;
    }
    job = g_new0(struct job, 1);
    job->work.run = run_job;
    job->work.done = on_job_done;
    job->closing.func = on_connection_closed;
    job->number = ++jobs->last_number;
    job->jobs = jobs;
    job->client = dispatch_client_ref(client);
    job->request = *request;
    client->jobs++;
    dispatch_client_add_closing(client, &job->closing);
    g_hash_table_insert(jobs->jobs, &job->number, job);
    start_waiting(job, call);
    dispatch_workers_push(jobs->workers, DISPATCH_POOL_JOBS, &job->work);
    return RPC_LATER;
}

/* Others' jobs are as unknown as those that never were. */
static struct job *
find(struct dispatch_jobs *jobs, struct rpc_call *call, uint64_t number, GError **error)
{
    struct job *job = g_hash_table_lookup(jobs->jobs, &number);

    if (job && job->client && job->client == dispatch_clients_get(jobs->clients, call))
        return job;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "this connection has no job %" G_GUINT64_FORMAT, number);
    return NULL;
}

enum rpc_outcome
dispatch_job_wait(struct dispatch_jobs *jobs, struct rpc_call *call, uint64_t number,
                  GError **error)
{
    struct job *job = find(jobs, call, number, error);

    if (!job)
        return RPC_FAILED;
    if (job->waiting) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "job %" G_GUINT64_FORMAT " is being waited for already", number);
        return RPC_FAILED;
    }
    if (job->is_done)
        answer_end(job, call);
    else
        start_waiting(job, call);
    return RPC_LATER;
}

enum rpc_outcome
dispatch_job_cancel(struct dispatch_jobs *jobs, struct rpc_call *call, uint64_t number,
                    GError **error)
{
    struct job *job = find(jobs, call, number, error);

    if (!job)
        return RPC_FAILED;
    cancel(job);
    return RPC_DONE;
}
