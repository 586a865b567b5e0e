/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: putting a backup (docs/backup.md) in the place of a store, so that a kill anywhere leaves
 * either what was before, or a store that no daemon opens and that the next restore finishes, or
 * the whole.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "recover/backup_reader.h"
#include "recover/offline_paths.h"
#include "recover/restore_content.h"

struct restore_params {
    const struct offline_paths *paths;
    struct backup_reader *reader;    /* unlocked */
    const struct master_key *master; /* of its slots */
    bool replace;                    /* a store with secrets is put aside */
    bool salvage;                    /* what is damaged in the backup is left out */
    struct backup_progress progress; /* of half of the work each time */
};

struct restore_report {
    struct restore_content content;
    char *aside; /* where the store of before is, or NULL */
};
void restore_report_clear(struct restore_report *report);

/* Takes the locks of the daemon. Nothing is written before all of the backup was authenticated and
 * opened. ERROR_OPERATION_INVALID where there are secrets and `replace` is false. */
bool restore_run(const struct restore_params *params, struct restore_report *ret_report,
                 GError **error);

typedef struct restore_report restore_report_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(restore_report_t, restore_report_clear)
