/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the write-ahead journal file: preallocated, records with sequence and digest, appended and
 * made durable together (one fdatasync for a batch: the commit point). Knows what a record is, not
 * what it is for (docs/store.md). One thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct journal;

/* Called for every whole record found, in order. */
typedef bool (*journal_replay_func)(const void *record, size_t len, void *opaque, GError **error);

/* Opens or creates `name` below `dir_fd`, hands each committed record to `replay` and stops at the
 * first torn one. Records stay until journal_reset. A foreign or damaged journal head is an error
 * that names the file, and the file is kept. */
struct journal *journal_open(int dir_fd, const char *name, size_t capacity,
                             journal_replay_func replay, void *opaque, GError **error);
void journal_free(struct journal *journal);

/* Whether `len` more bytes of record fit before journal_reset. */
bool journal_has_room(const struct journal *journal, size_t len);

/* Writes records (not yet durable), then journal_commit makes all of them durable at once. After a
 * failure of either nothing appended since the last commit counts, now or at replay. */
bool journal_append(struct journal *journal, const void *record, size_t len, GError **error);
bool journal_commit(struct journal *journal, GError **error);

/* Forgets all records, durably, and overwrites them. The caller has made their effects durable. */
bool journal_reset(struct journal *journal, GError **error);
bool journal_is_empty(const struct journal *journal);
