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

/* Whether it is broken off for what a client wants of the master key. */
enum master_work_way {
    MASTER_STAYS,
    MASTER_GIVES_WAY_TO_UNLOCK, /* by a client, who may have a passphrase; begins anew after it */
    MASTER_GIVES_WAY,           /* and leaves the slots file alone: nobody is told "busy" */
};

/* What kind of work it is. The names of the functions say in which thread they are called. */
struct master_work_kind {
    const char *name;    /* in "the master key is busy (a slot is being added)" */
    bool needs_unlocked; /* else refused while locked */
    bool changes_slots;  /* else `slots` and `master` are NULL in run_in_thread */
    bool takes_tampered; /* changes slots that are not authentic */
    bool is_unlock;      /* by a client */
    enum master_work_way way;
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
    master_done_func done;          /* or NULL */
    void *opaque;

    gint cancel; /* atomic; not 0: it is to end, as unlock_context says */
    /* The thread's own. */
    struct unlock_context unlock; /* borrows what lives as long as the service, and `cancel` */
    char *slots_path;
    struct slots *slots;       /* read anew from the file; changed as is wanted */
    struct master_key *master; /* a copy */
    bool is_tampered;          /* `slots` are not authentic (takes_tampered) */
    struct slot *slot;         /* what `done` is told of, or NULL */
    struct service_try tried;  /* of an unlock */

    GError *error;
};

/* Starts it (taken; made with g_new), now or after what gives way has ended; or calls `done` with
 * why not. */
void service_master_begin(struct master_work *take_work);
/* Whether one is under way that is not just to be broken off. */
bool service_master_is_busy(const struct secret_service *service);
/* Waits for its thread, and for what follows it, and calls `done`. */
void service_master_end_work(struct secret_service *service);
/* The same for at most that time, and for the one under way; false: it is still. */
bool service_master_wait(struct secret_service *service, int timeout_ms);
/* Breaks off what gives way to all, and waits for its end: a tenth of a second, if it hangs. */
void service_master_end_chore(struct secret_service *service);

/* With the service: what results come back through. Closing cancels what is under way, waits for
 * its thread (bounded by what one method may take), and tells nobody. */
bool service_master_open_work(struct secret_service *service, GError **error);
void service_master_close_work(struct secret_service *service);

/* ---- service_master.c ---- */

/* Begins to try all slots that need no person, and waits for the end, for as long as a start may
 * take. False: it goes on, and unlocks later. */
bool service_master_try_at_start(struct secret_service *service, struct service_try *ret_tried);
/* The same without waiting. */
void service_master_unlock_unattended(struct secret_service *service);
/* Takes work whose thread has ended within that time out of the loop's hands; NULL: it goes on. */
struct master_work *service_master_take_ended(struct secret_service *service, int timeout_ms);
void service_master_work_free(struct master_work *work);

/* The master key of before goes: out of the slots (service_master_rotate.c), then out of memory. */
void service_master_forget_previous(struct secret_service *service, master_done_func done,
                                    void *opaque);

/* The slot opened: what it failed with before is not told any more. */
void service_master_note_opened(struct secret_service *service, const struct uuid *slot);
/* After slots_write failed: whether the file surely is another one than `wanted`, so that what was
 * made for these can go. */
bool service_master_is_unwritten(const struct master_work *work, const struct slots *wanted);

/* The slots that were written are those in use from now on. */
void service_master_take_slots(struct secret_service *service, struct slots *take_slots);
