/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Connection URIs, and the ssh commands made of them.
 */
#include <glib/gstdio.h>

#include "expect.h"
#include "folder.h"
#include "tools/uri.h"

static struct uri *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct uri *uri = uri_parse(text, &error);

    g_assert_no_error(error);
    return uri;
}

static void
test_a_local_uri_leads_to_the_default_sockets(void)
{
    static const struct {
        const char *uri;
        bool readonly;
        const char *socket;
    } defaults[] = {
        {"secret:///system", false, "/libvirt/virtsecretd-sock"},
        {"secret:///system", true, "/libvirt/virtsecretd-sock-ro"},
        {"secret+unix:///system", false, "/libvirt/virtsecretd-sock"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(defaults); i++) {
        g_autoptr(uri_t) uri = parse(defaults[i].uri);
        g_autofree char *path = uri_socket_path(uri, defaults[i].readonly);
        g_autofree char *wanted = g_strconcat(RUNSTATEDIR, defaults[i].socket, NULL);

        g_assert_cmpstr(path, ==, wanted);
        g_assert_cmpstr(uri->name, ==, "secret:///system");
        g_assert_cmpint(uri->transport, ==, URI_UNIX);
    }
}

static void
test_a_session_uri_leads_to_the_users_own_socket(void)
{
    g_autoptr(uri_t) uri = parse("secret:///session");
    g_autofree char *path = uri_socket_path(uri, true);
    g_autofree char *wanted =
        g_build_filename(g_get_user_runtime_dir(), "libvirt/virtsecretd-sock", NULL);

    g_assert_cmpstr(path, ==, wanted);
    g_assert_cmpstr(uri->name, ==, "secret:///session");
}

static void
test_a_socket_can_be_named(void)
{
    g_autoptr(uri_t) uri = parse("secret:///system?socket=/run/a%20b%26c");
    g_autofree char *path = uri_socket_path(uri, true);

    g_assert_cmpstr(path, ==, "/run/a b&c");
}

static void
test_what_is_wrong_with_a_uri_is_said(void)
{
    static const struct {
        const char *uri;
        const char *why; /* NULL where GLib says it */
    } bad[] = {
        {"", NULL},
        {"system", NULL},
        {"qemu:///system",
         "it must begin with secret: or storage:, or one of these with +unix or +ssh"},
        {"secret+tls://host/system", "it must begin with"},
        {"secret:///", "its path must be /system or /session"},
        {"secret:///other", "its path must be /system or /session"},
        {"secret://host/system", "a host is for +ssh only"},
        {"secret+unix://root@/system", "a host is for +ssh only"},
        {"secret+ssh:///system", "+ssh needs a host"},
        {"secret+ssh://-oProxyCommand=x/system", "must not be empty or begin with '-'"},
        {"secret+ssh://-lx@host/system", "must not be empty or begin with '-'"},
        {"secret+ssh://@host/system", "must not be empty or begin with '-'"},
        {"secret+ssh://host:x/system", NULL},
        {"secret:///system?socket=", "the parameter 'socket' is empty"},
        {"secret:///system?sockets=/x", "the parameter 'sockets' is not known"},
        {"secret:///system?keyfile=/x", "the parameter 'keyfile' is for +ssh only"},
        {"secret:///system?no_verify=1", "the parameter 'no_verify' is not known"},
        {"secret+ssh://host/system?no_verify=yes", "'no_verify' is neither 0 nor 1"},
        {"secret+ssh://host/system?proxy=libssh", "'proxy' is none of auto, netcat, native"},
        {"secret+ssh://host/system?pkipath=/x", "the parameter 'pkipath' is not known"},
        {"secret+ssh://host/system?netcat=nc%0Aid", "'netcat' holds a control character"},
        {"secret:///system?socket", NULL},
        {"secret:///system?socket=%zz", NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(uri_parse(bad[i].uri, &error));
        expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                          bad[i].why ? bad[i].why : bad[i].uri);
        expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_NONE, bad[i].uri);
    }
}

static char *
ssh_line(const char *text, bool readonly)
{
    g_autoptr(uri_t) uri = parse(text);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = uri_ssh_command(uri, readonly, &error);

    g_assert_no_error(error);
    return g_strjoinv("|", argv);
}

static void
test_ssh_gets_what_the_uri_says(void)
{
    g_autofree char *line = ssh_line("secret+ssh://alice@[2001:db8::1]:2222/"
                                     "system?command=/usr/bin/ssh&keyfile=/k&no_verify=1&no_tty=1",
                                     false);

    g_assert_true(g_str_has_prefix(line, "/usr/bin/ssh|-p|2222|-l|alice|-i|/k|-o|BatchMode=yes|-o|"
                                         "StrictHostKeyChecking=no|-T|-e|none|--|2001:db8::1|sh -c "
                                         "'"));
}

