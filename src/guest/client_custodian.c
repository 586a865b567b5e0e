/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see client_custodian.h.
 */
#include "guest/client_custodian.h"

#include <string.h>

#include "rpc/protocol/virtcrypt_secret_client.h"
#include "storage/client_link.h"
#include "util/error.h"

struct client_custodian {
    struct client_link link;
};

struct client_custodian *
client_custodian_new(const char *socket, const char *token_dir)
{
    struct client_custodian *custodian = g_new0(struct client_custodian, 1);

    client_link_init(&custodian->link, socket, token_dir, ERROR_FROM_SECRET);
    return custodian;
}

void
client_custodian_free(struct client_custodian *custodian)
{
    if (!custodian)
        return;
    client_link_clear(&custodian->link);
    g_free(custodian);
}

void
client_custodian_set_timeout(struct client_custodian *custodian, int timeout_ms)
{
    custodian->link.timeout_ms = timeout_ms;
}

/* ---- lists ---- */

/* Moves on past what it gets; *ret_more: others follow. */
static bool
get_bindings_page(const struct client_link *link, struct rpc_client *client, GArray *bindings,
                  bool *ret_more, GError **error)
{
    struct virtcrypt_secret_list_bindings_args args = {.max = VIRTCRYPT_SECRET_PAGE_MAX};
    struct virtcrypt_secret_list_bindings_ret ret = {0};
    struct virtcrypt_secret_binding after;
    GError *reason = NULL;

    if (bindings->len > 0) {
        const struct guest_binding *last =
            &g_array_index(bindings, struct guest_binding, bindings->len - 1);

        memcpy(after.secret, last->secret.bytes, sizeof(after.secret));
        memcpy(after.guest, last->guest.bytes, sizeof(after.guest));
        args.after = &after;
    }
    if (!virtcrypt_secret_list_bindings_call(client, &args, &ret, &reason)) {
        client_link_pass_on(link, error, reason);
        return false;
    }
    for (uint32_t i = 0; i < ret.bindings_len; i++) {
        struct guest_binding binding;

        memcpy(binding.secret.bytes, ret.bindings[i].secret, sizeof(binding.secret.bytes));
        memcpy(binding.guest.bytes, ret.bindings[i].guest, sizeof(binding.guest.bytes));
        g_array_append_val(bindings, binding);
    }
    *ret_more = ret.more && ret.bindings_len > 0;
    virtcrypt_secret_list_bindings_ret_clear(&ret);
    return true;
}

static GArray *
list(void *opaque, GError **error)
{
    const struct client_custodian *custodian = opaque;
    g_autoptr(rpc_client_t) client = client_link_open(&custodian->link, error);
    g_autoptr(GArray) bindings = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    bool more = true;

    if (!client)
        return NULL;
    while (more) {
        if (!get_bindings_page(&custodian->link, client, bindings, &more, error))
            return NULL;
    }
    return g_steal_pointer(&bindings);
}

/* A list of secrets on its way. */
struct secret_list {
    const struct client_link *link;
    struct rpc_client *client;
    GArray *with_value;
    bool has_begun;
    struct uuid last; /* once it has begun: of those that were looked at */
    bool more;
};

static bool
get_secrets_page(struct secret_list *list, GError **error)
{
    const struct virtcrypt_secret_list_secrets_args args = {
        .after = list->has_begun ? list->last.bytes : NULL,
        .max = VIRTCRYPT_SECRET_PAGE_MAX,
    };
    struct virtcrypt_secret_list_secrets_ret ret = {0};
    GError *reason = NULL;

    if (!virtcrypt_secret_list_secrets_call(list->client, &args, &ret, &reason)) {
        client_link_pass_on(list->link, error, reason);
        return false;
    }
    for (uint32_t i = 0; i < ret.secrets_len; i++) {
        memcpy(list->last.bytes, ret.secrets[i].secret.uuid, sizeof(list->last.bytes));
        if (ret.secrets[i].has_value)
            g_array_append_val(list->with_value, list->last);
    }
    list->has_begun = true;
    list->more = ret.more && ret.secrets_len > 0;
    virtcrypt_secret_list_secrets_ret_clear(&ret);
    return true;
}

