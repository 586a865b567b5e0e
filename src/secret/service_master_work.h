/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the one thread in which what may take long is done with the master key and its slots, and
 * the way of its result back to the loop. One piece of work at a time. What the thread uses is a
 * copy of its own: the service may be locked meanwhile. Not for other modules.
 */
#pragma once

#include "master/unlock.h"
#include "secret/service_master.h"
#include "secret/service_state.h"

struct master_work;

/* What kind of work it is. The names of the functions say in which thread they are called. */
struct master_work_kind {
    const char *name;    /* in "the master key is busy (a slot is being added)" */
    bool needs_unlocked; /* else refused while locked */
    bool changes_slots;  /* else `slots` and `master` are NULL in run_in_thread */
    bool takes_tampered; /* changes slots that are not authentic */
    /* Blocks. True: what it did is on disk, and finish_in_loop follows. */
    bool (*run_in_thread)(struct master_work *work, GError **error);
    /* Takes over what was done; NULL: nothing. False: it is told as an error. Not called when the
     * service ends meanwhile: the next start finds what is on disk. */
    bool (*finish_in_loop)(struct master_work *work, GError **error);
    void (*clear)(struct master_work *work); /* its own parts; may be NULL */
};

/* The beginning of each piece of work: its maker sets the first members, and zeros the others. */
struct master_work {
    const struct master_work_kind *kind;
    struct secret_service *service; /* not for run_in_thread */
    master_done_func done;
    void *opaque;

    /* The thread's own. */
    struct unlock_context unlock; /* borrows what lives as long as the service, and `cancel` */
    char *slots_path;
    struct slots *slots;       /* read anew from the file; changed as is wanted */
    struct master_key *master; /* a copy */
    bool is_tampered;          /* `slots` are not authentic (takes_tampered) */
    struct slot *slot;         /* what `done` is told of, or NULL */
    struct service_try tried;  /* of an unlock */

    GThread *thread;
    GError *error;
};

/* Starts it (taken; made with g_new), or calls `done` with why not. */
void service_master_begin(struct master_work *take_work);
/* Whether one is under way. */
bool service_master_is_busy(const struct secret_service *service);
/* Waits for its thread, and calls `done`. */
void service_master_end_work(struct secret_service *service);

/* With the service: what results come back through. Closing cancels what is under way, waits for
 * its thread (bounded by what one method may take), and tells nobody. */
bool service_master_open_work(struct secret_service *service, GError **error);
void service_master_close_work(struct secret_service *service);

/* The master key of before goes: out of the slots (service_master_rotate.c), then out of memory. */
void service_master_forget_previous(struct secret_service *service, master_done_func done,
                                    void *opaque);

/* After slots_write failed: whether the file surely is another one than `wanted`, so that what was
 * made for these can go. */
bool service_master_is_unwritten(const struct master_work *work, const struct slots *wanted);

/* The slots that were written are those in use from now on. */
void service_master_take_slots(struct secret_service *service, struct slots *take_slots);
