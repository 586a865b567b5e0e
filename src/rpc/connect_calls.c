/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see connect_calls.h. The opaque pointer of each handler is the server.
 */
#include "rpc/connect_calls.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "rpc/claim.h"
#include "rpc/connect_uri.h"
#include "rpc/connection.h"
#include "rpc/polkit.h"
#include "rpc/protocol/remote_connection_server.h"
#include "rpc/server_state.h"
#include "util/log.h"

/* Bits of CONNECT_OPEN's flags: virConnectFlags. The others are a client's own. */
enum { OPEN_READONLY = 1 };

/* virDrvFeature: those that a client of this server can make use of. */
enum {
    FEATURE_FD_PASSING = 8,
    FEATURE_PROGRAM_KEEPALIVE = 10,
    FEATURE_REMOTE_EVENT_CALLBACK = 14,
    FEATURE_REMOTE_CLOSE_CALLBACK = 15,
};

static enum rpc_outcome
auth_list(struct rpc_call *call, void *opaque, struct remote_auth_list_ret *ret, GError **error)
{
    struct rpc_connection *connection = rpc_call_get_connection(call);

    ret->types = g_new0(enum remote_auth_type, 1);
    ret->types[0] = connection->authenticated ? REMOTE_AUTH_NONE : REMOTE_AUTH_POLKIT;
    ret->types_len = 1;
    return RPC_DONE;
}

static void
on_polkit(const GError *error, void *opaque)
{
    struct rpc_call *call = opaque;
    struct rpc_connection *connection = rpc_call_get_connection(call);
    struct remote_auth_polkit_ret *ret = rpc_call_get_ret(call);

    connection->authenticating = false;
    if (error) {
        log_info("the client with pid %d of user %u is not let in: %s",
                 connection->identity.peer_pid, connection->identity.peer_uid, error->message);
        if (++connection->failed_attempts >= RPC_AUTH_ATTEMPTS_MAX)
            rpc_connection_finish(connection);
        rpc_call_fail(call, g_error_copy(error));
        return;
    }
    rpc_connection_set_authenticated(connection);
    ret->complete = 1;
    rpc_call_reply(call);
}

static enum rpc_outcome
auth_polkit(struct rpc_call *call, void *opaque, struct remote_auth_polkit_ret *ret, GError **error)
{
    struct rpc_server *server = opaque;
    struct rpc_connection *connection = rpc_call_get_connection(call);
    struct rpc_polkit_check *check;

    if (connection->authenticated || !server->polkit) {
        error_set(error, ERROR_FROM_RPC, ERROR_AUTH_FAILED,
                  "polkit was not offered to this client");
        return RPC_FAILED;
    }
    if (connection->authenticating) {
        error_set(error, ERROR_FROM_RPC, ERROR_AUTH_FAILED, "polkit is being asked already");
        return RPC_FAILED;
    }
    connection->authenticating = true;
    check = rpc_polkit_begin(server->polkit, &connection->identity,
                             connection->readonly ? RPC_POLKIT_MONITOR : RPC_POLKIT_MANAGE,
                             on_polkit, call);
    rpc_connection_on_close(connection, rpc_polkit_abandon, check);
    return RPC_LATER;
}

static enum rpc_outcome
connect_open(struct rpc_call *call, void *opaque, const struct remote_connect_open_args *args,
             GError **error)
{
    struct rpc_server *server = opaque;
    struct rpc_connection *connection = rpc_call_get_connection(call);
    const char *name = args->name && args->name[0] ? args->name : server->uri;

    if (connection->opened) {
        error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "connection already open");
        return RPC_FAILED;
    }
    if (!rpc_connect_uri_check(name, server->uri, error))
        return RPC_FAILED;
    connection->uri = g_strdup(name);
    connection->readonly |= (args->flags & OPEN_READONLY) != 0;
    connection->opened = true;
    return RPC_DONE;
}

static enum rpc_outcome
connect_close(struct rpc_call *call, void *opaque, GError **error)
{
    rpc_connection_finish(rpc_call_get_connection(call));
    return RPC_DONE;
}

static enum rpc_outcome
connect_supports_feature(struct rpc_call *call, void *opaque,
                         const struct remote_connect_supports_feature_args *args,
                         struct remote_connect_supports_feature_ret *ret, GError **error)
{
    struct rpc_connection *connection = rpc_call_get_connection(call);

