/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a backup's file (docs/backup.md), as it is read: its slots, and, once one of them opened,
 * its content from the first chunk to the last, as often as that is wanted.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "master/slots.h"
#include "secret/backup_chunks.h"
#include "secret/backup_records.h"

struct backup_reader;

/* Reads the head; nothing is authenticated. ERROR_INVALID_SECRET if it is no backup, or cut off. */
struct backup_reader *backup_reader_open(const char *path, GError **error);
void backup_reader_free(struct backup_reader *reader);

const struct slots *backup_reader_slots(const struct backup_reader *reader);

/* With the master key of its slots, which are authenticated by it. `master` is not kept. */
bool backup_reader_unlock(struct backup_reader *reader, const struct master_key *master,
                          GError **error);

struct backup_progress {
    void (*func)(void *opaque, uint64_t done, uint64_t all); /* chunks; NULL: nobody asks */
    void *opaque;
};

/* Reads all of it. What `funcs` are told was authenticated, but the end of it was not yet: who must
 * not act on a part runs it twice. Unlocked. */
bool backup_reader_run(struct backup_reader *reader, const struct backup_records_funcs *funcs,
                       void *opaque, const struct backup_progress *progress, GError **error);

/* The same of one that is damaged behind its beginning, or cut off: tells what is in chunks that
 * are whole and authentic, each in its place, and adds to `damage` (texts) what is missing. Since
 * no one knows where a record begins behind a gap, a secret is one if its value opens. Unlocked. */
bool backup_reader_salvage(struct backup_reader *reader, const struct backup_records_funcs *funcs,
                           void *opaque, const struct backup_progress *progress, GPtrArray *damage,
                           GError **error);

typedef struct backup_reader backup_reader_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(backup_reader_t, backup_reader_free)
