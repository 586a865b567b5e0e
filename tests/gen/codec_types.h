/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: all types that messages of our programs consist of, by name, and codec calls on bytes.
 */
#pragma once

#include <glib.h>

#include "rpc/program.h"

/* All programs, NULL at the end. */
const struct rpc_program *const *codec_programs(void);

/* Every type once that is an argument, a result or an error of a program, NULL at the end. */
const struct rpc_type *const *codec_types(void);

/* NULL if there is none of that name. */
const struct rpc_type *codec_type_find(const char *name);

/* A decoded value or NULL; `ret_left` (may be NULL) gets the bytes after it. Free it with
 * codec_type_free. */
void *codec_type_decode(const struct rpc_type *type, const void *bytes, size_t len,
                        size_t *ret_left, GError **error);
void codec_type_free(const struct rpc_type *type, void *value);

/* The bytes of a value; aborts unless they are as many as encoded_size says. */
GBytes *codec_type_encode(const struct rpc_type *type, const void *value);

/* Lines "NAME HEX" of a text file; blanks in HEX are skipped, and `#` lines. */
struct codec_message {
    const struct rpc_type *type;
    GBytes *bytes;
};

/* An array of struct codec_message; aborts on a line that is none. */
GArray *codec_messages_read(const char *path);

/* The bytes of hexadecimal digits, or NULL. */
GBytes *codec_hex_parse(const char *text);
