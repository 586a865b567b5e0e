/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Jobs, on a real server: answered in time, awaited, cancelled, limited, and without their client.
 * What a job does is said by its XML: "end", "fail", or "stay" (until it is cancelled).
 */
#include "rpc-host.h"
#include "storage/dispatch.h"
#include "util/secret_buf.h"

enum { POLL_US = 2000 };

struct fixture {
    struct rpc_host host;
    struct dispatch_workers *workers;
    struct dispatch_clients *clients;
    struct dispatch_jobs *jobs;
    uint32_t serial;
    gint running; /* atomic: jobs in a worker's hands */
};

/* ---- handlers ---- */

struct task {
    struct fixture *fixture;
    char *text;
};

static void
task_free(void *opaque)
{
    struct task *task = opaque;

    g_free(task->text);
    g_free(task);
}

static bool
run_task(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
         GError **error)
{
    const struct task *task = opaque;
    bool is_right = true;

    g_atomic_int_inc(&task->fixture->running);
    storage_progress_set(progress, 1, 4);
    if (g_str_equal(task->text, "fail")) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED, "it failed");
        is_right = false;
    }
    while (g_str_equal(task->text, "stay") && (is_right = storage_progress_check(progress, error)))
        g_usleep(POLL_US);
    if (is_right) {
        *ret_volume = g_new0(struct storage_volume, 1);
        (*ret_volume)->pool = g_strdup("p");
        (*ret_volume)->name = g_strdup(task->text);
        (*ret_volume)->warnings = g_strsplit("one two", " ", -1);
    }
    g_atomic_int_add(&task->fixture->running, -1);
    return is_right;
}

static enum rpc_outcome
create(struct rpc_call *call, void *opaque, struct virtcrypt_volume_create_args *args,
       struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct fixture *fixture = opaque;
    struct task *task = g_new0(struct task, 1);
    const struct dispatch_job_request request = {run_task, task, task_free};

    task->fixture = fixture;
    task->text = g_strdup(args->xml);
    /* cppcheck-suppress memleak ; the request has it, and task_free */
    return dispatch_job_start(fixture->jobs, call, &request, error);
}

static enum rpc_outcome
job_wait(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_job_wait_args *args,
         struct virtcrypt_volume_job_ret *ret, GError **error)
{
    return dispatch_job_wait(((struct fixture *)opaque)->jobs, call, args->job, error);
}

static enum rpc_outcome
job_cancel(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_job_wait_args *args,
           GError **error)
{
    return dispatch_job_cancel(((struct fixture *)opaque)->jobs, call, args->job, error);
}

static const struct virtcrypt_volume_handlers handlers = {
    .create = create,
    .job_wait = job_wait,
    .job_cancel = job_cancel,
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_server_params params;

    *fixture = (struct fixture){0};
    rpc_host_init(&fixture->host);
    fixture->workers = dispatch_workers_new(fixture->host.loop);
    fixture->clients = dispatch_clients_new();
    fixture->jobs = dispatch_jobs_new(fixture->host.loop, fixture->workers, fixture->clients);
    params = rpc_host_params(&fixture->host);
    params.max_client_requests = DISPATCH_CLIENT_JOBS_MAX + 2;
    rpc_host_start(&fixture->host, &params);
    rpc_server_add_program(fixture->host.server, &virtcrypt_volume_program, &handlers, fixture);
}

/* As the daemon ends. */
static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    dispatch_clients_end(fixture->clients);
    while (dispatch_workers_count(fixture->workers) > 0)
        rpc_host_run_for(&fixture->host, 10);
    rpc_host_clear(&fixture->host);
    dispatch_workers_free(fixture->workers);
    g_assert_cmpuint(dispatch_jobs_count(fixture->jobs), ==, 0);
    dispatch_jobs_free(fixture->jobs);
    dispatch_clients_free(fixture->clients);
}

/* ---- clients ---- */

static struct rpc_host_client *
connect_client(struct fixture *fixture)
{
    struct rpc_host_client *client = rpc_host_connect(&fixture->host);

    rpc_open(&fixture->host, client, 0);
    return client;
}

