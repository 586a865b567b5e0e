/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Waiting for a job of virtcryptd, with a server whose answers are written before they are asked
 * for.
 */
#include <signal.h>

#include "fake-server.h"
#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/job.h"

enum { VOLUME_PROGRAM = 0x56435654, JOB = 7 };

static struct frame
reply_to(uint32_t procedure, uint32_t serial)
{
    return (struct frame){
        .program = VOLUME_PROGRAM,
        .procedure = procedure,
        .type = REPLY,
        .serial = serial,
    };
}

static void
serve_wait(const struct fixture *fixture, uint32_t serial, bool is_done)
{
    const struct virtcrypt_volume_job_ret ret = {.job = JOB, .done = is_done, .permille = 420};
    g_autoptr(GByteArray) payload = payload_of(&virtcrypt_volume_job_ret_type, &ret);

    serve(fixture->server, reply_to(VIRTCRYPT_VOLUME_PROC_JOB_WAIT, serial), payload);
}

/* How many calls of `procedure` arrived. */
static guint
count_calls(const struct fixture *fixture, uint32_t procedure)
{
    g_autoptr(GByteArray) bytes = sent(fixture);
    guint count = 0;

    for (guint at = 0; at + HEADER_SIZE <= bytes->len;) {
        uint32_t words[4];

        memcpy(words, bytes->data + at, sizeof(words));
        count += GUINT32_FROM_BE(words[3]) == procedure;
        at += GUINT32_FROM_BE(words[0]);
    }
    return count;
}

static void
test_a_job_is_waited_for_until_it_is_done(struct fixture *fixture, const void *unused)
{
    g_auto(job_t) job = {.interrupts = -1};
    struct virtcrypt_volume_job_ret ret = {.job = JOB};
    g_autoptr(GError) error = NULL;

    serve_wait(fixture, 0, false);
    serve_wait(fixture, 1, true);
    g_assert_true(job_begin(&job, "Do it", true, &error));
    g_assert_true(job_finish(&job, fixture->client, &ret, &error));
    g_assert_no_error(error);
    g_assert_true(ret.done);
    g_assert_cmpuint(count_calls(fixture, VIRTCRYPT_VOLUME_PROC_JOB_WAIT), ==, 2);
    virtcrypt_volume_job_ret_clear(&ret);
}

static void
test_a_job_that_is_done_at_once_is_not_waited_for(struct fixture *fixture, const void *unused)
{
    g_auto(job_t) job = {.interrupts = -1};
    struct virtcrypt_volume_job_ret ret = {.job = JOB, .done = true};
    g_autoptr(GError) error = NULL;

    g_assert_true(job_begin(&job, "Do it", true, &error));
    g_assert_true(job_finish(&job, fixture->client, &ret, &error));
    g_assert_cmpuint(count_calls(fixture, VIRTCRYPT_VOLUME_PROC_JOB_WAIT), ==, 0);
}

static void
test_an_interrupt_cancels_the_job_and_not_the_program(struct fixture *fixture, const void *unused)
{
    g_auto(job_t) job = {.interrupts = -1};
    struct virtcrypt_volume_job_ret ret = {.job = JOB};
    g_autoptr(GError) error = NULL;
    struct frame refusal = reply_to(VIRTCRYPT_VOLUME_PROC_JOB_WAIT, 1);
    struct remote_error sent_error = {
        .code = ERROR_OPERATION_ABORTED,
        .domain = ERROR_FROM_STORAGE,
        .message = (char *)"operation aborted: cancelled",
    };
    g_autoptr(GByteArray) payload = payload_of(&remote_error_type, &sent_error);

    refusal.status = 1;
    serve(fixture->server, reply_to(VIRTCRYPT_VOLUME_PROC_JOB_CANCEL, 0), NULL);
    serve(fixture->server, refusal, payload);
    g_assert_true(job_begin(&job, "Do it", true, &error));
    raise(SIGINT);
    g_assert_false(job_finish(&job, fixture->client, &ret, &error));
    g_assert_cmpint(error_get_code(error), ==, ERROR_OPERATION_ABORTED);
    g_assert_cmpuint(count_calls(fixture, VIRTCRYPT_VOLUME_PROC_JOB_CANCEL), ==, 1);
}

static bool
is_interrupt_blocked(void)
{
    sigset_t mask;

    sigprocmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, SIGINT) == 1;
}

static void
test_interrupts_are_as_before_when_the_job_is_over(struct fixture *fixture, const void *unused)
{
    struct job job = {.interrupts = -1};

    g_assert_true(job_begin(&job, "Do it", true, NULL));
    g_assert_true(is_interrupt_blocked());
    job_clear(&job);
    g_assert_false(is_interrupt_blocked());
}

#define ADD(name) g_test_add("/tools/job/" #name, struct fixture, NULL, set_up, name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_job_is_waited_for_until_it_is_done);
    ADD(test_a_job_that_is_done_at_once_is_not_waited_for);
    ADD(test_an_interrupt_cancels_the_job_and_not_the_program);
    ADD(test_interrupts_are_as_before_when_the_job_is_over);
    return g_test_run();
}
