/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see storage_client.h. A kept connection whose other end is gone (virtcryptd was restarted)
 * is noticed before it is used: a call that changes something is never made twice.
 */
#include "driver/storage_client.h"

#include "driver/storage_identity.h"
#include "rpc/protocol/remote_connection_client.h"
#include "util/error.h"

/* Names the socket of the daemon. */
#define SOCKET_VARIABLE "VIRTCRYPTD_SOCKET"
#define SOCKET_PATH     RUNSTATEDIR "/libvirt/virtcryptd-sock"

enum { IDLE_MAX = 4, OPEN_TIMEOUT_MS = 10000 };

/* In use or idle. */
struct member {
    struct rpc_client *client;
    char *mark; /* of the identity that the daemon knows; NULL: none was set */
};

struct storage_clients {
    const char *socket;
    GMutex lock;
    GPtrArray *idle;    /* struct member, the one used last at the end */
    GHashTable *in_use; /* struct rpc_client -> struct member */
};

static void
member_free(void *opaque)
{
    struct member *member = opaque;

    if (!member)
        return;
    rpc_client_free(member->client);
    g_free(member->mark);
    g_free(member);
}

typedef struct member member_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(member_t, member_free)

struct storage_clients *
storage_clients_new(void)
{
    struct storage_clients *clients = g_new0(struct storage_clients, 1);
    const char *named = g_getenv(SOCKET_VARIABLE);

    clients->socket = g_strdup(named && named[0] ? named : SOCKET_PATH);
    g_mutex_init(&clients->lock);
    clients->idle = g_ptr_array_new_with_free_func(member_free);
    clients->in_use = g_hash_table_new(NULL, NULL);
    return clients;
}

/* An idle one that speaks for that identity already, else any that can be told. */
static struct member *
steal_idle(struct storage_clients *clients, const char *mark)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&clients->lock);
    guint found = clients->idle->len;

    for (guint i = clients->idle->len; i > 0; i--) {
        const struct member *member = g_ptr_array_index(clients->idle, i - 1);

        if (g_strcmp0(member->mark, mark) == 0)
            return g_ptr_array_steal_index(clients->idle, i - 1);
        /* An identity can be replaced, not taken back. */
        if (mark)
            found = i - 1;
    }
    return found < clients->idle->len ? g_ptr_array_steal_index(clients->idle, found) : NULL;
}

static struct member *
member_open(const struct storage_clients *clients, GError **error)
{
    g_autoptr(member_t) member = g_new0(struct member, 1);

    member->client = rpc_client_new_unix(clients->socket, error);
    if (!member->client)
        return NULL;
    rpc_client_set_timeout(member->client, OPEN_TIMEOUT_MS);
    if (!rpc_client_open(member->client, NULL, false, error))
        return NULL;
    rpc_client_set_timeout(member->client, RPC_CLIENT_TIMEOUT_MS);
    return g_steal_pointer(&member);
}

static struct member *
find_or_open(struct storage_clients *clients, const char *mark, GError **error)
{
    for (;;) {
        g_autoptr(member_t) member = steal_idle(clients, mark);

        if (!member)
            return member_open(clients, error);
        if (rpc_client_wait(member->client, 0, NULL))
            return g_steal_pointer(&member);
    }
}

static bool
introduce(struct member *member, struct storage_identity *identity, GError **error)
{
    if (g_strcmp0(member->mark, identity->mark) == 0)
        return true;
    if (!remote_connect_set_identity_call(member->client, &identity->args, error))
        return false;
    g_free(member->mark);
    member->mark = g_steal_pointer(&identity->mark);
    return true;
}

struct rpc_client *
storage_client_acquire(struct storage_clients *clients, GError **error)
{
    g_auto(storage_identity_t) identity = {0};
    g_autoptr(GError) cause = NULL;
    g_autoptr(member_t) member = NULL;
    g_autofree char *text = NULL;

    storage_identity_init(&identity);
    member = find_or_open(clients, identity.mark, &cause);
    if (member && introduce(member, &identity, &cause)) {
        struct rpc_client *client = member->client;

        g_mutex_lock(&clients->lock);
        g_hash_table_insert(clients->in_use, client, g_steal_pointer(&member));
        g_mutex_unlock(&clients->lock);
        return client;
    }
    text = error_describe(cause);
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
              "encrypted volumes are kept by virtcryptd, which cannot be reached: %s (start it: "
              "systemctl start virtcryptd.socket)",
              text);
    return NULL;
}

static struct member *
steal_used(struct storage_clients *clients, struct rpc_client *client)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&clients->lock);
    gpointer found = NULL;

    g_hash_table_steal_extended(clients->in_use, client, NULL, &found);
    return found;
}

void
storage_client_release(struct storage_clients *clients, struct rpc_client *take_client)
{
    g_autoptr(member_t) member = take_client ? steal_used(clients, take_client) : NULL;

    if (!member || !rpc_client_wait(member->client, 0, NULL))
        return;
    rpc_client_set_timeout(member->client, RPC_CLIENT_TIMEOUT_MS);
    g_mutex_lock(&clients->lock);
    if (clients->idle->len < IDLE_MAX)
        g_ptr_array_add(clients->idle, g_steal_pointer(&member));
    g_mutex_unlock(&clients->lock);
}

void
storage_client_close(struct storage_clients *clients, struct rpc_client *take_client)
{
    member_free(steal_used(clients, take_client));
}
