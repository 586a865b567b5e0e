/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: changes by uuid, of which the newest counts for each file; the audit texts of all; and what
 * readers find in place of the files while committed changes could not be carried out. Any thread
 * may call.
 */
#pragma once

#include <glib.h>

#include "secret/store_files.h"

struct overlay;

struct overlay *overlay_new(void);
void overlay_free(struct overlay *overlay);

/* Puts a change on top; its contents are shared. */
void overlay_add(struct overlay *overlay, const struct store_change *change);
/* Makes `overlay` what `from` is, which is empty then. */
void overlay_assign(struct overlay *overlay, struct overlay *from);

/* The audit texts of the changes in the order in which these were added, each exactly once. */
GPtrArray *overlay_list_audits(struct overlay *overlay);

/* Calls `func` for each uuid, with a change that has no audit text, until it returns false, which
 * is returned. It must not change the overlay. */
typedef bool (*overlay_func)(const struct store_change *change, void *opaque, GError **error);
bool overlay_foreach(struct overlay *overlay, overlay_func func, void *opaque, GError **error);

/* What becomes of a file: STORE_KEEP when the file itself says so; *ret_content with STORE_WRITE.
 */
enum store_action overlay_find(struct overlay *overlay, const struct uuid *uuid,
                               enum store_kind kind, GBytes **ret_content);

/* The same for a guest's copy. */
enum store_action overlay_find_owned(struct overlay *overlay, const struct uuid *secret,
                                     const struct uuid *guest, GBytes **ret_content);

/* Bring a list that was read from the folders (store_files_list, store_files_list_owned) to what it
 * will be. */
void overlay_amend(struct overlay *overlay, GArray *entries);
void overlay_amend_owned(struct overlay *overlay, GArray *owned);

typedef struct overlay overlay_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(overlay_t, overlay_free)
