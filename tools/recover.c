/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the program virtcrypt-recover: its table of commands, and opening the store for them.
 */
#include <libxml/parser.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/output.h"
#include "tools/recover-commands.h"
#include "util/probe.h"

/* What all commands have. */
#define OPTIONS_STORE                                                                              \
    {"root", OPTION_TEXT, OPTION_NAMED_ONLY,                                                       \
     "folder that is the / of the store: a mounted disk, a copy"},                                 \
        UNLOCK_INPUT_OPTIONS,                                                                      \
    {                                                                                              \
        "old", OPTION_FLAG, 0, "take values that were put back from an older backup, too"          \
    }

static const struct command commands[] = {
    {
        .name = "list",
        .summary = "list the secrets of a store",
        .description = "Lists what is there, whether each value can be had, and what is lost.",
        .is_local = true,
        .options = {{"json", OPTION_FLAG, 0, "print the secrets as JSON"}, OPTIONS_STORE},
    },
    {
        .name = "verify",
        .summary = "check every file of a store",
        .description = "Opens every file and names those that are damaged, missing or old, with\n"
                       "    what to do. The exit status is 1 if there are any.",
        .is_local = true,
        .options = {{"json", OPTION_FLAG, 0, "print what was found as JSON"}, OPTIONS_STORE},
    },
    {
        .name = "extract",
        .summary = "get one value out of a store",
        .description = "Writes the value of a secret, as it is, to a new file or to standard "
                       "output.\n    A line in the store's audit says so, before.",
        .is_local = true,
        .options =
            {
                {"secret", OPTION_TEXT, OPTION_REQUIRED, "secret UUID or usage"},
                {"output", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "file to make, - for standard output (the default)"},
                {"force", OPTION_FLAG, 0, "also to a terminal"},
                OPTIONS_STORE,
            },
    },
};

/* In the order of the table. */
static bool (*const functions[])(struct recover *recover, const struct command_args *args) = {
    recover_list,
    recover_verify,
    recover_extract,
};
G_STATIC_ASSERT(G_N_ELEMENTS(functions) == G_N_ELEMENTS(commands));

/* ---- the store ---- */

bool
recover_open(struct recover *recover, const struct command_args *args, bool may_be_locked)
{
    g_autoptr(GError) error = NULL;
    struct offline_params params = {.takes_old = command_has(args, "old")};
    char *root = NULL;

    recover->status = RECOVER_USAGE;
    if (!command_get_text(args, "root", &root, &error))
        return output_gerror(error);
    recover->status = RECOVER_FAILED;
    if (!unlock_input_begin(&recover->input, args, &error))
        return output_gerror(error);
    params.root = root;
    params.is_session = !root && geteuid() != 0;
    recover->store = offline_store_open(&params, &error);
    if (!recover->store)
        return output_failure(error, "Failed to open the store");
    recover->is_unlocked = unlock_input_run_store(&recover->input, recover->store, &error);
    if (!recover->is_unlocked) {
        output_failure(error, "Failed to unlock the store");
        if (!may_be_locked)
            return false;
    }
    recover->status = recover->is_unlocked ? RECOVER_GOOD : RECOVER_LOSSES;
    return true;
}

const char *
recover_value_state(const struct recover *recover, const struct offline_secret *secret)
{
    if (!secret->entry.has_key && !secret->owners)
        return secret->entry.has_base64 ? "clear" : "none";
    if (!recover->is_unlocked)
        return "locked";
    return offline_store_find_loss(secret) ? "lost" : "good";
}

static void
recover_clear(struct recover *recover)
{
    offline_store_free(recover->store);
    unlock_input_clear(&recover->input);
}

typedef struct recover recover_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(recover_t, recover_clear)

/* ---- the program ---- */

static void
print_usage(void)
{
    printf("Usage: virtcrypt-recover COMMAND [OPTION]...\n"
           "Works on the files of virtcrypt-secretd's store, without any daemon.\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\n  COMMAND --help tells more. Also: --help, --version.\n"
           "Exit status: 0 good; 1 done, and something is damaged or lost; 2 usage; 3 failed.\n"
           "See virtcrypt-recover(8).\n");
}

static enum recover_status
run_command(size_t index, char **words)
{
    g_auto(recover_t) recover = {0};
    g_autoptr(GError) error = NULL;
    struct command_args args;

    if (!command_parse(&commands[index], words, &args, &error)) {
        output_gerror(error);
        return RECOVER_USAGE;
    }
    if (args.wants_help) {
        command_print_help(&commands[index]);
        return RECOVER_GOOD;
    }
    if (!functions[index](&recover, &args) && recover.status == RECOVER_GOOD)
        return RECOVER_FAILED;
    return recover.status;
}

static enum recover_status
run(char **words)
{
    if (!*words) {
        output_error("no command was given. See --help.");
        return RECOVER_USAGE;
    }
    if (strcmp(*words, "--help") == 0 || strcmp(*words, "-h") == 0) {
        print_usage();
        return RECOVER_GOOD;
    }
    if (strcmp(*words, "--version") == 0 || strcmp(*words, "-V") == 0) {
        printf("virtcrypt-recover %s\n", PACKAGE_VERSION);
        return RECOVER_GOOD;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(*words, commands[i].name) == 0)
            return run_command(i, words + 1);
    }
    output_error("unknown command: '%s'", *words);
    return RECOVER_USAGE;
}

int
main(int argc, char **argv)
{
    enum recover_status status;

    setlocale(LC_ALL, "");
    status = run(argv + MIN(argc, 1));
    xmlCleanupParser();
    if (fflush(stdout) != 0 || ferror(stdout)) {
        output_error("cannot write to standard output");
        status = RECOVER_FAILED;
    }
    probe_end_process((int)status);
    return (int)status;
}
