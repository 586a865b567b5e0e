/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: keys that options name: a file, "-" for standard input or the terminal, and for guests
 * VOLUME=FILE, VOLUME=- and VOLUME=generate. No key is ever an argument itself.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/secret_buf.h"

/* The bytes of the file `path`, or with "-" what standard input holds, without a line break at its
 * end; if that is a terminal it is asked for with `prompt`, and once more with `again` unless that
 * is NULL. An empty key is an error. */
struct secret_buf *key_input_read(const char *path, const char *prompt, const char *again,
                                  GError **error);

/* A key of a guest's volume, as an option names it. */
struct key_word {
    char *volume;
    char *path; /* NULL: it is to be generated */
};
void key_word_free(struct key_word *word);

/* Of `count` texts, an array of struct key_word, in their order. Errors: another form, a volume
 * named twice, "-" more than once. */
GPtrArray *key_input_parse_words(char *const *texts, size_t count, GError **error);

typedef struct key_word key_word_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(key_word_t, key_word_free)
