/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of our daemons.
 */
#include "expect.h"
#include "daemon/options.h"

enum { WORDS_MAX = 8 };

static bool
parse(const char *const *words, uid_t uid, struct daemon_options *ret_options, GError **error)
{
    char *argv[WORDS_MAX + 2] = {g_strdup("virtcrypt-secretd")};
    int argc = 1;
    bool parsed;

    for (; words[argc - 1]; argc++) {
        g_assert_cmpint(argc, <=, WORDS_MAX);
        argv[argc] = g_strdup(words[argc - 1]);
    }
    parsed = daemon_options_parse(argc, argv, true, uid, ret_options, error);
    for (int i = 0; i < argc; i++)
        g_free(argv[i]);
    return parsed;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_WORDS   ((const char *const[]){NULL})

static void
test_without_options_root_keeps_the_hosts_secrets(void)
{
    g_auto(daemon_options_t) options = {0};

    g_assert_true(parse(NO_WORDS, 0, &options, NULL));
    g_assert_false(options.session);
    g_assert_false(options.background);
    g_assert_false(options.verbose);
    g_assert_cmpuint(options.timeout_s, ==, 0);
    g_assert_null(options.config_file);
    g_assert_null(options.pid_file);
}

static void
test_others_keep_their_own_secrets(void)
{
    g_auto(daemon_options_t) options = {0};

    g_assert_true(parse(NO_WORDS, 1000, &options, NULL));
    g_assert_true(options.session);
}

static void
test_root_may_ask_for_a_session(void)
{
    g_auto(daemon_options_t) options = {0};

    g_assert_true(parse(WORDS("--session"), 0, &options, NULL));
    g_assert_true(options.session);
}

static void
test_every_long_option_is_taken(void)
{
    g_auto(daemon_options_t) options = {0};

    g_assert_true(parse(WORDS("--daemon", "--timeout", "120", "--config=/a", "--pid-file", "/b",
                              "--verbose", "--version"),
                        0, &options, NULL));
    g_assert_true(options.background && options.verbose && options.version);
    g_assert_cmpuint(options.timeout_s, ==, 120);
    g_assert_cmpstr(options.config_file, ==, "/a");
    g_assert_cmpstr(options.pid_file, ==, "/b");
}

static void
test_every_short_option_is_taken(void)
{
    g_auto(daemon_options_t) options = {0};

    g_assert_true(parse(WORDS("-dvVh", "-t", "1", "-f/a", "-p", "/b"), 0, &options, NULL));
    g_assert_true(options.background && options.verbose && options.version && options.help);
    g_assert_cmpuint(options.timeout_s, ==, 1);
    g_assert_cmpstr(options.config_file, ==, "/a");
    g_assert_cmpstr(options.pid_file, ==, "/b");
}

static void
test_the_last_of_a_repeated_option_counts(void)
{
    g_auto(daemon_options_t) options = {0};

    g_assert_true(parse(WORDS("-f", "/a", "-f", "/b", "-t", "1", "-t", "2"), 0, &options, NULL));
    g_assert_cmpstr(options.config_file, ==, "/b");
    g_assert_cmpuint(options.timeout_s, ==, 2);
}

static void
test_relative_names_of_files_are_made_absolute(void)
{
    g_auto(daemon_options_t) options = {0};
    g_autofree char *folder = g_get_current_dir();
    g_autofree char *expected = g_build_filename(folder, "x.conf", NULL);

    g_assert_true(parse(WORDS("-f", "./x.conf"), 0, &options, NULL));
    g_assert_cmpstr(options.config_file, ==, expected);
}

static void
test_what_is_wrong_is_named(void)
{
    static const struct {
        const char *words[4];
        const char *text;
    } cases[] = {
        {{"--frobnicate"}, "there is no option --frobnicate"},
        {{"-vx"}, "there is no option -x"},
        {{"--config"}, "the option --config needs an argument"},
        {{"-t"}, "the option -t needs an argument"},
        {{"-f", ""}, "--config needs the name of a file"},
        {{"start"}, "unexpected argument 'start'"},
        {{"-v", "--", "x"}, "unexpected argument 'x'"},
        {{"-t", "0"}, "--timeout '0' is not a number of seconds between 1 and 2000000"},
        {{"-t", "2000001"}, "--timeout '2000001' is not a number of seconds between 1 and 2000000"},
        {{"-t", "1m"}, "--timeout '1m' is not a number of seconds between 1 and 2000000"},
        {{"--timeout="}, "--timeout '' is not a number of seconds between 1 and 2000000"},
        {{"--daemon=yes"}, "there is no option --daemon=yes"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(daemon_options_t) options = {0};
        g_autoptr(GError) error = NULL;

        g_assert_false(parse(cases[i].words, 0, &options, &error));
        expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE, cases[i].text);
    }
}

static void
test_the_hosts_daemon_may_have_a_user(void)
{
    g_auto(daemon_options_t) options = {0};
    g_auto(daemon_options_t) refused = {0};
    g_autoptr(GError) error = NULL;

    g_assert_true(parse(WORDS("--user", "virtcrypt"), 0, &options, NULL));
    g_assert_cmpstr(options.user, ==, "virtcrypt");
    g_assert_false(parse(WORDS("--session", "--user=virtcrypt"), 0, &refused, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                 "a session is its user's own: leave --user out");
}

static void
test_a_daemon_without_sessions_has_no_option_for_them(void)
{
    char *const argv[] = {(char *)"virtcryptd", (char *)"--session", NULL};
    g_auto(daemon_options_t) options = {0};
    g_autoptr(GError) error = NULL;

    g_assert_false(daemon_options_parse(2, (char **)argv, false, 0, &options, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE, "there is no option --session");
}

static void
test_nobody_has_a_session_of_a_daemon_without_them(void)
{
    char *const argv[] = {(char *)"virtcryptd", NULL};
    g_auto(daemon_options_t) options = {0};

    g_assert_true(daemon_options_parse(1, (char **)argv, false, 1000, &options, NULL));
    g_assert_false(options.session);
}

#define ADD(name) g_test_add_func("/daemon/options/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(without_options_root_keeps_the_hosts_secrets);
    ADD(others_keep_their_own_secrets);
    ADD(root_may_ask_for_a_session);
    ADD(every_long_option_is_taken);
    ADD(every_short_option_is_taken);
    ADD(the_last_of_a_repeated_option_counts);
    ADD(relative_names_of_files_are_made_absolute);
    ADD(what_is_wrong_is_named);
    ADD(the_hosts_daemon_may_have_a_user);
    ADD(a_daemon_without_sessions_has_no_option_for_them);
    ADD(nobody_has_a_session_of_a_daemon_without_them);
    return g_test_run();
}
