/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the use cases of the master key: what state it is in, locking and unlocking, its slots, its
 * rotation. Calls that may take long are made in a thread, one at a time (another one meanwhile is
 * ERROR_RESOURCE_BUSY), and end in the loop. Clients of secrets are served all the time. Where
 * nothing is kept on disk there is no master key: ERROR_OPERATION_UNSUPPORTED.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "master/slots.h"
#include "secret/service.h"

/* `error` is borrowed, NULL after success; `slot` (borrowed, or NULL) is the one that it is about.
 */
typedef void (*master_done_func)(void *opaque, const struct slot *slot, const GError *error);

struct master_slot_state {
    const struct slot *slot;
    bool is_opener;      /* it unlocked the present run */
    const char *problem; /* of the last try, or NULL */
};

/* Borrowed until the loop goes on. */
struct master_status {
    const char *locked_reason; /* NULL: unlocked */
    const char *slots_problem; /* why slots can't be changed, or NULL */
    const uint8_t *key_id;     /* MASTER_KEY_ID_SIZE bytes, or NULL: no slots file */
    bool is_rotating;          /* values are still under an older master key's generations */
    uint64_t left;
    const char *problem;  /* what keeps that from ending */
    const char *rollback; /* what is wrong with the index of generations, or NULL */
    GArray *slots;        /* of struct master_slot_state, in the order of the file */
};
void secret_service_get_master(const struct secret_service *service,
                               struct master_status *ret_status);
void master_status_clear(struct master_status *status);

/* Nothing more is tried by what is under way: it ends within the time of one method. */
void secret_service_cancel_master(struct secret_service *service);

/* Unlocks by one slot (`slot` not NULL), by all that need no person (`take_secret` NULL), or by any
 * that needs one. Already unlocked: success, after the slot was proven. Values and changes work
 * from then on as after a start: what was put on disk is loaded, clear values are imported,
 * rotation goes on. */
void secret_service_unlock(struct secret_service *service, const struct uuid *slot,
                           struct secret_buf *take_secret, master_done_func done, void *opaque);

/* Finishes changes under way, then forgets all keys. Values that are in memory alone stay readable.
 */
void secret_service_lock(struct secret_service *service, master_done_func done, void *opaque);

/* A slot that is wanted. */
struct master_wanted {
    enum slot_method method;
    const char *label;         /* or NULL */
    struct fields *fields;     /* taken: what the method asks for */
    struct secret_buf *secret; /* taken; or NULL */
};

/* Unlocked. The slot is proven, and in the file, when `done` is called. */
void secret_service_add_slot(struct secret_service *service, const struct master_wanted *wanted,
                             master_done_func done, void *opaque);

/* Refused unless another slot opens, by itself or (those that need a person) with `take_secret`. */
void secret_service_remove_slot(struct secret_service *service, const struct uuid *slot,
                                struct secret_buf *take_secret, master_done_func done,
                                void *opaque);

/* Opens it, and changes nothing. Locked, too. */
void secret_service_test_slot(struct secret_service *service, const struct uuid *slot,
                              struct secret_buf *take_secret, master_done_func done, void *opaque);

/* A passphrase or recovery slot, in one write of the file; the id stays. Locked, too: the old one
 * opens the master key. */
void secret_service_change_passphrase(struct secret_service *service, const struct uuid *slot,
                                      struct secret_buf *take_old, struct secret_buf *take_new,
                                      master_done_func done, void *opaque);

struct master_answer {
    struct uuid slot;
    struct secret_buf *secret; /* taken */
};

struct master_rotation {
    bool reseal;               /* new data keys, too */
    GArray *answers;           /* of struct master_answer */
    const struct uuid *remove; /* slots that do not get the new key */
    size_t remove_count;
};

/* `done` when the new master key is in the slots file; values are moved in the background then
 * (status). While values of an earlier rotation are moved: ERROR_OPERATION_INVALID. */
void secret_service_rotate_master(struct secret_service *service,
                                  const struct master_rotation *rotation, master_done_func done,
                                  void *opaque);