static uint32_t
call(struct fixture *fixture, struct rpc_host_client *client, int procedure,
     const struct rpc_type *type, const void *args)
{
    GByteArray *message = rpc_call_message(procedure, ++fixture->serial, type, args);
    uint32_t number = GUINT32_TO_BE(virtcrypt_volume_program.number);

    memcpy(message->data + sizeof(uint32_t), &number, sizeof(number));
    rpc_send_message(&fixture->host, client, message);
    return fixture->serial;
}

static uint32_t
start(struct fixture *fixture, struct rpc_host_client *client, const char *what)
{
    const struct virtcrypt_volume_create_args args = {.pool = (char *)"p", .xml = (char *)what};
    g_autoptr(secret_buf_t) none = secret_buf_new(0, NULL);
    struct virtcrypt_volume_create_args sent = args;

    sent.key = none;
    return call(fixture, client, VIRTCRYPT_VOLUME_PROC_CREATE, &virtcrypt_volume_create_args_type,
                &sent);
}

static uint32_t
ask(struct fixture *fixture, struct rpc_host_client *client, int procedure, uint64_t job)
{
    const struct virtcrypt_volume_job_wait_args args = {.job = job};

    return call(fixture, client, procedure, &virtcrypt_volume_job_wait_args_type, &args);
}

static void
expect(struct fixture *fixture, struct rpc_host_client *client, uint32_t serial,
       struct virtcrypt_volume_job_ret *ret)
{
    *ret = (struct virtcrypt_volume_job_ret){0};
    rpc_expect_reply(&fixture->host, client, serial, &virtcrypt_volume_job_ret_type, ret);
}

static bool
is_error_next(struct fixture *fixture, struct rpc_host_client *client)
{
    struct rpc_frame_header header;

    while (client->received->len < RPC_FRAME_HEADER_SIZE)
        loop_run(fixture->host.loop);
    rpc_frame_decode_header(client->received->data, &header);
    return header.status == RPC_FRAME_ERROR;
}

/* How a job ends. A loaded host may do less in DISPATCH_JOB_ANSWER_MS than a test expects of it:
 * then the number of the job comes first, and is asked for again. */
static void
expect_end(struct fixture *fixture, struct rpc_host_client *client, uint32_t serial,
           struct virtcrypt_volume_job_ret *ret)
{
    expect(fixture, client, serial, ret);
    while (!ret->done)
        expect(fixture, client, ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, ret->job),
               ret);
}

/* Numbers that come before the next error are nobody's. */
static void
skip_numbers(struct fixture *fixture, struct rpc_host_client *client)
{
    while (!is_error_next(fixture, client)) {
        g_autoptr(GByteArray) payload = NULL;

        rpc_receive(&fixture->host, client, &payload);
    }
}

static void
expect_end_error(struct fixture *fixture, struct rpc_host_client *client, uint32_t serial, int code,
                 const char *part)
{
    struct virtcrypt_volume_job_ret ret;

    while (!is_error_next(fixture, client)) {
        expect(fixture, client, serial, &ret);
        g_assert_false(ret.done);
        serial = ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, ret.job);
    }
    rpc_expect_error(&fixture->host, client, serial, code, ERROR_FROM_STORAGE, part);
}

/* The number of a job that stays, and is at work. */
static uint64_t
start_staying(struct fixture *fixture, struct rpc_host_client *client)
{
    struct virtcrypt_volume_job_ret ret;

    expect(fixture, client, start(fixture, client, "stay"), &ret);
    while (ret.permille == 0 && !ret.done)
        expect(fixture, client, ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, ret.job),
               &ret);
    g_assert_false(ret.done);
    g_assert_null(ret.volume);
    g_assert_cmpuint(ret.permille, ==, 250);
    return ret.job;
}

static void
wait_until_none_runs(struct fixture *fixture)
{
    while (dispatch_workers_count(fixture->workers) > 0)
        rpc_host_run_for(&fixture->host, 10);
    g_assert_cmpint(g_atomic_int_get(&fixture->running), ==, 0);
}

