/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the decision what is to become of a guest's keys: record and what was seen in, changed
 * record and actions out. Pure: no clock, no files, no libvirt; every rule of docs/guest-keys.md is
 * one test of it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/daemon_conf.h"
#include "conf/guest_record.h"

/* A secret that a guest refers to now. */
struct guest_reference {
    struct uuid secret;
    char *volume;          /* path, or NULL */
    bool has_more_volumes; /* it opens others, too */
    bool is_generated;     /* the key of a volume of ours, made for it */
    bool has_value;
};

struct guest_plan_input {
    const struct uuid *guest;
    const char *uri;                   /* of the driver that answers */
    const struct guest_record *record; /* or NULL: none yet */
    enum { GUEST_ANSWER_UNKNOWN, GUEST_ANSWER_PRESENT, GUEST_ANSWER_ABSENT } answer;
    bool is_active;
    bool is_persistent;
    const char *name;            /* when PRESENT */
    const GPtrArray *references; /* of struct guest_reference, when PRESENT */
    bool is_partial;             /* there may be more of them: none of its keys counts as dropped */
    const GArray *bound;         /* of struct uuid: what it owns, as the custodian says */
    bool has_definition_on_disk; /* libvirt's own file of it is still there: never ABSENT */
    bool has_migrated;           /* libvirt said so when it stopped here */
    bool is_held;                /* nothing is taken away now: not all that guests use is known */
    int64_t now;                 /* seconds since 1970 */
    int64_t erase_delay_undefine;
    int64_t erase_delay_migrated;
    enum daemon_conf_orphans erase_orphans;
    bool bind_referenced;
    /* Of a secret and volume: */
    bool (*volume_exists)(void *opaque, const char *volume, const char *place);
    /* The place of a volume that is there now, or NULL. Freed by the plan. */
    char *(*find_place)(void *opaque, const char *volume);
    /* Whether the key's volume may stay behind when `volume` takes its place. */
    bool (*leaves_volume)(void *opaque, const struct guest_key *key, const char *volume);
    unsigned int (*count_other_owners)(void *opaque, const struct uuid *secret);
    /* Whether one of these owns it for that volume, too. */
    bool (*is_volume_elsewhere)(void *opaque, const struct uuid *secret, const char *volume);
    /* Whether another guest that is PRESENT refers to it, bound or not. */
    bool (*is_used_elsewhere)(void *opaque, const struct uuid *secret);
    void *opaque;
};

enum guest_action_kind {
    GUEST_ACTION_BIND,   /* then the key is BOUND */
    GUEST_ACTION_UNBIND, /* others own it too, or it goes back to belonging to none */
    GUEST_ACTION_ERASE,  /* the last copy */
};

struct guest_action {
    enum guest_action_kind kind;
    struct uuid secret;
    const char *reason; /* for the audit; as long as the plan */
};

struct guest_plan {
    struct guest_record *record; /* as it is to be when all actions are done; NULL: none any more */
    bool is_changed;
    GArray *actions;              /* of struct guest_action */
    int64_t look_again;           /* 0: not before something happens */
    struct guest_record *emptied; /* record without keys, where that is NULL */
    GStringChunk *texts;
};
/* The caller carries out the actions first and puts the record afterwards; a crash in between
 * repeats them, which is harmless. */
void guest_plan_make(const struct guest_plan_input *input, struct guest_plan *ret_plan);
/* The action failed: the key of the record to be is what it was before, and is looked at again. */
void guest_plan_undo(const struct guest_plan_input *input, struct guest_plan *plan,
                     const struct guest_action *action);
void guest_plan_clear(struct guest_plan *plan);

typedef struct guest_plan guest_plan_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(guest_plan_t, guest_plan_clear)
