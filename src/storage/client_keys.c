/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see client_keys.h.
 */
#include "storage/client_keys.h"

#include <string.h>

#include "conf/secret_def.h"
#include "rpc/client.h"
#include "rpc/protocol/remote_connection_client.h"
#include "rpc/protocol/remote_secret_client.h"
#include "rpc/protocol/virtcrypt_secret_client.h"
#include "rpc/system_token.h"
#include "util/error.h"
#include "util/log.h"

#define STATUS_REMEDY "'virtcrypt daemon-status' shows its state"

struct client_keys {
    char *socket;
    char *token_dir;
    int timeout_ms;
};

struct client_keys *
client_keys_new(const char *socket, const char *token_dir)
{
    struct client_keys *keys = g_new0(struct client_keys, 1);

    keys->socket = g_strdup(socket);
    keys->token_dir = g_strdup(token_dir);
    keys->timeout_ms = CLIENT_KEYS_TIMEOUT_MS;
    return keys;
}

void
client_keys_free(struct client_keys *keys)
{
    if (!keys)
        return;
    g_free(keys->socket);
    g_free(keys->token_dir);
    g_free(keys);
}

void
client_keys_set_timeout(struct client_keys *keys, int timeout_ms)
{
    keys->timeout_ms = timeout_ms;
}

/* ---- connection ---- */

/* Takes `reason`. That there is no such secret stays what it is; all else names who said it. */
static void
pass_on(GError **error, GError *reason)
{
    g_autoptr(GError) taken = reason;
    g_autofree char *text = error_describe(taken);

    if (error_is(taken, ERROR_NO_SECRET))
        g_propagate_error(error, g_steal_pointer(&taken));
    else
        error_set(error, ERROR_FROM_STORAGE, (enum error_code)error_get_code(taken),
                  "the custodian of keys says: %s (" STATUS_REMEDY ")", text);
}

static void
refuse_away(const struct client_keys *keys, const GError *reason, GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
              "the custodian of keys can't be reached at %s: %s; start it with 'systemctl start "
              "virtcrypt-secretd' (" STATUS_REMEDY ")",
              keys->socket, reason->message);
}

/* With the token we are one of libvirt's daemons: private values are for those alone. */
static bool
show_token(const struct client_keys *keys, struct rpc_client *client, GError **error)
{
    g_autoptr(secret_buf_t) token = rpc_system_token_open(keys->token_dir, error);
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

static struct rpc_client *
connect_to(const struct client_keys *keys, int timeout_ms, GError **error)
{
    GError *reason = NULL;
    g_autoptr(rpc_client_t) client = rpc_client_new_unix(keys->socket, &reason);

    if (client)
        rpc_client_set_timeout(client, timeout_ms);
    if (!client || !rpc_client_open(client, "secret:///system", false, &reason) ||
        !show_token(keys, client, &reason)) {
        refuse_away(keys, reason, error);
        g_error_free(reason);
        return NULL;
    }
    return g_steal_pointer(&client);
}

/* A secret as calls name it; libvirt's servers look at the uuid alone. */
static struct remote_nonnull_secret
name_secret(const struct uuid *uuid)
{
    struct remote_nonnull_secret secret = {
        .usageType = SECRET_USAGE_NONE,
        .usageID = (char *)"",
    };

    memcpy(secret.uuid, uuid->bytes, sizeof(secret.uuid));
    return secret;
}

/* ---- reading ---- */

static struct secret_buf *
get_value(void *opaque, const struct uuid *uuid, GError **error)
{
    const struct client_keys *keys = opaque;
    g_autoptr(rpc_client_t) client = connect_to(keys, keys->timeout_ms, error);
    const struct remote_secret_get_value_args args = {.secret = name_secret(uuid)};
    struct remote_secret_get_value_ret ret = {0};
    struct secret_buf *value;
    GError *reason = NULL;

    if (!client)
        return NULL;
    if (!remote_secret_get_value_call(client, &args, &ret, &reason)) {
        pass_on(error, reason);
        return NULL;
    }
    value = g_steal_pointer(&ret.value);
    remote_secret_get_value_ret_clear(&ret);
    return value;
}

static bool
look_up_usage(struct rpc_client *client, const char *usage, struct uuid *ret_uuid, GError **error)
{
    const struct remote_secret_lookup_by_usage_args args = {
        .usageType = SECRET_USAGE_VOLUME,
        .usageID = (char *)usage,
    };
    struct remote_secret_lookup_by_usage_ret ret = {0};
    GError *reason = NULL;

    if (!remote_secret_lookup_by_usage_call(client, &args, &ret, &reason)) {
        pass_on(error, reason);
        return false;
    }
    memcpy(ret_uuid->bytes, ret.secret.uuid, sizeof(ret_uuid->bytes));
    remote_secret_lookup_by_usage_ret_clear(&ret);
    return true;
}

static bool
find_by_usage(void *opaque, const char *usage, struct uuid *ret_uuid, GError **error)
{
    const struct client_keys *keys = opaque;
    g_autoptr(rpc_client_t) client = connect_to(keys, keys->timeout_ms, error);

    return client && look_up_usage(client, usage, ret_uuid, error);
}

/* ---- changes ---- */

static bool
remove_secret(void *opaque, const struct uuid *uuid, GError **error)
{
    const struct client_keys *keys = opaque;
    g_autoptr(rpc_client_t) client = connect_to(keys, keys->timeout_ms, error);
    const struct remote_secret_undefine_args args = {.secret = name_secret(uuid)};
    GError *reason = NULL;

    if (!client)
        return false;
    if (remote_secret_undefine_call(client, &args, &reason))
        return true;
    if (error_is(reason, ERROR_NO_SECRET)) {
        g_error_free(reason);
        return true;
    }
    pass_on(error, reason);
    return false;
}

/* A secret of that uuid would be redefined, and its value replaced. */
static bool
check_uuid_is_free(struct rpc_client *client, const struct uuid *uuid, GError **error)
{
    struct remote_secret_lookup_by_uuid_args args;
    struct remote_secret_lookup_by_uuid_ret ret = {0};
    GError *reason = NULL;
    char text[UUID_TEXT_SIZE];

    memcpy(args.uuid, uuid->bytes, sizeof(args.uuid));
    if (remote_secret_lookup_by_uuid_call(client, &args, &ret, &reason)) {
        remote_secret_lookup_by_uuid_ret_clear(&ret);
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
                  "there is a secret with the uuid %s already", uuid_format(uuid, text));
        return false;
    }
    if (error_is(reason, ERROR_NO_SECRET)) {
        g_error_free(reason);
        return true;
    }
    pass_on(error, reason);
    return false;
}

