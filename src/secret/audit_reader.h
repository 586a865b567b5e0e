/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading the audit a page of lines at a time, as it is on disk: whether it is whole is for
 * the reader to judge (audit_line_verify). Writes nothing. One thread at a time, beside the one
 * that appends.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit_reader;

/* `path` may be NULL: there are no lines. */
struct audit_reader *audit_reader_new(const char *path);
void audit_reader_free(struct audit_reader *reader);

/* At most `max` lines from number `from` (the first one is 0), at least one if there is one, and
 * not more than AUDIT_READER_BYTES_MAX bytes: array of char * without newlines. A line that does
 * not end yet is none. A byte 0, which no line of ours has, ends the text of its line.
 * *ret_more: others follow. No file is no line. */
enum { AUDIT_READER_BYTES_MAX = 1024 * 1024 };
GPtrArray *audit_reader_read(struct audit_reader *reader, uint64_t from, size_t max, bool *ret_more,
                             GError **error);

typedef struct audit_reader audit_reader_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(audit_reader_t, audit_reader_free)
