/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the thread that commits, the queue to it, and the way of results back into the loop.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/store_committer.h"
#include "util/loop.h"

struct worker;

/* Starts the thread, which owns `take_committer` until worker_free. `loop` may be NULL. */
struct worker *worker_new(struct committer *take_committer, struct loop *loop, GError **error);
/* Waits for what is queued, then for a last checkpoint. */
void worker_free(struct worker *worker);

/* As store_submit and store_drain; without a change, store_request_checkpoint. */
void worker_submit(struct worker *worker, struct store_change *take_change, store_done_func done,
                   void *opaque);
void worker_drain(struct worker *worker);

/* Commits a change, or makes a checkpoint if it is NULL, and waits. */
bool worker_run(struct worker *worker, struct store_change *take_change, GError **error);
