/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: jobs: work that may be long, in a worker's thread. The call that starts one is answered
 * when it is done, or after DISPATCH_JOB_ANSWER_MS with its number; then job_wait goes on waiting,
 * in steps as long. A job belongs to its connection, and is cancelled when that ends. From the
 * loop's thread, but for the work itself.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/program.h"
#include "storage/dispatch_client.h"
#include "storage/dispatch_work.h"
#include "storage/progress.h"
#include "storage/service.h"

struct dispatch_jobs;

enum {
    DISPATCH_JOB_ANSWER_MS = 1000,
    DISPATCH_JOBS_MAX = 64, /* waiting, running, and done without having been asked for */
};

struct dispatch_job_request {
    /* In a worker's thread. *ret_volume may stay NULL. */
    bool (*run)(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
                GError **error);
    void *opaque;        /* taken, also on failure */
    GDestroyNotify free; /* of `opaque` */
};

struct dispatch_jobs *dispatch_jobs_new(struct loop *loop, struct dispatch_workers *workers,
                                        struct dispatch_clients *clients);
/* Only when no work is left. */
void dispatch_jobs_free(struct dispatch_jobs *jobs);

/* These are handlers of procedures that return struct virtcrypt_volume_job_ret, and of job_cancel.
 * ERROR_RESOURCE_BUSY at a limit; ERROR_INVALID_ARG for a number that is no job of this
 * connection. */
enum rpc_outcome dispatch_job_start(struct dispatch_jobs *jobs, struct rpc_call *call,
                                    const struct dispatch_job_request *request, GError **error);
enum rpc_outcome dispatch_job_wait(struct dispatch_jobs *jobs, struct rpc_call *call,
                                   uint64_t number, GError **error);
enum rpc_outcome dispatch_job_cancel(struct dispatch_jobs *jobs, struct rpc_call *call,
                                     uint64_t number, GError **error);

unsigned int dispatch_jobs_count(const struct dispatch_jobs *jobs);