    if (!connection->opened && args->feature != FEATURE_PROGRAM_KEEPALIVE) {
        error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "connection not open");
        return RPC_FAILED;
    }
    switch (args->feature) {
    case FEATURE_PROGRAM_KEEPALIVE:
        /* Who asks can answer: pings to it may begin. */
        connection->pings = true;
        ret->supported = 1;
        break;
    case FEATURE_FD_PASSING:
    case FEATURE_REMOTE_EVENT_CALLBACK:
    case FEATURE_REMOTE_CLOSE_CALLBACK:
        ret->supported = 1;
        break;
    default:
        ret->supported = 0;
        break;
    }
    return RPC_DONE;
}

static enum rpc_outcome
connect_get_type(struct rpc_call *call, void *opaque, struct remote_connect_get_type_ret *ret,
                 GError **error)
{
    struct rpc_server *server = opaque;

    ret->type = g_strdup(server->type_name);
    return RPC_DONE;
}

static enum rpc_outcome
connect_get_version(struct rpc_call *call, void *opaque, struct remote_connect_get_version_ret *ret,
                    GError **error)
{
    struct rpc_server *server = opaque;

    ret->hv_ver = server->params.version;
    return RPC_DONE;
}

static enum rpc_outcome
connect_get_lib_version(struct rpc_call *call, void *opaque,
                        struct remote_connect_get_lib_version_ret *ret, GError **error)
{
    struct rpc_server *server = opaque;

    ret->lib_ver = server->params.lib_version;
    return RPC_DONE;
}

static enum rpc_outcome
connect_get_hostname(struct rpc_call *call, void *opaque,
                     struct remote_connect_get_hostname_ret *ret, GError **error)
{
    char name[HOST_NAME_MAX + 1] = {0};

    if (gethostname(name, sizeof(name) - 1) < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "cannot tell the host's name");
        return RPC_FAILED;
    }
    ret->hostname = g_strdup(name);
    return RPC_DONE;
}

static enum rpc_outcome
connect_get_uri(struct rpc_call *call, void *opaque, struct remote_connect_get_uri_ret *ret,
                GError **error)
{
    ret->uri = g_strdup(rpc_call_get_connection(call)->uri);
    return RPC_DONE;
}

/* A Unix socket can't be listened in on. */
static enum rpc_outcome
connect_is_secure(struct rpc_call *call, void *opaque, struct remote_connect_is_secure_ret *ret,
                  GError **error)
{
    ret->secure = 1;
    return RPC_DONE;
}

/* The event is for drivers that are clients themselves; here it never comes. */
static enum rpc_outcome
connect_register_close_callback(struct rpc_call *call, void *opaque, GError **error)
{
    return RPC_DONE;
}

static bool
is_trusted(const struct rpc_server *server, const struct rpc_identity *identity)
{
    return identity->peer_uid == 0 ||
           (server->params.trust_own_uid && identity->peer_uid == geteuid());
}

static enum rpc_outcome
connect_set_identity(struct rpc_call *call, void *opaque,
                     const struct remote_connect_set_identity_args *args, GError **error)
{
    struct rpc_server *server = opaque;
    struct rpc_connection *connection = rpc_call_get_connection(call);
    struct rpc_identity claimed = connection->identity;

    if (!rpc_claim_apply(&claimed, args->params, args->params_len, server->params.token, error))
        return RPC_FAILED;
    /* Anybody may say who somebody else is; only what a trusted peer says counts. */
    if (is_trusted(server, &connection->identity))
        connection->identity = claimed;
    else
        log_debug("the identity that pid %d of user %u forwards is ignored",
                  connection->identity.peer_pid, connection->identity.peer_uid);
    return RPC_DONE;
}

static const struct remote_connection_handlers handlers = {
    .connect_open = connect_open,
    .connect_close = connect_close,
    .connect_get_type = connect_get_type,
    .connect_get_version = connect_get_version,
    .connect_get_hostname = connect_get_hostname,
    .connect_supports_feature = connect_supports_feature,
    .auth_list = auth_list,
    .auth_polkit = auth_polkit,
    .connect_get_uri = connect_get_uri,
    .connect_is_secure = connect_is_secure,
    .connect_get_lib_version = connect_get_lib_version,
    .connect_register_close_callback = connect_register_close_callback,
    .connect_unregister_close_callback = connect_register_close_callback,
    .connect_set_identity = connect_set_identity,
};

void
rpc_connect_calls_add(struct rpc_server *server)
{
    rpc_server_add_program(server, &remote_connection_program, &handlers, server);
}
