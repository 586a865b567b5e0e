/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is on disk, secret by secret, for who takes all of it over: the files of a secret and
 * the guests that have a copy of its value.
 */
#pragma once

#include "conf/secret_def.h"
#include "secret/store.h"

/* `entry` has nothing but the uuid where only guests have something. The owners (owners.h) are
 * taken. */
typedef void (*store_inventory_func)(const struct store_entry *entry, GArray *take_owners,
                                     void *opaque);

/* Calls `func` for each secret of the lists that store_list and store_list_owned made, in the order
 * of uuids. */
void store_inventory_foreach(const GArray *entries, const GArray *owned, store_inventory_func func,
                             void *opaque);

/* Reads and parses; that the definition is this secret's is seen to. */
struct secret_def *store_inventory_read_definition(struct store *store, const struct uuid *uuid,
                                                   GError **error);
