/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the parsing of connection URIs.
 */
#include "tools/uri.h"

#include <string.h>

#include "util/error.h"

static const struct {
    const char *scheme;
    const char *name;
    const char *socket; /* below .../libvirt */
} daemons[] = {
    [URI_SECRETD] = {"secret", "virtcrypt-secretd", "virtsecretd-sock"},
    [URI_VIRTCRYPTD] = {"storage", "virtcryptd", "virtcryptd-sock"},
};
G_STATIC_ASSERT(G_N_ELEMENTS(daemons) == URI_DAEMON_LAST);

static bool
refuse(GError **error, const char *text, const char *why)
{
    error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "connection URI '%s': %s", text, why);
    return false;
}

static bool
take_boolean(const char *value, bool *ret_value)
{
    *ret_value = strcmp(value, "1") == 0;
    return *ret_value || strcmp(value, "0") == 0;
}

static bool
take_proxy(const char *value, enum uri_proxy *ret_proxy)
{
    static const char *const names[] = {"auto", "netcat", "native"};

    G_STATIC_ASSERT(G_N_ELEMENTS(names) == URI_PROXY_NATIVE + 1);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret_proxy = (enum uri_proxy)i;
            return true;
        }
    }
    return false;
}

/* What is wrong with the parameter, or NULL. */
static const char *
take_parameter(struct uri *uri, const char *name, const char *value)
{
    const struct {
        const char *name;
        char **member;
        bool is_for_ssh;
    } texts[] = {
        {"socket", &uri->socket, false},
        {"command", &uri->command, true},
        {"keyfile", &uri->keyfile, true},
        {"netcat", &uri->netcat, true},
    };
    bool is_ssh = uri->transport == URI_SSH;

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (strcmp(name, texts[i].name) != 0)
            continue;
        if (texts[i].is_for_ssh && !is_ssh)
            return "is for +ssh only";
        if (!*value)
            return "is empty";
        for (const char *c = value; *c; c++) {
            if (g_ascii_iscntrl(*c))
                return "holds a control character";
        }
        g_free(*texts[i].member);
        *texts[i].member = g_strdup(value);
        return NULL;
    }
    if (!is_ssh)
        return "is not known (socket is, and others with +ssh)";
    if (strcmp(name, "no_verify") == 0)
        return take_boolean(value, &uri->no_verify) ? NULL : "is neither 0 nor 1";
    if (strcmp(name, "no_tty") == 0)
        return take_boolean(value, &uri->no_tty) ? NULL : "is neither 0 nor 1";
    if (strcmp(name, "proxy") == 0)
        return take_proxy(value, &uri->proxy) ? NULL : "is none of auto, netcat, native";
    return "is not known (socket, command, keyfile, netcat, proxy, no_verify, no_tty are)";
}

static bool
take_parameters(struct uri *uri, const char *text, const char *query, GError **error)
{
    GUriParamsIter iter;
    g_autoptr(GError) bad = NULL;

    if (!query)
        return true;
    g_uri_params_iter_init(&iter, query, -1, "&;", G_URI_PARAMS_NONE);
    for (;;) {
        g_autofree char *name = NULL;
        g_autofree char *value = NULL;
        const char *why;

        if (!g_uri_params_iter_next(&iter, &name, &value, &bad))
            break;
        why = take_parameter(uri, name, value);
        if (why) {
            error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                      "connection URI '%s': the parameter '%s' %s", text, name, why);
            return false;
        }
    }
    return !bad || refuse(error, text, bad->message);
}

static bool
take_scheme(struct uri *uri, const char *text, const char *scheme, GError **error)
{
    static const struct {
        const char *suffix;
        enum uri_transport transport;
    } transports[] = {{"", URI_UNIX}, {"+unix", URI_UNIX}, {"+ssh", URI_SSH}};

    for (int i = 0; i < URI_DAEMON_LAST; i++) {
        if (!g_str_has_prefix(scheme, daemons[i].scheme))
            continue;
        for (size_t j = 0; j < G_N_ELEMENTS(transports); j++) {
            if (strcmp(scheme + strlen(daemons[i].scheme), transports[j].suffix) != 0)
                continue;
            uri->daemon = (enum uri_daemon)i;
            uri->transport = transports[j].transport;
            return true;
        }
    }
    return refuse(error, text,
                  "it must begin with secret: or storage:, or one of these with +unix or +ssh");
}

