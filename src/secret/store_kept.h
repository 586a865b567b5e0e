/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: sealed values that were kept when something else took their place: UUID.key.replaced-N and
 * UUID.key.foreign.N, in the folder of secrets and in those of guests. They count for nothing and
 * are no business of the journal; but what they are sealed under must not be destroyed under them.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* *ret_content: what is to take the place of `content`, or NULL: it stays. */
typedef bool (*store_kept_func)(void *opaque, GBytes *content, GBytes **ret_content,
                                GError **error);

struct store_kept_work {
    store_kept_func func;
    void *opaque;
    guint max; /* so many are replaced, at most */
};

/* Calls `func` for each that is a regular file of the size of a sealed value, and replaces what is
 * to be, each durably; *ret_count were. An error if one can't be read, replaced or listed. */
bool store_kept_replace(int dir_fd, const char *guests_dir, const struct store_kept_work *work,
                        guint *ret_count, GError **error);
