/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the key-encryption generations: random keys that values are sealed under, wrapped by the
 * master key in one file (docs/sealed-format.md). A key that was taken out of the file is gone, and
 * with it whatever is still sealed under it anywhere. At most two are in the file: between begin
 * and finish the older one, from which values are being moved, and the current one. Also: the mark
 * that a new generation is due. Which values are under which key is not known here.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/master_key.h"

struct generations;

/* Whether there is something to open (an unreadable file counts). */
bool generations_exists(const char *path);

/* Opens the file, and finishes what an interrupted change of it left. It is under `master`, or
 * (rotation of the master key was interrupted) under `previous`, which may be NULL; both are
 * borrowed until it is freed. ERROR_INVALID_SECRET if it is damaged or under neither. */
struct generations *generations_open(const char *path, const struct master_key *master,
                                     const struct master_key *previous, GError **error);

/* Makes the file, with one generation; there must be none. With `has_legacy` values may be under
 * the master key itself: that counts as generation 0, and is the older one until finish. */
struct generations *generations_make(const char *path, const struct master_key *master,
                                     bool has_legacy, GError **error);
/* For reading a store of before, whose values are all under the master key itself, without writing
 * anything. */
struct generations *generations_new_legacy(const struct master_key *master, GError **error);
void generations_free(struct generations *generations);
/* The bytes of the file as it is in memory, and back; `path` stands in errors. */
GBytes *generations_format(const struct generations *generations, GError **error);
struct generations *generations_parse(const char *path, GBytes *content,
                                      const struct master_key *master,
                                      const struct master_key *previous, GError **error);
/* What the file is to those in memory; all but the first two with an error. Changes nothing. */
enum generations_look {
    GENERATIONS_GOOD,
    GENERATIONS_GONE,
    GENERATIONS_DAMAGED, /* or changed by somebody without the master key */
    GENERATIONS_OTHERS,  /* authentic, of another master key, or not to be read */
};
enum generations_look generations_look(const struct generations *generations, GError **error);

/* Adds a generation, which is the current one when this returns true. There must be no older one.
 */
bool generations_begin(struct generations *generations, GError **error);
/* The same, and the file is under `master` (borrowed) from then on. With `reseal` values are to get
 * new data keys while they are moved: the file says so until finish. */
bool generations_rekey(struct generations *generations, const struct master_key *master,
                       bool reseal, GError **error);
/* Destroys the older one. An error leaves it; repeated, it does what is missing. */
bool generations_finish(struct generations *generations, GError **error);
/* Puts the file back, as it is in memory. */
bool generations_write(const struct generations *generations, GError **error);

/* Whether there is an older one. */
bool generations_is_rotating(const struct generations *generations);
/* Whether what is moved from it is to get a new data key. */
bool generations_is_resealing(const struct generations *generations);
/* Whether it is this master key that the file is under. */
bool generations_is_under(const struct generations *generations, const struct master_key *master);
/* The current one's number, from 1; 0 for NULL. */
uint64_t generations_number(const struct generations *generations);
/* The current one, under which everything is sealed; NULL for NULL. */
const struct master_key *generations_current(const struct generations *generations);
/* That of this id (MASTER_KEY_ID_SIZE bytes), or NULL. Any thread may ask. */
const struct master_key *generations_find(const struct generations *generations, const uint8_t *id);
/* That which the header of sealed bytes names, or the current one. */
const struct master_key *generations_key_of(const struct generations *generations,
                                            const void *sealed, size_t len);

/* The mark that something was erased since the last begin: a file beside the other, so that it can
 * be set while the master key is locked. Durable when it returns true. */
bool generations_mark_due(const char *path, GError **error);
bool generations_is_due(const char *path);
bool generations_clear_due(const char *path, GError **error);

typedef struct generations generations_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(generations_t, generations_free)
