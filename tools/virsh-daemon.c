/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: daemon-status, of virtcrypt-secretd, and host-status, of both daemons.
 */
#include "tools/virsh-daemon.h"

#include <stdio.h>

#include "rpc/protocol/virtcrypt_secret_client.h"
#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/output.h"
#include "tools/session.h"
#include "util/error.h"

static void
print_text(const struct virtcrypt_secret_daemon_status_ret *status)
{
    printf("%-15s %s\n", "Version:", status->version);
    printf("%-15s %u\n", "Process:", status->pid);
    printf("%-15s %s\n", "Master key:", status->locked ? "locked" : "unlocked");
    if (status->locked && status->locked_reason)
        printf("%-15s %s\n", "Reason:", status->locked_reason);
    printf("%-15s %u\n", "Secrets:", status->secrets);
    printf("%-15s %u\n", "Ephemeral:", status->ephemeral);
    printf("%-15s %u\n", "Unavailable:", status->unavailable);
    printf("%-15s %u\n", "Clients:", status->clients);
}

static char *
to_json(const struct virtcrypt_secret_daemon_status_ret *status)
{
    g_autoptr(GString) json = g_string_new("{\"version\": ");

    output_append_json(json, status->version);
    g_string_append_printf(json, ", \"pid\": %u, \"locked\": %s, \"locked-reason\": ", status->pid,
                           status->locked ? "true" : "false");
    output_append_json(json, status->locked_reason);
    g_string_append_printf(json,
                           ", \"secrets\": %u, \"ephemeral\": %u, \"unavailable\": %u, "
                           "\"clients\": %u}",
                           status->secrets, status->ephemeral, status->unavailable,
                           status->clients);
    return g_string_free(g_steal_pointer(&json), FALSE);
}

/* Errors are printed. */
static bool
get_secretd_status(struct session *session, struct virtcrypt_secret_daemon_status_ret *ret_status)
{
    g_autoptr(GError) error = NULL;

    if (virtcrypt_secret_daemon_status_call(session->client, ret_status, &error))
        return true;
    /* That is what libvirt's daemons answer to a program that they do not know. */
    if (error_is(error, ERROR_RPC))
        return output_failure(error, "The daemon at %s is not virtcrypt-secretd",
                              session_uri(session));
    return output_failure(error, "Failed to get the daemon's status");
}

static bool
run_daemon_status(struct session *session, const struct command_args *args)
{
    struct virtcrypt_secret_daemon_status_ret status = {0};
    g_autofree char *json = NULL;

    if (!get_secretd_status(session, &status))
        return false;
    if (command_has(args, "json")) {
        json = to_json(&status);
        printf("%s\n", json);
    } else {
        print_text(&status);
    }
    virtcrypt_secret_daemon_status_ret_clear(&status);
    return true;
}

/* What the custodian of keys says of itself, as text or JSON; NULL after an error. */
static char *
describe_secretd(struct session *session, bool is_json)
{
    struct virtcrypt_secret_daemon_status_ret status = {0};
    char *text;

    if (!get_secretd_status(session, &status))
        return NULL;
    text = is_json ? to_json(&status)
                   : g_strdup_printf("master key %s, %u secrets, %u unavailable",
                                     status.locked ? "locked" : "unlocked", status.secrets,
                                     status.unavailable);
    virtcrypt_secret_daemon_status_ret_clear(&status);
    return text;
}

static char *
format_virtcryptd(const struct virtcrypt_volume_daemon_status_ret *status, bool is_json)
{
    g_autoptr(GString) json = g_string_new("{\"version\": ");

    if (!is_json)
        return g_strdup_printf("%u volumes, %u pending%s%s", status->volumes, status->pending,
                               status->custodian ? ", keys: " : "",
                               status->custodian ? status->custodian : "");
    output_append_json(json, status->version);
    g_string_append_printf(json,
                           ", \"pid\": %u, \"volumes\": %u, \"pending\": %u, \"clients\": %u, "
                           "\"custodian\": ",
                           status->pid, status->volumes, status->pending, status->clients);
    output_append_json(json, status->custodian);
    g_string_append_c(json, '}');
    return g_string_free(g_steal_pointer(&json), FALSE);
}

static char *
describe_virtcryptd(struct session *session, bool is_json)
{
    struct virtcrypt_volume_daemon_status_ret status = {0};
    g_autoptr(GError) error = NULL;
    char *text;

    if (!virtcrypt_volume_daemon_status_call(session->client, &status, &error)) {
        output_failure(error, "Failed to get the daemon's status");
        return NULL;
    }
    text = format_virtcryptd(&status, is_json);
    virtcrypt_volume_daemon_status_ret_clear(&status);
    return text;
}

static bool
run_host_status(struct session *session, const struct command_args *args)
{
    static char *(*const describe[])(struct session *, bool) = {
        [URI_SECRETD] = describe_secretd,
        [URI_VIRTCRYPTD] = describe_virtcryptd,
    };
    bool is_json = command_has(args, "json");
    bool is_healthy = true;

    /* Others than root have a virtcrypt-secretd of their own by default: that is not the host's. */
    if (!session->uri_text && !g_getenv("VIRTCRYPT_DEFAULT_URI"))
        session->uri_text = "secret:///system";
    G_STATIC_ASSERT(G_N_ELEMENTS(describe) == URI_DAEMON_LAST);
    for (int i = 0; i < URI_DAEMON_LAST; i++) {
        const char *name = uri_daemon_name((enum uri_daemon)i);
        g_autofree char *text = NULL;

        session_clear(session);
        session->daemon = (enum uri_daemon)i;
        text = session_connect(session) ? describe[i](session, is_json) : NULL;
        is_healthy = is_healthy && text;
        if (is_json)
            printf("%s\"%s\": %s%s", i == 0 ? "{" : ", ", name, text ? text : "null",
                   i + 1 == URI_DAEMON_LAST ? "}\n" : "");
        else
            printf("%s: %s\n", name, text ? text : "not available");
    }
    return is_healthy;
}

static const struct command commands[] = {
    {
        .name = "daemon-status",
        .summary = "state of virtcrypt-secretd",
        .description = "Show the daemon's version and process, whether its master key is unlocked,"
                       "\n    and how many secrets and clients it has.",
        .run = run_daemon_status,
        .options = {{"json", OPTION_FLAG, 0, "print the state as JSON"}},
    },
    {
        .name = "host-status",
        .summary = "state of the daemons of a host",
        .description =
            "Show the state of virtcrypt-secretd and virtcryptd. It fails if one of them\n"
            "    is not available.",
        .is_local = true,
        .run = run_host_status,
        .options = {{"json", OPTION_FLAG, 0, "print the state as JSON"}},
    },
};

const struct command_group daemon_commands = {
    .title = "Daemon",
    .keyword = "daemon",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
