/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the files of secrets in their folders: staging new contents beside the old ones, putting
 * them in place, and making all that durable. Knows no journal. One thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/store_parts.h"

struct store_files;

/* `dir_fd` is of the folder of secrets; `guests_dir` may be NULL. `contents` is locked for writing
 * while contents are replaced in place; whoever reads files meanwhile locks it for reading.
 * Descriptor and lock are borrowed. */
struct store_files *store_files_new(int dir_fd, const char *guests_dir, GRWLock *contents);
void store_files_free(struct store_files *files);

/* Writes the new contents of `change` to UUID.*.new, but those that can be written over the old
 * ones. On an error nothing of it is left. */
bool store_files_stage(struct store_files *files, const struct store_change *change,
                       GError **error);
/* Removes what the last store_files_stage of `change` wrote. */
void store_files_unstage(struct store_files *files, const struct store_change *change);

/* Puts new contents in place and removes what is to be removed (a sealed value is overwritten
 * first). May be repeated together with store_files_stage. */
bool store_files_apply(struct store_files *files, const struct store_change *change,
                       GError **error);

/* Carries out a committed change whatever was done of it already, and whatever of that got to disk:
 * for recovery. What stands in the way and is no file is kept under another name. */
bool store_files_redo(struct store_files *files, const struct store_change *change, GError **error);

/* Flushes all that was touched since the last call, and the folders. After an error it is not known
 * what of that is on disk. */
bool store_files_flush(struct store_files *files, GError **error);

/* Enough was touched (each file is held open, so that no error of its flush is lost). */
bool store_files_want_flush(const struct store_files *files);

/* Whether `change` can be staged before the next flush without holding too many files open. */
bool store_files_have_room(const struct store_files *files, const struct store_change *change);

/* At start UUID.*.new files are removed, else skipped. Foreign names are logged and skipped; but
 * who looks for what must not be missed does not hear of them again, and of what can't be listed by
 * an error. */
enum store_files_look { STORE_FILES_AT_START, STORE_FILES_AGAIN, STORE_FILES_MISS_NONE };

/* What is in the folder of secrets, ordered by uuid: array of struct store_entry. (store_list.c) */
GArray *store_files_list(int dir_fd, enum store_files_look look, GError **error);

/* The order of that list, for struct store_entry. */
int store_files_compare(gconstpointer a, gconstpointer b);

/* The same for guests' copies: array of struct store_owned, ordered by secret and guest. At start
 * guests' folders with nothing else in them are removed, too. *ret_problem: NULL, or a folder whose
 * keys are missing in the list, and why. */
GArray *store_files_list_owned(const char *guests_dir, enum store_files_look look,
                               char **ret_problem, GError **error);
int store_files_compare_owned(gconstpointer a, gconstpointer b);

typedef struct store_files store_files_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(store_files_t, store_files_free)
