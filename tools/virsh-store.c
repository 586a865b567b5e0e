/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the commands about the store; each is in a file of its own.
 */
#include "tools/virsh-store.h"

#include "tools/unlock_input.h"
#include "tools/virsh-store-commands.h"

static const struct command commands[] = {
    {
        .name = "store accept",
        .summary = "let values count that were put back from a backup",
        .description =
            "Accept what is refused because a newer value was stored: of one secret, or of all,\n"
            "    and whatever is wrong with the index of generations then.",
        .run = virsh_store_accept,
        .options = {{"secret", OPTION_TEXT, 0, "secret UUID"}},
    },
    {
        .name = "store import",
        .summary = "seal values that libvirt keeps in files",
        .description =
            "Take over the values that libvirt's own driver left in UUID.base64 and "
            "UUID.aes256cbc:\n    sealed, read back, compared, and wiped. What can't be read stays "
            "as it is, and is listed.",
        .run = virsh_store_import,
        .options =
            {
                {"dry-run", OPTION_FLAG, 0, "change nothing, and say what would be done"},
                {"trust-key", OPTION_FLAG, 0,
                 "libvirt's key is the right one, though nothing in the files shows it"},
                {"json", OPTION_FLAG, 0, "print the files as JSON"},
            },
    },
    {
        .name = "store export",
        .summary = "write all secrets in libvirt's own layout",
        .description =
            "Write definitions and values as libvirt's own driver reads them, from the files of\n"
            "    the store alone: virtcrypt-secretd has to be stopped. The store stays as it is.",
        .is_local = true,
        .run = virsh_store_export,
        .options =
            {
                {"dir", OPTION_TEXT, 0, "folder to write to, instead of the store's own"},
                {"libvirt", OPTION_FLAG, OPTION_REQUIRED, "the layout: libvirt's"},
                {"aes256cbc", OPTION_FLAG, 0, "encrypt values as libvirt 12.1 and later does"},
                {"key", OPTION_TEXT, OPTION_NAMED_ONLY, "file of libvirt's key, for --aes256cbc"},
                {"skip-lost", OPTION_FLAG, 0, "leave out what can't be read"},
                UNLOCK_INPUT_OPTIONS,
            },
    },
    {
        .name = "store backup",
        .summary = "back the whole store up to one file",
        .description =
            "Write a sealed copy of everything that virtcrypt-secretd keeps, as it is at one\n"
            "    instant. Each way to unlock the master key opens it; without one it is worthless.",
        .run = virsh_store_backup,
        .options = {{"file", OPTION_TEXT, OPTION_REQUIRED, "file to write"}},
    },
    {
        .name = "store restore",
        .summary = "put a backup in the place of the store",
        .description = "Put back what 'store backup' wrote, after all of it was authenticated. The "
                       "daemon has\n"
                       "    to be stopped. Killed anywhere, run it again.",
        .is_local = true,
        .run = virsh_store_restore,
        .options =
            {
                {"file", OPTION_TEXT, OPTION_REQUIRED, "the backup"},
                {"replace", OPTION_FLAG, 0, "put secrets that are there aside, to replaced-N"},
                {"salvage", OPTION_FLAG, 0, "of a damaged backup, what is whole"},
                {"dry-run", OPTION_FLAG, 0, "change nothing, and say what is in the backup"},
                UNLOCK_INPUT_OPTIONS,
            },
    },
    {
        .name = "store verify",
        .summary = "check every file of the store",
        .description =
            "Read every file while the daemon runs: whether it is authentic, and as new as what "
            "is\n"
            "    in use. What is wrong is named with its remedy, and the exit status is 1.",
        .run = virsh_store_verify,
        .options = {{"json", OPTION_FLAG, 0, "print what was found as JSON"}},
    },
};

const struct command_group store_commands = {
    .title = "Store",
    .keyword = "store",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
