/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files of migration share. Inside src/guest only.
 */
#pragma once

#include "guest/service_state.h"

enum {
    GUEST_MIGRATION_KEYS_MAX = 256,   /* of one guest, in one message */
    GUEST_MIGRATION_PATIENCE_S = 300, /* from the last word of who migrates until it counts as gone,
                                       * if nothing comes or goes */
};

/* ---- migration_in.c; guest locked by the caller ---- */

/* The guest is here: all keys that came are its own. The record is put as PRESENT. */
bool guest_migration_arrive(struct guest_service *service, struct guest_record *record,
                            GError **error);
/* It is not here and will not come: what was made for it is erased. The record is put, or removed
 * if it has no keys. */
bool guest_migration_give_up(struct guest_service *service, struct guest_record *record,
                             GError **error);

/* ---- migration_out.c; guest locked by the caller ---- */

/* It is still here: an end of LEAVING. */
bool guest_migration_stay(struct guest_service *service, struct guest_record *record,
                          GError **error);
/* It is not here any more; with `is_confirmed`, the other host was seen to hold what was sent. */
bool guest_migration_leave(struct guest_service *service, struct guest_record *record,
                           bool is_confirmed, GError **error);
