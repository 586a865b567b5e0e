/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the daemon. Order of its start: the pid file, so that nobody else works on the same
 * volumes; the sockets, where clients wait from then on; the service, which mends what a crash
 * left; the server; then guests are watched, for which libvirt need not be there. Order of its end:
 * no new work, what runs is cancelled, and when it has ended (or after a bound) the rest.
 */
#include "guest/daemon.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/core.h"
#include "daemon/folders.h"
#include "guest/client_custodian.h"
#include "guest/daemon_paths.h"
#include "guest/dispatch.h"
#include "guest/records.h"
#include "guest/service.h"
#include "storage/dispatch.h"
#include "util/log.h"

#define DEVICE_DIR "/dev/virtcrypt"

/* Below what systemd waits (90 s) before it kills. */
enum { END_BOUND_MS = 60000 };

static const char usage[] =
    "Usage: virtcryptd [OPTION]...\n"
    "Keeps encrypted volumes, and opens those of dm-crypt for guests.\n"
    "\n"
    "  -d, --daemon         run in the background; returns when it is ready\n"
    "  -t, --timeout SECS   end after SECS seconds without a client\n"
    "  -f, --config FILE    read FILE instead of the default configuration\n"
    "  -p, --pid-file FILE  write the process id to FILE instead of the default one\n"
    "  -v, --verbose        log more\n"
    "  -V, --version        print the version and end\n"
    "  -h, --help           print this and end\n"
    "\n"
    "See virtcryptd(8) and virtcryptd.conf(5).\n";

struct daemon {
    const struct daemon_params *params;
    struct daemon_core *core;
    struct virtcryptd_paths *paths;
    struct client_keys *keys;
    struct storage_service *service;
    struct client_custodian *custodian;
    GMutex guests_mutex; /* `guests` against threads of `service`, which lives longer */
    struct guest_service *guests;
    struct storage_dispatch dispatch;
    struct guest_dispatch guest_dispatch;
    struct rpc_server *server;
    struct loop_timer *end_timer;
};

/* ---- start ---- */

/* In any thread of the storage service. */
static void
on_volume(void *opaque)
{
    struct daemon *daemon = opaque;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&daemon->guests_mutex);

    if (daemon->guests)
        guest_service_note_volume(daemon->guests);
}

/* The same. While there are no guests yet, their records are on disk all the same. */
static bool
is_needed_elsewhere(void *opaque, const struct uuid *secret, const char *path)
{
    struct daemon *daemon = opaque;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&daemon->guests_mutex);
    g_autoptr(guest_records_t) records = NULL;
    g_autoptr(GError) error = NULL;

    if (daemon->guests)
        return guest_service_needs_elsewhere(daemon->guests, secret, path);
    records = guest_records_new(daemon->paths->guests_dir, &error);
    if (!records)
        log_warn("what guests need is not known: %s", error->message);
    return !records || guest_records_need_elsewhere(records, secret, path);
}

static bool
open_service(struct daemon *daemon, GError **error)
{
    const struct virtcryptd_paths *paths = daemon->paths;
    struct storage_service_params params = {
        .opaque = daemon,
        .on_change = on_volume,
        .is_needed_elsewhere = is_needed_elsewhere,
        .volumes_dir = paths->volumes_dir,
        .policy_dir = paths->policy_dir,
        .pool_state_dir = paths->pool_state_dir,
        .pool_config_dir = paths->pool_config_dir,
        .guest_state_dir = paths->guest_state_dir,
        .uses_dir = paths->uses_dir,
        .device_dir = DEVICE_DIR,
    };

    daemon->keys =
        client_keys_new(daemon->params->conf->custodian_socket, daemon->params->folders->token_dir);
    params.keys = client_keys_table(daemon->keys);
    daemon->service = storage_service_new(&params, error);
    return daemon->service != NULL;
}

static void
set_guests(struct daemon *daemon, struct guest_service *guests)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&daemon->guests_mutex);

    daemon->guests = guests;
}

static bool
open_guests(struct daemon *daemon, GError **error)
{
    const struct daemon_conf *conf = daemon->params->conf;
    struct guest_service_params params = {
        .conf = conf,
        .records_dir = daemon->paths->guests_dir,
        .domain_dir = daemon->paths->domain_dir,
        .autostart_path = daemon->paths->autostart,
        .storage = daemon->service,
    };
    struct guest_service *guests;

    daemon->custodian =
        client_custodian_new(conf->custodian_socket, daemon->params->folders->token_dir);
    params.custodian = client_custodian_table(daemon->custodian);
    guests = guest_service_new(&params, error);
    set_guests(daemon, guests);
    return guests != NULL;
}

static void
close_guests(struct daemon *daemon)
{
    struct guest_service *guests = daemon->guests;

    set_guests(daemon, NULL);
    guest_service_free(guests);
    client_custodian_free(daemon->custodian);
}

/* Work goes on for clients that have gone: a volume is being closed, say. Guests that wait for the
 * unlock would wait for nobody. */
static bool
is_held(void *opaque)
{
    const struct daemon_core *core = opaque;
    const struct daemon *daemon = core->opaque;
    struct guest_autostart_status autostart;

    guest_service_autostart(daemon->guests, &autostart);
    return dispatch_workers_count(daemon->dispatch.workers) > 0 || autostart.waiting > 0;
}

