/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files recover*.c of the program virtcrypt-recover share.
 */
#pragma once

#include <stdbool.h>

#include "recover/offline_store.h"
#include "tools/command.h"
#include "tools/unlock_input.h"

/* The program's exit status. */
enum recover_status {
    RECOVER_GOOD = 0,
    RECOVER_LOSSES = 1, /* done, and something is damaged, lost or missing */
    RECOVER_USAGE = 2,
    RECOVER_FAILED = 3, /* not done: no store, in use, locked, no such secret */
};

struct recover {
    struct unlock_input input;
    struct offline_store *store;
    bool is_unlocked;
    enum recover_status status;
};

/* Opens the store that the options name, and unlocks it. With `may_be_locked` a store that does not
 * unlock is a loss, named on standard error, and no failure. False: errors were printed. */
bool recover_open(struct recover *recover, const struct command_args *args, bool may_be_locked);

/* "good", "none", "lost", "locked", or "clear" (in libvirt's own format alone): of a secret's
 * value.
 */
const char *recover_value_state(const struct recover *recover, const struct offline_secret *secret);

/* The commands. They set the status; errors are printed, and false returned. */
bool recover_list(struct recover *recover, const struct command_args *args);   /* recover-list.c */
bool recover_verify(struct recover *recover, const struct command_args *args); /* recover-list.c */
bool recover_extract(struct recover *recover, const struct command_args *args);
