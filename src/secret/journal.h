/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the write-ahead journal file: preallocated, records with sequence and digest, appended and
 * made durable together (one fdatasync for a batch: the commit point). Knows what a record is, not
 * what it is for (docs/store.md). One thread at a time, one process at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

struct journal;

/* Called for every whole record found, in order. Replay ends when it returns false. */
typedef bool (*journal_replay_func)(const void *record, size_t len, void *opaque, GError **error);

/* Opens `name` below `dir_fd` (borrowed for the call), or makes it with room for `capacity` bytes
 * of records. Errors name the file, which is kept: ERROR_INVALID_SECRET if it is foreign (or a link
 * or a folder) or damaged, ERROR_CONFIG_UNSUPPORTED if a newer program wrote it,
 * ERROR_RESOURCE_BUSY if another process has it open, ERROR_SYSTEM otherwise. */
struct journal *journal_open(int dir_fd, const char *name, size_t capacity, GError **error);
void journal_free(struct journal *journal);

/* Writes the head and the records that were found over themselves and makes them durable. Before
 * anything is built on them: the process that wrote them may have been killed before its flush, or
 * told of a failed one, after which the kernel shows what the disk does not have. */
bool journal_settle(struct journal *journal, GError **error);

/* Hands each committed record to `replay` and stops at the first torn one. Records stay until
 * journal_reset. */
bool journal_replay(struct journal *journal, journal_replay_func replay, void *opaque,
                    GError **error);

/* Whether a record of `len` bytes fits before journal_reset; and into an empty journal at all. */
bool journal_has_room(const struct journal *journal, size_t len);
bool journal_fits(const struct journal *journal, size_t len);

/* Takes a record up into the batch, in memory; there is room (a bug otherwise). */
void journal_append(struct journal *journal, const void *record, size_t len);
/* Forgets what was appended since the last commit. */
void journal_discard(struct journal *journal);

/* Writes the batch and makes it durable at once. When this fails the batch does not count, but
 * some of it may be on disk: no further commit succeeds until journal_reset has. */
bool journal_commit(struct journal *journal, GError **error);

/* Forgets all records, durably, and overwrites them. The caller has made their effects durable. It
 * may be tried again after a failure. */
bool journal_reset(struct journal *journal, GError **error);

/* No committed record. */
bool journal_is_empty(const struct journal *journal);
/* No record, nothing of older ones to overwrite, and no failure. */
bool journal_is_clean(const struct journal *journal);
bool journal_is_half_full(const struct journal *journal);

typedef struct journal journal_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(journal_t, journal_free)