static GArray *
list_with_value(void *opaque, GError **error)
{
    const struct client_custodian *custodian = opaque;
    g_autoptr(rpc_client_t) client = client_link_open(&custodian->link, error);
    g_autoptr(GArray) uuids = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    struct secret_list list = {
        .link = &custodian->link,
        .client = client,
        .with_value = uuids,
        .more = client != NULL,
    };

    while (list.more) {
        if (!get_secrets_page(&list, error))
            return NULL;
    }
    return client ? g_steal_pointer(&uuids) : NULL;
}

static bool
is_locked(void *opaque, bool *ret_locked, GError **error)
{
    const struct client_custodian *custodian = opaque;
    g_autoptr(rpc_client_t) client = client_link_open(&custodian->link, error);
    struct virtcrypt_secret_daemon_status_ret ret = {0};
    GError *reason = NULL;

    if (!client)
        return false;
    if (!virtcrypt_secret_daemon_status_call(client, &ret, &reason)) {
        client_link_pass_on(&custodian->link, error, reason);
        return false;
    }
    *ret_locked = ret.locked;
    virtcrypt_secret_daemon_status_ret_clear(&ret);
    return true;
}

/* ---- bind, unbind ---- */

/* A part of the bindings, and the call for it. */
typedef bool (*send_func)(struct rpc_client *client, struct virtcrypt_secret_binding *bindings,
                          uint32_t count, const char *reason,
                          struct virtcrypt_secret_failures_ret *ret, GError **error);

static bool
send_bind(struct rpc_client *client, struct virtcrypt_secret_binding *bindings, uint32_t count,
          const char *reason, struct virtcrypt_secret_failures_ret *ret, GError **error)
{
    const struct virtcrypt_secret_bind_args args = {bindings, count};

    return virtcrypt_secret_bind_call(client, &args, ret, error);
}

static bool
send_unbind(struct rpc_client *client, struct virtcrypt_secret_binding *bindings, uint32_t count,
            const char *reason, struct virtcrypt_secret_failures_ret *ret, GError **error)
{
    const struct virtcrypt_secret_unbind_args args = {bindings, count, (char *)reason};

    return virtcrypt_secret_unbind_call(client, &args, ret, error);
}

static void
free_error(void *error)
{
    g_clear_error((GError **)&error);
}

/* Bindings on their way. */
struct sending {
    const struct client_link *link;
    struct rpc_client *client;
    send_func send;
    const GArray *bindings;
    const char *reason; /* for send_unbind */
    GPtrArray *errors;
};

/* Of the `count` bindings from `first` on. */
static void
take_failures(const struct sending *sending, const struct virtcrypt_secret_failures_ret *ret,
              guint first, guint count)
{
    for (uint32_t i = 0; i < ret->failures_len; i++) {
        const struct virtcrypt_secret_failure *failure = &ret->failures[i];
        GError *reason = NULL;
        GError *error = NULL;

        if (failure->index >= count || sending->errors->pdata[first + failure->index])
            continue; /* no answer to what was asked */
        error_set_remote(&reason, ERROR_FROM_SECRET, failure->code, failure->message);
        client_link_pass_on(sending->link, &error, reason);
        sending->errors->pdata[first + failure->index] = error;
    }
}

static bool
send_part(const struct sending *sending, guint first, guint count, GError **error)
{
    g_autofree struct virtcrypt_secret_binding *part =
        g_new(struct virtcrypt_secret_binding, count);
    struct virtcrypt_secret_failures_ret ret = {0};
    GError *failure = NULL;

    for (guint i = 0; i < count; i++) {
        const struct guest_binding *binding =
            &g_array_index(sending->bindings, struct guest_binding, first + i);

        memcpy(part[i].secret, binding->secret.bytes, sizeof(part[i].secret));
        memcpy(part[i].guest, binding->guest.bytes, sizeof(part[i].guest));
    }
    if (!sending->send(sending->client, part, count, sending->reason, &ret, &failure)) {
        client_link_pass_on(sending->link, error, failure);
        return false;
    }
    take_failures(sending, &ret, first, count);
    virtcrypt_secret_failures_ret_clear(&ret);
    return true;
}

