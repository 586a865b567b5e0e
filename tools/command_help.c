/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: help on a command or a group of them, printed from their tables.
 */
#include <stdio.h>

#include "tools/command.h"

static const char *
kind_word(const struct command_option *option)
{
    return option->kind == OPTION_NUMBER ? "number" : "string";
}

static void
print_synopsis(const struct command *command)
{
    printf("    %s", command->name);
    for (int i = 0; i < COMMAND_OPTIONS_MAX && command->options[i].name; i++) {
        const struct command_option *option = &command->options[i];

        if (option->kind == OPTION_FLAG)
            printf(" [--%s]", option->name);
        else if (option->flags & OPTION_REQUIRED)
            printf(" <%s>", option->name);
        else if (option->flags & OPTION_REPEATED)
            printf(" [--%s <%s>]...", option->name, kind_word(option));
        else
            printf(" [--%s <%s>]", option->name, kind_word(option));
    }
    putchar('\n');
}

static char *
option_form(const struct command_option *option)
{
    if (option->kind == OPTION_FLAG)
        return g_strdup_printf("--%s", option->name);
    if (option->flags & OPTION_REQUIRED)
        return g_strdup_printf("[--%s] <%s>", option->name, kind_word(option));
    return g_strdup_printf("--%s <%s>", option->name, kind_word(option));
}

void
command_print_help(const struct command *command)
{
    printf("  NAME\n    %s - %s\n", command->name, command->summary);
    printf("\n  SYNOPSIS\n");
    print_synopsis(command);
    printf("\n  DESCRIPTION\n    %s\n", command->description);
    if (command->options[0].name)
        printf("\n  OPTIONS\n");
    for (int i = 0; i < COMMAND_OPTIONS_MAX && command->options[i].name; i++) {
        g_autofree char *form = option_form(&command->options[i]);

        printf("    %-15s  %s\n", form, command->options[i].help);
    }
    putchar('\n');
}

void
command_print_group_help(const struct command_group *group, const char *colon)
{
    printf(" %s (help keyword '%s')%s\n", group->title, group->keyword, colon);
    for (size_t i = 0; i < group->count; i++)
        printf("    %-30s %s\n", group->commands[i].name, group->commands[i].summary);
}
