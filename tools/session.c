/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: session.h. Where polkit finds nobody to ask, an agent is started for this terminal, and the
 * connection is made again.
 */
#include "tools/session.h"

#include <errno.h>
#include <unistd.h>

#include "tools/output.h"
#include "tools/polkit_agent.h"
#include "util/error.h"

/* A call of virtcryptd may wait for another on the same volume, and for a passphrase's Argon2. It
 * goes on when we give up. */
enum { VOLUME_TIMEOUT_MS = 300000 };

const char *
session_uri(const struct session *session)
{
    const char *environment = g_getenv("VIRTCRYPT_DEFAULT_URI");

    if (session->uri_text && *session->uri_text)
        return session->uri_text;
    if (environment && *environment)
        return environment;
    if (session->daemon == URI_VIRTCRYPTD)
        return "storage:///system";
    return geteuid() == 0 ? "secret:///system" : "secret:///session";
}

struct uri *
session_parse_uri(const struct session *session, GError **error)
{
    g_autoptr(uri_t) uri = uri_parse(session_uri(session), error);

    return uri && uri_set_daemon(uri, session->daemon, error) ? g_steal_pointer(&uri) : NULL;
}

static struct rpc_client *
reach(const struct session *session, const struct uri *uri, GError **error)
{
    g_autofree char *path = NULL;
    g_auto(GStrv) command = NULL;

    if (uri->transport == URI_UNIX) {
        path = uri_socket_path(uri, session->is_readonly);
        return rpc_client_new_unix(path, error);
    }
    command = uri_ssh_command(uri, session->is_readonly, error);
    return command ? rpc_client_new_command((const char *const *)command, error) : NULL;
}

static struct rpc_client *
reach_and_open(const struct session *session, const struct uri *uri, GError **error)
{
    g_autoptr(rpc_client_t) client = reach(session, uri, error);

    if (!client || !rpc_client_open(client, uri->name, session->is_readonly, error))
        return NULL;
    return g_steal_pointer(&client);
}

/* The same, with somebody for polkit to ask. */
static struct rpc_client *
open_with_agent(const struct session *session, const struct uri *uri, GError **error)
{
    g_autoptr(GError) agent_error = NULL;
    struct rpc_client *client = reach_and_open(session, uri, error);
    g_autoptr(polkit_agent_t) agent = NULL;

    if (client || !error_is(*error, ERROR_AUTH_UNAVAILABLE) || !isatty(STDIN_FILENO))
        return client;
    agent = polkit_agent_start(&agent_error);
    if (!agent) {
        g_prefix_error(error, "%s; ", agent_error->message);
        return NULL;
    }
    g_clear_error(error);
    return reach_and_open(session, uri, error);
}

/* A socket that nobody listens on, at its default place: what to start. One that nobody answers on:
 * systemd listens there for a daemon that can't start, most often. */
static void
print_remedy(const struct uri *uri, const GError *error)
{
    const char *name = uri_daemon_name(uri->daemon);
    int errnum = error_get_errno(error);

    if (uri->transport != URI_UNIX || uri->socket)
        return;
    if (error_is(error, ERROR_OPERATION_TIMEOUT) && !uri->is_session)
        output_error("%s does not start or hangs; 'journalctl -u %s' says why", name, name);
    if (errnum != ENOENT && errnum != ECONNREFUSED)
        return;
    if (uri->is_session)
        output_error("virtcrypt-secretd does not run for this user; start it by "
                     "'virtcrypt-secretd --session', or use -c secret:///system");
    else
        output_error("%s does not run; start it by 'systemctl start %s.socket'", name, name);
}

bool
session_connect(struct session *session)
{
    static const char failure[] = "failed to connect to the hypervisor"; /* as virsh says */
    g_autoptr(GError) error = NULL;
    g_autoptr(uri_t) uri = NULL;

    if (session->client)
        return true;
    uri = session_parse_uri(session, &error);
    if (!uri)
        return output_failure(error, failure);
    session->client = open_with_agent(session, uri, &error);
    if (session->client) {
        if (session->daemon == URI_VIRTCRYPTD)
            rpc_client_set_timeout(session->client, VOLUME_TIMEOUT_MS);
        return true;
    }
    output_failure(error, failure);
    print_remedy(uri, error);
    return false;
}

bool
session_try(struct session *session, int timeout_ms, GError **error)
{
    g_autoptr(rpc_client_t) client = NULL;
    g_autoptr(uri_t) uri = NULL;

    if (session->client) {
        rpc_client_set_timeout(session->client, timeout_ms);
        return true;
    }
    uri = session_parse_uri(session, error);
    client = uri ? reach(session, uri, error) : NULL;
    if (!client)
        return false;
    rpc_client_set_timeout(client, timeout_ms);
    if (!rpc_client_open(client, uri->name, session->is_readonly, error))
        return false;
    session->client = g_steal_pointer(&client);
    return true;
}

bool
session_keep(struct session *session)
{
    if (session->client && rpc_client_wait(session->client, 0, NULL))
        return true;
    session_clear(session);
    return session_connect(session);
}

struct session
session_beside(const struct session *session, enum uri_daemon daemon)
{
    return (struct session){
        .uri_text = session_uri(session),
        .is_readonly = session->is_readonly,
        .is_quiet = session->is_quiet,
        .daemon = daemon,
    };
}

void
session_clear(struct session *session)
{
    g_clear_pointer(&session->client, rpc_client_free);
}