static void
test_ssh_is_told_no_more_than_the_uri_says(void)
{
    g_autofree char *line = ssh_line("secret+ssh://host/system", true);

    g_assert_true(g_str_has_prefix(line, "ssh|-T|-e|none|--|host|sh -c "));
    g_assert_nonnull(strstr(line, "-U '\\''" RUNSTATEDIR "/libvirt/virtsecretd-sock-ro'\\''"));
}

static void
test_the_native_proxy_is_libvirts_helper(void)
{
    g_autofree char *line = ssh_line("secret+ssh://host/session?proxy=native&socket=/a%20b", true);

    g_assert_cmpstr(line, ==,
                    "ssh|-T|-e|none|--|host|sh -c 'exec virt-ssh-helper -r "
                    "'\\''secret:///session?socket=/a%20b'\\'''");
}

static void
test_a_session_elsewhere_needs_a_socket(void)
{
    g_autoptr(uri_t) uri = parse("secret+ssh://host/session");
    g_autoptr(GError) error = NULL;

    g_assert_null(uri_ssh_command(uri, false, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_NONE, "add ?socket=PATH");
}

/* What a shell at the other end makes of the line: netcat, here a script, writes its arguments
 * down, and the socket's path is as nasty as can be. */
static void
test_no_parameter_reaches_the_other_shell_as_code(void)
{
    static const char nasty[] = "/x'\"; touch pwned; $(touch pwned) `touch pwned` \\ * & | > y #";
    static const char *const shells[] = {"sh", "bash"};
    struct folder folder;
    g_autofree char *netcat = NULL;
    g_autoptr(uri_t) uri = parse("secret+ssh://host/system");
    g_auto(GStrv) argv = NULL;
    g_autofree char *wanted = g_strconcat("-U\n", nasty, "\n", NULL);

    folder_init(&folder);
    folder_put_text(&folder, "n' c", "#!/bin/sh\nprintf '%s\\n' \"$@\" >written\n");
    netcat = folder_path(&folder, "n' c");
    g_assert_cmpint(g_chmod(netcat, 0700), ==, 0);
    uri->netcat = g_strdup(netcat);
    uri->socket = g_strdup(nasty);
    argv = uri_ssh_command(uri, false, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(shells); i++) {
        const char *const run[] = {shells[i], "-c", argv[g_strv_length(argv) - 1], NULL};
        g_autoptr(GBytes) written = NULL;
        g_autoptr(GError) error = NULL;

        g_spawn_sync(folder.path, (char **)run, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                     NULL, &error);
        g_assert_no_error(error);
        written = folder_get(&folder, "written");
        g_assert_cmpmem(g_bytes_get_data(written, NULL), g_bytes_get_size(written), wanted,
                        strlen(wanted));
        folder_expect_none(&folder, "pwned");
    }
    folder_clear(&folder);
}

static void
test_each_daemon_has_its_scheme_and_socket(void)
{
    static const struct {
        const char *uri;
        enum uri_daemon daemon; /* wanted */
        const char *name;
        const char *socket;
    } ways[] = {
        {"storage:///system", URI_VIRTCRYPTD, "storage:///system", "/libvirt/virtcryptd-sock"},
        {"storage+unix:///system", URI_VIRTCRYPTD, "storage:///system", "/libvirt/virtcryptd-sock"},
        {"secret:///system", URI_VIRTCRYPTD, "storage:///system", "/libvirt/virtcryptd-sock"},
        {"storage:///system", URI_SECRETD, "secret:///system", "/libvirt/virtsecretd-sock"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autoptr(uri_t) uri = parse(ways[i].uri);
        g_autofree char *wanted = g_strconcat(RUNSTATEDIR, ways[i].socket, NULL);
        g_autofree char *path = NULL;

        g_assert_true(uri_set_daemon(uri, ways[i].daemon, NULL));
        path = uri_socket_path(uri, false);
        g_assert_cmpstr(uri->name, ==, ways[i].name);
        g_assert_cmpstr(path, ==, wanted);
    }
}

static void
test_what_is_of_one_daemon_alone_does_not_lead_to_the_other(void)
{
    g_autoptr(uri_t) session = parse("secret:///session");
    g_autoptr(uri_t) with_socket = parse("secret:///system?socket=/x");
    g_autoptr(uri_t) own_socket = parse("storage:///system?socket=/y");
    g_autofree char *path = NULL;
    g_autoptr(GError) session_error = NULL;
    g_autoptr(GError) socket_error = NULL;
    g_autoptr(GError) parse_error = NULL;

    g_assert_false(uri_set_daemon(session, URI_VIRTCRYPTD, &session_error));
    expect_error_part(session_error, ERROR_INVALID_ARG, ERROR_FROM_NONE, "use storage:///system");
    g_assert_false(uri_set_daemon(with_socket, URI_VIRTCRYPTD, &socket_error));
    expect_error_part(socket_error, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                      "the socket '/x' is that of virtcrypt-secretd, but the command is for "
                      "virtcryptd");
    g_assert_true(uri_set_daemon(own_socket, URI_VIRTCRYPTD, NULL));
    path = uri_socket_path(own_socket, true);
    g_assert_cmpstr(path, ==, "/y");
    g_assert_null(uri_parse("storage:///session", &parse_error));
    expect_error_part(parse_error, ERROR_INVALID_ARG, ERROR_FROM_NONE, "a host, not a session");
}

static void
test_the_native_proxy_does_not_lead_to_virtcryptd(void)
{
    g_autoptr(uri_t) uri = parse("storage+ssh://host/system?proxy=native");
    g_autoptr(GError) error = NULL;

    g_assert_null(uri_ssh_command(uri, false, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_NONE, "leave proxy=native out");
}

static void
test_libvirt_is_reached_on_the_same_host(void)
{
    static const struct {
        const char *uri;
        const char *libvirts;
    } ways[] = {
        {"secret:///system", "qemu:///system"},
        {"secret:///session", "qemu:///session"},
        {"storage:///system?socket=/x", "qemu:///system"},
        {"storage+ssh://host/system", "qemu+ssh://host/system"},
        {"secret+ssh://a%40b@[2001:db8::1]:2222/system?keyfile=/k%26&no_verify=1&no_tty=1&"
         "proxy=native&command=/my%20ssh&netcat=nc&socket=/s",
         "qemu+ssh://a%40b@[2001:db8::1]:2222/system?command=/my%20ssh&keyfile=/k%26&netcat=nc&"
         "proxy=native&no_verify=1&no_tty=1"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autoptr(uri_t) uri = parse(ways[i].uri);
        g_autofree char *text = uri_to_libvirt(uri);

        g_assert_cmpstr(text, ==, ways[i].libvirts);
    }
}

static void
test_virtcryptd_is_reached_as_libvirt_is(void)
{
    static const struct {
        const char *libvirts;
        const char *ours;
    } ways[] = {
        {"qemu:///system", "storage:///system"},
        {"qemu+unix:///system?socket=/run/other", "storage:///system"},
        {"qemu+ssh://far/system", "storage+ssh://far/system"},
        {"qemu+ssh://root@far:2222/system", "storage+ssh://root@far:2222/system"},
        {"qemu+ssh://[::1]/system", "storage+ssh://[::1]/system"},
        {"qemu+ssh://far/system?KeyFile=/k%20y&socket=/x&proxy=native&no_tty=1;netcat=ncat",
         "storage+ssh://far/system?keyfile=/k%20y&no_tty=1&netcat=ncat"},
        {"qemu+ssh://far/system?command=/opt/ssh&no_verify=1&known_hosts=/x",
         "storage+ssh://far/system?command=/opt/ssh&no_verify=1"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = uri_from_libvirt(ways[i].libvirts, &error);
        g_autoptr(uri_t) uri = text ? uri_parse(text, &error) : NULL;

        g_assert_no_error(error);
        g_assert_cmpstr(text, ==, ways[i].ours);
        g_assert_cmpint(uri->daemon, ==, URI_VIRTCRYPTD);
    }
}

static void
test_a_way_of_libvirts_that_leads_to_no_virtcryptd_is_refused(void)
{
    static const char *const bad[][2] = {
        {"qemu+tls://far/system", "keys travel by ssh only"},
        {"qemu+tcp://far/system", "--keyuri storage+ssh://HOST/system"},
        {"test:///default", "its path must be /system"},
        {"qemu+ssh://far/session", "its path must be /system"},
        {"xen:///system", "keys travel by ssh only"},
        {"far", "it is none, as qemu+ssh://HOST/system is"},
        {"qemu:/system", "it is none"},
        {"", "it is none"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(uri_from_libvirt(bad[i][0], &error));
        g_assert_nonnull(strstr(error->message, bad[i][1]));
    }
}

#define ADD(name) g_test_add_func("/tools/uri/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_local_uri_leads_to_the_default_sockets);
    ADD(test_a_session_uri_leads_to_the_users_own_socket);
    ADD(test_a_socket_can_be_named);
    ADD(test_what_is_wrong_with_a_uri_is_said);
    ADD(test_ssh_gets_what_the_uri_says);
    ADD(test_ssh_is_told_no_more_than_the_uri_says);
    ADD(test_the_native_proxy_is_libvirts_helper);
    ADD(test_a_session_elsewhere_needs_a_socket);
    ADD(test_no_parameter_reaches_the_other_shell_as_code);
    ADD(test_each_daemon_has_its_scheme_and_socket);
    ADD(test_what_is_of_one_daemon_alone_does_not_lead_to_the_other);
    ADD(test_the_native_proxy_does_not_lead_to_virtcryptd);
    ADD(test_libvirt_is_reached_on_the_same_host);
    ADD(test_virtcryptd_is_reached_as_libvirt_is);
    ADD(test_a_way_of_libvirts_that_leads_to_no_virtcryptd_is_refused);
    return g_test_run();
}
