/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one file that is known by its path, and what the files that hold keys need of it: that its
 * folder is held open, and that what a killed write left is brought to its end.
 */
#pragma once

#include "util/file.h"

/* g_auto(file_place_t) place = {-1, NULL}; */
struct file_place {
    file_fd dir_fd;
    char *name; /* in that folder */
};

/* The folder as file_open_dir opens it, made with mode 0700 if `create`. */
bool file_place_open(const char *path, bool create, struct file_place *ret_place, GError **error);
void file_place_clear(struct file_place *place);

typedef struct file_place file_place_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(file_place_t, file_place_clear)

/* file_replace_wiping with mode 0600. */
bool file_place_replace_wiping(const struct file_place *place, GBytes *content, GError **error);
/* Makes sure that what such a write did is on disk, and that what was there before is overwritten:
 * who wrote may have been killed. Media that can't be written hold what they hold. On a full disk
 * the rest may have to stay till the next change, as overwriting takes space on some; that is
 * logged. */
bool file_place_finish_replace(const struct file_place *place, GError **error);
