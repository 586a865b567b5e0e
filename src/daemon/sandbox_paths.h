/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the confinement to folders, by Landlock. What the kernel is too old for stays open: that is
 * said.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum sandbox_access {
    SANDBOX_READ,   /* files and lists of files, all below a folder */
    SANDBOX_WRITE,  /* that, and make, replace, remove files and folders */
    SANDBOX_APPEND, /* make and write files (logs) */
    SANDBOX_LIST,   /* folders, not the files in them */
    SANDBOX_REMOVE, /* remove files (sockets, locks) */
    SANDBOX_KEY,    /* read a file that looks like a key file; anything else is skipped */
};

struct sandbox_path {
    const char *path; /* a folder or a file; one that is missing, or does not answer, is
                       * skipped, and stays out of reach when it is there later */
    enum sandbox_access access;
};

/* Everything else can't be opened, made or removed from now on, by this thread and those that it
 * starts. What is open stays so. `*ret_missing` (to be freed) says what the kernel does not
 * confine, or is NULL. False with an error: nothing is confined. */
bool sandbox_paths_confine(const struct sandbox_path *paths, size_t count, char **ret_missing,
                           GError **error);
