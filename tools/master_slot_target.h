/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the commands about one slot of the master key begin with: how they get passphrases,
 * and the slot that the option --slot names.
 */
#pragma once

#include "tools/command.h"
#include "tools/master_input.h"
#include "tools/master_slots.h"
#include "tools/session.h"

struct master_slot_target {
    struct master_input input;
    struct virtcrypt_master_status_ret status; /* of all slots */
    const struct virtcrypt_master_slot *slot;  /* one of them */
    char *description;                         /* of that */
};

/* The command has --slot, --passphrase-fd and --ask-password. Errors are printed. */
bool master_slot_target_begin(struct master_slot_target *target, struct session *session,
                              const struct command_args *args);
void master_slot_target_clear(struct master_slot_target *target);

typedef struct master_slot_target master_slot_target_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(master_slot_target_t, master_slot_target_clear)
