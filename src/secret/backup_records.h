/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the content of a backup (docs/backup.md): its records as bytes, and back. Knows no chunks.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

enum backup_kind {
    BACKUP_GENERATIONS = 1,
    BACKUP_SECRET = 2,
    BACKUP_LOST = 3,
    BACKUP_END = 4,
};

enum { BACKUP_RECORD_MAX = 2 * 1024 * 1024, BACKUP_LOST_MAX = 4096 };

/* A secret. Borrowed. */
struct backup_secret {
    struct uuid uuid;
    bool has_owner;    /* the value is sealed for a guest */
    struct uuid owner; /* that one */
    GBytes *xml;
    GBytes *sealed;            /* NULL: no value */
    const struct uuid *guests; /* that own it, ascending */
    uint32_t guest_count;
};

/* The records' bytes. A text that is too long is cut. */
GBytes *backup_records_format_generations(GBytes *generations);
GBytes *backup_records_format_lost(const char *text);
GBytes *backup_records_format_end(uint64_t secrets, uint64_t lost);
/* In two or three parts, which are added to `pieces` (of GBytes): the sealed value is not copied.
 */
void backup_records_add_secret(GPtrArray *pieces, const struct backup_secret *secret);

/* What is told of each record. False with an error ends it. */
struct backup_records_funcs {
    bool (*generations)(void *opaque, GBytes *generations, GError **error);
    bool (*secret)(void *opaque, const struct backup_secret *secret, GError **error);
    bool (*lost)(void *opaque, const char *text, GError **error);
};

struct backup_records;

struct backup_records *backup_records_new(const struct backup_records_funcs *funcs, void *opaque);
void backup_records_free(struct backup_records *records);
/* The next bytes of the content. ERROR_INVALID_SECRET if they are no records, or in another order
 * than they may be in. */
bool backup_records_feed(struct backup_records *records, const uint8_t *bytes, size_t len,
                         GError **error);
/* There is no more: the end was there, and counts what there was. */
bool backup_records_finish(const struct backup_records *records, GError **error);

/* Instead of bytes that are lost. What was begun is lost with them: true with the secret that it
 * was, if that is known. From now on what is fed may begin anywhere, and what makes no record is
 * passed over: whether a secret is one its value shows. Not before the generations. */
bool backup_records_note_gap(struct backup_records *records, struct uuid *ret_secret);

struct backup_tally {
    bool has_generations;
    bool has_end; /* else told_secrets is not known */
    uint64_t secrets;
    uint64_t told_secrets;
};
/* Instead of finishing, after gaps. */
void backup_records_get_tally(struct backup_records *records, struct backup_tally *ret_tally);

typedef struct backup_records backup_records_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(backup_records_t, backup_records_free)
