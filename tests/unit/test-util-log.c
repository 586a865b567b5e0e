/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Log lines: levels, filters and outputs in libvirt's syntax, and lines that stay lines.
 */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expect.h"
#include "util/log.h"

struct fixture {
    char *folder;
    char *path;
};

static void
set_up(struct fixture *log, gconstpointer unused)
{
    g_autofree char *outputs = NULL;
    g_autoptr(GError) error = NULL;

    log->folder = g_dir_make_tmp("virtcrypt-XXXXXX", NULL);
    log->path = g_build_filename(log->folder, "log", NULL);
    outputs = g_strdup_printf("1:file:%s", log->path);
    g_assert_true(log_set_outputs(outputs, &error));
    g_assert_no_error(error);
}

static void
tear_down(struct fixture *log, gconstpointer unused)
{
    log_set_outputs("", NULL);
    log_set_filters("", NULL);
    log_set_level(LOG_LEVEL_WARN);
    g_unlink(log->path);
    g_rmdir(log->folder);
    g_free(log->path);
    g_free(log->folder);
}

/* The messages in the log file, joined by '|'. */
static char *
read_messages(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    GString *messages = g_string_new(NULL);

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line && **line; line++) {
        const char *message = g_strrstr(*line, " : ");

        g_assert_nonnull(message);
        g_string_append_printf(messages, "%s%s", messages->len > 0 ? "|" : "", message + 3);
    }
    return g_string_free(messages, FALSE);
}

static void
expect_messages(const struct fixture *log, const char *expected)
{
    g_autofree char *messages = read_messages(log->path);

    g_assert_cmpstr(messages, ==, expected);
}

static void
log_one_of_each(void)
{
    log_debug("debug");
    log_info("info");
    log_warn("warning");
    log_error("error");
}

static void
test_lines_below_the_level_are_dropped(struct fixture *log, gconstpointer unused)
{
    log_one_of_each();
    log_set_level(LOG_LEVEL_DEBUG);
    log_one_of_each();
    log_set_level(LOG_LEVEL_ERROR);
    log_one_of_each();
    expect_messages(log, "warning|error|debug|info|warning|error|error");
}

static void
test_a_line_has_libvirts_form(struct fixture *log, gconstpointer unused)
{
    g_autofree char *text = NULL;
    g_autofree char *pattern = g_strdup_printf("^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{3}"
                                               "\\+0000: %d: warning : %s:\\d+ : hello 5\n$",
                                               (int)getpid(), __func__);

    log_warn("hello %d", 5);
    g_assert_true(g_file_get_contents(log->path, &text, NULL, NULL));
    g_assert_true(g_regex_match_simple(pattern, text, 0, 0));
}

static void
test_control_characters_cannot_forge_lines(struct fixture *log, gconstpointer unused)
{
    log_warn("%s", "a\nb\r\033[31m\tc\x7f\xc3\xa9");
    expect_messages(log, "a\\nb\\x0d\\x1b[31m\tc\\x7f\xc3\xa9");
}

static void
test_a_log_file_is_its_owners_and_is_appended_to(struct fixture *log, gconstpointer unused)
{
    g_autofree char *outputs = g_strdup_printf("1:file:%s", log->path);
    struct stat info;

    log_warn("one");
    g_assert_true(log_set_outputs(outputs, NULL));
    log_warn("two");
    expect_messages(log, "one|two");
    g_assert_cmpint(stat(log->path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 0777, ==, 0600);
}

static void
test_each_output_has_a_level_of_its_own(struct fixture *log, gconstpointer unused)
{
    g_autofree char *second = g_strconcat(log->path, ".2", NULL);
    g_autofree char *outputs = g_strdup_printf("1:file:%s 4:file:%s", log->path, second);
    g_autofree char *messages = NULL;

    g_assert_true(log_set_outputs(outputs, NULL));
    log_one_of_each();
    messages = read_messages(second);
    g_unlink(second);
    expect_messages(log, "warning|error");
    g_assert_cmpstr(messages, ==, "error");
}

static void
test_a_filter_sets_the_level_of_a_source(struct fixture *log, gconstpointer unused)
{
    g_assert_true(log_set_filters("1:rpc.server 4:secret", NULL));
    log_line(LOG_LEVEL_DEBUG, "../src/rpc/server.c", "f", 1, "server");
    log_line(LOG_LEVEL_DEBUG, "../src/rpc/frame.c", "f", 1, "frame");
    log_line(LOG_LEVEL_WARN, "../src/secret/store.c", "f", 1, "store warning");
    log_line(LOG_LEVEL_ERROR, "../src/secret/store.c", "f", 1, "store error");
    log_line(LOG_LEVEL_WARN, "../src/conf/conf_file.c", "f", 1, "conf");
    expect_messages(log, "server|store error|conf");
}

static void
test_a_filter_matches_functions_and_wildcards_and_the_first_counts(struct fixture *log,
                                                                   gconstpointer unused)
{
    g_assert_true(log_set_filters("  1:accept_* \t4:rpc  1:rpc.frame ", NULL));
    log_line(LOG_LEVEL_DEBUG, "src/rpc/server.c", "accept_client", 1, "function");
    log_line(LOG_LEVEL_WARN, "src/rpc/server.c", "other", 1, "server");
    log_line(LOG_LEVEL_DEBUG, "src/rpc/frame.c", "other", 1, "frame");
    expect_messages(log, "function");
}

static void
test_no_filters_is_the_level_again(struct fixture *log, gconstpointer unused)
{
    g_assert_true(log_set_filters("1:*", NULL));
    log_debug("one");
    g_assert_true(log_set_filters("", NULL));
    log_debug("two");
    expect_messages(log, "one");
}

static void
test_malformed_filters_are_refused_and_change_nothing(struct fixture *log, gconstpointer unused)
{
    static const struct {
        const char *text;
        const char *detail;
    } cases[] = {
        {"x", "Malformed format for filter 'x': it is not LEVEL:MATCH"},
        {"1:a 9:x", "Invalid priority '9' for filter '9:x': it is not 1 to 4"},
        {":x", "Invalid priority '' for filter ':x': it is not 1 to 4"},
        {"0:x", "Invalid priority '0' for filter '0:x': it is not 1 to 4"},
        {"1:", "Invalid match string '' for filter '1:'"},
        {"1:+x", "Invalid match string '+x' for filter '1:+x': there are no stack traces here, "
                 "remove the '+'"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GError) check_error = NULL;

        g_assert_false(log_set_filters(cases[i].text, &error));
        expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_CONF, cases[i].detail);
        g_assert_false(log_check_filters(cases[i].text, &check_error));
        expect_error(check_error, ERROR_INVALID_ARG, ERROR_FROM_CONF, cases[i].detail);
    }
    log_debug("dropped");
    expect_messages(log, "");
    g_assert_true(log_check_filters("1:a 2:b:c", NULL));
    log_debug("dropped");
    expect_messages(log, "");
}

