/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the keys of a store that no daemon has open: the master key by any one of its slots, or the
 * bare one of a store of before slots, and the generations. What is damaged is named, and done
 * without as far as that goes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "master/unlock.h"
#include "recover/offline_paths.h"
#include "secret/generations.h"
#include "secret/value_index.h"

/* How it is to be unlocked. Borrowed. */
struct offline_key {
    const char *slot;     /* its id, the beginning of it, or its label; NULL: any */
    const char *key_file; /* where the key file is now, whatever its slot says; or NULL */
    const struct secret_buf *secret; /* what a person typed, or NULL */
};

struct offline_keys {
    struct slots *slots; /* NULL: none, or not readable */
    GBytes *slots_bytes; /* what they were read from */
    bool are_slots_good; /* authentic; known once there is a master key */
    struct uuid opener;  /* the slot that opened, if has_opener */
    bool has_opener;
    struct master_key *master;   /* NULL: locked */
    struct master_key *previous; /* while a rotation of the master key is not finished, or NULL */
    struct generations *generations; /* with a master key: never NULL */
    struct value_index *index;       /* likewise */
};
void offline_keys_clear(struct offline_keys *keys);

/* Reads the slots. What is wrong is added to `problems` (texts). */
void offline_unlock_read(const struct offline_paths *paths, struct offline_keys *keys,
                         GPtrArray *problems);

/* Whether the slot that `key` names, or one of all, needs what a person types. */
bool offline_unlock_needs_person(const struct offline_keys *keys, const struct offline_key *key);

bool offline_unlock_slots_need_person(const struct slots *slots, const struct offline_key *key);

/* Opens the master key by a slot of `slots`, whose paths are relocated. The error names every slot
 * that was tried and why it does not open. `ret_opener` may be NULL. */
struct master_key *offline_unlock_slots(const struct offline_paths *paths,
                                        const struct unlock_context *context,
                                        const struct slots *slots, const struct offline_key *key,
                                        struct uuid *ret_opener, GError **error);

/* Fills in master, previous and generations. Blocks, each method with a bound. */
bool offline_unlock(const struct offline_paths *paths, const struct unlock_context *context,
                    const struct offline_key *key, struct offline_keys *keys, GPtrArray *problems,
                    GError **error);