static bool
send_all(const struct client_custodian *custodian, send_func send, const GArray *bindings,
         const char *reason, GPtrArray **ret_errors, GError **error)
{
    g_autoptr(rpc_client_t) client = client_link_open(&custodian->link, error);
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    const struct sending sending = {
        &custodian->link, client, send, bindings, reason, errors,
    };

    if (!client)
        return false;
    g_ptr_array_set_size(errors, (gint)bindings->len);
    for (guint first = 0; first < bindings->len; first += VIRTCRYPT_SECRET_PAGE_MAX) {
        guint count = MIN(bindings->len - first, VIRTCRYPT_SECRET_PAGE_MAX);

        if (!send_part(&sending, first, count, error))
            return false;
    }
    *ret_errors = g_steal_pointer(&errors);
    return true;
}

static bool
bind_all(void *opaque, const GArray *bindings, GPtrArray **ret_errors, GError **error)
{
    return send_all(opaque, send_bind, bindings, NULL, ret_errors, error);
}

static bool
unbind_all(void *opaque, const GArray *bindings, const char *reason, GPtrArray **ret_errors,
           GError **error)
{
    return send_all(opaque, send_unbind, bindings, reason, ret_errors, error);
}

/* ---- one secret ---- */

static bool
erase(void *opaque, const struct uuid *secret, const struct uuid *guest, const char *reason,
      GError **error)
{
    const struct client_custodian *custodian = opaque;

    return client_link_erase(&custodian->link, secret, guest, reason, error);
}

static bool
put(void *opaque, const struct secret_def *def, const struct secret_buf *value,
    const struct uuid *owners, size_t owner_count, GError **error)
{
    const struct client_custodian *custodian = opaque;

    return client_link_put(&custodian->link, def, value, owners, owner_count, error);
}

static struct secret_buf *
get(void *opaque, const struct uuid *secret, GError **error)
{
    const struct client_custodian *custodian = opaque;

    return client_link_get(&custodian->link, secret, error);
}

static struct secret_def *
find(void *opaque, const struct uuid *secret, GError **error)
{
    const struct client_custodian *custodian = opaque;
    g_autoptr(rpc_client_t) client = client_link_open(&custodian->link, error);
    const struct remote_secret_get_xml_desc_args args = {.secret = client_link_name(secret)};
    struct remote_secret_get_xml_desc_ret ret = {0};
    struct secret_def *def;
    GError *reason = NULL;

    if (!client)
        return NULL;
    if (!remote_secret_get_xml_desc_call(client, &args, &ret, &reason)) {
        client_link_pass_on(&custodian->link, error, reason);
        return NULL;
    }
    def = secret_def_parse(ret.xml, strlen(ret.xml), false, error);
    remote_secret_get_xml_desc_ret_clear(&ret);
    return def;
}

static bool
find_usage(void *opaque, enum secret_usage_type type, const char *usage, struct uuid *ret_uuid,
           GError **error)
{
    const struct client_custodian *custodian = opaque;

    return client_link_find_usage(&custodian->link, type, usage, ret_uuid, error);
}

struct guest_custodian
client_custodian_table(struct client_custodian *custodian)
{
    return (struct guest_custodian){
        .opaque = custodian,
        .list = list,
        .bind = bind_all,
        .unbind = unbind_all,
        .erase = erase,
        .put = put,
        .get = get,
        .find = find,
        .find_usage = find_usage,
        .list_with_value = list_with_value,
        .is_locked = is_locked,
    };
}
