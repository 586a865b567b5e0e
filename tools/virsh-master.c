/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of commands for the master key, and its state.
 */
#include "tools/virsh-master.h"

#include <inttypes.h>
#include <stdio.h>

#include "tools/master_slots.h"
#include "tools/virsh-master-commands.h"

static void
print_line(const char *name, const char *text)
{
    printf("%-15s %s\n", name, text);
}

static char *
find_opener(const struct virtcrypt_master_status_ret *status)
{
    for (uint32_t i = 0; i < status->slots_len; i++) {
        if (status->slots[i].is_opener)
            return master_slots_describe(&status->slots[i]);
    }
    return NULL;
}

static void
print_key(const struct virtcrypt_master_status_ret *status)
{
    g_autofree char *opener = status->locked ? NULL : find_opener(status);
    g_autofree char *state = g_strdup_printf("%s%s%s", status->locked ? "locked" : "unlocked",
                                             opener ? " by the " : "", opener ? opener : "");
    g_autoptr(GString) id = g_string_new(NULL);

    for (uint32_t i = 0; i < status->key_id_len; i++)
        g_string_append_printf(id, "%02x", status->key_id[i]);
    print_line("Master key:", state);
    if (status->locked && status->locked_reason)
        print_line("Reason:", status->locked_reason);
    if (id->len > 0)
        print_line("Id:", id->str);
    if (status->is_rotating)
        printf("%-15s %" PRIu64 " values are still under the master key of before\n",
               "Rotating:", status->left);
    if (status->problem)
        print_line("Problem:", status->problem);
    if (status->rollback)
        print_line("Rollback:", status->rollback);
}

static bool
run_status(struct session *session, const struct command_args *args)
{
    g_auto(master_status_t) status = {0};

    if (!master_slots_get(session, &status))
        return false;
    if (command_has(args, "json")) {
        g_autofree char *json = master_slots_to_json(&status);

        printf("%s\n", json);
        return true;
    }
    print_key(&status);
    putchar('\n');
    master_slots_print(&status, session->is_quiet);
    for (uint32_t i = 0; i < status.slots_len; i++) {
        g_autofree char *description = master_slots_describe(&status.slots[i]);

        if (status.slots[i].problem)
            printf("\n%s: %s\n", description, status.slots[i].problem);
    }
    return true;
}

#define OPTION_PASSPHRASE_FD                                                                       \
    {                                                                                              \
        "passphrase-fd", OPTION_NUMBER, OPTION_NAMED_ONLY,                                         \
            "read passphrases from that descriptor, one a line"                                    \
    }

#define OPTION_ASK_PASSWORD                                                                        \
    {                                                                                              \
        "ask-password", OPTION_FLAG, 0, "ask for passphrases by systemd-ask-password"              \
    }

static const char slot_help[] = "label or uuid of a slot, or at least 4 digits of its beginning";

static const struct command commands[] = {
    {
        .name = "master add-slot",
        .summary = "add a way to unlock the master key",
        .description =
            "Add a slot to the master key and open it once, before it counts. Methods are\n"
            "    key-file, passphrase, credential, tpm2, pkcs11 and recovery.",
        .run = virsh_master_add_slot,
        .options =
            {
                {"method", OPTION_TEXT, OPTION_REQUIRED, "how the slot is to be opened"},
                {"label", OPTION_TEXT, OPTION_NAMED_ONLY, "a name for the slot"},
                {"path", OPTION_TEXT, OPTION_NAMED_ONLY, "key-file: the file"},
                {"credential", OPTION_TEXT, OPTION_NAMED_ONLY, "credential: its name"},
                {"pcrs", OPTION_TEXT, OPTION_NAMED_ONLY, "tpm2: registers, such as 7 or 0,2,7"},
                {"bank", OPTION_TEXT, OPTION_NAMED_ONLY, "tpm2: sha256, sha384 or sha512"},
                {"no-counter", OPTION_FLAG, 0, "tpm2: without a counter against old backups"},
                {"uri", OPTION_TEXT, OPTION_NAMED_ONLY, "pkcs11: the key on the token"},
                OPTION_PASSPHRASE_FD,
                OPTION_ASK_PASSWORD,
            },
    },
    {
        .name = "master change-passphrase",
        .summary = "change the passphrase of a slot",
        .description = "Change the passphrase of a slot, or make a new recovery passphrase.",
        .run = virsh_master_change_passphrase,
        .options = {{"slot", OPTION_TEXT, OPTION_REQUIRED, slot_help},
                    OPTION_PASSPHRASE_FD,
                    OPTION_ASK_PASSWORD},
    },
    {
        .name = "master lock",
        .summary = "lock the master key",
        .description = "Take all keys out of the daemon's memory, until they are unlocked again.",
        .run = virsh_master_lock,
    },
    {
        .name = "master remove-slot",
        .summary = "remove a way to unlock the master key",
        .description = "Remove a slot. Another one has to open first, by itself or by its "
                       "passphrase.",
        .run = virsh_master_remove_slot,
        .options = {{"slot", OPTION_TEXT, OPTION_REQUIRED, slot_help},
                    OPTION_PASSPHRASE_FD,
                    OPTION_ASK_PASSWORD},
    },
    {
        .name = "master rotate",
        .summary = "replace the master key",
        .description =
            "Make a new master key for all slots, and seal all values under it while they go on\n"
            "    being used. Passphrases stay; a new recovery passphrase is made.",
        .run = virsh_master_rotate,
        .options =
            {
                {"reseal", OPTION_FLAG, 0, "new data keys, too"},
                {"remove-slot", OPTION_TEXT, OPTION_REPEATED,
                 "a slot that the new master key is not to have"},
                OPTION_PASSPHRASE_FD,
                OPTION_ASK_PASSWORD,
            },
    },
    {
        .name = "master status",
        .summary = "state of the master key and its slots",
        .description = "Show whether the master key is unlocked, by which slot, and what kept "
                       "others from it.",
        .run = run_status,
        .options = {{"json", OPTION_FLAG, 0, "print the state as JSON"}},
    },
    {
        .name = "master test-slot",
        .summary = "try whether a slot opens",
        .description = "Open a slot without changing anything.",
        .run = virsh_master_test_slot,
        .options = {{"slot", OPTION_TEXT, OPTION_REQUIRED, slot_help},
                    OPTION_PASSPHRASE_FD,
                    OPTION_ASK_PASSWORD},
    },
    {
        .name = "master unlock",
        .summary = "unlock the master key",
        .description =
            "Unlock the master key by that slot; without one by those that need no person, and\n"
            "    then by a passphrase.",
        .run = virsh_master_unlock,
        .options = {{"slot", OPTION_TEXT, 0, slot_help}, OPTION_PASSPHRASE_FD, OPTION_ASK_PASSWORD},
    },
    {
        .name = "unlock",
        .summary = "fail unless the master key is unlocked",
        .description =
            "Succeed if virtcrypt-secretd is there and its master key is unlocked; for scripts.\n"
            "    It unlocks nothing itself but with --ask-password.",
        .is_local = true,
        .run = virsh_unlock,
        .options =
            {
                {"wait", OPTION_FLAG, 0, "wait until that is so"},
                {"timeout", OPTION_NUMBER, OPTION_NAMED_ONLY,
                 "for at most so many seconds, 90 by default"},
                {"ask-password", OPTION_FLAG, 0,
                 "ask for a passphrase by systemd-ask-password meanwhile"},
            },
    },
};

const struct command_group master_commands = {
    .title = "Master key",
    .keyword = "master",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
