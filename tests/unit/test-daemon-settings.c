/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The configuration file: missing, wrong, and in effect.
 */
#include "expect.h"
#include "folder.h"
#include "daemon/settings.h"
#include "util/log.h"

struct fixture {
    struct folder folder;
    char *path;
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    folder_init(&fixture->folder);
    fixture->path = folder_path(&fixture->folder, "secretd.conf");
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    log_set_level(LOG_LEVEL_WARN);
    log_set_outputs("", NULL);
    log_set_filters("", NULL);
    g_free(fixture->path);
    folder_clear(&fixture->folder);
}

static struct daemon_conf *
read_settings(const struct fixture *fixture, const char *text, bool verbose, GError **error)
{
    const struct daemon_settings_source source = {.path = fixture->path, .verbose = verbose};

    if (text)
        folder_put_text(&fixture->folder, "secretd.conf", text);
    return daemon_settings_read(&source, error);
}

static void
test_the_default_file_may_be_missing(struct fixture *fixture, gconstpointer unused)
{
    const struct daemon_settings_source source = {.path = fixture->path, .may_be_missing = true};
    g_autoptr(daemon_conf_t) conf = daemon_settings_read(&source, NULL);

    g_assert_nonnull(conf);
    g_assert_cmpuint(conf->max_clients, ==, 5000);
}

static void
test_a_file_that_was_named_must_be_there(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *expected = g_strdup_printf(
        "cannot read the configuration file %s: No such file or directory", fixture->path);

    g_assert_null(read_settings(fixture, NULL, false, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_CONF, expected);
}

static void
test_settings_are_taken(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(daemon_conf_t) conf = read_settings(fixture, "max_clients = 7\n", false, NULL);

    g_assert_nonnull(conf);
    g_assert_cmpuint(conf->max_clients, ==, 7);
}

static void
test_a_link_to_the_file_is_followed(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(daemon_conf_t) conf = NULL;

    folder_put_text(&fixture->folder, "real.conf", "max_clients = 7\n");
    g_assert_cmpint(symlinkat("real.conf", fixture->folder.fd, "secretd.conf"), ==, 0);
    conf = read_settings(fixture, NULL, false, NULL);
    g_assert_nonnull(conf);
    g_assert_cmpuint(conf->max_clients, ==, 7);
}

static void
test_mistakes_are_reported_with_file_and_line(struct fixture *fixture, gconstpointer unused)
{
    static const char *const texts[] = {
        "# comment\nmax_clients = \"many\"\n",
        "# comment\nmax_clients = \n",
        "# comment\nmax_client = 1\n",
    };
    g_autofree char *place = g_strdup_printf("%s:2: ", fixture->path);

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(read_settings(fixture, texts[i], false, &error));
        g_assert_nonnull(strstr(error->message, place));
    }
}

static void
test_a_folder_is_no_configuration(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mkdirat(fixture->folder.fd, "secretd.conf", 0755), ==, 0);
    g_assert_null(read_settings(fixture, NULL, false, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_CONF,
                      "secretd.conf is not a regular file");
}

/* What of the four levels is in the log when the settings are these. */
static char *
logged_with(const struct fixture *fixture, const char *setting, bool verbose)
{
    g_autofree char *log_path = folder_path(&fixture->folder, "log");
    g_autofree char *text = g_strdup_printf("log_outputs = \"1:file:%s\"\n%s", log_path, setting);
    g_autoptr(daemon_conf_t) conf = NULL;
    g_autoptr(GBytes) log = NULL;
    GString *found = g_string_new(NULL);
    g_autofree char *logged = NULL;

    unlinkat(fixture->folder.fd, "log", 0);
    conf = read_settings(fixture, text, verbose, NULL);
    g_assert_nonnull(conf);
    log_debug("line-d");
    log_info("line-i");
    log_warn("line-w");
    log_error("line-e");
    log = folder_get(&fixture->folder, "log");
    logged = g_strndup(g_bytes_get_data(log, NULL), g_bytes_get_size(log));
    for (const char *letter = "diwe"; *letter; letter++) {
        const char name[] = {'l', 'i', 'n', 'e', '-', *letter, '\0'};

        if (strstr(logged, name))
            g_string_append_c(found, *letter);
    }
    return g_string_free(found, FALSE);
}

static void
test_the_log_is_set_up(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        const char *setting;
        bool verbose;
        const char *logged;
    } cases[] = {
        {"", false, "we"},
        {"log_level = 4\n", false, "e"},
        {"log_level = 1\n", false, "diwe"},
        {"", true, "iwe"},
        {"log_level = 1\n", true, "diwe"},
        {"log_level = 4\n", true, "iwe"},
        {"log_filters = \"4:daemon-settings\"\n", false, "e"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *logged = logged_with(fixture, cases[i].setting, cases[i].verbose);

        g_assert_cmpstr(logged, ==, cases[i].logged);
    }
}

static void
test_an_output_that_can_not_be_opened_is_an_error(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(
        read_settings(fixture, "log_outputs = \"1:file:/nonexistent/log\"\n", false, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_CONF,
                      "log_outputs: cannot open the log file /nonexistent/log");
}

static void
test_settings_without_effect_are_warned_of_in_the_log(struct fixture *fixture, gconstpointer unused)
{
    g_autofree char *log_path = folder_path(&fixture->folder, "log");
    g_autofree char *text =
        g_strdup_printf("log_outputs = \"1:file:%s\"\nmin_workers = 5\n", log_path);
    g_autoptr(daemon_conf_t) conf = read_settings(fixture, text, false, NULL);
    g_autofree char *log = NULL;

    g_assert_nonnull(conf);
    g_assert_true(g_file_get_contents(log_path, &log, NULL, NULL));
    g_assert_nonnull(strstr(log, "secretd.conf:2: min_workers has no effect"));
}

#define ADD(name)                                                                                  \
    g_test_add("/daemon/settings/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_default_file_may_be_missing);
    ADD(a_file_that_was_named_must_be_there);
    ADD(settings_are_taken);
    ADD(a_link_to_the_file_is_followed);
    ADD(mistakes_are_reported_with_file_and_line);
    ADD(a_folder_is_no_configuration);
    ADD(the_log_is_set_up);
    ADD(an_output_that_can_not_be_opened_is_an_error);
    ADD(settings_without_effect_are_warned_of_in_the_log);
    return g_test_run();
}
