/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a change to a secret's files as a value: its contents, and its form as a journal record
 * (docs/store.md). No files.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/store.h"

/* The longest record of a change. */
enum { STORE_CHANGE_HEAD_SIZE = 32 };
#define STORE_RECORD_MAX ((size_t)STORE_CHANGE_HEAD_SIZE + STORE_XML_MAX + STORE_KEY_MAX)

/* Moves the contents of `from` out. */
struct store_change store_change_take(struct store_change *from);
void store_change_clear(struct store_change *change);

/* Contents where there must be some, and none too large. */
bool store_change_check(const struct store_change *change, GError **error);

size_t store_change_record_size(const struct store_change *change);
GBytes *store_change_format(const struct store_change *change);
/* False if `record` is none; then `ret_change` is untouched. */
bool store_change_parse(const void *record, size_t len, struct store_change *ret_change);

typedef struct store_change store_change_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(store_change_t, store_change_clear)
