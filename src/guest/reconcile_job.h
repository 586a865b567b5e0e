/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one guest in one look: what is kept of it, what was seen of it, the plan, and what became
 * of the plan's actions.
 */
#pragma once

#include "guest/survey.h"

struct guest_job {
    struct guest_service *service;
    struct guest_survey *survey; /* borrowed */
    struct uuid guest;
    bool is_locked;                /* by us: unlocked with the job's end */
    bool is_fresh;                 /* libvirt was asked for this guest alone, after it was locked */
    const struct guest_seen *seen; /* NULL: libvirt says that there is none */
    struct guest_seen *found;      /* `seen`, when it is the job's own */
    struct guest_record *record;   /* as it is kept, or NULL */
    struct guest_plan_input input;
    struct guest_plan plan;
    bool is_planned;
    int64_t look_again; /* 0: no need */
    GError *failure;    /* the first one */
};

struct guest_job *guest_job_new(struct guest_service *service, struct guest_survey *survey,
                                const struct uuid *guest);
void guest_job_free(struct guest_job *job);

/* Asks libvirt for the guest. False: job->failure. */
bool guest_job_find(struct guest_job *job);
/* Reads the record (finishing or undoing what is under way) and makes the plan. False:
 * job->failure. */
bool guest_job_plan(struct guest_job *job, bool is_held);
/* Nothing of the plan that was made is kept. */
void guest_job_drop_plan(struct guest_job *job);
/* Whether the plan takes a key from the guest, or holds one as orphaned: that needs a look at all
 * others, and a fresh one at this guest. */
bool guest_job_is_taking(const struct guest_job *job);
/* Whether a key begins to wait for being taken: that needs a fresh look at this guest. */
bool guest_job_is_waiting(const struct guest_job *job);
/* Whether the guest's state changes, as by a look that is older than the record. */
bool guest_job_is_turning(const struct guest_job *job);
bool guest_job_has(const struct guest_job *job, enum guest_action_kind kind);
/* The action is not done; `error` may be NULL: it is no failure. */
void guest_job_undo(struct guest_job *job, const struct guest_action *action, const GError *error);
/* Keep the planned records: the commit point. */
void guest_job_put_all(struct guest_records *records, const GPtrArray *jobs);
void guest_job_fail(struct guest_job *job, GError *error); /* takes it */

typedef struct guest_job guest_job_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_job_t, guest_job_free)
