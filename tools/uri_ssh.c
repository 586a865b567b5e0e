/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the ssh command that a URI of another host becomes. ssh hands the words
 * of a command to the login shell of the other host as one line. So that line is `sh -c SCRIPT`,
 * with SCRIPT quoted for that shell, and in SCRIPT every parameter is quoted for sh.
 */
#include "tools/uri.h"

#include <string.h>

#include "util/error.h"

/* As a script for sh. Debian's traditional netcat knows no Unix sockets; OpenBSD's needs -q0 to end
 * with its input, where it has that option. */
static char *
netcat_script(const struct uri *uri, const char *socket)
{
    g_autofree char *netcat = g_shell_quote(uri->netcat ? uri->netcat : "nc");
    g_autofree char *path = g_shell_quote(socket);

    return g_strdup_printf("if %s -q 2>&1 | grep \"requires an argument\" >/dev/null 2>&1; "
                           "then Q=-q0; else Q=; fi; exec %s $Q -U %s",
                           netcat, netcat, path);
}

static char *
native_script(const struct uri *uri, bool readonly)
{
    g_autofree char *escaped = uri->socket ? g_uri_escape_string(uri->socket, "/", FALSE) : NULL;
    g_autofree char *name = g_strconcat(uri->name, escaped ? "?socket=" : "", escaped, NULL);
    g_autofree char *quoted = g_shell_quote(name);

    return g_strdup_printf("exec virt-ssh-helper %s%s", readonly ? "-r " : "", quoted);
}

char **
uri_ssh_command(const struct uri *uri, bool readonly, GError **error)
{
    g_autoptr(GStrvBuilder) argv = g_strv_builder_new();
    g_autofree char *socket = uri_socket_path(uri, readonly);
    bool is_native = uri->proxy == URI_PROXY_NATIVE;
    g_autofree char *script = NULL;
    g_autofree char *quoted = NULL;
    g_autofree char *line = NULL;

    if (uri->is_session && !uri->socket && !is_native) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "where the session daemon's socket is on %s is not known here: add "
                  "?socket=PATH or ?proxy=native to the URI",
                  uri->host);
        return NULL;
    }
    if (is_native && uri->daemon == URI_VIRTCRYPTD) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "virt-ssh-helper on %s finds libvirt's own daemons, and no virtcryptd: leave "
                  "proxy=native out of the URI",
                  uri->host);
        return NULL;
    }
    script = is_native ? native_script(uri, readonly) : netcat_script(uri, socket);
    quoted = g_shell_quote(script);
    line = g_strconcat("sh -c ", quoted, NULL);
    g_strv_builder_add(argv, uri->command ? uri->command : "ssh");
    if (uri->port > 0) {
        g_autofree char *port = g_strdup_printf("%d", uri->port);

        g_strv_builder_add_many(argv, "-p", port, NULL);
    }
    if (uri->user)
        g_strv_builder_add_many(argv, "-l", uri->user, NULL);
    if (uri->keyfile)
        g_strv_builder_add_many(argv, "-i", uri->keyfile, NULL);
    if (uri->no_tty)
        g_strv_builder_add_many(argv, "-o", "BatchMode=yes", NULL);
    if (uri->no_verify)
        g_strv_builder_add_many(argv, "-o", "StrictHostKeyChecking=no", NULL);
    g_strv_builder_add_many(argv, "-T", "-e", "none", "--", uri->host, line, NULL);
    return g_strv_builder_end(argv);
}