static bool
open_server(struct daemon *daemon, GError **error)
{
    struct rpc_server_params params = daemon_core_server_params(daemon->core);

    params.uri = "storage:///system";
    params.type_name = "storage";
    params.error_domain = ERROR_FROM_STORAGE;
    params.is_held = is_held;
    daemon->server = rpc_server_new(&params);
    daemon->dispatch.server = daemon->server;
    rpc_server_add_program(daemon->server, &virtcrypt_volume_program, &dispatch_volume_handlers,
                           &daemon->dispatch);
    daemon->guest_dispatch.edge = &daemon->dispatch;
    daemon->guest_dispatch.service = daemon->guests;
    rpc_server_add_program(daemon->server, &virtcrypt_guest_program, &guest_dispatch_handlers,
                           &daemon->guest_dispatch);
    return daemon_core_add_listeners(daemon->core, daemon->server, error);
}

/* ---- the custodian, at the start ---- */

struct first_look {
    struct dispatch_work work; /* first */
    struct client_keys *keys;
};

static bool
run_first_look(struct dispatch_work *work, GError **error)
{
    return client_keys_check(((struct first_look *)work)->keys, error);
}

/* It may come later: most calls need no key. */
static void
on_first_look(struct dispatch_work *work, const GError *error)
{
    if (error)
        log_warn("no encrypted volume can be made or opened now: %s", error->message);
    g_free(work);
}

static void
look_for_custodian(struct daemon *daemon)
{
    struct first_look *look = g_new0(struct first_look, 1);

    look->work.run = run_first_look;
    look->work.done = on_first_look;
    look->keys = daemon->keys;
    dispatch_workers_push(daemon->dispatch.workers, DISPATCH_POOL_STATUS, &look->work);
}

/* ---- end ---- */

static void
on_no_work(void *opaque)
{
    struct daemon *daemon = opaque;

    loop_quit(daemon->core->loop);
}

static void
on_end_bound(void *opaque)
{
    struct daemon *daemon = opaque;

    loop_quit(daemon->core->loop);
}

static void
on_end(void *opaque)
{
    struct daemon *daemon = opaque;

    if (daemon->end_timer)
        return; /* a second signal */
    daemon->end_timer = loop_timer_new(daemon->core->loop, END_BOUND_MS, on_end_bound, daemon);
    guest_service_stop(daemon->guests);
    storage_dispatch_end(&daemon->dispatch, on_no_work, daemon);
}

static void
close_daemon(void *opened)
{
    struct daemon *daemon = opened;
    unsigned int left =
        daemon->dispatch.workers ? dispatch_workers_count(daemon->dispatch.workers) : 0;

    if (left > 0) {
        /* Their threads use all that would be freed. The next start undoes or finishes them. */
        log_error("ending although %u operations on volumes are under way", left);
        daemon_core_close_sockets(daemon->core);
        _exit(EXIT_FAILURE);
    }
    if (daemon->end_timer)
        loop_timer_free(daemon->end_timer);
    if (daemon->server)
        rpc_server_free(daemon->server);
    storage_dispatch_clear(&daemon->dispatch);
    close_guests(daemon);
    storage_service_free(daemon->service);
    client_keys_free(daemon->keys);
    virtcryptd_paths_free(daemon->paths);
    daemon_core_free(daemon->core);
    g_mutex_clear(&daemon->guests_mutex);
    g_free(daemon);
}

/* ---- the whole ---- */

static const struct daemon_hooks hooks = {.end = on_end};

static bool
open_parts(struct daemon *daemon, GError **error)
{
    daemon->paths = virtcryptd_paths_new(daemon->params->folders);
    daemon->core = daemon_core_new(daemon->params, &hooks, daemon, error);
    if (!daemon->core || !daemon_core_open_sockets(daemon->core, error) ||
        !virtcryptd_paths_make_folders(daemon->paths, error) || !open_service(daemon, error) ||
        !open_guests(daemon, error))
        return false;
    storage_dispatch_init(&daemon->dispatch, daemon->core->loop, daemon->service, daemon->keys);
    return open_server(daemon, error);
}

static void *
open_daemon(const struct daemon_params *params, GError **error)
{
    struct daemon *daemon = g_new0(struct daemon, 1);

    daemon->params = params;
    g_mutex_init(&daemon->guests_mutex);
    if (!open_parts(daemon, error)) {
        close_daemon(daemon);
        return NULL;
    }
    look_for_custodian(daemon);
    guest_service_start(daemon->guests);
    return daemon;
}

static void
run_daemon(void *opened)
{
    struct daemon *daemon = opened;

    daemon_core_run(daemon->core, daemon->server);
}

const struct daemon_program virtcryptd_program = {
    .id = DAEMON_CONF_VIRTCRYPTD,
    .usage = usage,
    .sockets =
        {
            {.file = "virtcryptd-sock", .units = {"virtcryptd.socket", NULL}},
            {.file = "virtcryptd-sock-ro",
             .units = {"virtcryptd-ro.socket", NULL},
             .readonly = true},
        },
    .open = open_daemon,
    .run = run_daemon,
    .close = close_daemon,
};
