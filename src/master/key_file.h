/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where a key file is, the careful reading of it, and that neither takes longer than it may:
 * it may be on a network mount that is dead. What the file is to a slot is unlock_key_file.c's.
 */
#pragma once

#include "master/unlock.h"
#include "util/file.h"

#define KEY_FILE_NEXT_SUFFIX ".next"
#define KEY_FILE_NEW_SUFFIX  ".new"

/* PATH; PATH.next, which is to take its place; and PATH.new of file_replace_wiping. */
struct key_file {
    char *path;
    char *next_path;
    char *name;
    char *next_name;
    char *new_name;
    file_fd dir_fd; /* of the folder */
};
void key_file_clear(struct key_file *file);

/* What a look at a key file found. Of each of the three: it, or the problem. */
struct key_file_look {
    struct key_file file; /* its folder is closed again */
    GError *folder_problem;
    struct secret_buf *bytes; /* of PATH */
    GError *problem;
    struct secret_buf *next_bytes; /* of PATH.next */
    GError *next_problem;
};
void key_file_look_free(struct key_file_look *look);

/* Reads what there is within the context's time (util/probe.h), and changes nothing. NULL:
 * ERROR_OPERATION_TIMEOUT, which names the file, or ERROR_OPERATION_ABORTED. `path` is absolute,
 * without '..'. */
struct key_file_look *key_file_look(const struct unlock_context *context, const char *path,
                                    GError **error);

/* Opens the folder, and leaves it open, for what is to be changed there; `create` makes it. No
 * bound: for a file that was looked at just before. */
bool key_file_open(const char *path, bool create, struct key_file *ret_file, GError **error);

/* Sets the error of EACCES in its folder: root can open anything, but the daemon confines itself.
 */
void key_file_set_kept_out(const struct key_file *file, GError **error);

/* The key at PATH or PATH.next, SLOT_KEY_SIZE bytes; ERROR_SYSTEM with ENOENT if there is none. No
 * bound either. */
struct secret_buf *key_file_read(const struct key_file *file, GError **error);
struct secret_buf *key_file_read_next(const struct key_file *file, GError **error);

typedef struct key_file key_file_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(key_file_t, key_file_clear)
typedef struct key_file_look key_file_look_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(key_file_look_t, key_file_look_free)
