/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the daemon. Order of its start: the broker of helpers, which stays as it was started; the
 * locks, so that nobody else works on the same secrets; the sockets, where clients wait from then
 * on; its own user and confinement; the secrets; the server.
 */
#include "secret/daemon.h"

#include <unistd.h>

#include "daemon/core.h"
#include "daemon/folders.h"
#include "daemon/lock.h"
#include "daemon/own_user.h"
#include "master/helper.h"
#include "rpc/system_token.h"
#include "secret/daemon_paths.h"
#include "secret/daemon_polkit.h"
#include "secret/daemon_sandbox.h"
#include "secret/dispatch.h"
#include "secret/dispatch_store.h"
#include "secret/events.h"
#include "secret/service_master.h"
#include "util/log.h"

enum { LOCK_FOLDER_MODE = 0700 };

static const char driver_lock_remedy[] =
    "it keeps the secrets of this host, which must have one keeper. If it is libvirtd or "
    "virtsecretd, stop it, and start libvirtd again with virtcrypt's connector";

static const char usage[] =
    "Usage: virtcrypt-secretd [OPTION]...\n"
    "Keeps libvirt's secrets, with their values sealed on disk.\n"
    "\n"
    "  -d, --daemon         run in the background; returns when it is ready\n"
    "  -t, --timeout SECS   end after SECS seconds without a client\n"
    "  -f, --config FILE    read FILE instead of the default configuration\n"
    "  -p, --pid-file FILE  write the process id to FILE instead of the default one\n"
    "      --user USER      run as USER once all is open; files stay root's\n"
    "      --session        keep the secrets of one user (the default for all but root)\n"
    "  -v, --verbose        log more\n"
    "  -V, --version        print the version and end\n"
    "  -h, --help           print this and end\n"
    "\n"
    "See virtcrypt-secretd(8) and virtcrypt-secretd.conf(5).\n";

struct daemon {
    const struct daemon_params *params;
    struct daemon_paths *paths;
    struct daemon_core *core;
    struct daemon_lock *driver_lock;
    struct secret_buf *token;
    struct secret_events *events;
    struct helper *helper;
    bool has_own_user;
    struct unlock_context unlock;
    struct secret_service *service;
    struct rpc_server *server;
    struct dispatch dispatch;
};

static void
on_reload(void *opaque)
{
    struct daemon *daemon = opaque;

    secret_service_reload(daemon->service);
    log_info("reloaded: %zu secrets", secret_service_count(daemon->service));
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
    const struct daemon_conf *conf = daemon->params->conf;
    const struct secret_service_params params = {
        .loop = daemon->core->loop,
        .libvirt_conf = daemon->paths->libvirt_conf,
        .credentials_dir = g_getenv("CREDENTIALS_DIRECTORY"),
        .dir = daemon->paths->secrets_dir,
        .journal_dir = daemon->paths->journal_dir,
        .guests_dir = daemon->paths->guests_dir,
        .audit = daemon->paths->audit,
        .generations_path = daemon->paths->generations,
        .rotation_delay = conf->rotation_delay,
        .slots_path = daemon->paths->slots,
        .key_file = conf->master_key_file,
        .unlock = &daemon->unlock,
        .index_path = daemon->paths->index,
        .index_delay = conf->index_delay,
        .readback = readbacks[conf->value_readback],
        .on_event = on_event,
        .opaque = daemon,
    };

    daemon->unlock = (struct unlock_context){
        .helper = daemon->helper,
        .credentials_dir = g_getenv("CREDENTIALS_DIRECTORY"),
        .timeout_ms = conf->unlock_timeout * 1000,
    };
    daemon->events = secret_events_new();
    daemon->service = secret_service_new(&params, error);
    return daemon->service != NULL;
}

/* A value that is on no disk must not be lost because nobody is connected, and what was erased is
 * erased for good before the daemon ends. */
static bool
is_held(void *opaque)
{
    const struct daemon_core *core = opaque;
    const struct daemon *daemon = core->opaque;

    return secret_service_count_ephemeral(daemon->service) > 0 ||
           secret_service_has_rotation(daemon->service);
}

static void
add_programs(struct daemon *daemon)
{
    bool session = daemon->params->folders->session;

    daemon->dispatch = (struct dispatch){
        .service = daemon->service,
        .events = daemon->events,
        .server = daemon->server,
        .root_uid = session ? getuid() : 0,
        .believes_claims = session,
    };
    rpc_server_add_program(daemon->server, &remote_secret_program, &dispatch_remote_handlers,
                           &daemon->dispatch);
    rpc_server_add_program(daemon->server, &virtcrypt_secret_program, &dispatch_virtcrypt_handlers,
                           &daemon->dispatch);
    rpc_server_add_program(daemon->server, &virtcrypt_master_program, &dispatch_master_handlers,
                           &daemon->dispatch);
    rpc_server_add_program(daemon->server, &virtcrypt_store_program, &dispatch_store_handlers,
                           &daemon->dispatch);
}

