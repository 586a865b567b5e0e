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
};

/* A slot key for `slot`, which is being opened, made, or renewed. `secret` is what a person typed,
 * or NULL where the method needs none. */
struct unlock_method {
    enum slot_method method;
    const char *name; /* "key-file" */
    bool needs_person;
    /* The slot key that the slot was wrapped by, SLOT_KEY_SIZE bytes. */
    struct secret_buf *(*open)(const struct unlock_context *context, const struct slot *slot,
                               const struct secret_buf *secret, GError **error);
    /* Makes a slot key for a new slot, whose fields are what the operator asked for: checks these,
     * adds what open will need, and puts its part in place under a name or in a way that does not
     * disturb the slots of before (a new key file is PATH.next until `settle`). */
    struct secret_buf *(*enroll)(const struct unlock_context *context, struct slot *slot,
                                 const struct secret_buf *secret, GError **error);
    /* After the slots file was written: the slot counts now (is_removed false), or does not any
     * more. Repeated at each start for slots that count; does what is missing. NULL: nothing to do.
     */
    bool (*settle)(const struct unlock_context *context, const struct slot *slot, bool is_removed,
                   GError **error);
    /* Names of the fields that a person may see, up to a NULL. */
    const char *const *shown_fields;
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

/* Tries the slots that need no person, in their order, until one opens; where `secret` is not NULL
 * the slots that do need one, with it. `attempts` (array of struct unlock_attempt, with a clear
 * function; may be NULL) gets what was tried. */
struct master_key *unlock_any(const struct unlock_context *context, const struct slots *slots,
                              const struct secret_buf *secret, GArray *attempts, GError **error);
GArray *unlock_attempts_new(void);

/* Makes and proves a slot: enrolls it, wraps `master`, adds it to `slots`, and opens it again the
 * way a start would. `slots` is unchanged after an error. The caller writes the file, then settles.
 */
bool unlock_add_slot(const struct unlock_context *context, struct slots *slots,
                     struct slot *take_slot, const struct secret_buf *secret,
                     const struct master_key *master, GError **error);
/* For all slots that count; problems are logged. */
void unlock_settle(const struct unlock_context *context, const struct slots *slots);
