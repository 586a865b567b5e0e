/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a backup's content as a store: checking it, each value being opened, and writing its files.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "recover/backup_reader.h"
#include "recover/offline_paths.h"

struct restore_content {
    uint64_t secrets;
    uint64_t values;
    uint64_t copies;   /* of guests */
    GPtrArray *lost;   /* texts: what the backup says is not in it */
    GPtrArray *damage; /* of a salvage: what is damaged in it; else NULL */
};
void restore_content_clear(struct restore_content *content);

/* Reads all of it, and opens every value. Nothing is written. `salvage`: what is damaged is left
 * out, and named, instead of refusing the whole. */
bool restore_content_check(struct backup_reader *reader, const struct master_key *master,
                           const struct backup_progress *progress, bool salvage,
                           struct restore_content *ret_content, GError **error);

/* Writes what was checked to where nothing of that name is, and makes it durable. */
bool restore_content_write(struct backup_reader *reader, const struct master_key *master,
                           const struct offline_paths *paths,
                           const struct backup_progress *progress,
                           const struct restore_content *checked, GError **error);

typedef struct restore_content restore_content_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(restore_content_t, restore_content_clear)
