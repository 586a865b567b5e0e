/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the daemon. Order of its start: the locks, so that nobody else works on the same secrets;
 * the sockets, where clients wait from then on; the secrets; the server.
 */
#include "secret/daemon.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "rpc/notify.h"
#include "rpc/server.h"
#include "rpc/system_token.h"
#include "secret/daemon_lock.h"
#include "secret/daemon_sockets.h"
#include "secret/dispatch.h"
#include "secret/events.h"
#include "secret/service.h"
#include "util/log.h"
#include "util/loop.h"

enum { LOCK_FOLDER_MODE = 0700, PID_FOLDER_MODE = 0755 };

/* The libvirt whose calls these are, as it counts: clients ask. */
enum { LIBVIRT_VERSION = 9 * 1000000 };

static const char driver_lock_remedy[] =
    "it keeps the secrets of this host, which must have one keeper. If it is libvirtd or "
    "virtsecretd, stop it, and start libvirtd again with virtcrypt's connector";
static const char pid_file_remedy[] =
    "virtcrypt-secretd runs already. Stop that one, or set --pid-file";

struct daemon {
    struct daemon_params params;
    struct loop *loop;
    struct daemon_lock *pid_file;
    struct daemon_lock *driver_lock;
    GPtrArray *sockets;
    struct secret_buf *token;
    struct secret_events *events;
    struct secret_service *service;
    struct rpc_server *server;
    struct dispatch dispatch;
};

/* ---- signals ---- */

static void
on_end_signal(int signum, void *opaque)
{
    struct daemon *daemon = opaque;

    log_info("ending because of signal %d (%s)", signum, strsignal(signum));
    loop_quit(daemon->loop);
}

static void
on_reload_signal(int signum, void *opaque)
{
    struct daemon *daemon = opaque;
    g_autoptr(daemon_conf_t) conf = NULL;
    g_autoptr(GError) error = NULL;

    rpc_notify_reloading();
    conf = daemon_settings_read(daemon->params.settings, &error);
    if (!conf)
        log_error("the settings of the log stay as they are: %s", error->message);
    secret_service_reload(daemon->service);
    log_info("reloaded: %zu secrets", secret_service_count(daemon->service));
    rpc_notify_ready();
}

static bool
watch_signals(struct daemon *daemon, GError **error)
{
    static const struct {
        int signum;
        loop_signal_func func;
    } signals[] = {
        {SIGTERM, on_end_signal},
        {SIGINT, on_end_signal},
        {SIGQUIT, on_end_signal},
        {SIGHUP, on_reload_signal},
    };

    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        if (!loop_add_signal(daemon->loop, signals[i].signum, signals[i].func, daemon, error))
            return false;
    }
    return true;
}

/* ---- parts ---- */

static bool
take_locks(struct daemon *daemon, GError **error)
{
    const struct daemon_params *params = &daemon->params;

    if (!daemon_paths_make_folders(params->paths, error))
        return false;
    daemon->pid_file = daemon_lock_new(params->pid_file, PID_FOLDER_MODE, pid_file_remedy, error);
    if (!daemon->pid_file)
        return false;
    daemon->driver_lock =
        daemon_lock_new(params->paths->driver_lock, LOCK_FOLDER_MODE, driver_lock_remedy, error);
    return daemon->driver_lock != NULL;
}

static bool
open_sockets(struct daemon *daemon, GError **error)
{
    const struct daemon_params *params = &daemon->params;

    if (params->passed->len > 0)
        daemon->sockets = g_ptr_array_ref(params->passed);
    else
        daemon->sockets = daemon_sockets_bind(params->conf, params->paths->session, error);
    return daemon->sockets != NULL;
}

static void
on_event(void *opaque, enum secret_event_id event, int detail, const struct secret_def *def)
{
    struct daemon *daemon = opaque;

    secret_events_tell(daemon->events, event, detail, def);
}

static bool
open_service(struct daemon *daemon, GError **error)
{
    static const enum secret_readback readbacks[] = {
        [DAEMON_CONF_READBACK_NEVER] = SECRET_READBACK_NEVER,
        [DAEMON_CONF_READBACK_LOCAL_ROOT] = SECRET_READBACK_LOCAL_ROOT,
        [DAEMON_CONF_READBACK_ANY] = SECRET_READBACK_ANY,
    };
    const struct daemon_params *params = &daemon->params;
    const struct secret_service_params service_params = {
        .loop = daemon->loop,
        .dir = params->paths->secrets_dir,
        .journal_dir = params->paths->journal_dir,
        .unlock_method = &unlock_key_file,
        .unlock_location = params->conf->master_key_file,
        .readback = readbacks[params->conf->value_readback],
        .on_event = on_event,
        .opaque = daemon,
    };

    daemon->events = secret_events_new();
    daemon->service = secret_service_new(&service_params, error);
    return daemon->service != NULL;
}

