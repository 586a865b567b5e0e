/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the file master.slots (docs/sealed-format.md): the master key, wrapped once for each way to
 * unlock it, as LUKS keyslots do for a volume. A method (unlock.h) turns what it finds or is given
 * into 32 bytes, the slot key; how those wrap the master key is the same for all. While the master
 * key is being replaced, the one of before is in the file, too, wrapped by the new one. The file is
 * replaced as a whole: that is the commit point of every change of slots.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/master_key.h"
#include "master/slot.h"
#include "util/secret_buf.h"
#include "util/uuid.h"

/* In slots and in bytes: a file of more is refused when it is read, and never written. */
enum { SLOTS_MAX = 32, SLOTS_FILE_MAX = 1024 * 1024 };

enum slots_flags {
    SLOTS_HAS_INDEX = 1, /* an index of generations was made (secret/value_index.h) */
    SLOTS_RESEAL = 2,    /* a rotation that gives new data keys began (secret/generations.h) */
};

struct slots {
    uint8_t master_key_id[MASTER_KEY_ID_SIZE];
    uint64_t sequence; /* grows with each write */
    uint32_t flags;
    GPtrArray *slots; /* of struct slot, in the order in which they are tried */
    bool has_previous;
    uint8_t previous_id[MASTER_KEY_ID_SIZE];
    uint8_t previous_nonce[AEAD_NONCE_SIZE];
    uint8_t previous_wrapped[MASTER_KEY_SIZE + AEAD_TAG_SIZE];
};

/* Without a slot, for `master`. */
struct slots *slots_new(const struct master_key *master);
struct slots *slots_copy(const struct slots *slots);
void slots_free(struct slots *slots);
/* Borrowed, or NULL. */
struct slot *slots_find(const struct slots *slots, const struct uuid *id);
/* Puts the slot in the place of the one with its id, or behind the others. ERROR_INVALID_ARG and
 * nothing changed when there are too many, or another slot has its label. */
bool slots_put(struct slots *slots, struct slot *take_slot, GError **error);
/* False if there is none. */
bool slots_remove(struct slots *slots, const struct uuid *id);
/* By uuid, by the beginning of one (at least 4 digits) or by label. ERROR_NO_SECRET if none, or
 * ERROR_INVALID_ARG if several fit. */
struct slot *slots_find_named(const struct slots *slots, const char *name, GError **error);

/* The bytes, with a tag under a key of `master`, which has to be the one of `slots`.
 * ERROR_INVALID_ARG when they would be more than SLOTS_FILE_MAX. */
GBytes *slots_format(const struct slots *slots, const struct master_key *master, GError **error);
/* Without a key: every length and count is checked, nothing is authenticated. ERROR_INVALID_SECRET
 * says what is wrong; ERROR_CONFIG_UNSUPPORTED: of another version or algorithm, and not damaged.
 */
struct slots *slots_parse(const void *bytes, size_t len, GError **error);
/* Whether the bytes that were parsed are those that who has `master` wrote. */
bool slots_authenticate(const void *bytes, size_t len, const struct master_key *master,
                        GError **error);

/* Unwraps by `slot_key`, checks that the result has the id of the file. ERROR_INVALID_SECRET "...
 * does not unlock slot ..." for a wrong slot key or a damaged slot. */
struct master_key *slots_unwrap(const struct slots *slots, const struct slot *slot,
                                const struct secret_buf *slot_key, GError **error);
/* The master key of before; only with has_previous. */
bool slots_set_previous(struct slots *slots, const struct master_key *master,
                        const struct master_key *previous, GError **error);
struct master_key *slots_open_previous(const struct slots *slots, const struct master_key *master,
                                       GError **error);

/* The file. Reading: ERROR_SYSTEM with ENOENT when there is none. A symbolic link is not followed;
 * the owner, and that no one else may write, are checked on the descriptor. What a crash left of a
 * write is finished first: a master key that a power cut takes away again must not be used.
 * *ret_bytes (may be NULL) is what was read, for slots_authenticate. */
struct slots *slots_read(const char *path, GBytes **ret_bytes, GError **error);
/* What is there now, whether or not it would outlive a power cut; NULL: it can't be read. */
struct slots *slots_peek(const char *path);
bool slots_exists(const char *path); /* an unreadable one counts as there */
/* Adds 1 to the sequence, writes durably and overwrites what was there (file_replace_wiping). After
 * an error it is the one of before; or, where not even its folder can be flushed, either. */
bool slots_write(const char *path, struct slots *slots, const struct master_key *master,
                 GError **error);

typedef struct slots slots_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(slots_t, slots_free)
