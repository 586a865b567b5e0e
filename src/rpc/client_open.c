/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what comes before the first call of a user: authentication and CONNECT_OPEN.
 */
#include "rpc/client.h"
#include "rpc/protocol/remote_connection_client.h"
#include "util/error.h"

enum { OPEN_READONLY = 1 };

static bool
offers(const struct remote_auth_list_ret *list, enum remote_auth_type type)
{
    for (uint32_t i = 0; i < list->types_len; i++) {
        if (list->types[i] == type)
            return true;
    }
    return false;
}

static bool
ask_polkit(struct rpc_client *client, GError **error)
{
    struct remote_auth_polkit_ret answer;
    int timeout_ms = rpc_client_get_timeout(client);
    bool is_complete;
    bool is_answered;

    rpc_client_set_timeout(client, RPC_CLIENT_PERSON_TIMEOUT_MS);
    is_answered = remote_auth_polkit_call(client, &answer, error);
    rpc_client_set_timeout(client, timeout_ms);
    if (!is_answered)
        return false;
    is_complete = answer.complete != 0;
    remote_auth_polkit_ret_clear(&answer);
    if (!is_complete)
        error_set(error, ERROR_FROM_RPC, ERROR_AUTH_FAILED,
                  "the server did not finish the authentication by polkit");
    return is_complete;
}

/* The first call: before it is answered, ssh may ask for a password. */
static bool
list_methods(struct rpc_client *client, struct remote_auth_list_ret *ret_list, GError **error)
{
    int timeout_ms = rpc_client_get_timeout(client);
    bool is_answered;

    if (rpc_client_is_command(client))
        rpc_client_set_timeout(client, RPC_CLIENT_PERSON_TIMEOUT_MS);
    is_answered = remote_auth_list_call(client, ret_list, error);
    rpc_client_set_timeout(client, timeout_ms);
    return is_answered;
}

static bool
authenticate(struct rpc_client *client, GError **error)
{
    struct remote_auth_list_ret list;
    bool needs_none;
    bool has_polkit;

    if (!list_methods(client, &list, error))
        return false;
    needs_none = list.types_len == 0 || offers(&list, REMOTE_AUTH_NONE);
    has_polkit = offers(&list, REMOTE_AUTH_POLKIT);
    remote_auth_list_ret_clear(&list);
    if (needs_none)
        return true;
    if (has_polkit)
        return ask_polkit(client, error);
    error_set(error, ERROR_FROM_RPC, ERROR_AUTH_FAILED,
              "the server wants authentication by SASL, which is not supported here; set "
              "auth_unix_rw to \"polkit\" or \"none\" there, or connect as root");
    return false;
}

bool
rpc_client_open(struct rpc_client *client, const char *uri, bool readonly, GError **error)
{
    struct remote_connect_open_args args = {
        .name = (char *)uri,
        .flags = readonly ? OPEN_READONLY : 0,
    };

    return authenticate(client, error) && remote_connect_open_call(client, &args, error);
}
