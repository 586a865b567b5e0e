/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the program prints, in virsh's form: errors as "error: TEXT" lines, tables, and JSON
 * strings. Never pass key bytes here: they go from a secret_buf to the descriptor.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/secret_buf.h"

/* "error: TEXT" on standard error. Returns false, for a command to return. */
bool output_error(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* The same with the text of `error`. */
bool output_gerror(const GError *error);

/* Two lines: what was tried, then why it failed. */
bool output_failure(const GError *error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* "warning: TEXT" and "note: TEXT" on standard error. */
void output_warning(const char *text);
void output_note(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Writes what was printed before, then `value` as it is, to standard output. */
bool output_secret(const struct secret_buf *value, GError **error);

/* Prints rows of `column_count` cells each, padded to the widest, as virsh does; the first row is
 * the head, which is left out with `is_quiet`. `cells` holds char *, row by row. */
void output_table(const GPtrArray *cells, guint column_count, bool is_quiet);

/* Of a uuid's 16 bytes, as they are on the wire. */
char *output_format_uuid(const uint8_t *bytes);

/* Seconds since 1970 as RFC 3339 has them, in UTC; NULL for 0, or what no calendar holds. */
char *output_format_time(int64_t seconds);

/* Appends `text` as a JSON string (RFC 8259 section 7), or null for NULL. What is not UTF-8 becomes
 * U+FFFD. */
void output_append_json(GString *json, const char *text);

/* Appends an object whose members are strings, or null. */
struct output_member {
    const char *name;
    const char *text;
};
void output_append_json_object(GString *json, const struct output_member *members, size_t count);

/* Prints an array of what `append` makes of each of `entries`, one a line. */
void output_json_array(const GPtrArray *entries, void (*append)(GString *json, const void *entry));
