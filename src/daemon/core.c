/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see core.h.
 */
#include "daemon/core.h"

#include <signal.h>
#include <string.h>

#include "daemon/folders.h"
#include "daemon/lock.h"
#include "rpc/notify.h"
#include "util/log.h"

enum { PID_FOLDER_MODE = 0755 };

/* The libvirt whose calls these are, as it counts: clients ask. */
enum { LIBVIRT_VERSION = 9 * 1000000 };

/* ---- signals ---- */

static void
on_end_signal(int signum, void *opaque)
{
    struct daemon_core *core = opaque;

    log_info("ending because of signal %d (%s)", signum, strsignal(signum));
    if (core->hooks->end)
        core->hooks->end(core->opaque);
    else
        loop_quit(core->loop);
}

static void
on_reload_signal(int signum, void *opaque)
{
    struct daemon_core *core = opaque;
    g_autoptr(daemon_conf_t) conf = NULL;
    g_autoptr(GError) error = NULL;

    rpc_notify_reloading();
    conf = daemon_settings_read(core->params->settings, &error);
    if (!conf)
        log_error("the settings of the log stay as they are: %s", error->message);
    if (core->hooks->reload)
        core->hooks->reload(core->opaque);
    rpc_notify_ready();
}

static bool
watch_signals(struct daemon_core *core, GError **error)
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
        if (!loop_add_signal(core->loop, signals[i].signum, signals[i].func, core, error))
            return false;
    }
    return true;
}

/* ---- start ---- */

static bool
take_pid_file(struct daemon_core *core, GError **error)
{
    const struct daemon_params *params = core->params;
    g_autofree char *remedy = g_strdup_printf("%s runs already. Stop that one, or set --pid-file",
                                              daemon_conf_program_name(params->program->id));

    if (!daemon_folders_make(params->folders, error))
        return false;
    core->pid_file = daemon_lock_new(params->pid_file, PID_FOLDER_MODE, remedy, error);
    return core->pid_file != NULL;
}

struct daemon_core *
daemon_core_new(const struct daemon_params *params, const struct daemon_hooks *hooks, void *opaque,
                GError **error)
{
    g_autoptr(daemon_core_t) core = g_new0(struct daemon_core, 1);

    core->params = params;
    core->hooks = hooks;
    core->opaque = opaque;
    core->loop = loop_new(error);
    if (!core->loop || !watch_signals(core, error) || !take_pid_file(core, error))
        return NULL;
    return g_steal_pointer(&core);
}

bool
daemon_core_open_sockets(struct daemon_core *core, GError **error)
{
    const struct daemon_params *params = core->params;

    if (params->passed->len > 0)
        core->sockets = g_ptr_array_ref(params->passed);
    else
        core->sockets = daemon_sockets_bind(params->program->sockets, params->conf,
                                            params->folders->session, error);
    return core->sockets != NULL;
}

/* ---- server ---- */

static void
on_idle(void *opaque)
{
    struct daemon_core *core = opaque;

    log_info("ending because there was no client for %u seconds", core->params->timeout_s);
    loop_quit(core->loop);
}

struct rpc_server_params
daemon_core_server_params(struct daemon_core *core)
{
    const struct daemon_conf *conf = core->params->conf;

    return (struct rpc_server_params){
        .loop = core->loop,
        .version = VERSION_NUMBER,
        .lib_version = LIBVIRT_VERSION,
        .max_clients = conf->max_clients,
        .max_anonymous_clients = conf->max_anonymous_clients,
        .max_client_requests = conf->max_client_requests,
        .keepalive_interval_s = conf->keepalive_interval,
        .keepalive_count = conf->keepalive_count,
        .handshake_timeout_s = conf->handshake_timeout,
        .idle_exit_s = core->params->timeout_s,
        .on_idle = on_idle,
        .opaque = core,
    };
}

static enum rpc_auth
to_rpc_auth(enum daemon_conf_auth auth)
{
    return auth == DAEMON_CONF_AUTH_POLKIT ? RPC_AUTH_POLKIT : RPC_AUTH_NONE;
}

bool
daemon_core_add_listeners(struct daemon_core *core, struct rpc_server *server, GError **error)
{
    const struct daemon_conf *conf = core->params->conf;

    for (guint i = 0; i < core->sockets->len; i++) {
        struct daemon_socket *socket = g_ptr_array_index(core->sockets, i);
        int fd = socket->fd;

        socket->fd = -1;
        if (!rpc_server_add_listener(
                server, fd, socket->readonly,
                to_rpc_auth(socket->readonly ? conf->auth_unix_ro : conf->auth_unix_rw), error))
            return false;
    }
    return true;
}

/* ---- run, end ---- */

void
daemon_core_run(struct daemon_core *core, struct rpc_server *server)
{
    rpc_server_start(server);
    rpc_notify_ready();
    loop_run(core->loop);
    rpc_notify_stopping();
}

void
daemon_core_close_sockets(struct daemon_core *core)
{
    g_clear_pointer(&core->sockets, g_ptr_array_unref);
}

void
daemon_core_free(struct daemon_core *core)
{
    if (!core)
        return;
    daemon_core_close_sockets(core);
    daemon_lock_free(core->pid_file);
    loop_free(core->loop);
    g_free(core);
}
