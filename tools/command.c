/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: command.h but for help.
 */
#include "tools/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util/error.h"

/* Messages are complete, without a class text before them, as virsh's are. */
static void G_GNUC_PRINTF(2, 3) set_usage_error(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, text);
}

static int
find_option(const struct command *command, const char *name, size_t len)
{
    for (int i = 0; i < COMMAND_OPTIONS_MAX && command->options[i].name; i++) {
        const char *known = command->options[i].name;

        if (strlen(known) == len && strncmp(known, name, len) == 0)
            return i;
    }
    return -1;
}

static const char *
kind_word(const struct command_option *option)
{
    return option->kind == OPTION_NUMBER ? "number" : "string";
}

/* Every command has it. */
static const struct command_option help_option = {"help", OPTION_FLAG, 0, "print help"};

/* Keeps the value that was given last of option `i`, beside those before it. */
static bool
add_repeated(struct command_args *args, int i, GError **error)
{
    if (args->repeated_count == COMMAND_REPEATS_MAX) {
        set_usage_error(error, "option --%s is there more than %d times",
                        args->command->options[i].name, COMMAND_REPEATS_MAX);
        return false;
    }
    args->repeated[args->repeated_count++] = args->values[i];
    return true;
}

/* --name, --name=VALUE or --name VALUE; `*argv` is moved to the last word that was used. */
static bool
parse_named(struct command_args *args, char ***argv, GError **error)
{
    char *name = **argv + 2;
    char *equals = strchr(name, '=');
    int len = equals ? (int)(equals - name) : (int)strlen(name);
    int i = find_option(args->command, name, (size_t)len);
    bool is_help = i < 0 && len == 4 && strncmp(name, help_option.name, 4) == 0;
    const struct command_option *option = i < 0 ? &help_option : &args->command->options[i];
    bool *is_given = i < 0 ? &args->wants_help : &args->is_given[i];

    if (i < 0 && !is_help) {
        set_usage_error(error, "command '%s' doesn't support option --%.*s", args->command->name,
                        len, name);
        return false;
    }
    if (*is_given && !(option->flags & OPTION_REPEATED)) {
        set_usage_error(error, "option --%s already seen", option->name);
        return false;
    }
    if (option->kind == OPTION_FLAG && equals) {
        set_usage_error(error, "invalid '=' after option --%s", option->name);
        return false;
    }
    if (option->kind != OPTION_FLAG && !equals && !*++*argv) {
        set_usage_error(error, "expected syntax: --%s <%s>", option->name, kind_word(option));
        return false;
    }
    *is_given = true;
    if (option->kind != OPTION_FLAG)
        args->values[i] = equals ? equals + 1 : **argv;
    return !(option->flags & OPTION_REPEATED) || add_repeated(args, i, error);
}

/* A word alone belongs to the first option that takes one and has none yet. */
static bool
parse_data(struct command_args *args, char *word, GError **error)
{
    for (int i = 0; i < COMMAND_OPTIONS_MAX && args->command->options[i].name; i++) {
        const struct command_option *option = &args->command->options[i];

        if (option->kind == OPTION_FLAG || args->is_given[i] ||
            (option->flags & (OPTION_NAMED_ONLY | OPTION_REPEATED)))
            continue;
        args->is_given[i] = true;
        args->values[i] = word;
        return true;
    }
    set_usage_error(error, "unexpected data '%s'", word);
    return false;
}

static bool
check_required(const struct command_args *args, GError **error)
{
    for (int i = 0; i < COMMAND_OPTIONS_MAX && args->command->options[i].name; i++) {
        const struct command_option *option = &args->command->options[i];

        if (!(option->flags & OPTION_REQUIRED) || args->is_given[i])
            continue;
        set_usage_error(error, "command '%s' requires <%s> option", args->command->name,
                        option->name);
        return false;
    }
    return true;
}

bool
command_parse(const struct command *command, char **argv, struct command_args *ret_args,
              GError **error)
{
    struct command_args args = {.command = command};
    bool is_data_only = false;

    for (; *argv; argv++) {
        bool is_named = !is_data_only && g_str_has_prefix(*argv, "--");
        bool is_parsed = true;

        if (is_named && !(*argv)[2])
            is_data_only = true;
        else if (is_named && g_ascii_isalnum((*argv)[2]))
            is_parsed = parse_named(&args, &argv, error);
        else
            is_parsed = parse_data(&args, *argv, error);
        if (!is_parsed)
            return false;
    }
    if (!args.wants_help && !check_required(&args, error))
        return false;
    *ret_args = args;
    return true;
}

static int
known_option(const struct command_args *args, const char *name)
{
    int i = find_option(args->command, name, strlen(name));

    g_assert(i >= 0);
    return i;
}

bool
command_has(const struct command_args *args, const char *name)
{
    return args->is_given[known_option(args, name)];
}

static bool
check_filled(const char *name, const char *text, GError **error)
{
    if (!text || *text)
        return true;
    set_usage_error(error, "Failed to get option '%s': Option argument is empty", name);
    return false;
}

bool
command_get_text(const struct command_args *args, const char *name, char **ret_text, GError **error)
{
    char *text = args->values[known_option(args, name)];

    if (!check_filled(name, text, error))
        return false;
    *ret_text = text;
    return true;
}

bool
command_get_texts(const struct command_args *args, const char *name, char *const **ret_texts,
                  size_t *ret_count, GError **error)
{
    g_assert(args->command->options[known_option(args, name)].flags & OPTION_REPEATED);
    for (size_t i = 0; i < args->repeated_count; i++) {
        if (!check_filled(name, args->repeated[i], error))
            return false;
    }
    *ret_texts = args->repeated;
    *ret_count = args->repeated_count;
    return true;
}

bool
command_get_number(const struct command_args *args, const char *name, int min, int max,
                   int *ret_number, GError **error)
{
    const char *text = args->values[known_option(args, name)];
    char *end;
    long number;

    if (!text)
        return true;
    errno = 0;
    number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end || number < min || number > max) {
        set_usage_error(error, "Numeric value '%s' for <%s> option is malformed or out of range",
                        text, name);
        return false;
    }
    *ret_number = (int)number;
    return true;
}

bool
command_check_exclusive(const struct command_args *args, const char *one, const char *other,
                        GError **error)
{
    bool is_conflict = command_has(args, one) && command_has(args, other);

    if (is_conflict)
        set_usage_error(error, "Options --%s and --%s are mutually exclusive", one, other);
    return !is_conflict;
}

const struct command *
command_find(const struct command_group *groups, size_t group_count, const char *name)
{
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            if (strcmp(groups[i].commands[j].name, name) == 0)
                return &groups[i].commands[j];
        }
    }
    return NULL;
}

const struct command *
command_find_words(const struct command_group *groups, size_t group_count, char *const *words,
                   size_t *ret_used)
{
    const struct command *command = command_find(groups, group_count, words[0]);
    g_autofree char *both = NULL;

    *ret_used = 1;
    if (command || !words[1])
        return command;
    *ret_used = 2;
    both = g_strconcat(words[0], " ", words[1], NULL);
    return command_find(groups, group_count, both);
}

const struct command_group *
command_find_first_word(const struct command_group *groups, size_t group_count, const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            const char *name = groups[i].commands[j].name;

            if (strncmp(name, word, len) == 0 && name[len] == ' ')
                return &groups[i];
        }
    }
    return NULL;
}
