/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how a person unlocks a store without its daemon: what the options --slot, --key-file,
 * --passphrase-fd and --ask-password say, and asking on the terminal for what they do not.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "recover/offline_unlock.h"
#include "tools/command.h"
#include "tools/master_input.h"

struct unlock_input {
    struct helper *helper;
    struct unlock_context context;
    struct offline_key key;
    struct master_input passphrase;
    struct secret_buf *secret;
};

/* Hardens the process and starts the helper, so before there are threads or secrets. The command
 * has those options. */
bool unlock_input_begin(struct unlock_input *input, const struct command_args *args,
                        GError **error);
void unlock_input_clear(struct unlock_input *input);

/* What is to be unlocked. */
struct unlock_target {
    bool (*unlock)(void *opaque, const struct unlock_context *context,
                   const struct offline_key *key, GError **error);
    bool (*needs_person)(void *opaque, const struct offline_key *key);
    void *opaque;
};

/* By what needs no person; else, or where a passphrase is given at once, by what one types. */
bool unlock_input_run(struct unlock_input *input, const struct unlock_target *target,
                      GError **error);

typedef struct unlock_input unlock_input_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(unlock_input_t, unlock_input_clear)
