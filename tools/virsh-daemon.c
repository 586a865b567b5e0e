/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: daemon-status, of virtcrypt-secretd, and host-status, of both daemons.
 */
#include "tools/virsh-daemon.h"

#include <inttypes.h>
#include <stdio.h>

#include "rpc/protocol/virtcrypt_guest_client.h"
#include "rpc/protocol/virtcrypt_secret_client.h"
#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/output.h"
#include "tools/session.h"
#include "tools/virsh-audit.h"
#include "util/error.h"

/* What virtcrypt-secretd says of itself. One that is older than its generations says nothing of
 * them. */
struct secretd_status {
    struct virtcrypt_secret_daemon_status_ret daemon;
    struct virtcrypt_secret_generation_status_ret generation;
    bool has_generation;
};

static void
secretd_status_clear(struct secretd_status *status)
{
    virtcrypt_secret_daemon_status_ret_clear(&status->daemon);
    virtcrypt_secret_generation_status_ret_clear(&status->generation);
}

typedef struct secretd_status secretd_status_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(secretd_status_t, secretd_status_clear)

/* What daemons answer to a program or call that they do not know. */
static bool
is_not_known(const GError *error)
{
    return error_is(error, ERROR_NO_SUPPORT) || error_is(error, ERROR_RPC);
}

static void
print_generation(const struct virtcrypt_secret_generation_status_ret *generation)
{
    printf("%-15s %" PRIu64 "\n", "Generation:", generation->number);
    if (generation->is_rotating)
        printf("%-15s %" PRIu64 " values are sealed under an older generation\n",
               "Rotating:", generation->left);
    if (generation->problem)
        printf("%-15s %s\n", "Held by:", generation->problem);
}

static void
print_text(const struct secretd_status *all)
{
    const struct virtcrypt_secret_daemon_status_ret *status = &all->daemon;

    printf("%-15s %s\n", "Version:", status->version);
    printf("%-15s %u\n", "Process:", status->pid);
    printf("%-15s %s\n", "Master key:", status->locked ? "locked" : "unlocked");
    if (status->locked && status->locked_reason)
        printf("%-15s %s\n", "Reason:", status->locked_reason);
    if (status->locked)
        printf("%-15s virtcrypt master unlock\n", "Unlocked by:");
    printf("%-15s %u\n", "Secrets:", status->secrets);
    printf("%-15s %u\n", "Ephemeral:", status->ephemeral);
    printf("%-15s %u\n", "Unavailable:", status->unavailable);
    printf("%-15s %u\n", "Clients:", status->clients);
    if (all->has_generation)
        print_generation(&all->generation);
}

static void
append_generation(GString *json, const struct virtcrypt_secret_generation_status_ret *generation)
{
    g_string_append_printf(
        json, "{\"number\": %" PRIu64 ", \"rotating\": %s, \"left\": %" PRIu64 ", \"problem\": ",
        generation->number, generation->is_rotating ? "true" : "false", generation->left);
    output_append_json(json, generation->problem);
    g_string_append_c(json, '}');
}

static char *
to_json(const struct secretd_status *all)
{
    const struct virtcrypt_secret_daemon_status_ret *status = &all->daemon;
    g_autoptr(GString) json = g_string_new("{\"version\": ");

    output_append_json(json, status->version);
    g_string_append_printf(json, ", \"pid\": %u, \"locked\": %s, \"locked-reason\": ", status->pid,
                           status->locked ? "true" : "false");
    output_append_json(json, status->locked_reason);
    g_string_append_printf(json,
                           ", \"secrets\": %u, \"ephemeral\": %u, \"unavailable\": %u, "
                           "\"clients\": %u, \"generation\": ",
                           status->secrets, status->ephemeral, status->unavailable,
                           status->clients);
    if (all->has_generation)
        append_generation(json, &all->generation);
    else
        output_append_json(json, NULL);
    g_string_append_c(json, '}');
    return g_string_free(g_steal_pointer(&json), FALSE);
}

/* Errors are printed. */
static bool
get_secretd_status(struct session *session, struct secretd_status *ret_status)
{
    g_autoptr(GError) error = NULL;

    if (!virtcrypt_secret_daemon_status_call(session->client, &ret_status->daemon, &error)) {
        /* That is what libvirt's daemons answer to a program that they do not know. */
        if (error_is(error, ERROR_RPC))
            return output_failure(error, "The daemon at %s is not virtcrypt-secretd",
                                  session_uri(session));
        return output_failure(error, "Failed to get the daemon's status");
    }
    ret_status->has_generation =
        virtcrypt_secret_generation_status_call(session->client, &ret_status->generation, &error);
    return ret_status->has_generation || is_not_known(error) ||
           output_failure(error, "Failed to get the state of the key generation");
}

static bool
run_daemon_status(struct session *session, const struct command_args *args)
{
    g_auto(secretd_status_t) status = {0};
    g_autofree char *json = NULL;

    if (!get_secretd_status(session, &status))
        return false;
    if (command_has(args, "json")) {
        json = to_json(&status);
        printf("%s\n", json);
    } else {
        print_text(&status);
    }
    return true;
}

/* What the custodian of keys says of itself, as text or JSON; NULL after an error. */
static char *
describe_secretd(struct session *session, bool is_json)
{
    g_auto(secretd_status_t) status = {0};

    if (!get_secretd_status(session, &status))
        return NULL;
    if (is_json)
        return to_json(&status);
    return g_strdup_printf("master key %s, %u secrets, %u unavailable%s",
                           status.daemon.locked ? "locked (run 'virtcrypt master unlock')"
                                                : "unlocked",
                           status.daemon.secrets, status.daemon.unavailable,
                           status.generation.is_rotating ? ", key generation rotating" : "");
}

