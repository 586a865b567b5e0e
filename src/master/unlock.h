/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the ways to unlock the master key, as a table of methods, and the trying of them. All calls
 * block (each with a bound) and may be made by any thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "master/helper.h"
#include "master/slots.h"

/* What the methods use of the process. Borrowed. */
struct unlock_context {
    struct helper *helper;       /* NULL: methods that need it say so */
    const char *credentials_dir; /* $CREDENTIALS_DIRECTORY, or NULL */
    unsigned int timeout_ms;     /* of each method */
    const gint *cancel;          /* atomic; not 0: no further slot is tried; or NULL */
    bool is_renewing; /* set by unlock_renew_slot alone: the slot takes the place of one that is */
};

enum unlock_outcome {
    UNLOCK_COUNTS,    /* the slot is in the file that was written; repeated at each start */
    UNLOCK_REMOVED,   /* it was, and is not any more */
    UNLOCK_ABANDONED, /* it was enrolled and never counted; one with its id may count */
};

/* A slot key for `slot`, which is being opened, made, or renewed. `secret` is what a person typed,
 * or NULL where the method needs none. */
struct unlock_method {
    enum slot_method method;
    const char *name; /* "key-file": slot_method_name's */
    bool needs_person;
    /* The slot key that the slot was wrapped by, SLOT_KEY_SIZE bytes. */
    struct secret_buf *(*open)(const struct unlock_context *context, const struct slot *slot,
                               const struct secret_buf *secret, GError **error);
    /* Makes a slot key for a new slot, whose fields are what the operator asked for: checks these,
     * adds what open will need, and puts its part in place under a name or in a way that does not
     * disturb the slots of before (a new key file is PATH.next until `settle`). While renewing the
     * fields are those of the slot of before. */
    struct secret_buf *(*enroll)(const struct unlock_context *context, struct slot *slot,
                                 const struct secret_buf *secret, GError **error);
    /* Does what is missing, as `outcome` says. NULL: nothing to do. */
    bool (*settle)(const struct unlock_context *context, const struct slot *slot,
                   enum unlock_outcome outcome, GError **error);
    const char *const *asked_fields;  /* names of those that an operator may give, up to a NULL */
    const char *const *shown_fields;  /* of those that a person may see */
    char *(*show)(const char *value); /* how such a field is shown; NULL: as it is */
    const char *unique_field;         /* no two slots have the same value of it; or NULL */
};

const struct unlock_method *unlock_method_of(enum slot_method method); /* NULL: unknown */
const struct unlock_method *unlock_method_named(const char *name);     /* NULL: unknown */

/* Opens one slot. `secret` as above; errors as of slots_unwrap. */
struct master_key *unlock_slot(const struct unlock_context *context, const struct slots *slots,
                               const struct slot *slot, const struct secret_buf *secret,
                               GError **error);

/* What became of each slot that was tried; in the order of slots. */
struct unlock_attempt {
    struct uuid slot;
    char *problem; /* NULL: it opened */
};

/* Without a secret: tries the slots that need no person, in their order, until one opens. With one:
 * those that need a person, with it. `attempts` (of unlock_attempts_new; may be NULL) gets what was
 * tried. ERROR_OPERATION_INVALID with each slot's problem when none opened. */
struct master_key *unlock_any(const struct unlock_context *context, const struct slots *slots,
                              const struct secret_buf *secret, GArray *attempts, GError **error);
GArray *unlock_attempts_new(void); /* of struct unlock_attempt; g_array_unref */
/* `problem` is NULL if the slot opened. */
void unlock_attempts_add(GArray *attempts, const struct slot *slot, const GError *problem);

/* Refuses fields that the method does not take from an operator, and methods that are unknown. */
bool unlock_check_asked(enum slot_method method, const struct fields *fields, GError **error);

/* Makes and proves a slot: enrolls it, wraps `master`, adds it to `slots`, and opens it again the
 * way a start would. `slots` is unchanged after an error, and what was put in place is gone. The
 * caller writes the file, then settles. */
bool unlock_add_slot(const struct unlock_context *context, struct slots *slots,
                     struct slot *take_slot, const struct secret_buf *secret,
                     const struct master_key *master, GError **error);
/* The same for a slot that takes the place of `old`, with its id, label, method and parameters: for
 * a new passphrase, or (`slots` being others, of a new master key) a new slot key. `slots` may or
 * may not have one with that id. */
bool unlock_renew_slot(const struct unlock_context *context, struct slots *slots,
                       const struct slot *old, const struct secret_buf *secret,
                       const struct master_key *master, GError **error);
/* After the file was written: for all slots that count, or for one that does not any more. Problems
 * are logged. */
void unlock_settle(const struct unlock_context *context, const struct slots *slots);
void unlock_settle_removed(const struct unlock_context *context, const struct slot *slot);
/* For one that was added or renewed, and was not written. */
void unlock_settle_abandoned(const struct unlock_context *context, const struct slot *slot,
                             bool was_renewed);

/* The credential for a first slot: "virtcrypt-master-key", or the one that libvirt 12.1 uses,
 * "secrets-encryption-key", if there is one; else NULL. The first as well if the folder is missing:
 * enrolling says so. */
const char *unlock_find_credential(const struct unlock_context *context);
