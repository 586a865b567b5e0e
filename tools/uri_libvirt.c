/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's URIs of a host, and ours of the same host.
 */
#include <string.h>

#include "tools/uri.h"
#include "util/error.h"

static void
append_parameter(GString *text, const char *name, const char *value)
{
    g_autofree char *escaped = value ? g_uri_escape_string(value, "/", FALSE) : NULL;

    if (escaped)
        g_string_append_printf(text, "%c%s=%s", strchr(text->str, '?') ? '&' : '?', name, escaped);
}

char *
uri_to_libvirt(const struct uri *uri)
{
    static const char *const proxies[] = {NULL, "netcat", "native"};
    const char *path = uri->is_session ? "/session" : "/system";
    g_autoptr(GString) text = g_string_new(NULL);
    bool is_ipv6 = uri->host && strchr(uri->host, ':');

    G_STATIC_ASSERT(G_N_ELEMENTS(proxies) == URI_PROXY_NATIVE + 1);
    if (uri->transport == URI_UNIX)
        return g_strconcat("qemu://", path, NULL);
    g_string_append(text, "qemu+ssh://");
    if (uri->user) {
        g_string_append_uri_escaped(text, uri->user, NULL, FALSE);
        g_string_append_c(text, '@');
    }
    g_string_append_printf(text, is_ipv6 ? "[%s]" : "%s", uri->host);
    if (uri->port > 0)
        g_string_append_printf(text, ":%d", uri->port);
    g_string_append(text, path);
    append_parameter(text, "command", uri->command);
    append_parameter(text, "keyfile", uri->keyfile);
    append_parameter(text, "netcat", uri->netcat);
    append_parameter(text, "proxy", proxies[uri->proxy]);
    append_parameter(text, "no_verify", uri->no_verify ? "1" : NULL);
    append_parameter(text, "no_tty", uri->no_tty ? "1" : NULL);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *
refuse(GError **error, const char *text, const char *why)
{
    error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "libvirt's URI '%s': %s", text, why);
    return NULL;
}

/* What counts for virtcryptd too. A socket is libvirt's, and virt-ssh-helper finds libvirt's
 * daemons alone; other parameters are of no concern to ssh. */
static void
append_shared_parameters(GString *text, const char *query)
{
    static const char *const shared[] = {"command", "keyfile", "netcat", "no_verify", "no_tty"};
    g_auto(GStrv) pairs = g_strsplit_set(query, "&;", -1);

    for (char **pair = pairs; *pair; pair++) {
        const char *equals = strchr(*pair, '=');

        for (size_t i = 0; equals && i < G_N_ELEMENTS(shared); i++) {
            size_t len = strlen(shared[i]);

            if ((size_t)(equals - *pair) == len && g_ascii_strncasecmp(*pair, shared[i], len) == 0)
                g_string_append_printf(text, "%c%s%s", strchr(text->str, '?') ? '&' : '?',
                                       shared[i], equals);
        }
    }
}

char *
uri_from_libvirt(const char *text, GError **error)
{
    g_autoptr(GUri) parsed =
        g_uri_parse(text, G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED_QUERY, NULL);
    const char *scheme = parsed ? g_uri_get_scheme(parsed) : NULL;
    const char *authority = scheme ? text + strlen(scheme) + strlen("://") : NULL;
    g_autoptr(GString) ours = g_string_new("storage+ssh://");

    if (!scheme || !g_str_has_prefix(text + strlen(scheme), "://"))
        return refuse(error, text, "it is none, as qemu+ssh://HOST/system is");
    if (strcmp(g_uri_get_path(parsed), "/system") != 0)
        return refuse(error, text, "its path must be /system: virtcryptd serves a host");
    if (strcmp(scheme, "qemu") == 0 || strcmp(scheme, "qemu+unix") == 0)
        return g_strdup("storage:///system");
    if (strcmp(scheme, "qemu+ssh") != 0)
        return refuse(error, text,
                      "keys travel by ssh only: use qemu+ssh://, or say with --keyuri "
                      "storage+ssh://HOST/system how virtcryptd is reached");
    g_string_append_len(ours, authority, strchr(authority, '/') - authority);
    g_string_append(ours, "/system");
    if (g_uri_get_query(parsed))
        append_shared_parameters(ours, g_uri_get_query(parsed));
    return g_string_free(g_steal_pointer(&ours), FALSE);
}