static bool
open_server(struct daemon *daemon, GError **error)
{
    bool session = daemon->params->folders->session;
    struct rpc_server_params params = daemon_core_server_params(daemon->core);

    params.uri = session ? "secret:///session" : "secret:///system";
    params.type_name = "secret";
    params.error_domain = ERROR_FROM_SECRET;
    params.token = daemon->token;
    params.trust_own_uid = session;
    params.is_held = is_held;
    if (daemon->has_own_user) {
        params.ask_polkit = daemon_polkit_ask;
        params.ask_opaque = daemon->helper;
    }
    daemon->server = rpc_server_new(&params);
    add_programs(daemon);
    return daemon_core_add_listeners(daemon->core, daemon->server, error);
}

/* ---- the whole ---- */

static void
close_daemon(void *opened)
{
    struct daemon *daemon = opened;

    /* Changes that were submitted are finished and answered before their connections go. */
    if (daemon->service) {
        secret_service_cancel_master(daemon->service);
        secret_service_drain(daemon->service);
    }
    if (daemon->server)
        rpc_server_free(daemon->server);
    dispatch_backup_clear(&daemon->dispatch);
    secret_service_free(daemon->service);
    helper_free(daemon->helper);
    secret_events_free(daemon->events);
    secret_buf_free(daemon->token);
    if (daemon->core)
        daemon_core_close_sockets(daemon->core);
    daemon_lock_free(daemon->driver_lock);
    daemon_core_free(daemon->core);
    daemon_paths_free(daemon->paths);
    g_free(daemon);
}

static const struct daemon_hooks hooks = {.reload = on_reload};

/* That it can't be is no reason for guests to be without keys. */
static void
change_user(struct daemon *daemon)
{
    const char *name = daemon->params->user;
    struct own_user user;
    g_autoptr(GError) error = NULL;

    if (!name)
        return;
    if (geteuid() == 0 && own_user_find(name, &user, &error) && own_user_enter(&user, &error))
        daemon->has_own_user = true;
    else
        log_error("it goes on as user %u: %s", geteuid(),
                  error ? error->message : "--user is for root");
}

/* All is open that needs more; no thread has been started, no key has been read. */
static void
confine(struct daemon *daemon)
{
    change_user(daemon);
    daemon_sandbox_enter(daemon->params, daemon->paths);
}

static bool
open_parts(struct daemon *daemon, GError **error)
{
    /* Before there are threads and secrets. */
    daemon->helper = helper_start(helper_default_program(), error);
    if (!daemon->helper)
        return false;
    daemon->core = daemon_core_new(daemon->params, &hooks, daemon, error);
    if (!daemon->core)
        return false;
    daemon->driver_lock =
        daemon_lock_new(daemon->paths->driver_lock, LOCK_FOLDER_MODE, driver_lock_remedy, error);
    if (!daemon->driver_lock || !daemon_core_open_sockets(daemon->core, error))
        return false;
    daemon->token = rpc_system_token_open(daemon->params->folders->token_dir, error);
    if (!daemon->token)
        return false;
    confine(daemon);
    return open_service(daemon, error) && open_server(daemon, error);
}

static void *
open_daemon(const struct daemon_params *params, GError **error)
{
    struct daemon *daemon = g_new0(struct daemon, 1);

    daemon->params = params;
    daemon->paths = daemon_paths_new(params->folders);
    if (!open_parts(daemon, error)) {
        close_daemon(daemon);
        return NULL;
    }
    return daemon;
}

static void
run_daemon(void *opened)
{
    struct daemon *daemon = opened;

    daemon_core_run(daemon->core, daemon->server);
}

const struct daemon_program secret_daemon_program = {
    .id = DAEMON_CONF_SECRETD,
    .usage = usage,
    .has_session = true,
    .sockets =
        {
            {
                .file = "virtsecretd-sock",
                .units = {"virtsecretd.socket", "virtcrypt-secretd.socket", NULL},
            },
            {
                .file = "virtsecretd-sock-ro",
                .units = {"virtsecretd-ro.socket", "virtcrypt-secretd-ro.socket", NULL},
                .readonly = true,
            },
        },
    .open = open_daemon,
    .run = run_daemon,
    .close = close_daemon,
};
