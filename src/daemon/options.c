/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the options of our daemons.
 */
#include "daemon/options.h"

#include <getopt.h>
#include <stdint.h>
#include <string.h>

#include "util/error.h"

/* A day and a bit short of where milliseconds pass an int. */
enum { TIMEOUT_MAX_S = 2000000 };

enum { OPTION_SESSION = 256, OPTION_USER, SESSION_OPTIONS = 2 };

/* Those of daemons with sessions come last, so that others can leave them out. */
static const struct option long_options[] = {
    {"daemon", no_argument, NULL, 'd'},
    {"timeout", required_argument, NULL, 't'},
    {"config", required_argument, NULL, 'f'},
    {"pid-file", required_argument, NULL, 'p'},
    {"verbose", no_argument, NULL, 'v'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {"session", no_argument, NULL, OPTION_SESSION},
    {"user", required_argument, NULL, OPTION_USER},
    {NULL, 0, NULL, 0},
};

static bool
parse_timeout(const char *text, unsigned int *ret_timeout_s, GError **error)
{
    uint64_t seconds;

    if (!g_ascii_string_to_unsigned(text, 10, 1, TIMEOUT_MAX_S, &seconds, NULL)) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "--timeout '%s' is not a number of seconds between 1 and %d", text,
                  TIMEOUT_MAX_S);
        return false;
    }
    *ret_timeout_s = (unsigned int)seconds;
    return true;
}

/* A relative name is made absolute: a daemon in the background leaves its folder. */
static bool
take_path(const char *option, const char *text, char **path, GError **error)
{
    if (!*text) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "%s needs the name of a file", option);
        return false;
    }
    g_free(*path);
    *path = g_canonicalize_filename(text, NULL);
    return true;
}

static bool
apply_option(int option, struct daemon_options *options, GError **error)
{
    switch (option) {
    case 'd':
        options->background = true;
        return true;
    case 't':
        return parse_timeout(optarg, &options->timeout_s, error);
    case 'f':
        return take_path("--config", optarg, &options->config_file, error);
    case 'p':
        return take_path("--pid-file", optarg, &options->pid_file, error);
    case 'v':
        options->verbose = true;
        return true;
    case 'V':
        options->version = true;
        return true;
    case 'h':
        options->help = true;
        return true;
    case OPTION_SESSION:
        options->session = true;
        return true;
    case OPTION_USER:
        g_free(options->user);
        options->user = g_strdup(optarg);
        return true;
    default:
        g_assert_not_reached();
    }
}

/* Says what getopt did not like. For a long option `optopt` is 0 or its value. */
static void
refuse_word(int result, char **argv, GError **error)
{
    const char *word = argv[optind - 1];
    g_autofree char *letter = g_strdup_printf("-%c", optopt);
    const char *name = g_str_has_prefix(word, "--") ? word : letter;

    error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
              result == ':' ? "the option %s needs an argument" : "there is no option %s", name);
}

bool
daemon_options_parse(int argc, char **argv, bool has_session, uid_t uid,
                     struct daemon_options *ret_options, GError **error)
{
    g_auto(daemon_options_t) options = {.session = has_session && uid != 0};
    struct option known[G_N_ELEMENTS(long_options)];
    int option;

    memcpy(known, long_options, sizeof(known));
    if (!has_session)
        known[G_N_ELEMENTS(known) - 1 - SESSION_OPTIONS] = known[G_N_ELEMENTS(known) - 1];

    optind = 0; /* resets glibc's getopt entirely */
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+:dt:f:p:vVh", known, NULL)) != -1) {
        if (option == '?' || option == ':') {
            refuse_word(option, argv, error);
            return false;
        }
        if (!apply_option(option, &options, error))
            return false;
    }
    if (optind < argc) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "unexpected argument '%s'",
                  argv[optind]);
        return false;
    }
    if (options.user && options.session) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "a session is its user's own: leave --user out");
        return false;
    }
    *ret_options = options;
    options = (struct daemon_options){0};
    return true;
}

void
daemon_options_clear(struct daemon_options *options)
{
    g_free(options->config_file);
    g_free(options->pid_file);
    g_free(options->user);
    *options = (struct daemon_options){0};
}
