/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: waiting for long work, a job of virtcryptd most often: how far it is, on a terminal, and
 * SIGINT, which cancels the work and not the program; the second one ends the program.
 */
#pragma once

#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "rpc/client.h"
#include "rpc/protocol/virtcrypt_volume.h"
#include "util/file.h"

struct job {
    const char *label; /* "Create volume" */
    bool is_visible;   /* on a terminal, not quiet */
    bool is_shown;
    file_fd interrupts; /* signalfd of SIGINT, -1: not watched any more */
    sigset_t mask_before;
};

/* Before the call that starts it. */
bool job_begin(struct job *job, const char *label, bool is_quiet, GError **error);

/* How far it is, on the terminal, until job_end_line. */
void job_show(struct job *job, uint32_t permille);
void job_end_line(struct job *job);

/* Whether SIGINT came since job_begin; from then on it is not watched any more. */
bool job_take_interrupt(struct job *job);

/* `ret` is the answer to that call; it is replaced by those that follow until one says that the job
 * is done. On failure it is cleared. */
bool job_finish(struct job *job, struct rpc_client *client, struct virtcrypt_volume_job_ret *ret,
                GError **error);

void job_clear(struct job *job);
typedef struct job job_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(job_t, job_clear)
