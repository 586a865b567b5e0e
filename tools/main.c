/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the program virtcrypt: global options, the groups of commands, help, and the order of
 * things, which is virsh's: the whole command line is checked first, then the connection is made,
 * then the command runs.
 */
#include <getopt.h>
#include <libxml/parser.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"
#include "tools/output.h"
#include "tools/session.h"
#include "tools/virsh-daemon.h"
#include "tools/virsh-guest.h"
#include "tools/virsh-key.h"
#include "tools/virsh-master.h"
#include "tools/virsh-secret.h"
#include "tools/virsh-store.h"
#include "tools/virsh-volume.h"
#include "util/probe.h"

static bool run_help(struct session *session, const struct command_args *args);

static const struct command help_command[] = {
    {
        .name = "help",
        .summary = "print help",
        .description = "Prints global help, command specific help, or help for a\n"
                       "    group of related commands",
        .is_local = true,
        .run = run_help,
        .options = {{"command", OPTION_TEXT, 0,
                     "Prints global help, command specific help, or help for a group of related "
                     "commands"}},
    },
};

/* `groups` has room for as many as there are. */
enum { GROUP_COUNT = 8 };

static void
init_groups(struct command_group *groups)
{
    groups[0] = secret_commands;
    groups[1] = volume_commands;
    groups[2] = guest_commands;
    groups[3] = key_commands;
    groups[4] = master_commands;
    groups[5] = store_commands;
    groups[6] = daemon_commands;
    groups[7] = (struct command_group){
        .title = "Virtcrypt itself",
        .keyword = "virtcrypt",
        .commands = help_command,
        .count = G_N_ELEMENTS(help_command),
    };
}

static bool
run_help(struct session *session, const struct command_args *args)
{
    g_autoptr(GError) error = NULL;
    const struct command *command;
    char *name = NULL;

    if (!command_get_text(args, "command", &name, &error))
        return output_gerror(error);
    if (!name) {
        printf("Grouped commands:\n\n");
        for (size_t i = 0; i < session->group_count; i++) {
            command_print_group_help(&session->groups[i], ":");
            putchar('\n');
        }
        return true;
    }
    command = command_find(session->groups, session->group_count, name);
    if (command) {
        command_print_help(command);
        return true;
    }
    for (size_t i = 0; i < session->group_count; i++) {
        if (strcmp(session->groups[i].keyword, name) == 0) {
            command_print_group_help(&session->groups[i], ":");
            return true;
        }
    }
    return output_error("command or command group '%s' doesn't exist", name);
}

static void
print_usage(const struct session *session)
{
    printf("\nvirtcrypt [options]... <command> [args...]\n"
           "\n  options:\n"
           "    -c | --connect=URI      daemon connection URI\n"
           "    -h | --help             this help\n"
           "    -q | --quiet            quiet mode\n"
           "    -r | --readonly         connect readonly\n"
           "    -v | --version          version\n"
           "  commands:\n\n");
    for (size_t i = 0; i < session->group_count; i++) {
        command_print_group_help(&session->groups[i], "");
        putchar('\n');
    }
    printf("\n  (specify help <group> for details about the commands in the group)\n"
           "\n  (specify help <command> for details about the command)\n\n");
}

