/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one slot of the file master.slots (docs/sealed-format.md): its bytes, and how a slot key
 * wraps the master key. Where a slot key comes from is unlock.h's.
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

/* In bytes. */
enum { SLOT_LABEL_MAX = 64, SLOT_KEY_SIZE = 32 };

struct slot {
    struct uuid id; /* random */
    /* One that this program does not know is kept as it is, and does not open. */
    enum slot_method method;
    char *label;           /* may be empty; UTF-8 without control characters */
    uint64_t created;      /* seconds since 1970 */
    struct fields *fields; /* the method's own */
    uint8_t nonce[AEAD_NONCE_SIZE];
    uint8_t wrapped[MASTER_KEY_SIZE + AEAD_TAG_SIZE];
};

/* "key-file", or NULL. */
const char *slot_method_name(enum slot_method method);

/* With a random id, made now. `label` NULL: none. ERROR_INVALID_ARG for a bad label. */
struct slot *slot_new(enum slot_method method, const char *label, GError **error);
struct slot *slot_copy(const struct slot *slot);
void slot_free(struct slot *slot);
/* What a person knows it by: "key-file slot 0a1b2c3d (label)". To be freed. */
char *slot_describe(const struct slot *slot);

/* Wraps `master` by `slot_key` (SLOT_KEY_SIZE bytes): fills nonce and wrapped. The wrapping key is
 * HKDF of the slot key with the slot's id; method, id, label, created, fields and the id of the
 * master key are authenticated. */
bool slot_wrap(struct slot *slot, const struct secret_buf *slot_key,
               const struct master_key *master, GError **error);
/* Errors as of slots_unwrap; the result's id was checked. */
struct master_key *slot_unwrap(const struct slot *slot, const struct secret_buf *slot_key,
                               const uint8_t master_key_id[MASTER_KEY_ID_SIZE], GError **error);

/* The bytes of docs/sealed-format.md. */
void slot_append(const struct slot *slot, GByteArray *to);
/* Reads them from `*at` on, which is moved behind them; not past `end`. ERROR_INVALID_SECRET. */
struct slot *slot_parse(const uint8_t **at, const uint8_t *end, GError **error);

typedef struct slot slot_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(slot_t, slot_free)
