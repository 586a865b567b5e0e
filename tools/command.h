/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: tables of commands and their options, the parsing of a command line by them, and the help
 * that is printed from them. All three behave as virsh's.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tools/uri.h"

struct session;
struct command_args;

enum command_option_kind {
    OPTION_FLAG,   /* --name */
    OPTION_TEXT,   /* --name VALUE, --name=VALUE, or VALUE alone where the option is next in line */
    OPTION_NUMBER, /* the same */
};

enum command_option_flags {
    OPTION_REQUIRED = 1 << 0,
    OPTION_NAMED_ONLY = 1 << 1, /* never by a VALUE alone */
    OPTION_REPEATED = 1 << 2,   /* any number of times, by its name alone; of a text */
};

struct command_option {
    const char *name;
    enum command_option_kind kind;
    unsigned int flags;
    const char *help;
};

/* A command has at most one option that can be repeated, and that COMMAND_REPEATS_MAX times. */
enum { COMMAND_OPTIONS_MAX = 16, COMMAND_REPEATS_MAX = 256 };

struct command {
    const char *name;
    const char *summary;
    const char *description;
    bool is_local;          /* needs no connection */
    enum uri_daemon daemon; /* which one it speaks to */
    /* What is done; errors are printed, and false returned. */
    bool (*run)(struct session *session, const struct command_args *args);
    struct command_option options[COMMAND_OPTIONS_MAX]; /* up to the first without a name */
};

struct command_group {
    const char *title;
    const char *keyword;
    const struct command *commands;
    size_t count;
};

struct command_args {
    const struct command *command;
    bool wants_help;
    bool is_given[COMMAND_OPTIONS_MAX];
    char *values[COMMAND_OPTIONS_MAX]; /* into argv, NULL for flags; the last of a repeated one */
    char *repeated[COMMAND_REPEATS_MAX];
    size_t repeated_count;
};

/* Reads `argv` (up to a NULL), what follows the name of `command`. Messages of errors are virsh's.
 */
bool command_parse(const struct command *command, char **argv, struct command_args *ret_args,
                   GError **error);

/* Whether the option is there. A name that the command does not have is a bug and asserted. */
bool command_has(const struct command_args *args, const char *name);

/* The option's value, borrowed; NULL if it is not there. An empty one is an error. */
bool command_get_text(const struct command_args *args, const char *name, char **ret_text,
                      GError **error);

/* All values of an option that can be repeated, in their order; borrowed. An empty one is an error.
 */
bool command_get_texts(const struct command_args *args, const char *name, char *const **ret_texts,
                       size_t *ret_count, GError **error);

/* The same as command_get_text for a number from `min` to `max`; *ret_number stays as it is when it
 * is not there. */
bool command_get_number(const struct command_args *args, const char *name, int min, int max,
                        int *ret_number, GError **error);

/* Sets `error` if both options are there. */
bool command_check_exclusive(const struct command_args *args, const char *one, const char *other,
                             GError **error);

const struct command *command_find(const struct command_group *groups, size_t group_count,
                                   const char *name);

/* The command whose name is the first of `words` (up to a NULL), or the first two with a blank
 * between; *ret_used is how many. */
const struct command *command_find_words(const struct command_group *groups, size_t group_count,
                                         char *const *words, size_t *ret_used);

/* The group that has commands of two words of which the first is `word`; NULL if there is none. */
const struct command_group *command_find_first_word(const struct command_group *groups,
                                                    size_t group_count, const char *word);

void command_print_help(const struct command *command);
void command_print_group_help(const struct command_group *group, const char *colon);
