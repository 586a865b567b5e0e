/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: secret-event.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "rpc/protocol/remote_secret_client.h"
#include "tools/output.h"
#include "tools/virsh-secret-commands.h"
#include "util/error.h"
#include "util/file.h"
#include "util/uuid.h"

enum event_kind { EVENT_LIFECYCLE = 0, EVENT_VALUE_CHANGED = 1 };

static const char *const event_names[] = {"lifecycle", "value-changed"};

struct watch {
    struct session *session;
    enum event_kind kind;
    bool is_loop;
    bool has_timestamp;
    int64_t deadline_us; /* monotonic; -1 for none */
    file_fd interrupts;  /* signalfd of SIGINT */
    unsigned int count;
};

static void
print_event(const struct watch *watch, const uint8_t *secret_uuid, const char *detail)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *second = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");
    char text[UUID_TEXT_SIZE];
    struct uuid uuid;

    memcpy(uuid.bytes, secret_uuid, sizeof(uuid.bytes));
    if (watch->has_timestamp)
        printf("%s.%03d+0000: ", second, g_date_time_get_microsecond(now) / 1000);
    printf("event '%s' for secret %s%s%s\n", event_names[watch->kind], uuid_format(&uuid, text),
           detail ? ": " : "", detail ? detail : "");
    fflush(stdout);
}

static const char *
lifecycle_name(int32_t event)
{
    static const char *const names[] = {"Defined", "Undefined"};

    return event >= 0 && (size_t)event < G_N_ELEMENTS(names) ? names[event] : "unknown";
}

static void
on_event(const struct rpc_program *program, const struct rpc_procedure *procedure,
         const void *message, void *opaque)
{
    struct watch *watch = opaque;
    const struct remote_secret_event_lifecycle_msg *lifecycle = message;
    const struct remote_secret_event_value_changed_msg *changed = message;

    if (!watch->is_loop && watch->count > 0)
        return;
    if (procedure->number == REMOTE_SECRET_PROC_SECRET_EVENT_LIFECYCLE)
        print_event(watch, lifecycle->secret.uuid, lifecycle_name(lifecycle->event));
    else
        print_event(watch, changed->secret.uuid, NULL);
    watch->count++;
}

static bool
find_kind(const char *name, enum event_kind *ret_kind)
{
    for (size_t i = 0; i < G_N_ELEMENTS(event_names); i++) {
        if (strcmp(event_names[i], name) == 0) {
            *ret_kind = (enum event_kind)i;
            return true;
        }
    }
    return false;
}

static bool
subscribe(struct watch *watch, const struct command_args *args)
{
    struct remote_connect_secret_event_register_any_args call = {.eventID = (int)watch->kind};
    struct remote_connect_secret_event_register_any_ret registered = {0};
    g_auto(remote_nonnull_secret_t) secret = {0};
    g_autoptr(GError) error = NULL;

    if (command_has(args, "secret")) {
        if (!virsh_secret_lookup(watch->session, args, &secret))
            return false;
        call.secret = &secret;
    }
    rpc_client_on_event(watch->session->client, &remote_secret_program, on_event, watch);
    return remote_connect_secret_event_register_any_call(watch->session->client, &call, &registered,
                                                         &error) ||
           output_gerror(error);
}

/* From here SIGINT ends the wait, not the program. */
static bool
watch_interrupts(struct watch *watch)
{
    sigset_t interrupt;

    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    watch->interrupts = signalfd(-1, &interrupt, SFD_CLOEXEC | SFD_NONBLOCK);
    if (watch->interrupts < 0)
        return output_error("cannot watch signals: %s", g_strerror(errno));
    sigprocmask(SIG_BLOCK, &interrupt, NULL);
    return true;
}

static int
milliseconds_left(int64_t deadline_us)
{
    int64_t left_us = deadline_us - g_get_monotonic_time();

    if (deadline_us < 0)
        return -1;
    return left_us <= 0 ? 0 : (int)MIN((left_us + 999) / 1000, G_MAXINT);
}

enum wait_end { WAIT_GOES_ON, WAIT_DONE, WAIT_FAILED };

static enum wait_end
wait_once(struct watch *watch)
{
    struct rpc_client *client = watch->session->client;
    struct pollfd fds[] = {
        {.fd = rpc_client_get_fd(client), .events = POLLIN},
        {.fd = watch->interrupts, .events = POLLIN},
    };
    int timeout = rpc_client_has_events(client) ? 0 : milliseconds_left(watch->deadline_us);
    bool has_events;
    g_autoptr(GError) error = NULL;

    if (poll(fds, G_N_ELEMENTS(fds), timeout) < 0 && errno != EINTR) {
        output_error("cannot wait for events: %s", g_strerror(errno));
        return WAIT_FAILED;
    }
    has_events = rpc_client_has_events(client) || fds[0].revents;
    if (has_events && !rpc_client_wait(client, 0, &error)) {
        output_error("Disconnected from %s due to end of file", session_uri(watch->session));
        output_gerror(error);
        return WAIT_FAILED;
    }
    if (!watch->is_loop && watch->count > 0)
        return WAIT_DONE;
    if (fds[1].revents) {
        printf("event loop interrupted\n");
        return WAIT_DONE;
    }
    if (!has_events && milliseconds_left(watch->deadline_us) == 0) {
        printf("event loop timed out\n");
        return WAIT_DONE;
    }
    return WAIT_GOES_ON;
}

static bool
list_kinds(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(event_names); i++)
        printf("%s\n", event_names[i]);
    return true;
}

static bool
parse_watch(const struct command_args *args, struct watch *watch)
{
    g_autoptr(GError) error = NULL;
    char *name = NULL;
    int timeout_s = -1;

    if (!command_get_text(args, "event", &name, &error))
        return output_gerror(error);
    if (!name)
        return output_error("either --list or --event <type> is required");
    if (!find_kind(name, &watch->kind))
        return output_error("unknown event type %s", name);
    if (!command_get_number(args, "timeout", 1, G_MAXINT / 1000, &timeout_s, &error))
        return output_gerror(error);
    watch->is_loop = command_has(args, "loop");
    watch->has_timestamp = command_has(args, "timestamp");
    watch->deadline_us =
        timeout_s < 0 ? -1 : g_get_monotonic_time() + (int64_t)timeout_s * G_USEC_PER_SEC;
    return true;
}

bool
virsh_secret_event(struct session *session, const struct command_args *args)
{
    struct watch watch = {.session = session, .interrupts = -1};
    enum wait_end end = WAIT_GOES_ON;

    if (command_has(args, "list"))
        return list_kinds();
    if (!parse_watch(args, &watch) || !subscribe(&watch, args) || !watch_interrupts(&watch))
        return false;
    while (end == WAIT_GOES_ON)
        end = wait_once(&watch);
    printf("events received: %u\n", watch.count);
    file_fd_clear(&watch.interrupts);
    return end == WAIT_DONE && watch.count > 0;
}