static bool
take_authority(struct uri *uri, const char *text, GUri *parsed, GError **error)
{
    const char *host = g_uri_get_host(parsed);
    const char *user = g_uri_get_user(parsed);
    bool has_host = host && *host;

    if (uri->transport == URI_UNIX && (has_host || user || g_uri_get_port(parsed) > 0))
        return refuse(error, text, "a host is for +ssh only");
    if (uri->transport == URI_UNIX)
        return true;
    if (!has_host)
        return refuse(error, text, "+ssh needs a host");
    if (*host == '-' || (user && (*user == '-' || !*user)))
        return refuse(error, text, "the host and the user must not be empty or begin with '-'");
    uri->host = g_strdup(host);
    uri->user = g_strdup(user);
    uri->port = MAX(g_uri_get_port(parsed), 0);
    return true;
}

static char *
name_of(enum uri_daemon daemon, bool is_session)
{
    return g_strconcat(daemons[daemon].scheme, is_session ? ":///session" : ":///system", NULL);
}

static bool
refuse_session(GError **error)
{
    error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
              "virtcryptd serves a host, not a session: use storage:///system");
    return false;
}

static bool
take_path(struct uri *uri, const char *text, const char *path, GError **error)
{
    uri->is_session = strcmp(path, "/session") == 0;
    if (!uri->is_session && strcmp(path, "/system") != 0)
        return refuse(error, text, "its path must be /system or /session");
    if (uri->is_session && uri->daemon == URI_VIRTCRYPTD)
        return refuse(error, text, "virtcryptd serves a host, not a session; its path is /system");
    uri->name = name_of(uri->daemon, uri->is_session);
    return true;
}

struct uri *
uri_parse(const char *text, GError **error)
{
    g_autoptr(uri_t) uri = g_new0(struct uri, 1);
    g_autoptr(GError) bad = NULL;
    g_autoptr(GUri) parsed =
        g_uri_parse(text, G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED_QUERY, &bad);

    if (!parsed) {
        refuse(error, text, bad->message);
        return NULL;
    }
    if (!take_scheme(uri, text, g_uri_get_scheme(parsed), error) ||
        !take_authority(uri, text, parsed, error) ||
        !take_path(uri, text, g_uri_get_path(parsed), error) ||
        !take_parameters(uri, text, g_uri_get_query(parsed), error))
        return NULL;
    return g_steal_pointer(&uri);
}

void
uri_free(struct uri *uri)
{
    if (!uri)
        return;
    g_free(uri->name);
    g_free(uri->socket);
    g_free(uri->user);
    g_free(uri->host);
    g_free(uri->command);
    g_free(uri->keyfile);
    g_free(uri->netcat);
    g_free(uri);
}

const char *
uri_daemon_name(enum uri_daemon daemon)
{
    return daemons[daemon].name;
}

bool
uri_set_daemon(struct uri *uri, enum uri_daemon daemon, GError **error)
{
    if (uri->daemon == daemon)
        return true;
    if (uri->is_session)
        return refuse_session(error);
    if (uri->socket) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "the socket '%s' is that of %s, but the command is for %s: leave socket= out, or "
                  "use %s:///system?socket=PATH",
                  uri->socket, daemons[uri->daemon].name, daemons[daemon].name,
                  daemons[daemon].scheme);
        return false;
    }
    uri->daemon = daemon;
    g_free(uri->name);
    uri->name = name_of(daemon, false);
    return true;
}

char *
uri_socket_path(const struct uri *uri, bool readonly)
{
    const char *socket = daemons[uri->daemon].socket;

    if (uri->socket)
        return g_strdup(uri->socket);
    if (uri->is_session)
        return g_build_filename(g_get_user_runtime_dir(), "libvirt", socket, NULL);
    return g_strconcat(RUNSTATEDIR, "/libvirt/", socket, readonly ? "-ro" : "", NULL);
}