static void
test_malformed_outputs_are_refused_and_change_nothing(struct fixture *log, gconstpointer unused)
{
    static const struct {
        const char *text;
        const char *detail;
    } cases[] = {
        {"3", "Malformed format for log output '3': it is not LEVEL:DESTINATION"},
        {"5:stderr", "Invalid log priority '5' for log output '5:stderr': it is not 1 to 4"},
        {"0:stderr", "Invalid log priority '0' for log output '0:stderr': it is not 1 to 4"},
        {"3:foo", "Invalid log destination 'foo' for log output '3:foo': it is none of stderr, "
                  "journald, syslog:NAME, file:PATH"},
        {"1:stderr:x", "Log output '1:stderr:x' does not meet the format requirements for "
                       "destination type 'stderr'"},
        {"1:stderr 1:file:", "Log output '1:file:' does not meet the format requirements for "
                             "destination type 'file'"},
        {"1:syslog", "Log output '1:syslog' does not meet the format requirements for destination "
                     "type 'syslog'"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(log_set_outputs(cases[i].text, &error));
        expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_CONF, cases[i].detail);
    }
    log_warn("still here");
    expect_messages(log, "still here");
}

static void
test_a_log_file_that_cannot_be_opened_is_an_error(struct fixture *log, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(log_set_outputs("1:file:/nonexistent/log", &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_CONF,
                 "cannot open the log file /nonexistent/log: No such file or directory");
}

static void
test_syslog_keeps_working_when_other_outputs_come_and_fail(struct fixture *log,
                                                           gconstpointer unused)
{
    /* syslog(3) keeps a pointer to its name: a freed one would show under a sanitizer. */
    g_assert_true(log_set_outputs("4:syslog:virtcrypt-test", NULL));
    g_assert_false(log_set_outputs("4:syslog:other 9:x", NULL));
    log_error("a test of virtcrypt");
    g_assert_true(log_set_outputs("4:syslog:virtcrypt-test2", NULL));
    log_error("a test of virtcrypt");
}

static void
test_without_outputs_lines_go_to_standard_error(struct fixture *log, gconstpointer unused)
{
    if (g_test_subprocess()) {
        log_set_outputs("", NULL);
        log_warn("to stderr");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("*: warning : *to stderr\n*");
}

static gpointer
log_many(gpointer opaque)
{
    for (int i = 0; i < 500; i++)
        log_warn("line");
    return NULL;
}

static void
test_lines_of_several_threads_do_not_mix(struct fixture *log, gconstpointer unused)
{
    GThread *threads[4];
    g_autofree char *messages = NULL;
    g_auto(GStrv) words = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("log", log_many, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    messages = read_messages(log->path);
    words = g_strsplit(messages, "|", -1);
    g_assert_cmpuint(g_strv_length(words), ==, 2000);
    for (char **word = words; *word; word++)
        g_assert_cmpstr(*word, ==, "line");
}

#define ADD(name)                                                                                  \
    g_test_add("/util/log/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(lines_below_the_level_are_dropped);
    ADD(a_line_has_libvirts_form);
    ADD(control_characters_cannot_forge_lines);
    ADD(a_log_file_is_its_owners_and_is_appended_to);
    ADD(each_output_has_a_level_of_its_own);
    ADD(a_filter_sets_the_level_of_a_source);
    ADD(a_filter_matches_functions_and_wildcards_and_the_first_counts);
    ADD(no_filters_is_the_level_again);
    ADD(malformed_filters_are_refused_and_change_nothing);
    ADD(malformed_outputs_are_refused_and_change_nothing);
    ADD(a_log_file_that_cannot_be_opened_is_an_error);
    ADD(syslog_keeps_working_when_other_outputs_come_and_fail);
    ADD(without_outputs_lines_go_to_standard_error);
    ADD(lines_of_several_threads_do_not_mix);
    return g_test_run();
}