/* What virtcryptd says of guests, which one that is older does not. */
struct virtcryptd_status {
    struct virtcrypt_volume_daemon_status_ret daemon;
    struct virtcrypt_guest_status_ret guests;
    struct virtcrypt_guest_autostart_ret autostart; /* zeros of one that is older */
    bool has_guests;
};

static void
virtcryptd_status_clear(struct virtcryptd_status *status)
{
    virtcrypt_volume_daemon_status_ret_clear(&status->daemon);
    virtcrypt_guest_status_ret_clear(&status->guests);
}

typedef struct virtcryptd_status virtcryptd_status_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virtcryptd_status_t, virtcryptd_status_clear)

static char *
format_autostart(const struct virtcrypt_guest_autostart_ret *autostart)
{
    if (autostart->waiting == 0)
        return g_strdup("");
    return g_strdup_printf("; %u guests were not started at boot and wait for %s",
                           autostart->waiting,
                           autostart->is_unlocked  ? "somebody to start them"
                           : autostart->is_enabled ? "the master key"
                                                   : "the master key, and then for somebody to "
                                                     "start them");
}

static char *
format_guests(const struct virtcryptd_status *all)
{
    const struct virtcrypt_guest_status_ret *guests = &all->guests;
    g_autofree char *autostart = format_autostart(&all->autostart);

    return g_strdup_printf("; %u guests own %u keys, %u orphaned, %u to be erased; %s%s%s%s",
                           guests->guests, guests->keys, guests->orphaned, guests->waiting,
                           guests->is_connected ? "libvirt is watched" : "libvirt is not watched",
                           guests->problem ? ": " : "", guests->problem ? guests->problem : "",
                           autostart);
}

static void
append_guests(GString *json, const struct virtcryptd_status *all)
{
    const struct virtcrypt_guest_status_ret *guests = &all->guests;

    g_string_append(json, "{\"libvirt\": ");
    output_append_json(json, guests->uri);
    g_string_append_printf(
        json, ", \"connected\": %s, \"problem\": ", guests->is_connected ? "true" : "false");
    output_append_json(json, guests->problem);
    g_string_append_printf(json,
                           ", \"guests\": %u, \"keys\": %u, \"orphaned\": %u, \"waiting\": %u, "
                           "\"waiting-for-unlock\": %u, \"starts-after-unlock\": %s}",
                           guests->guests, guests->keys, guests->orphaned, guests->waiting,
                           all->autostart.waiting, all->autostart.is_enabled ? "true" : "false");
}

static char *
format_virtcryptd(const struct virtcryptd_status *all, bool is_json)
{
    const struct virtcrypt_volume_daemon_status_ret *status = &all->daemon;
    g_autoptr(GString) json = g_string_new("{\"version\": ");
    g_autofree char *guests = all->has_guests ? format_guests(all) : NULL;

    if (!is_json)
        return g_strdup_printf("%u volumes, %u pending%s%s%s", status->volumes, status->pending,
                               status->custodian ? ", keys: " : "",
                               status->custodian ? status->custodian : "", guests ? guests : "");
    output_append_json(json, status->version);
    g_string_append_printf(json,
                           ", \"pid\": %u, \"volumes\": %u, \"pending\": %u, \"clients\": %u, "
                           "\"custodian\": ",
                           status->pid, status->volumes, status->pending, status->clients);
    output_append_json(json, status->custodian);
    g_string_append(json, ", \"guests\": ");
    if (all->has_guests)
        append_guests(json, all);
    else
        output_append_json(json, NULL);
    g_string_append_c(json, '}');
    return g_string_free(g_steal_pointer(&json), FALSE);
}

static char *
describe_virtcryptd(struct session *session, bool is_json)
{
    g_auto(virtcryptd_status_t) status = {0};
    g_autoptr(GError) error = NULL;

    if (!virtcrypt_volume_daemon_status_call(session->client, &status.daemon, &error)) {
        output_failure(error, "Failed to get the daemon's status");
        return NULL;
    }
    status.has_guests = virtcrypt_guest_status_call(session->client, &status.guests, &error);
    if (!status.has_guests && !is_not_known(error)) {
        output_failure(error, "Failed to get what is known of guests");
        return NULL;
    }
    g_clear_error(&error);
    if (status.has_guests &&
        !virtcrypt_guest_autostart_call(session->client, &status.autostart, &error) &&
        !is_not_known(error)) {
        output_failure(error, "Failed to get which guests wait for the master key");
        return NULL;
    }
    return format_virtcryptd(&status, is_json);
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
        .name = "audit",
        .summary = "what was erased, and why",
        .description =
            "List the records of erasures, bindings and their ends that virtcrypt-secretd "
            "keeps.",
        .run = virsh_audit,
        .options =
            {
                {"verify", OPTION_FLAG, 0, "fail if a record was changed or taken out"},
                {"json", OPTION_FLAG, 0, "print the records as JSON"},
                {"secret", OPTION_TEXT, OPTION_NAMED_ONLY, "only those of that secret's UUID"},
                {"guest", OPTION_TEXT, OPTION_NAMED_ONLY, "only those of that domain"},
            },
    },
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
