/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a line of the audit says (docs/audit.md), for people. That it is whole is looked at by
 * conf/audit_line.h.
 */
#pragma once

#include <glib.h>

/* The member of that name as text, a number in its digits, an array of strings with commas between
 * them; NULL if there is none, it is null, or the line is no such. */
char *audit_text_get(const char *line, const char *name);
