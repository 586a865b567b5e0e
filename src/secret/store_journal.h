/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where the store's journal is, how large it is made, and what becomes of a damaged one.
 */
#pragma once

#include "secret/journal.h"

/* Opens the journal in the folder `journal_dir`, both made if they are not there. A damaged or
 * foreign one is put aside. Errors as of journal_open. */
struct journal *store_journal_open(const char *journal_dir, GError **error);

/* Keeps the journal under another name; `reason` goes to the log. */
bool store_journal_put_aside(const char *journal_dir, const GError *reason, GError **error);
