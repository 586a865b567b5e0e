/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how a person unlocks a store without its daemon: what the options --slot, --key-file,
 * --passphrase-fd and --ask-password say, and asking on the terminal for what they do not.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "recover/offline_store.h"
#include "tools/command.h"
#include "tools/master_input.h"

struct unlock_input {
    struct helper *helper;
    struct unlock_context context;
    struct offline_key key;
    struct master_input passphrase;
    struct secret_buf *secret;
};

/* Those options, for a command's table. */
#define UNLOCK_INPUT_OPTIONS                                                                       \
    {"slot", OPTION_TEXT, OPTION_NAMED_ONLY, "slot of the master key to unlock with"},             \
        {"key-file", OPTION_TEXT, OPTION_NAMED_ONLY,                                               \
         "where the slot's key file is now, if not where it says"},                                \
        {"passphrase-fd", OPTION_NUMBER, OPTION_NAMED_ONLY,                                        \
         "read the passphrase from that descriptor"},                                              \
    {                                                                                              \
        "ask-password", OPTION_FLAG, 0, "ask for it by systemd-ask-password"                       \
    }

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
/* The same of a store. */
bool unlock_input_run_store(struct unlock_input *input, struct offline_store *store,
                            GError **error);

typedef struct unlock_input unlock_input_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(unlock_input_t, unlock_input_clear)