/* ---- tests ---- */

static void
test_a_short_job_is_answered_with_its_end(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    struct virtcrypt_volume_job_ret ret;

    expect(fixture, client, start(fixture, client, "end"), &ret);
    /* On a loaded host it may be no short one: then another. */
    while (!ret.done) {
        expect_end(fixture, client, ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, ret.job),
                   &ret);
        virtcrypt_volume_job_ret_clear(&ret);
        expect(fixture, client, start(fixture, client, "end"), &ret);
    }
    g_assert_cmpuint(ret.permille, ==, 1000);
    g_assert_cmpstr(ret.volume->name, ==, "end");
    g_assert_cmpuint(ret.warnings_len, ==, 2);
    g_assert_cmpstr(ret.warnings[1], ==, "two");
    virtcrypt_volume_job_ret_clear(&ret);
    g_assert_cmpuint(dispatch_jobs_count(fixture->jobs), ==, 0);
}

static void
test_a_job_that_fails_is_answered_with_its_error(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);

    expect_end_error(fixture, client, start(fixture, client, "fail"), ERROR_OPERATION_FAILED,
                     "it failed");
    g_assert_cmpuint(dispatch_jobs_count(fixture->jobs), ==, 0);
}

static void
test_a_long_job_is_answered_with_its_number_and_awaited(struct fixture *fixture,
                                                        gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    uint64_t job = start_staying(fixture, client);
    struct virtcrypt_volume_job_ret ret;

    expect(fixture, client, ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, job), &ret);
    g_assert_false(ret.done);
    g_assert_cmpuint(ret.job, ==, job);
}

static void
test_a_cancelled_job_ends_with_an_error(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    uint64_t job = start_staying(fixture, client);

    rpc_expect_reply(&fixture->host, client,
                     ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_CANCEL, job), NULL, NULL);
    expect_end_error(fixture, client, ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, job),
                     ERROR_OPERATION_ABORTED, "cancelled");
    g_assert_cmpuint(dispatch_jobs_count(fixture->jobs), ==, 0);
}

static void
test_the_end_is_kept_until_somebody_waits(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    uint64_t job = start_staying(fixture, client);

    rpc_expect_reply(&fixture->host, client,
                     ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_CANCEL, job), NULL, NULL);
    wait_until_none_runs(fixture);
    g_assert_cmpuint(dispatch_jobs_count(fixture->jobs), ==, 1);
    rpc_expect_error(&fixture->host, client,
                     ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, job),
                     ERROR_OPERATION_ABORTED, ERROR_FROM_STORAGE, "cancelled");
    rpc_expect_error(&fixture->host, client,
                     ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, job), ERROR_INVALID_ARG,
                     ERROR_FROM_STORAGE, "has no job");
}

static void
test_two_can_not_wait_for_one_job(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    uint64_t job = start_staying(fixture, client);
    uint32_t first = ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, job);
    uint32_t second = ask(fixture, client, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, job);
    struct virtcrypt_volume_job_ret ret;

    rpc_expect_error(&fixture->host, client, second, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                     "is being waited for already");
    expect(fixture, client, first, &ret);
}

static void
test_a_job_is_unknown_to_other_connections(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    struct rpc_host_client *other = connect_client(fixture);
    uint64_t job = start_staying(fixture, client);

    rpc_expect_error(&fixture->host, other,
                     ask(fixture, other, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, job), ERROR_INVALID_ARG,
                     ERROR_FROM_STORAGE, "has no job");
    rpc_expect_error(&fixture->host, other,
                     ask(fixture, other, VIRTCRYPT_VOLUME_PROC_JOB_CANCEL, job), ERROR_INVALID_ARG,
                     ERROR_FROM_STORAGE, "has no job");
    g_assert_cmpint(g_atomic_int_get(&fixture->running), ==, 1);
}

static void
test_jobs_are_cancelled_when_their_connection_is_dropped(struct fixture *fixture,
                                                         gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);

    start_staying(fixture, client);
    start(fixture, client, "stay"); /* its call is still waiting */
    rpc_host_settle(&fixture->host);
    g_assert_cmpuint(dispatch_jobs_count(fixture->jobs), ==, 2);
    rpc_host_hang_up(client);
    wait_until_none_runs(fixture);
    g_assert_cmpuint(dispatch_jobs_count(fixture->jobs), ==, 0);
}

