/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a line of the audit as text (docs/audit.md): one JSON object whose last member is the
 * SHA-256 of the others, of which one is the hash of the line before. Pure; no files.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

/* Of the text that a caller gives, and of a line with its newline, in bytes. */
enum { AUDIT_MEMBERS_MAX = 65536, AUDIT_LINE_MAX = AUDIT_MEMBERS_MAX + 256 };

enum { AUDIT_HASH_SIZE = 65 }; /* hexadecimal, with the closing NUL */

/* Where a line stands in the chain. */
struct audit_line {
    uint64_t seq;
    char prev[AUDIT_HASH_SIZE];
    char hash[AUDIT_HASH_SIZE];
    char id[UUID_TEXT_SIZE];
};

/* What the next line has to follow. */
struct audit_line_chain {
    uint64_t next_seq;
    char prev[AUDIT_HASH_SIZE];
};

/* Appends a JSON string: what is no UTF-8 is replaced, so that it is one whatever `text` holds. */
void audit_line_append_string(GString *members, const char *text);

/* Whether the text can stand in a line: members of a JSON object without its braces, one of which
 * is "id" with a uuid, in one line. (That it is JSON is the caller's.) */
bool audit_line_are_members(const char *members);
/* Their "id"; they are members. */
void audit_line_find_id(const char *members, char ret_id[UUID_TEXT_SIZE]);

/* Before the first line. */
void audit_line_chain_init(struct audit_line_chain *chain);

/* The line, without newline, that has `members` and follows `chain`, which it moves on. The same is
 * made of the same, so that a line can be written again. */
char *audit_line_format(struct audit_line_chain *chain, const char *members);

/* Reads a line (without newline); false if it is none, or its hash is not that of its content. */
bool audit_line_parse(const char *text, size_t len, struct audit_line *ret_line);

/* Whether the line is whole and follows `chain`, which it moves on; the error says what is wrong
 * with it. */
bool audit_line_verify(struct audit_line_chain *chain, const char *text, size_t len,
                       GError **error);
