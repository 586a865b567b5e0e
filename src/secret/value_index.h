/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the index of generations (docs/sealed-format.md): which generation the value of each secret
 * has at least, in one file that the master key authenticates. A sealed file with an older one was
 * put back from a backup. The file may lag behind the values, never run ahead of them: a value is
 * durable before the index says so, and the floor of a removed secret goes after the file without
 * it is durable. Loop's thread, but for value_index_floor.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/master_key.h"
#include "util/loop.h"
#include "util/uuid.h"

struct value_index;

enum value_index_state {
    VALUE_INDEX_GOOD,
    VALUE_INDEX_NEW,     /* there was none, and none was expected */
    VALUE_INDEX_MISSING, /* one was expected (SLOTS_HAS_INDEX) */
    VALUE_INDEX_DAMAGED, /* there is one, and it is not authentic */
};

struct value_index_params {
    const char *path;                /* .../virtcrypt/index */
    const struct master_key *master; /* borrowed for the index's life; see value_index_rekey */
    bool is_expected;
    struct loop *loop; /* for writes, some time after changes; NULL: value_index_flush only */
    unsigned int write_delay_ms; /* from a change to the write */
};

/* Never fails: without a good file the index is empty, and says why. */
struct value_index *value_index_open(const struct value_index_params *params,
                                     enum value_index_state *ret_state, char **ret_problem);
void value_index_free(struct value_index *index); /* flushes */

/* 0: none. Any thread, while no other function is called. */
uint64_t value_index_floor(const struct value_index *index, const struct uuid *uuid);
/* A value of that generation is durable. Lower ones change nothing. */
void value_index_raise(struct value_index *index, const struct uuid *uuid, uint64_t generation);
/* The secret is durably gone. Its floor counts until the file without it is durable. */
void value_index_remove(struct value_index *index, const struct uuid *uuid);
/* What is there is right, whatever the index said. */
void value_index_set(struct value_index *index, const struct uuid *uuid, uint64_t generation);

bool value_index_flush(struct value_index *index, GError **error);
/* Writes it under another master key. */
bool value_index_rekey(struct value_index *index, const struct master_key *master, GError **error);

/* The counter in the file, which an anchor outside of it (a TPM's NV counter) may not be ahead of.
 */
uint64_t value_index_counter(const struct value_index *index);
/* Writes the file with that counter. */
bool value_index_set_counter(struct value_index *index, uint64_t counter, GError **error);

typedef struct value_index value_index_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(value_index_t, value_index_free)
