/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: job.h.
 */
#include "tools/job.h"

#include <errno.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "util/error.h"

bool
job_begin(struct job *job, const char *label, bool is_quiet, GError **error)
{
    sigset_t interrupt;

    job->label = label;
    job->is_visible = !is_quiet && isatty(STDERR_FILENO);
    job->is_shown = false;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    job->interrupts = signalfd(-1, &interrupt, SFD_CLOEXEC | SFD_NONBLOCK);
    if (job->interrupts < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot watch signals");
        return false;
    }
    sigprocmask(SIG_BLOCK, &interrupt, &job->mask_before);
    return true;
}

void
job_clear(struct job *job)
{
    if (job->interrupts < 0)
        return;
    file_fd_clear(&job->interrupts);
    sigprocmask(SIG_SETMASK, &job->mask_before, NULL);
}

void
job_show(struct job *job, uint32_t permille)
{
    if (!job->is_visible)
        return;
    fflush(stdout);
    fprintf(stderr, "\r%s: [%3u %%]", job->label, MIN(permille, 1000) / 10);
    job->is_shown = true;
}

void
job_end_line(struct job *job)
{
    if (job->is_shown)
        fputc('\n', stderr);
    job->is_shown = false;
}

bool
job_take_interrupt(struct job *job)
{
    struct signalfd_siginfo info;

    if (job->interrupts < 0 || read(job->interrupts, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return false;
    job_clear(job);
    return true;
}

bool
job_finish(struct job *job, struct rpc_client *client, struct virtcrypt_volume_job_ret *ret,
           GError **error)
{
    while (!ret->done) {
        const struct virtcrypt_volume_job_wait_args wait = {.job = ret->job};
        bool is_answered;

        job_show(job, ret->permille);
        virtcrypt_volume_job_ret_clear(ret);
        is_answered =
            (!job_take_interrupt(job) || virtcrypt_volume_job_cancel_call(client, &wait, error)) &&
            virtcrypt_volume_job_wait_call(client, &wait, ret, error);
        if (!is_answered) {
            job_end_line(job);
            return false;
        }
    }
    if (job->is_shown)
        job_show(job, 1000);
    job_end_line(job);
    return true;
}