static void
test_a_connection_has_a_limit_of_jobs(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    struct rpc_host_client *other = connect_client(fixture);
    struct virtcrypt_volume_job_ret ret;
    uint32_t ninth;

    for (int i = 0; i < DISPATCH_CLIENT_JOBS_MAX; i++)
        start(fixture, client, "stay");
    ninth = start(fixture, client, "end");
    skip_numbers(fixture, client);
    rpc_expect_error(&fixture->host, client, ninth, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                     "this connection has 8 jobs already");
    /* All workers of jobs are taken: another waits its turn, and gets it. */
    expect(fixture, other, start(fixture, other, "end"), &ret);
    g_assert_false(ret.done);
    rpc_host_hang_up(client);
    expect_end(fixture, other, ask(fixture, other, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, ret.job), &ret);
    virtcrypt_volume_job_ret_clear(&ret);
}

static void
test_there_is_a_limit_of_jobs_in_all(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client;

    for (int i = 0; i < DISPATCH_JOBS_MAX / DISPATCH_CLIENT_JOBS_MAX; i++) {
        client = connect_client(fixture);
        for (int j = 0; j < DISPATCH_CLIENT_JOBS_MAX; j++)
            start(fixture, client, "stay");
    }
    client = connect_client(fixture);
    rpc_host_settle(&fixture->host);
    rpc_expect_error(&fixture->host, client, start(fixture, client, "end"), ERROR_RESOURCE_BUSY,
                     ERROR_FROM_STORAGE, "virtcryptd has 64 jobs already");
}

static void
test_jobs_without_an_end_keep_no_other_work_waiting(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    struct rpc_host_client *other = connect_client(fixture);

    for (int i = 0; i < DISPATCH_CLIENT_JOBS_MAX; i++)
        start(fixture, client, "stay");
    rpc_host_settle(&fixture->host);
    /* What is the loop's own is answered while they stay. */
    rpc_expect_error(&fixture->host, other,
                     ask(fixture, other, VIRTCRYPT_VOLUME_PROC_JOB_WAIT, 12345), ERROR_INVALID_ARG,
                     ERROR_FROM_STORAGE, "has no job 12345");
    g_assert_cmpuint(dispatch_workers_count(fixture->workers), >=, DISPATCH_CLIENT_JOBS_MAX);
}

static void
test_at_the_end_jobs_are_cancelled_and_none_is_begun(struct fixture *fixture, gconstpointer unused)
{
    struct rpc_host_client *client = connect_client(fixture);
    uint32_t waiting = start(fixture, client, "stay");

    rpc_host_settle(&fixture->host);
    dispatch_clients_end(fixture->clients);
    expect_end_error(fixture, client, waiting, ERROR_OPERATION_ABORTED, "cancelled");
    rpc_expect_error(&fixture->host, client, start(fixture, client, "end"), ERROR_OPERATION_INVALID,
                     ERROR_FROM_STORAGE, "virtcryptd is ending");
}

#define ADD(name)                                                                                  \
    g_test_add("/storage/dispatch_job/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_short_job_is_answered_with_its_end);
    ADD(a_job_that_fails_is_answered_with_its_error);
    ADD(a_long_job_is_answered_with_its_number_and_awaited);
    ADD(a_cancelled_job_ends_with_an_error);
    ADD(the_end_is_kept_until_somebody_waits);
    ADD(two_can_not_wait_for_one_job);
    ADD(a_job_is_unknown_to_other_connections);
    ADD(jobs_are_cancelled_when_their_connection_is_dropped);
    ADD(a_connection_has_a_limit_of_jobs);
    ADD(there_is_a_limit_of_jobs_in_all);
    ADD(jobs_without_an_end_keep_no_other_work_waiting);
    ADD(at_the_end_jobs_are_cancelled_and_none_is_begun);
    return g_test_run();
}