static bool
check_usage_is_free(struct rpc_client *client, const char *usage, GError **error)
{
    g_autoptr(GError) reason = NULL;
    struct uuid uuid;
    char text[UUID_TEXT_SIZE];

    if (look_up_usage(client, usage, &uuid, &reason)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
                  "there is a secret for the volume '%s' already: %s. If nothing needs it, remove "
                  "it with 'virtcrypt secret-undefine %s'",
                  usage, uuid_format(&uuid, text), text);
        return false;
    }
    if (error_is(reason, ERROR_NO_SECRET))
        return true;
    g_propagate_error(error, g_steal_pointer(&reason));
    return false;
}

static bool
define(struct rpc_client *client, const struct secret_def *def, GError **error)
{
    g_autofree char *xml = secret_def_format(def);
    const struct remote_secret_define_xml_args args = {.xml = xml};
    struct remote_secret_define_xml_ret ret = {0};
    GError *reason = NULL;

    if (!remote_secret_define_xml_call(client, &args, &ret, &reason)) {
        pass_on(error, reason);
        return false;
    }
    remote_secret_define_xml_ret_clear(&ret);
    return true;
}

static bool
set_value(struct rpc_client *client, const struct uuid *uuid, const struct secret_buf *value,
          GError **error)
{
    struct remote_secret_set_value_args args = {
        .secret = name_secret(uuid),
        .value = (struct secret_buf *)value, /* encoding only reads it */
    };
    GError *reason = NULL;

    if (remote_secret_set_value_call(client, &args, &reason))
        return true;
    pass_on(error, reason);
    return false;
}

/* Whatever became of a definition that failed: the uuid was free before. */
static void
take_back(struct client_keys *keys, const struct uuid *uuid)
{
    g_autoptr(GError) error = NULL;
    char text[UUID_TEXT_SIZE];

    if (!remove_secret(keys, uuid, &error))
        log_warn("the secret %s may have been left without a use: %s", uuid_format(uuid, text),
                 error->message);
}

static bool
put(void *opaque, const struct uuid *uuid, const char *usage, const char *description,
    const struct secret_buf *value, GError **error)
{
    struct client_keys *keys = opaque;
    g_autoptr(rpc_client_t) client = connect_to(keys, keys->timeout_ms, error);
    const struct secret_def def = {
        .uuid = *uuid,
        .usage_type = SECRET_USAGE_VOLUME,
        .is_private = true,
        .description = (char *)description,
        .usage_id = (char *)usage,
    };

    if (!client || !check_uuid_is_free(client, uuid, error) ||
        !check_usage_is_free(client, usage, error))
        return false;
    if (define(client, &def, error) && set_value(client, uuid, value, error))
        return true;
    take_back(keys, uuid);
    return false;
}

/* ---- the whole ---- */

struct storage_keys
client_keys_table(struct client_keys *keys)
{
    return (struct storage_keys){
        .opaque = keys,
        .get = get_value,
        .find_by_usage = find_by_usage,
        .put = put,
        .remove = remove_secret,
    };
}

bool
client_keys_check(struct client_keys *keys, GError **error)
{
    int timeout_ms = MIN(keys->timeout_ms, CLIENT_KEYS_CHECK_TIMEOUT_MS);
    g_autoptr(rpc_client_t) client = connect_to(keys, timeout_ms, error);
    struct virtcrypt_secret_daemon_status_ret ret = {0};
    GError *reason = NULL;
    bool is_unlocked;

    if (!client)
        return false;
    if (!virtcrypt_secret_daemon_status_call(client, &ret, &reason)) {
        pass_on(error, reason);
        return false;
    }
    is_unlocked = !ret.locked;
    if (ret.locked)
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "the custodian of keys is locked: %s (" STATUS_REMEDY ")",
                  ret.locked_reason ? ret.locked_reason : "it does not say why");
    virtcrypt_secret_daemon_status_ret_clear(&ret);
    return is_unlocked;
}
