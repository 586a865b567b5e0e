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

#include "master/aead.h"
#include "master/fields.h"
#include "master/master_key.h"
#include "util/secret_buf.h"
#include "util/uuid.h"

enum slot_method {
    SLOT_KEY_FILE = 1,   /* "key-file" */
    SLOT_PASSPHRASE = 2, /* "passphrase" */
    SLOT_CREDENTIAL = 3, /* "credential" */
    SLOT_TPM2 = 4,       /* "tpm2" */
    SLOT_PKCS11 = 5,     /* "pkcs11" */
    SLOT_RECOVERY = 6,   /* "recovery" */
};

enum { SLOTS_MAX = 32, SLOT_LABEL_MAX = 64, SLOT_KEY_SIZE = 32 };

struct slot {
    struct uuid id; /* random */
    enum slot_method method;
    char *label;           /* may be empty; printable UTF-8; unique if it is not empty */
    uint64_t created;      /* seconds since 1970 */
    struct fields *fields; /* the method's own */
    uint8_t nonce[AEAD_NONCE_SIZE];
    uint8_t wrapped[MASTER_KEY_SIZE + AEAD_TAG_SIZE];
};

/* `label` NULL: none. */
struct slot *slot_new(enum slot_method method, const char *label);
struct slot *slot_copy(const struct slot *slot);
void slot_free(struct slot *slot);
/* What a person knows it by: "key-file slot 0a1b2c3d (label)". To be freed. */
char *slot_describe(const struct slot *slot);

/* Wraps `master` by `slot_key` (SLOT_KEY_SIZE bytes): fills nonce and wrapped. The wrapping key is
 * HKDF of the slot key with the slot's id; method, id, label, created, fields and the id of the
 * master key are authenticated. */
bool slot_wrap(struct slot *slot, const struct secret_buf *slot_key,
               const struct master_key *master, GError **error);

enum slots_flags {
    SLOTS_HAS_INDEX = 1
}; /* an index of generations was made (secret/value_index.h) */

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

struct slots *slots_new(void);
struct slots *slots_copy(const struct slots *slots);
void slots_free(struct slots *slots);
struct slot *slots_find(const struct slots *slots, const struct uuid *id);
/* By uuid, by the beginning of one (at least 4 digits) or by label. ERROR_NO_SECRET if none, or
 * ERROR_INVALID_ARG if several fit. */
struct slot *slots_find_named(const struct slots *slots, const char *name, GError **error);

/* The bytes, with a tag under a key of `master`, whose id they name. */
GBytes *slots_format(const struct slots *slots, const struct master_key *master, GError **error);
/* Without a key: every length and count is checked, nothing is authenticated. ERROR_INVALID_SECRET
 * says what is wrong. */
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

/* The file. Reading: ERROR_SYSTEM with ENOENT when there is none; owner, mode and links are checked
 * on the descriptor. *ret_bytes (may be NULL) is what was read, for slots_authenticate. */
struct slots *slots_read(const char *path, GBytes **ret_bytes, GError **error);
bool slots_exists(const char *path); /* an unreadable one counts as there */
/* Adds 1 to the sequence, writes durably and overwrites what was there (file_replace_wiping). */
bool slots_write(const char *path, struct slots *slots, const struct master_key *master,
                 GError **error);

typedef struct slots slots_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(slots_t, slots_free)
typedef struct slot slot_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(slot_t, slot_free)
