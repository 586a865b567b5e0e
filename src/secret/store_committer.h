/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: committing changes: journal and files together, in the order that docs/store.md proves.
 * One thread at a time; store_worker calls it from the worker thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/store_files.h"
#include "secret/store_overlay.h"

struct committer;

/* A change on its way. */
struct commit_item {
    struct store_change change;
    GError *error; /* why it was refused, or NULL */
};

/* Brings the folders to what the journal says and empties the journal. If it can't,
 * the reason goes to the log, no change is taken until it can, and `overlay` has what readers must
 * see meanwhile. `dir_fd`, `contents` (as of store_files_new) and `overlay` are borrowed. Only
 * ERROR_RESOURCE_BUSY is a failure: another process has the journal. */
struct committer *committer_open(int dir_fd, GRWLock *contents, const struct store_params *params,
                                 struct overlay *overlay, GError **error);
void committer_free(struct committer *committer);

/* Commits what it can of `items` (of struct commit_item): one flush for all that fits into the
 * journal. Afterwards each item is committed and in place, or has an error. */
void committer_commit(struct committer *committer, GPtrArray *items);

/* Makes everything committed durable in its place and empties the journal. */
bool committer_checkpoint(struct committer *committer, GError **error);

/* A checkpoint has something to do; and it should be done soon. */
bool committer_needs_checkpoint(const struct committer *committer);
bool committer_wants_checkpoint(const struct committer *committer);

typedef struct committer committer_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(committer_t, committer_free)