/* A value that is on no disk must not be lost because nobody is connected. */
static bool
is_held(void *opaque)
{
    const struct daemon *daemon = opaque;

    return secret_service_count_ephemeral(daemon->service) > 0;
}

static void
on_idle(void *opaque)
{
    struct daemon *daemon = opaque;

    log_info("ending because there was no client for %u seconds", daemon->params.timeout_s);
    loop_quit(daemon->loop);
}

static void
add_programs(struct daemon *daemon)
{
    daemon->dispatch = (struct dispatch){
        .service = daemon->service,
        .events = daemon->events,
        .server = daemon->server,
        .root_uid = daemon->params.paths->session ? getuid() : 0,
        .believes_claims = daemon->params.paths->session,
    };
    rpc_server_add_program(daemon->server, &remote_secret_program, &dispatch_remote_handlers,
                           &daemon->dispatch);
    rpc_server_add_program(daemon->server, &virtcrypt_secret_program, &dispatch_virtcrypt_handlers,
                           &daemon->dispatch);
}

static enum rpc_auth
to_rpc_auth(enum daemon_conf_auth auth)
{
    return auth == DAEMON_CONF_AUTH_POLKIT ? RPC_AUTH_POLKIT : RPC_AUTH_NONE;
}

static bool
add_listeners(struct daemon *daemon, GError **error)
{
    const struct daemon_conf *conf = daemon->params.conf;

    for (guint i = 0; i < daemon->sockets->len; i++) {
        struct daemon_socket *socket = g_ptr_array_index(daemon->sockets, i);
        int fd = socket->fd;

        socket->fd = -1;
        if (!rpc_server_add_listener(
                daemon->server, fd, socket->readonly,
                to_rpc_auth(socket->readonly ? conf->auth_unix_ro : conf->auth_unix_rw), error))
            return false;
    }
    return true;
}

static bool
open_server(struct daemon *daemon, GError **error)
{
    const struct daemon_conf *conf = daemon->params.conf;
    bool session = daemon->params.paths->session;
    const struct rpc_server_params server_params = {
        .loop = daemon->loop,
        .uri = session ? "secret:///session" : "secret:///system",
        .type_name = "secret",
        .version = VERSION_NUMBER,
        .lib_version = LIBVIRT_VERSION,
        .error_domain = ERROR_FROM_SECRET,
        .token = daemon->token,
        .trust_own_uid = session,
        .max_clients = conf->max_clients,
        .max_anonymous_clients = conf->max_anonymous_clients,
        .max_client_requests = conf->max_client_requests,
        .keepalive_interval_s = conf->keepalive_interval,
        .keepalive_count = conf->keepalive_count,
        .handshake_timeout_s = conf->handshake_timeout,
        .idle_exit_s = daemon->params.timeout_s,
        .is_held = is_held,
        .on_idle = on_idle,
        .opaque = daemon,
    };

    daemon->server = rpc_server_new(&server_params);
    add_programs(daemon);
    return add_listeners(daemon, error);
}

/* ---- the whole ---- */

struct daemon *
daemon_new(const struct daemon_params *params, GError **error)
{
    g_autoptr(daemon_t) daemon = g_new0(struct daemon, 1);

    daemon->params = *params;
    daemon->loop = loop_new(error);
    /* Signals before the service, whose threads must not get them. */
    if (!daemon->loop || !watch_signals(daemon, error) || !take_locks(daemon, error) ||
        !open_sockets(daemon, error))
        return NULL;
    daemon->token = rpc_system_token_open(params->paths->token_dir, error);
    if (!daemon->token || !open_service(daemon, error) || !open_server(daemon, error))
        return NULL;
    return g_steal_pointer(&daemon);
}

void
daemon_run(struct daemon *daemon)
{
    rpc_server_start(daemon->server);
    rpc_notify_ready();
    loop_run(daemon->loop);
    rpc_notify_stopping();
}

void
daemon_free(struct daemon *daemon)
{
    if (!daemon)
        return;
    /* Changes that were submitted are finished and answered before their connections go. */
    if (daemon->service)
        secret_service_drain(daemon->service);
    if (daemon->server)
        rpc_server_free(daemon->server);
    secret_service_free(daemon->service);
    secret_events_free(daemon->events);
    secret_buf_free(daemon->token);
    if (daemon->sockets)
        g_ptr_array_unref(daemon->sockets);
    daemon_lock_free(daemon->driver_lock);
    daemon_lock_free(daemon->pid_file);
    loop_free(daemon->loop);
    g_free(daemon);
}
