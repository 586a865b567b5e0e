/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: work that leaves the event loop's thread and comes back to it. Kinds of work have workers
 * of their own, so that jobs without an end keep no guest from starting, and those who only look
 * keep nobody from changing. From the loop's thread, but for the work itself.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/loop.h"

enum dispatch_pool {
    DISPATCH_POOL_STATUS, /* asks the custodian, which may not answer */
    DISPATCH_POOL_LOOKS,
    DISPATCH_POOL_CHANGES,
    DISPATCH_POOL_GUESTS,
    DISPATCH_POOL_JOBS,
    DISPATCH_POOL_LIBVIRT, /* asks libvirt, which may be waiting for one of the others */
    DISPATCH_POOL_LAST,
};

struct dispatch_workers;

/* Embedded in what the work is about. */
struct dispatch_work {
    /* In a worker's thread. */
    bool (*run)(struct dispatch_work *work, GError **error);
    /* Back in the loop; frees the work. `error` is NULL if `run` returned true. */
    void (*done)(struct dispatch_work *work, const GError *error);
    struct dispatch_workers *workers;
    GError *error;
};

struct dispatch_workers *dispatch_workers_new(struct loop *loop);

/* Waits for the threads, of which none may have work. */
void dispatch_workers_free(struct dispatch_workers *workers);

void dispatch_workers_push(struct dispatch_workers *workers, enum dispatch_pool pool,
                           struct dispatch_work *work);

/* Pieces of work that are not done, waiting ones too. */
unsigned int dispatch_workers_count(const struct dispatch_workers *workers);

/* Calls `func` once, from the loop, when no work is left; at once if there is none. */
void dispatch_workers_on_idle(struct dispatch_workers *workers, loop_func func, void *opaque);
