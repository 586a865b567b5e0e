/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: daemon-status.
 */
#include "tools/virsh-daemon.h"

#include <stdio.h>

#include "rpc/protocol/virtcrypt_secret_client.h"
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

static void
print_json(const struct virtcrypt_secret_daemon_status_ret *status)
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
    printf("%s\n", json->str);
}

static bool
run_daemon_status(struct session *session, const struct command_args *args)
{
    struct virtcrypt_secret_daemon_status_ret status = {0};
    g_autoptr(GError) error = NULL;

    if (!virtcrypt_secret_daemon_status_call(session->client, &status, &error)) {
        /* That is what libvirt's daemons answer to a program that they do not know. */
        if (error_is(error, ERROR_RPC))
            return output_failure(error, "The daemon at %s is not virtcrypt-secretd",
                                  session_uri(session));
        return output_failure(error, "Failed to get the daemon's status");
    }
    if (command_has(args, "json"))
        print_json(&status);
    else
        print_text(&status);
    virtcrypt_secret_daemon_status_ret_clear(&status);
    return true;
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
};

const struct command_group daemon_commands = {
    .title = "Daemon",
    .keyword = "daemon",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
