/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: going through the names in a folder of secrets: which are ours, and a word in the log on
 * those that are not.
 */
#pragma once

#include <dirent.h>
#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

/* Calls `func` for each name but "." and "..". `what` names the folder in error texts. */
typedef void (*store_names_func)(void *opaque, const struct dirent *item);
bool store_names_foreach(int dir_fd, const char *what, store_names_func func, void *opaque,
                         GError **error);

/* A name that begins with a uuid: the uuid, and what follows it. */
bool store_names_parse(const char *name, struct uuid *ret_uuid, const char **ret_suffix);

bool store_names_is_regular(int dir_fd, const struct dirent *item);
bool store_names_is_folder(int dir_fd, const struct dirent *item);
bool store_names_is_link(int dir_fd, const struct dirent *item);

/* Logs the first foreign names, and at the end how many more there were. */
struct store_names_foreign {
    const char *what; /* the folder */
    bool is_silent;   /* they are known already */
    unsigned int count;
};
void store_names_note_foreign(struct store_names_foreign *foreign, const char *folder,
                              const char *name);
void store_names_sum_up_foreign(const struct store_names_foreign *foreign);

/* Removes what an interrupted change left. */
void store_names_remove_staged(int dir_fd, const char *name);
