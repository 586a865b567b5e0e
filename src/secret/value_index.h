/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the index of generations (docs/sealed-format.md): which generation the value of each secret
 * has at least, in one file that the master key authenticates. A sealed file with an older one was
 * put back from a backup. The file may lag behind the values, never run ahead of them: an image of
 * it is written after everything that was said till it was taken is in its place on disk; when that
 * is, is the caller's. One thread at a time, but for value_index_floor and the writing of images.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/master_key.h"
#include "util/uuid.h"

/* More are not noted; the largest file has 24 MB. */
enum { VALUE_INDEX_ENTRIES_MAX = 1000000 };

struct value_index;

enum value_index_state {
    VALUE_INDEX_GOOD,
    VALUE_INDEX_NEW,     /* there was none, and none was expected */
    VALUE_INDEX_MISSING, /* one was expected (SLOTS_HAS_INDEX) */
    VALUE_INDEX_DAMAGED, /* there is one, and it is not authentic, or can't be read */
};

struct value_index_params {
    const char *path;                  /* .../virtcrypt/index */
    const struct master_key *master;   /* borrowed for the index's life, or until rekey */
    const struct master_key *previous; /* for the call: the file may still be under it; or NULL */
    bool is_expected;
};

/* Never fails: without a good file the index is empty. One that is damaged is kept under another
 * name when the first image is written. What a crash left of an image is removed. */
struct value_index *value_index_open(const struct value_index_params *params,
                                     enum value_index_state *ret_state);
void value_index_free(struct value_index *index); /* writes nothing */

/* What is wrong with it, or was when it was begun anew: it knows nothing of what was before. NULL:
 * nothing. It stays, in the file, too, until value_index_accept. Borrowed. */
const char *value_index_problem(const struct value_index *index);
void value_index_accept(struct value_index *index);

/* 0: none. Any thread, while no other function is called. */
uint64_t value_index_floor(const struct value_index *index, const struct uuid *uuid);
/* A value of that generation is durable. Lower ones change nothing. */
void value_index_raise(struct value_index *index, const struct uuid *uuid, uint64_t generation);
/* The secret is durably gone. Its floor counts until a file without it is durable: the file that is
 * there refuses what is below it, so the next secret of that uuid has to be above it. */
void value_index_remove(struct value_index *index, const struct uuid *uuid);
/* Removes those that `keeps` says no to. */
typedef bool (*value_index_func)(const struct uuid *uuid, void *opaque);
void value_index_prune(struct value_index *index, value_index_func keeps, void *opaque);

/* Whether the file does not say what the index does. */
bool value_index_is_dirty(const struct value_index *index);

/* The file as it is to be. */
struct value_index_image;
struct value_index_image *value_index_take_image(struct value_index *index, GError **error);
/* Any thread; durable when it returns true. One at a time, in the order in which they were taken.
 */
bool value_index_image_write(struct value_index_image *image, GError **error);
/* It was written (or not: `is_written`). Takes it. */
void value_index_end_image(struct value_index *index, struct value_index_image *take_image,
                           bool is_written);

/* All of that at once: what was said is in its place. */
bool value_index_flush(struct value_index *index, GError **error);
/* Writes it under another master key, which is borrowed from then on. No image is out. */
bool value_index_rekey(struct value_index *index, const struct master_key *master, GError **error);

/* The counter in the file, which an anchor outside of it (a TPM's NV counter) may not be ahead of;
 * and whose anchor that is (the id of a slot; zeros: none). What is set is in the file when the
 * next image is written. */
uint64_t value_index_counter(const struct value_index *index);
const struct uuid *value_index_anchor(const struct value_index *index);
void value_index_set_anchor(struct value_index *index, const struct uuid *anchor, uint64_t counter);
/* That of the file on disk. */
uint64_t value_index_written_counter(const struct value_index *index);

typedef struct value_index value_index_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(value_index_t, value_index_free)
