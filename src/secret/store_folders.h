/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the folders that files of secrets are in: that of secrets, and below GUESTS one for each
 * guest that owns keys, which is made when it is needed and removed when nothing is in it. No link
 * is followed below the folder that GUESTS is in. Folders that were touched stay open until they
 * are flushed. One thread at a time, but for the functions at the end.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

struct store_folders;

/* `dir_fd`, of the folder of secrets, is borrowed. `guests_dir` may be NULL: there is none. */
struct store_folders *store_folders_new(int dir_fd, const char *guests_dir);
void store_folders_free(struct store_folders *folders);

/* The folder of `guest` (NULL: that of secrets), as it is now; *ret_fd is borrowed until the next
 * flush. If there is none it is made with `make`, and else *ret_fd is -1. */
bool store_folders_find(struct store_folders *folders, const struct uuid *guest, bool make,
                        int *ret_fd, GError **error);
/* Something in it changed: it is to be flushed. It was found before. */
void store_folders_touch(struct store_folders *folders, const struct uuid *guest);

/* Removes the guest's folder unless something is in it. */
bool store_folders_remove_empty(struct store_folders *folders, const struct uuid *guest,
                                GError **error);
/* The same for one that was made since the last flush, and no error. */
void store_folders_unmake(struct store_folders *folders, const struct uuid *guest);

/* For recovery: what stands in the place of the guest's folder and is none is kept under another
 * name; and what a process made or removed in GUESTS that ended before it could flush that is
 * flushed next time. */
bool store_folders_mend(struct store_folders *folders, const struct uuid *guest, GError **error);

/* Flushes those that were touched. After an error it may be tried again. */
bool store_folders_flush(struct store_folders *folders, GError **error);

/* How many are held open. */
guint store_folders_count(const struct store_folders *folders);

/* Keeps `name`, which is in the way of a committed change, under another one; `path` names it in
 * texts. */
bool store_folders_put_aside(int dir_fd, const char *name, const char *path, GError **error);

/* ---- for readers, in any thread: -1 with errno ENOENT as the error's when there is none ---- */

int store_folders_open_guests(const char *guests_dir, GError **error);
/* The folder of one guest below it. */
int store_folders_open_guest(int guests_fd, const char *name, GError **error);

typedef struct store_folders store_folders_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(store_folders_t, store_folders_free)
