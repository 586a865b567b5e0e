/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a change to a secret's files as a value: its contents, and its form as a journal record
 * (docs/store.md). No files.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/store.h"

enum { STORE_CHANGE_HEAD_SIZE = 32, STORE_CHANGE_OWNER_SIZE = 24 };

/* An array for `owners` of a change: it unrefs what it holds. */
GArray *store_change_new_owners(void);
/* Puts what becomes of a guest's copy into `change`; `key` (with STORE_WRITE) is shared. */
void store_change_add_owner(struct store_change *change, const struct uuid *guest,
                            enum store_action action, GBytes *key);
/* Of struct store_owner_change: how many, and the one of an index. */
guint store_change_owner_count(const struct store_change *change);
const struct store_owner_change *store_change_owner(const struct store_change *change, guint index);

/* Moves the contents of `from` out. */
struct store_change store_change_take(struct store_change *from);
void store_change_clear(struct store_change *change);

/* Contents where there must be some, none too large, not too many owners and each once, a text for
 * the audit that is one line. */
bool store_change_check(const struct store_change *change, GError **error);

size_t store_change_record_size(const struct store_change *change);
GBytes *store_change_format(const struct store_change *change);
/* False if `record` is none; then `ret_change` is untouched. */
bool store_change_parse(const void *record, size_t len, struct store_change *ret_change);

typedef struct store_change store_change_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(store_change_t, store_change_clear)
