/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as client_link.h says.
 */
#include "storage/client_link.h"

#include <string.h>

#include "rpc/protocol/remote_connection_client.h"
#include "rpc/protocol/virtcrypt_secret_client.h"
#include "rpc/system_token.h"
#include "util/error.h"

void
client_link_init(struct client_link *link, const char *socket, const char *token_dir, int domain)
{
    *link = (struct client_link){
        .socket = g_strdup(socket),
        .token_dir = g_strdup(token_dir),
        .timeout_ms = CLIENT_LINK_TIMEOUT_MS,
        .domain = domain,
    };
}

void
client_link_clear(struct client_link *link)
{
    g_clear_pointer(&link->socket, g_free);
    g_clear_pointer(&link->token_dir, g_free);
}

void
client_link_pass_on(const struct client_link *link, GError **error, GError *take_reason)
{
    g_autoptr(GError) reason = take_reason;
    g_autofree char *text = error_describe(reason);

    if (error_is(reason, ERROR_NO_SECRET))
        g_propagate_error(error, g_steal_pointer(&reason));
    else
        error_set(error, (enum error_domain)link->domain, (enum error_code)error_get_code(reason),
                  "the custodian of keys says: %s (" CLIENT_LINK_REMEDY ")", text);
}

static void
refuse_away(const struct client_link *link, const GError *reason, GError **error)
{
    error_set(error, (enum error_domain)link->domain, ERROR_OPERATION_FAILED,
              "the custodian of keys can't be reached at %s: %s; start it with 'systemctl start "
              "virtcrypt-secretd' (" CLIENT_LINK_REMEDY ")",
              link->socket, reason->message);
}

/* With the token we are one of libvirt's daemons: private values are for those alone. */
static bool
show_token(const struct client_link *link, struct rpc_client *client, GError **error)
{
    g_autoptr(secret_buf_t) token = rpc_system_token_open(link->token_dir, error);
    struct remote_typed_param param = {.field = (char *)"system.token"};
    const struct remote_connect_set_identity_args args = {.params = &param, .params_len = 1};
    bool is_shown;

    if (!token)
        return false;
    param.value.type = REMOTE_PARAM_STRING;
    param.value.u.s =
        g_strndup((const char *)secret_buf_bytes(token), (gsize)secret_buf_len(token));
    is_shown = remote_connect_set_identity_call(client, &args, error);
    explicit_bzero(param.value.u.s, secret_buf_len(token));
    g_free(param.value.u.s);
    return is_shown;
}

struct rpc_client *
client_link_open(const struct client_link *link, GError **error)
{
    GError *reason = NULL;
    g_autoptr(rpc_client_t) client = rpc_client_new_unix(link->socket, &reason);

    if (client)
        rpc_client_set_timeout(client, link->timeout_ms);
    if (!client || !rpc_client_open(client, "secret:///system", false, &reason) ||
        !show_token(link, client, &reason)) {
        refuse_away(link, reason, error);
        g_error_free(reason);
        return NULL;
    }
    return g_steal_pointer(&client);
}

struct remote_nonnull_secret
client_link_name(const struct uuid *uuid)
{
    struct remote_nonnull_secret secret = {
        .usageType = SECRET_USAGE_NONE,
        .usageID = (char *)"",
    };

    memcpy(secret.uuid, uuid->bytes, sizeof(secret.uuid));
    return secret;
}

/* ---- calls ---- */

struct secret_buf *
client_link_get(const struct client_link *link, const struct uuid *uuid, GError **error)
{
    g_autoptr(rpc_client_t) client = client_link_open(link, error);
    const struct remote_secret_get_value_args args = {.secret = client_link_name(uuid)};
    struct remote_secret_get_value_ret ret = {0};
    struct secret_buf *value;
    GError *reason = NULL;

    if (!client)
        return NULL;
    if (!remote_secret_get_value_call(client, &args, &ret, &reason)) {
        client_link_pass_on(link, error, reason);
        return NULL;
    }
    value = g_steal_pointer(&ret.value);
    remote_secret_get_value_ret_clear(&ret);
    return value;
}

bool
client_link_find_usage(const struct client_link *link, enum secret_usage_type type,
                       const char *usage, struct uuid *ret_uuid, GError **error)
{
    g_autoptr(rpc_client_t) client = client_link_open(link, error);
    const struct remote_secret_lookup_by_usage_args args = {
        .usageType = (int32_t)type,
        .usageID = (char *)usage,
    };
    struct remote_secret_lookup_by_usage_ret ret = {0};
    GError *reason = NULL;

    if (!client)
        return false;
    if (!remote_secret_lookup_by_usage_call(client, &args, &ret, &reason)) {
        client_link_pass_on(link, error, reason);
        return false;
    }
    memcpy(ret_uuid->bytes, ret.secret.uuid, sizeof(ret_uuid->bytes));
    remote_secret_lookup_by_usage_ret_clear(&ret);
    return true;
}

bool
client_link_erase(const struct client_link *link, const struct uuid *uuid, const struct uuid *guest,
                  const char *reason, GError **error)
{
    g_autoptr(rpc_client_t) client = client_link_open(link, error);
    struct virtcrypt_secret_erase_args args = {
        .guest = guest ? (uint8_t *)guest->bytes : NULL, /* encoding only reads them */
        .reason = (char *)reason,
    };
    GError *failure = NULL;

    if (!client)
        return false;
    memcpy(args.secret, uuid->bytes, sizeof(args.secret));
    if (virtcrypt_secret_erase_call(client, &args, &failure))
        return true;
    if (error_is(failure, ERROR_NO_SECRET)) {
        g_error_free(failure);
        return true;
    }
    client_link_pass_on(link, error, failure);
    return false;
}

bool
client_link_put(const struct client_link *link, const struct secret_def *def,
                const struct secret_buf *value, const struct uuid *owners, size_t owner_count,
                GError **error)
{
    g_autoptr(rpc_client_t) client = client_link_open(link, error);
    g_autofree char *xml = secret_def_format(def);
    g_autofree uint8_t(*packed)[REMOTE_UUID_LEN] = g_malloc_n(owner_count, sizeof(*packed));
    const struct virtcrypt_secret_put_args args = {
        .xml = xml,
        .value = (struct secret_buf *)value, /* encoding only reads it */
        .owners = packed,
        .owners_len = (uint32_t)owner_count,
    };
    GError *reason = NULL;

    if (!client)
        return false;
    for (size_t i = 0; i < owner_count; i++)
        memcpy(packed[i], owners[i].bytes, sizeof(packed[i]));
    if (virtcrypt_secret_put_call(client, &args, &reason))
        return true;
    client_link_pass_on(link, error, reason);
    return false;
}
