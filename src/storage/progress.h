/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how far a long operation is, and the wish that it stop. Written by the worker's thread,
 * read by others; every operation takes one (NULL: nobody asks).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct storage_progress {
    gint permille;     /* atomic, 0 to 1000 */
    gint is_cancelled; /* atomic */
};

void storage_progress_set(struct storage_progress *progress, guint64 done, guint64 total);
/* Sets ERROR_OPERATION_ABORTED if it is to stop: undo what is half done, and fail. */
bool storage_progress_check(struct storage_progress *progress, GError **error);
