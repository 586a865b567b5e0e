/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the state of the master key and its slots, as the daemon tells it: fetched, searched by
 * what a person calls a slot, and printed.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/protocol/virtcrypt_master.h"
#include "tools/session.h"

typedef struct virtcrypt_master_status_ret master_status_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(master_status_t, virtcrypt_master_status_ret_clear)

/* Errors are printed. Calls that follow may take as long as passphrases and tokens do. */
bool master_slots_get(struct session *session, struct virtcrypt_master_status_ret *ret_status);

/* By its label, its uuid, or the first 4 digits or more of that; borrowed. Errors are printed. */
const struct virtcrypt_master_slot *master_slots_find(
    const struct virtcrypt_master_status_ret *status, const char *name);

/* "key-file slot 0a1b2c3d (label)". To be freed. */
char *master_slots_describe(const struct virtcrypt_master_slot *slot);

/* The slots as a table. */
void master_slots_print(const struct virtcrypt_master_status_ret *status, bool is_quiet);

/* All of the status as JSON. To be freed. */
char *master_slots_to_json(const struct virtcrypt_master_status_ret *status);
