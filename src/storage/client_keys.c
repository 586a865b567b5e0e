/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see client_keys.h.
 */
#include "storage/client_keys.h"

#include "rpc/protocol/virtcrypt_secret_client.h"
#include "storage/client_link.h"
#include "util/error.h"

struct client_keys {
    struct client_link link;
};

struct client_keys *
client_keys_new(const char *socket, const char *token_dir)
{
    struct client_keys *keys = g_new0(struct client_keys, 1);

    client_link_init(&keys->link, socket, token_dir, ERROR_FROM_STORAGE);
    return keys;
}

void
client_keys_free(struct client_keys *keys)
{
    if (!keys)
        return;
    client_link_clear(&keys->link);
    g_free(keys);
}

void
client_keys_set_timeout(struct client_keys *keys, int timeout_ms)
{
    keys->link.timeout_ms = timeout_ms;
}

/* ---- the table ---- */

static struct secret_buf *
get_value(void *opaque, const struct uuid *uuid, GError **error)
{
    const struct client_keys *keys = opaque;

    return client_link_get(&keys->link, uuid, error);
}

static bool
find_by_usage(void *opaque, const char *usage, struct uuid *ret_uuid, GError **error)
{
    const struct client_keys *keys = opaque;

    return client_link_find_usage(&keys->link, SECRET_USAGE_VOLUME, usage, ret_uuid, error);
}

static bool
remove_secret(void *opaque, const struct uuid *uuid, const char *reason, GError **error)
{
    const struct client_keys *keys = opaque;

    return client_link_erase(&keys->link, uuid, NULL, reason, error);
}

/* The custodian would refuse it as well; this error says what to do. */
static bool
check_usage_is_free(const struct client_keys *keys, const char *usage, GError **error)
{
    g_autoptr(GError) reason = NULL;
    struct uuid uuid;
    char text[UUID_TEXT_SIZE];

    if (client_link_find_usage(&keys->link, SECRET_USAGE_VOLUME, usage, &uuid, &reason)) {
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
put(void *opaque, const struct uuid *uuid, const char *usage, const char *description,
    const struct secret_buf *value, GError **error)
{
    const struct client_keys *keys = opaque;
    const struct secret_def def = {
        .uuid = *uuid,
        .usage_type = SECRET_USAGE_VOLUME,
        .is_private = true,
        .description = (char *)description,
        .usage_id = (char *)usage,
    };

    return check_usage_is_free(keys, usage, error) &&
           client_link_put(&keys->link, &def, value, NULL, 0, error);
}

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

/* ---- the whole ---- */

bool
client_keys_check(struct client_keys *keys, GError **error)
{
    struct client_link link = keys->link;
    g_autoptr(rpc_client_t) client = NULL;
    struct virtcrypt_secret_daemon_status_ret ret = {0};
    GError *reason = NULL;
    bool is_unlocked;

    link.timeout_ms = MIN(link.timeout_ms, CLIENT_KEYS_CHECK_TIMEOUT_MS);
    client = client_link_open(&link, error);
    if (!client)
        return false;
    if (!virtcrypt_secret_daemon_status_call(client, &ret, &reason)) {
        client_link_pass_on(&link, error, reason);
        return false;
    }
    is_unlocked = !ret.locked;
    if (ret.locked)
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "the custodian of keys is locked: %s (" CLIENT_LINK_REMEDY ")",
                  ret.locked_reason ? ret.locked_reason : "it does not say why");
    virtcrypt_secret_daemon_status_ret_clear(&ret);
    return is_unlocked;
}
