/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: careful file access below a folder that is held open. Names are single path components and
 * symbolic links are never followed. A replace is a new file, fsync, rename and fsync of the
 * folder; the rename is the commit point.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "util/secret_buf.h"

/* A descriptor that closes itself: g_auto(file_fd) fd = -1; */
typedef int file_fd;
void file_fd_clear(file_fd *fd);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(file_fd, file_fd_clear)

/* Whom the files belong to that we make: our user, or root where a daemon has gone over to a user
 * of its own (daemon/own_user.h). */
uid_t file_own_uid(void);

/* Opens the folder `path`, durably making it (and missing parents, mode 0755) with `mode` if
 * `create`. A
 * symbolic link in the last component, or a folder of another owner than root or us, is refused. */
int file_open_dir(const char *path, bool create, mode_t mode, GError **error);

/* The names of all that is in the folder but itself and its parent, in order. */
GPtrArray *file_list_names(int dir_fd, GError **error);

/* Opens the regular file `name` for reading, checked on the descriptor. Error code ERROR_SYSTEM
 * with errno ENOENT when it does not exist. */
int file_open_read(int dir_fd, const char *name, GError **error);

/* The whole regular file `name`, at most `max` bytes. */
GBytes *file_read(int dir_fd, const char *name, size_t max, GError **error);

/* The same into secret memory. */
struct secret_buf *file_read_secret(int dir_fd, const char *name, size_t max, GError **error);

/* Creates or replaces `name` with `len` bytes, mode `mode`: durable when it returns true, unchanged
 * when it returns false (unless only the last flush failed: then it is old or new). */
bool file_replace(int dir_fd, const char *name, const void *bytes, size_t len, mode_t mode,
                  GError **error);

/* The same, and what was there before is overwritten with zeros before it goes, as is what a crash
 * left of an earlier call (NAME.new). After an error it is old or new; repeated, it does what is
 * missing. */
bool file_replace_wiping(int dir_fd, const char *name, const void *bytes, size_t len, mode_t mode,
                         GError **error);
/* Overwrites and removes what a crash left of that, and makes sure that `name` is on disk. */
bool file_finish_replace(int dir_fd, const char *name, GError **error);

/* Writes all of `bytes`, however many calls that takes; false with errno set. */
bool file_write_all(int fd, const void *bytes, size_t len);

/* The same at the offset `at`. */
bool file_write_all_at(int fd, const void *bytes, size_t len, off_t at);
/* The same with zeros. */
bool file_write_zeros_at(int fd, size_t len, off_t at);

/* Whether something has that name, a link that leads nowhere too; what can't be looked at has. */
bool file_may_exist(const char *path);

/* Overwrites the file `name` with zeros, flushes, unlinks it and flushes the folder. No error when
 * it does not exist. (What overwriting cannot reach: see docs/security.md.) */
bool file_wipe(int dir_fd, const char *name, GError **error);

/* Renames `name` to `aside` unless something has that name: false with errno EEXIST then. */
bool file_put_aside(int dir_fd, const char *name, const char *aside);

/* Flushes the folder, so that renames and unlinks in it are durable. */
bool file_sync_dir(int dir_fd, GError **error);
