/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see secret_backend.h. Calls of one libvirt connection take turns, since the identity is a
 * property of the connection; each turn is bounded by secret_open and its keepalive.
 */
#include "driver/secret_backend.h"

#include "driver/libvirt_module.h"
#include "driver/secret_open.h"

struct secret_backend {
    struct secret_module *module;
    bool read_only;
    GMutex lock;                     /* held while acquired */
    virConnectPtr connection;        /* NULL: not connected */
    char *mark;                      /* of the identity that the daemon knows; NULL: none was set */
    struct secret_identity identity; /* set on libvirtd's connection; under the table's lock */
};

static struct secret_backend *
secret_backend_new(struct secret_module *module, bool read_only)
{
    struct secret_backend *backend = g_new0(struct secret_backend, 1);

    backend->module = module;
    backend->read_only = read_only;
    g_mutex_init(&backend->lock);
    return backend;
}

static void
disconnect(struct secret_backend *backend)
{
    if (backend->connection)
        virConnectClose(g_steal_pointer(&backend->connection));
    g_clear_pointer(&backend->mark, g_free);
}

static void
secret_backend_free(struct secret_backend *backend)
{
    if (!backend)
        return;
    disconnect(backend);
    secret_identity_clear(&backend->identity);
    g_mutex_clear(&backend->lock);
    g_free(backend);
}

bool
secret_backend_is_alive(const struct secret_backend *backend)
{
    return backend->connection && virConnectIsAlive(backend->connection) == 1;
}

/* Connects anew if needed, and makes the daemon know who asks. */
static bool
make_ready(struct secret_backend *backend, const struct secret_identity *asker)
{
    virErrorPtr error = NULL;

    /* An identity can be replaced, not taken back. */
    if (!secret_backend_is_alive(backend) || (backend->mark && !asker->mark))
        disconnect(backend);
    if (!backend->connection)
        backend->connection = secret_open(backend->module, backend->read_only);
    if (!backend->connection)
        return false;
    if (g_strcmp0(backend->mark, asker->mark) == 0)
        return true;
    if (virConnectSetIdentity(backend->connection, asker->params, asker->count, 0) == 0) {
        g_free(backend->mark);
        backend->mark = g_strdup(asker->mark);
        return true;
    }
    error = virSaveLastError();
    disconnect(backend);
    libvirt_module_restore_error(&backend->module->libvirt, error);
    return false;
}

virConnectPtr
secret_backend_acquire(struct secret_backend *backend, const struct secret_identity *asker)
{
    bool was_connected;

    g_mutex_lock(&backend->lock);
    was_connected = backend->connection != NULL;
    if (make_ready(backend, asker))
        return backend->connection;
    /* A loss may show only when something is sent. */
    if (was_connected && make_ready(backend, asker))
        return backend->connection;
    g_mutex_unlock(&backend->lock);
    return NULL;
}

void
secret_backend_release(struct secret_backend *backend)
{
    g_mutex_unlock(&backend->lock);
}

#define IDLE_MAX 4

struct secret_backends {
    struct secret_module *module;
    GMutex lock;
    GHashTable *by_connection; /* virConnectPtr, not referenced -> struct secret_backend */
    GPtrArray *idle;           /* given back, at most IDLE_MAX */
};

static void
free_backend(gpointer backend)
{
    secret_backend_free(backend);
}

struct secret_backends *
secret_backends_new(struct secret_module *module)
{
    struct secret_backends *backends = g_new0(struct secret_backends, 1);

    backends->module = module;
    g_mutex_init(&backends->lock);
    backends->idle = g_ptr_array_new();
    backends->by_connection = g_hash_table_new_full(NULL, NULL, NULL, free_backend);
    return backends;
}

void
secret_backends_add(struct secret_backends *backends, virConnectPtr conn, bool read_only)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&backends->lock);

    g_hash_table_insert(backends->by_connection, conn,
                        secret_backend_new(backends->module, read_only));
}

struct secret_backend *
secret_backends_find(struct secret_backends *backends, virConnectPtr conn)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&backends->lock);

    return g_hash_table_lookup(backends->by_connection, conn);
}

struct secret_backend *
secret_backends_borrow(struct secret_backends *backends)
{
    struct secret_backend *backend = NULL;

    g_mutex_lock(&backends->lock);
    if (backends->idle->len > 0)
        backend = g_ptr_array_steal_index_fast(backends->idle, backends->idle->len - 1);
    g_mutex_unlock(&backends->lock);
    return backend ? backend : secret_backend_new(backends->module, false);
}

void
secret_backends_give_back(struct secret_backends *backends, struct secret_backend *take_backend)
{
    bool is_kept = false;

    g_mutex_lock(&backends->lock);
    if (take_backend->connection && backends->idle->len < IDLE_MAX) {
        g_ptr_array_add(backends->idle, take_backend);
        is_kept = true;
    }
    g_mutex_unlock(&backends->lock);
    if (!is_kept)
        secret_backend_free(take_backend);
}

void
secret_backends_set_identity(struct secret_backends *backends, virConnectPtr conn,
                             const virTypedParameter *params, int count)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&backends->lock);
    struct secret_backend *backend = g_hash_table_lookup(backends->by_connection, conn);

    if (!backend)
        return;
    secret_identity_clear(&backend->identity);
    secret_identity_init(&backend->identity, params, count);
}

/* False if none was set on `conn`. */
static bool
copy_identity(struct secret_backends *backends, virConnectPtr conn,
              struct secret_identity *ret_identity)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&backends->lock);
    const struct secret_backend *backend = g_hash_table_lookup(backends->by_connection, conn);

    if (!backend || !backend->identity.mark)
        return false;
    secret_identity_init(ret_identity, backend->identity.params, backend->identity.count);
    return true;
}

bool
secret_backends_find_asker(struct secret_backends *backends, virConnectPtr conn,
                           struct secret_identity *ret_asker)
{
    virConnectPtr thread_conn = NULL;

    if (copy_identity(backends, conn, ret_asker))
        return true;
    virResetLastError();
    thread_conn = backends->module->libvirt.get_connect_secret();
    if (!thread_conn)
        /* Without an error: the thread has no identity. */
        return virGetLastErrorCode() == VIR_ERR_OK;
    copy_identity(backends, thread_conn, ret_asker);
    virConnectClose(thread_conn);
    return true;
}

void
secret_backends_remove(struct secret_backends *backends, virConnectPtr conn)
{
    gpointer backend = NULL;
    /* libvirtd closes after a call that failed, too, and then reports that call's error. */
    virErrorPtr error = virSaveLastError();

    g_mutex_lock(&backends->lock);
    g_hash_table_steal_extended(backends->by_connection, conn, NULL, &backend);
    g_mutex_unlock(&backends->lock);
    /* It speaks to the daemon, which nobody else should wait for. */
    secret_backend_free(backend);
    libvirt_module_restore_error(&backends->module->libvirt, error);
}
