/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: progress.h.
 */
#include "storage/progress.h"

#include "util/error.h"

enum { WHOLE_PERMILLE = 1000 };

void
storage_progress_set(struct storage_progress *progress, guint64 done, guint64 total)
{
    guint64 permille;

    if (!progress)
        return;
    permille =
        done >= total ? WHOLE_PERMILLE : (guint64)((double)done * WHOLE_PERMILLE / (double)total);
    g_atomic_int_set(&progress->permille, (gint)permille);
}

bool
storage_progress_check(struct storage_progress *progress, GError **error)
{
    if (!progress || !g_atomic_int_get(&progress->is_cancelled))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_ABORTED, "it was cancelled");
    return false;
}
