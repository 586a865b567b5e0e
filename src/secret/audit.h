/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the audit on disk (docs/audit.md): one file of lines that follow one another in a chain
 * (conf/audit_line.h), appended to and never changed. What is appended is in the store's journal
 * until audit_flush has succeeded; whatever failed or was interrupted is repeated from there. One
 * thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

struct audit;

/* Opens nothing yet. `path` may be NULL: there is none, and each function says so. */
struct audit *audit_new(const char *path);
void audit_free(struct audit *audit);

/* Before a commit: that a line with members of `len` bytes can be appended; the file and its folder
 * are made, and space is reserved where the file system can. An error says what is in the way. */
bool audit_prepare(struct audit *audit, size_t len, GError **error);

/* After the commit, in the order of the journal. After an error nothing can be appended before
 * audit_redo. */
bool audit_append(struct audit *audit, const char *members, GError **error);

/* Brings the end of the file to what it has to be when `audits`, the members of all lines that are
 * in the journal in their order, were appended: each exactly once, whatever was written of them.
 * Nothing else is changed: a file that ends in a way that this does not explain is refused. */
bool audit_redo(struct audit *audit, const GPtrArray *audits, GError **error);

/* Makes what was appended durable. After an error it is not known what of that is on disk. */
bool audit_flush(struct audit *audit, GError **error);

typedef struct audit audit_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(audit_t, audit_free)
