/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The settings of virtcrypt-secretd.conf and virtcryptd.conf: what each accepts, what is ignored
 * aloud, what is refused.
 */
#include <string.h>

#include "conf/daemon_conf.h"
#include "expect.h"

static struct conf_file *
parse_file(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct conf_file *file = conf_file_parse("d.conf", text, strlen(text), &error);

    g_assert_no_error(error);
    return file;
}

/* The defaults with `text` applied, which gives no warning. */
static struct daemon_conf *
apply_to(enum daemon_conf_program program, const char *text)
{
    g_autoptr(conf_file_t) file = parse_file(text);
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    struct daemon_conf *conf = daemon_conf_new_default(program, false);

    daemon_conf_apply(conf, file, warnings, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(warnings->len, ==, 0);
    return conf;
}

static struct daemon_conf *
apply(const char *text)
{
    return apply_to(DAEMON_CONF_SECRETD, text);
}

static void
expect_refused_by(enum daemon_conf_program program, const char *text, const char *detail)
{
    g_autoptr(conf_file_t) file = parse_file(text);
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(program, false);
    g_autoptr(GError) error = NULL;

    g_assert_false(daemon_conf_apply(conf, file, warnings, &error));
    expect_error(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_CONF, detail);
}

static void
expect_refused(const char *text, const char *detail)
{
    expect_refused_by(DAEMON_CONF_SECRETD, text, detail);
}

static void
expect_warning(const char *text, const char *warning)
{
    g_autoptr(conf_file_t) file = parse_file(text);
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(DAEMON_CONF_SECRETD, false);
    g_autoptr(GError) error = NULL;

    g_assert_true(daemon_conf_apply(conf, file, warnings, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(warnings->len, ==, 1);
    g_assert_cmpstr(g_ptr_array_index(warnings, 0), ==, warning);
}

static void
test_the_defaults_are_libvirts_where_it_has_them(void)
{
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(DAEMON_CONF_SECRETD, false);

    g_assert_cmpstr(conf->unix_sock_dir, ==, RUNSTATEDIR "/libvirt");
    g_assert_null(conf->unix_sock_group);
    g_assert_cmpuint(conf->unix_sock_rw_perms, ==, 0777);
    g_assert_cmpuint(conf->unix_sock_ro_perms, ==, 0777);
    g_assert_cmpint(conf->auth_unix_rw, ==, DAEMON_CONF_AUTH_POLKIT);
    g_assert_cmpint(conf->auth_unix_ro, ==, DAEMON_CONF_AUTH_POLKIT);
    g_assert_cmpuint(conf->max_clients, ==, 5000);
    g_assert_cmpuint(conf->max_queued_clients, ==, 1000);
    g_assert_cmpuint(conf->max_anonymous_clients, ==, 20);
    g_assert_cmpuint(conf->max_client_requests, ==, 5);
    g_assert_cmpint(conf->keepalive_interval, ==, 5);
    g_assert_cmpuint(conf->keepalive_count, ==, 5);
    g_assert_cmpuint(conf->handshake_timeout, ==, 30);
    g_assert_cmpuint(conf->log_level, ==, 3);
    g_assert_null(conf->log_filters);
    g_assert_null(conf->log_outputs);
    g_assert_cmpint(conf->value_readback, ==, DAEMON_CONF_READBACK_LOCAL_ROOT);
    g_assert_cmpstr(conf->master_key_file, ==, SYSCONFDIR "/libvirt/virtcrypt/master.key");
    g_assert_cmpuint(conf->rotation_delay, ==, 60);
    g_assert_true(conf->sandbox);
    g_assert_null(conf->sandbox_paths);
    g_assert_cmpuint(conf->unlock_timeout, ==, 10);
    g_assert_cmpuint(conf->index_delay, ==, 5);
}

static void
test_a_session_keeps_to_its_users_folders(void)
{
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(DAEMON_CONF_SECRETD, true);
    g_autofree char *sockets = g_build_filename(g_get_user_runtime_dir(), "libvirt", NULL);

    g_assert_cmpstr(conf->unix_sock_dir, ==, sockets);
    g_assert_true(g_str_has_prefix(conf->master_key_file, g_get_user_config_dir()));
    g_assert_cmpint(conf->auth_unix_rw, ==, DAEMON_CONF_AUTH_NONE);
    g_assert_cmpuint(conf->unix_sock_rw_perms, ==, 0700);
}

static void
test_every_setting_is_applied(void)
{
    g_autoptr(daemon_conf_t) conf =
        apply("unix_sock_dir = \"/s\"\nunix_sock_group = \"g\"\nunix_sock_rw_perms = \"0770\"\n"
              "unix_sock_ro_perms = \"0711\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n"
              "access_drivers = []\nmax_clients = 1\nmax_queued_clients = 2\n"
              "max_anonymous_clients = 3\nmax_client_requests = 4\nkeepalive_interval = 6\n"
              "keepalive_count = 7\nhandshake_timeout = 8\nlog_level = 1\nlog_filters = \"1:rpc\"\n"
              "log_outputs = \"1:stderr\"\nvalue_readback = \"any\"\nmaster_key_file = \"/k\"\n"
              "rotation_delay = 9\nunlock_timeout = 7\nindex_delay = 10\nsandbox = 0\n"
              "sandbox_paths = [\"/a\", \"/b/c\"]\n");

    g_assert_cmpstr(conf->unix_sock_dir, ==, "/s");
    g_assert_cmpstr(conf->unix_sock_group, ==, "g");
    g_assert_cmpuint(conf->unix_sock_rw_perms, ==, 0770);
    g_assert_cmpuint(conf->unix_sock_ro_perms, ==, 0711);
    g_assert_cmpint(conf->auth_unix_rw, ==, DAEMON_CONF_AUTH_NONE);
    g_assert_cmpint(conf->auth_unix_ro, ==, DAEMON_CONF_AUTH_NONE);
    g_assert_cmpuint(conf->max_clients, ==, 1);
    g_assert_cmpuint(conf->max_queued_clients, ==, 2);
    g_assert_cmpuint(conf->max_anonymous_clients, ==, 3);
    g_assert_cmpuint(conf->max_client_requests, ==, 4);
    g_assert_cmpint(conf->keepalive_interval, ==, 6);
    g_assert_cmpuint(conf->keepalive_count, ==, 7);
    g_assert_cmpuint(conf->handshake_timeout, ==, 8);
    g_assert_cmpuint(conf->log_level, ==, 1);
    g_assert_cmpstr(conf->log_filters, ==, "1:rpc");
    g_assert_cmpstr(conf->log_outputs, ==, "1:stderr");
    g_assert_cmpint(conf->value_readback, ==, DAEMON_CONF_READBACK_ANY);
    g_assert_cmpstr(conf->master_key_file, ==, "/k");
    g_assert_cmpuint(conf->rotation_delay, ==, 9);
    g_assert_false(conf->sandbox);
    g_assert_cmpuint(g_strv_length(conf->sandbox_paths), ==, 2);
    g_assert_cmpstr(conf->sandbox_paths[1], ==, "/b/c");
    g_assert_cmpuint(conf->unlock_timeout, ==, 7);
    g_assert_cmpuint(conf->index_delay, ==, 10);
}

static void
test_readback_has_three_values(void)
{
    g_autoptr(daemon_conf_t) never = apply("value_readback = \"never\"");
    g_autoptr(daemon_conf_t) root = apply("value_readback = \"local-root\"");

    g_assert_cmpint(never->value_readback, ==, DAEMON_CONF_READBACK_NEVER);
    g_assert_cmpint(root->value_readback, ==, DAEMON_CONF_READBACK_LOCAL_ROOT);
    expect_refused("value_readback = \"yes\"", "d.conf:1: value_readback: 'yes' is none of "
                                               "\"never\", \"local-root\", \"any\"");
}

static void
test_without_polkit_the_socket_is_its_owners_unless_said_otherwise(void)
{
    g_autoptr(daemon_conf_t) implied = apply("auth_unix_rw = \"none\"");
    g_autoptr(daemon_conf_t) given = apply("unix_sock_rw_perms=\"0770\"\nauth_unix_rw=\"none\"");
    g_autoptr(daemon_conf_t) polkit = apply("auth_unix_rw = \"polkit\"");

    g_assert_cmpuint(implied->unix_sock_rw_perms, ==, 0700);
    g_assert_cmpuint(given->unix_sock_rw_perms, ==, 0770);
    g_assert_cmpuint(polkit->unix_sock_rw_perms, ==, 0777);
}

static void
test_zero_and_negative_intervals_switch_keepalive_off(void)
{
    g_autoptr(daemon_conf_t) minus_one = apply("keepalive_interval = -1");
    g_autoptr(daemon_conf_t) minus_seven = apply("keepalive_interval = -7");
    g_autoptr(daemon_conf_t) zero = apply("keepalive_interval = 0");

    g_assert_cmpint(minus_one->keepalive_interval, ==, -1);
    g_assert_cmpint(minus_seven->keepalive_interval, ==, -1);
    g_assert_cmpint(zero->keepalive_interval, ==, -1);
}

static void
test_an_empty_group_and_log_level_zero_mean_not_set(void)
{
    g_autoptr(daemon_conf_t) conf = apply("unix_sock_group = \"\"\nlog_level = 0");

    g_assert_null(conf->unix_sock_group);
    g_assert_cmpuint(conf->log_level, ==, 3);
}

static void
test_a_number_out_of_bounds_is_refused(void)
{
    expect_refused("\nmax_clients = 0", "d.conf:2: max_clients: 0 is not between 1 and 1000000");
    expect_refused("max_clients = 4294967297",
                   "d.conf:1: max_clients: 4294967297 is not between 1 and 1000000");
    expect_refused("max_client_requests = 0",
                   "d.conf:1: max_client_requests: 0 is not between 1 and 1000000");
    expect_refused("max_anonymous_clients = -1",
                   "d.conf:1: max_anonymous_clients: -1 is not between 0 and 1000000");
    expect_refused("keepalive_count = -1",
                   "d.conf:1: keepalive_count: -1 is not between 0 and 1000");
    expect_refused("handshake_timeout = 0",
                   "d.conf:1: handshake_timeout: 0 is not between 1 and 3600");
    expect_refused("log_level = 5", "d.conf:1: log_level: 5 is not between 1 and 4");
}

static void
test_a_rotation_waits_for_a_day_at_most(void)
{
    g_autoptr(daemon_conf_t) least = apply("rotation_delay = 0");
    g_autoptr(daemon_conf_t) most = apply("rotation_delay = 86400");

    g_assert_cmpuint(least->rotation_delay, ==, 0);
    g_assert_cmpuint(most->rotation_delay, ==, 86400);
    expect_refused("rotation_delay = 86401",
                   "d.conf:1: rotation_delay: 86401 is not between 0 and 86400");
    expect_refused("rotation_delay = -1",
                   "d.conf:1: rotation_delay: -1 is not between 0 and 86400");
}

static void
test_the_sandbox_is_on_or_off(void)
{
    g_autoptr(daemon_conf_t) off = apply("sandbox = 0");
    g_autoptr(daemon_conf_t) on = apply("sandbox = 1");

    g_assert_false(off->sandbox);
    g_assert_true(on->sandbox);
    expect_refused("sandbox = 2", "d.conf:1: sandbox: 2 is not between 0 and 1");
    expect_refused("sandbox = -1", "d.conf:1: sandbox: -1 is not between 0 and 1");
    expect_refused("sandbox_paths = [\"/a\", \"b\"]",
                   "d.conf:1: sandbox_paths: 'b' is not an absolute path");
}

static void
test_unlocking_takes_two_minutes_for_each_way_at_most(void)
{
    g_autoptr(daemon_conf_t) least = apply("unlock_timeout = 1");
    g_autoptr(daemon_conf_t) most = apply("unlock_timeout = 120");

    g_assert_cmpuint(least->unlock_timeout, ==, 1);
    g_assert_cmpuint(most->unlock_timeout, ==, 120);
    expect_refused("unlock_timeout = 0", "d.conf:1: unlock_timeout: 0 is not between 1 and 120");
    expect_refused("unlock_timeout = 121",
                   "d.conf:1: unlock_timeout: 121 is not between 1 and 120");
}

static void
test_an_index_waits_for_an_hour_at_most(void)
{
    g_autoptr(daemon_conf_t) least = apply("index_delay = 0");
    g_autoptr(daemon_conf_t) most = apply("index_delay = 3600");

    g_assert_cmpuint(least->index_delay, ==, 0);
    g_assert_cmpuint(most->index_delay, ==, 3600);
    expect_refused("index_delay = 3601", "d.conf:1: index_delay: 3601 is not between 0 and 3600");
}

static void
test_a_malformed_mode_is_refused(void)
{
    static const char *const modes[] = {"", "x", "999", "01777", "-1", " 0777", "0777 ", "0o7"};

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        g_autofree char *text = g_strdup_printf("unix_sock_rw_perms = \"%s\"", modes[i]);
        g_autofree char *detail = g_strdup_printf(
            "d.conf:1: unix_sock_rw_perms: '%s' is not a mode between \"0\" and \"0777\"",
            modes[i]);

        expect_refused(text, detail);
    }
}

static void
test_a_relative_path_is_refused(void)
{
    expect_refused("unix_sock_dir = \"run\"",
                   "d.conf:1: unix_sock_dir: 'run' is not an absolute path");
    expect_refused("master_key_file = \"\"",
                   "d.conf:1: master_key_file: '' is not an absolute path");
}

static void
test_a_wrong_type_is_refused(void)
{
    expect_refused("max_clients = \"5\"", "d.conf:1: max_clients: expected an integer");
    expect_refused("unix_sock_rw_perms = 0777", "d.conf:1: unix_sock_rw_perms: expected a string");
    expect_refused("access_drivers = \"x\"", "d.conf:1: access_drivers: expected a string list");
    expect_refused("min_workers = [ \"x\" ]", "d.conf:1: min_workers: expected an integer");
}

static void
test_an_unknown_setting_is_refused(void)
{
    expect_refused("max_client = 5", "d.conf:1: max_client: virtcrypt-secretd has no such setting; "
                                     "correct its name or remove it");
}

static void
test_malformed_log_filters_are_refused(void)
{
    expect_refused(
        "log_filters = \"1:rpc 9:x\"",
        "d.conf:1: log_filters: Invalid priority '9' for filter '9:x': it is not 1 to 4");
}

static void
test_malformed_log_outputs_are_refused(void)
{
    expect_refused("\nlog_outputs = \"3:stderr 3:bogus\"",
                   "d.conf:2: log_outputs: Invalid log destination 'bogus' for log output "
                   "'3:bogus': it is none of stderr, journald, syslog:NAME, file:PATH");
}

static void
test_protection_that_does_not_exist_is_refused(void)
{
    expect_refused("access_drivers = [ \"polkit\" ]",
                   "d.conf:1: access_drivers: virtcrypt-secretd has no access driver 'polkit'; set "
                   "it to [] and restrict the socket with unix_sock_group and unix_sock_rw_perms");
    expect_refused("auth_unix_rw = \"sasl\"",
                   "d.conf:1: auth_unix_rw: virtcrypt-secretd has no SASL; use \"polkit\", or "
                   "\"none\" with unix_sock_group and unix_sock_rw_perms");
    expect_refused("auth_unix_ro = \"ldap\"",
                   "d.conf:1: auth_unix_ro: 'ldap' is none of \"none\", \"polkit\"");
    expect_refused("audit_level = 2",
                   "d.conf:1: audit_level: virtcrypt-secretd writes no audit records and cannot do "
                   "this; set it to 1");
    expect_refused("audit_logging = 1",
                   "d.conf:1: audit_logging: virtcrypt-secretd writes no audit records and cannot "
                   "do this; set it to 0");
}

static void
test_settings_without_effect_give_a_warning(void)
{
    expect_warning("\nmax_workers = 20",
                   "d.conf:2: max_workers has no effect: one event loop serves all clients");
    expect_warning("unix_sock_admin_perms = \"0700\"", "d.conf:1: unix_sock_admin_perms has no "
                                                       "effect: there is no administration socket");
    expect_warning("audit_level = 1",
                   "d.conf:1: audit_level has no effect: no audit records are written");
    expect_warning("host_uuid = \"x\"",
                   "d.conf:1: host_uuid has no effect: no answer of this daemon holds the host's "
                   "UUID");
}

static void
test_an_error_leaves_the_settings_unchanged(void)
{
    g_autoptr(conf_file_t) file = parse_file("max_clients = 7\nunix_sock_dir = \"/s\"\nfoo = 1");
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(DAEMON_CONF_SECRETD, false);

    g_assert_false(daemon_conf_apply(conf, file, warnings, NULL));
    g_assert_cmpuint(conf->max_clients, ==, 5000);
    g_assert_cmpstr(conf->unix_sock_dir, ==, RUNSTATEDIR "/libvirt");
}

static void
test_virtcryptd_knows_where_the_keys_are(void)
{
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(DAEMON_CONF_VIRTCRYPTD, false);
    g_autoptr(daemon_conf_t) session = daemon_conf_new_default(DAEMON_CONF_VIRTCRYPTD, true);

    g_assert_cmpstr(conf->custodian_socket, ==, RUNSTATEDIR "/libvirt/virtsecretd-sock");
    g_assert_true(g_str_has_prefix(session->custodian_socket, g_get_user_runtime_dir()));
    g_assert_null(conf->master_key_file);
}

static void
test_virtcryptd_erases_with_care_by_default(void)
{
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(DAEMON_CONF_VIRTCRYPTD, false);
    g_autoptr(daemon_conf_t) session = daemon_conf_new_default(DAEMON_CONF_VIRTCRYPTD, true);

    g_assert_cmpstr(conf->libvirt_uri, ==, "qemu:///system");
    g_assert_null(session->libvirt_uri);
    g_assert_cmpuint(conf->erase_delay_undefine, ==, 3600);
    g_assert_cmpuint(conf->erase_delay_migrated, ==, 0);
    g_assert_cmpint(conf->erase_orphans, ==, DAEMON_CONF_ORPHANS_WHEN_VOLUME_GONE);
    g_assert_false(conf->bind_referenced_secrets);
    g_assert_false(conf->autostart_after_unlock);
    g_assert_cmpuint(conf->reconcile_interval, ==, 300);
}

static void
test_settings_of_guests_are_applied(void)
{
    g_autoptr(daemon_conf_t) conf =
        apply_to(DAEMON_CONF_VIRTCRYPTD,
                 "libvirt_uri = \"test:///default\"\nerase_delay_undefine = 31536000\n"
                 "erase_delay_migrated = 7\nerase_orphans = \"manual\"\n"
                 "bind_referenced_secrets = 1\nreconcile_interval = 5\n"
                 "autostart_after_unlock = 1\n");
    g_autoptr(daemon_conf_t) none = apply_to(DAEMON_CONF_VIRTCRYPTD, "libvirt_uri = \"\"");
    g_autoptr(daemon_conf_t) after =
        apply_to(DAEMON_CONF_VIRTCRYPTD, "erase_orphans = \"after-delay\"");

    g_assert_cmpstr(conf->libvirt_uri, ==, "test:///default");
    g_assert_cmpuint(conf->erase_delay_undefine, ==, 31536000);
    g_assert_cmpuint(conf->erase_delay_migrated, ==, 7);
    g_assert_cmpint(conf->erase_orphans, ==, DAEMON_CONF_ORPHANS_MANUAL);
    g_assert_true(conf->bind_referenced_secrets);
    g_assert_true(conf->autostart_after_unlock);
    g_assert_cmpuint(conf->reconcile_interval, ==, 5);
    g_assert_null(none->libvirt_uri);
    g_assert_cmpint(after->erase_orphans, ==, DAEMON_CONF_ORPHANS_AFTER_DELAY);
}

static void
test_settings_of_guests_have_bounds(void)
{
    static const struct {
        const char *text;
        const char *detail;
    } cases[] = {
        {"erase_delay_undefine = -1",
         "d.conf:1: erase_delay_undefine: -1 is not between 0 and 31536000"},
        {"erase_delay_undefine = 31536001",
         "d.conf:1: erase_delay_undefine: 31536001 is not between 0 and 31536000"},
        {"erase_delay_migrated = -1",
         "d.conf:1: erase_delay_migrated: -1 is not between 0 and 31536000"},
        {"erase_delay_migrated = 31536001",
         "d.conf:1: erase_delay_migrated: 31536001 is not between 0 and 31536000"},
        {"erase_orphans = \"at-once\"", "d.conf:1: erase_orphans: 'at-once' is none of "
                                        "\"when-volume-gone\", \"after-delay\", \"manual\""},
        {"bind_referenced_secrets = 2",
         "d.conf:1: bind_referenced_secrets: 2 is not between 0 and 1"},
        {"autostart_after_unlock = -1",
         "d.conf:1: autostart_after_unlock: -1 is not between 0 and 1"},
        {"autostart_after_unlock = 2",
         "d.conf:1: autostart_after_unlock: 2 is not between 0 and 1"},
        {"reconcile_interval = 4", "d.conf:1: reconcile_interval: 4 is not between 5 and 86400"},
        {"reconcile_interval = 86401",
         "d.conf:1: reconcile_interval: 86401 is not between 5 and 86400"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        expect_refused_by(DAEMON_CONF_VIRTCRYPTD, cases[i].text, cases[i].detail);
}

static void
test_virtcryptd_has_the_common_settings_and_its_own(void)
{
    g_autoptr(daemon_conf_t) conf =
        apply_to(DAEMON_CONF_VIRTCRYPTD, "custodian_socket = \"/c\"\nmax_clients = 9\n");

    g_assert_cmpstr(conf->custodian_socket, ==, "/c");
    g_assert_cmpuint(conf->max_clients, ==, 9);
    expect_refused_by(DAEMON_CONF_VIRTCRYPTD, "custodian_socket = \"c\"",
                      "d.conf:1: custodian_socket: 'c' is not an absolute path");
}

static void
test_a_setting_of_the_other_daemon_is_refused(void)
{
    expect_refused_by(DAEMON_CONF_VIRTCRYPTD, "value_readback = \"any\"",
                      "d.conf:1: value_readback: virtcryptd has no such setting; correct its name "
                      "or remove it");
    expect_refused_by(DAEMON_CONF_VIRTCRYPTD, "master_key_file = \"/k\"",
                      "d.conf:1: master_key_file: virtcryptd has no such setting; correct its name "
                      "or remove it");
    expect_refused_by(DAEMON_CONF_SECRETD, "custodian_socket = \"/c\"",
                      "d.conf:1: custodian_socket: virtcrypt-secretd has no such setting; correct "
                      "its name or remove it");
}

static char *
read_sample(enum daemon_conf_program program)
{
    g_autofree char *name = g_strconcat(daemon_conf_program_name(program), ".conf", NULL);
    const char *path = g_test_get_filename(G_TEST_DIST, "packaging", name, NULL);
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

static void
test_the_sample_files_set_nothing(void)
{
    for (int program = 0; program < DAEMON_CONF_PROGRAM_LAST; program++) {
        g_autofree char *text = read_sample((enum daemon_conf_program)program);
        g_autoptr(conf_file_t) file = parse_file(text);

        g_assert_cmpuint(conf_file_count(file), ==, 0);
    }
}

/* Every setting of the sample, its comment mark taken off. */
static void
expect_complete_sample(enum daemon_conf_program program)
{
    g_autofree char *text = read_sample(program);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GString) enabled = g_string_new(NULL);
    g_autoptr(conf_file_t) file = NULL;
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(program, false);
    g_autoptr(GError) error = NULL;

    for (char **line = lines; *line; line++) {
        bool is_setting = (*line)[0] == '#' && g_ascii_isalpha((*line)[1]);

        g_string_append_printf(enabled, "%s\n", is_setting ? *line + 1 : *line);
    }
    file = parse_file(enabled->str);
    daemon_conf_apply(conf, file, warnings, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(conf_file_count(file), ==, daemon_conf_count_keys(program));
    g_assert_cmpuint(warnings->len, ==, 18);
}

static void
test_the_sample_files_show_every_setting_in_a_valid_form(void)
{
    for (int program = 0; program < DAEMON_CONF_PROGRAM_LAST; program++)
        expect_complete_sample((enum daemon_conf_program)program);
}

#define ADD(name) g_test_add_func("/conf/daemon_conf/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_defaults_are_libvirts_where_it_has_them);
    ADD(a_session_keeps_to_its_users_folders);
    ADD(every_setting_is_applied);
    ADD(readback_has_three_values);
    ADD(the_sandbox_is_on_or_off);
    ADD(without_polkit_the_socket_is_its_owners_unless_said_otherwise);
    ADD(zero_and_negative_intervals_switch_keepalive_off);
    ADD(an_empty_group_and_log_level_zero_mean_not_set);
    ADD(a_number_out_of_bounds_is_refused);
    ADD(a_rotation_waits_for_a_day_at_most);
    ADD(unlocking_takes_two_minutes_for_each_way_at_most);
    ADD(an_index_waits_for_an_hour_at_most);
    ADD(a_malformed_mode_is_refused);
    ADD(a_relative_path_is_refused);
    ADD(a_wrong_type_is_refused);
    ADD(an_unknown_setting_is_refused);
    ADD(malformed_log_filters_are_refused);
    ADD(malformed_log_outputs_are_refused);
    ADD(protection_that_does_not_exist_is_refused);
    ADD(settings_without_effect_give_a_warning);
    ADD(an_error_leaves_the_settings_unchanged);
    ADD(virtcryptd_knows_where_the_keys_are);
    ADD(virtcryptd_erases_with_care_by_default);
    ADD(settings_of_guests_are_applied);
    ADD(settings_of_guests_have_bounds);
    ADD(virtcryptd_has_the_common_settings_and_its_own);
    ADD(a_setting_of_the_other_daemon_is_refused);
    ADD(the_sample_files_set_nothing);
    ADD(the_sample_files_show_every_setting_in_a_valid_form);
    return g_test_run();
}
