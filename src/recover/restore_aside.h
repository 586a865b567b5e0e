/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the place that a backup is restored to: whether a store is there, and putting that aside.
 * Nothing is ever removed. The slots go first, and from then on nothing but the restored store can
 * be opened there.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "recover/offline_paths.h"

/* How many secrets and guests' copies are there. An error if that can't be told. */
bool restore_aside_count(const struct offline_paths *paths, guint *ret_count, GError **error);

/* Renames all files of a store to PATHS' folder/replaced-N, durably. Goes on where a killed one
 * ended. *ret_folder: where they are, or NULL if there were none. */
bool restore_aside_move(const struct offline_paths *paths, char **ret_folder, GError **error);