static const struct option long_options[] = {
    {"connect", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
    {"quiet", no_argument, NULL, 'q'},         {"readonly", no_argument, NULL, 'r'},
    {"version", no_argument, NULL, 'v'},       {NULL, 0, NULL, 0},
};

static const char *
long_name(int letter)
{
    for (const struct option *option = long_options; option->name; option++) {
        if (option->val == letter)
            return option->name;
    }
    return NULL;
}

/* getopt names a short option by its letter; a long one that it does not know by none. */
static void
refuse_option(int letter, const char *word)
{
    if (letter)
        output_error("unsupported option '-%c'. See --help.", letter);
    else
        output_error("unsupported option '%s'. See --help.", word);
}

/* What is left to do after the global options. */
enum next { NEXT_COMMAND, NEXT_DONE, NEXT_FAILED };

static enum next
parse_global_options(struct session *session, int argc, char **argv)
{
    int letter;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, "+:c:hqrv", long_options, NULL)) != -1) {
        switch (letter) {
        case 'c':
            session->uri_text = optarg;
            break;
        case 'h':
            print_usage(session);
            return NEXT_DONE;
        case 'q':
            session->is_quiet = true;
            break;
        case 'r':
            session->is_readonly = true;
            break;
        case 'v':
            printf("%s\n", PACKAGE_VERSION);
            return NEXT_DONE;
        case ':':
            output_error("option '-%c'/'--%s' requires an argument", optopt, long_name(optopt));
            return NEXT_FAILED;
        default:
            refuse_option(optopt, argv[optind - 1]);
            return NEXT_FAILED;
        }
    }
    return NEXT_COMMAND;
}

static bool
run_command(struct session *session, const struct command_args *args)
{
    bool is_done;

    session->daemon = args->command->daemon;
    /* As with virsh, a connection that -c asked for is made before anything else, and without it
     * is part of the command; the blank line after a command tells the two apart. */
    if (!args->command->is_local && session->uri_text && !session_connect(session))
        return false;
    is_done =
        (args->command->is_local || session_connect(session)) && args->command->run(session, args);
    if (!session->is_quiet)
        putchar('\n');
    return is_done;
}

/* What is no command, but may be the first word of some. */
static bool
run_first_word(const struct session *session, char *const *words)
{
    const struct command_group *group =
        command_find_first_word(session->groups, session->group_count, words[0]);

    if (!group)
        return output_error("unknown command: '%s'", words[0]);
    if (words[1] && strcmp(words[1], "--help") == 0) {
        command_print_group_help(group, ":");
        if (!session->is_quiet)
            putchar('\n');
        return true;
    }
    if (!words[1] || g_str_has_prefix(words[1], "--"))
        return output_error("command '%s' requires a second word. See 'virtcrypt help %s'.",
                            words[0], group->keyword);
    return output_error("unknown command: '%s %s'", words[0], words[1]);
}

/* "help master status" means "help 'master status'": the two words as one, or NULL. */
static char *
join_help_words(const struct session *session, char *const *words)
{
    if (!words[0] || !words[1] || words[2] ||
        !command_find_first_word(session->groups, session->group_count, words[0]))
        return NULL;
    return g_strconcat(words[0], " ", words[1], NULL);
}

static bool
parse_and_run(struct session *session, char **words)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *topic = NULL;
    const struct command *command;
    struct command_args args;
    size_t used;

    if (!*words)
        return output_error("no command was given. See --help.");
    command = command_find_words(session->groups, session->group_count, words, &used);
    if (!command)
        return run_first_word(session, words);
    topic = command == help_command ? join_help_words(session, words + used) : NULL;
    if (!command_parse(command, topic ? (char *[]){topic, NULL} : words + used, &args, &error))
        return output_gerror(error);
    if (args.wants_help) {
        command_print_help(command);
        if (!session->is_quiet)
            putchar('\n');
        return true;
    }
    return run_command(session, &args);
}

int
main(int argc, char **argv)
{
    struct command_group groups[GROUP_COUNT];
    struct session session = {.groups = groups, .group_count = GROUP_COUNT};
    enum next next;
    bool is_done;

    setlocale(LC_ALL, "");
    init_groups(groups);
    next = parse_global_options(&session, argc, argv);
    is_done = next == NEXT_DONE || (next == NEXT_COMMAND && parse_and_run(&session, argv + optind));
    session_clear(&session);
    xmlCleanupParser();
    if (fflush(stdout) != 0 || ferror(stdout))
        is_done = output_error("cannot write to standard output");
    probe_end_process(is_done ? EXIT_SUCCESS : EXIT_FAILURE);
    return is_done ? EXIT_SUCCESS : EXIT_FAILURE;
}
