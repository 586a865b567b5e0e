/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls that make a backup and hand it out. A copy belongs to its connection, and goes
 * with it.
 */
#include "secret/dispatch_store.h"
#include "secret/service_backup.h"
#include "util/error.h"

/* Each holds the store in memory once more. */
enum { BACKUPS_MAX = 4 };

/* A connection that has one, until it ends. */
struct holder {
    struct dispatch *dispatch;
    struct rpc_connection *connection;
};

static void
on_close(void *opaque)
{
    struct holder *holder = opaque;

    g_hash_table_remove(holder->dispatch->backups, holder->connection);
    g_free(holder);
}

static void
free_backup(void *opaque)
{
    service_backup_free(opaque);
}

static void
keep_backup(struct dispatch *dispatch, struct rpc_connection *connection,
            struct service_backup *take_backup)
{
    bool is_first = !g_hash_table_contains(dispatch->backups, connection);
    struct holder *holder;

    g_hash_table_insert(dispatch->backups, connection, take_backup);
    if (!is_first)
        return;
    holder = g_new(struct holder, 1);
    *holder = (struct holder){dispatch, connection};
    rpc_connection_on_close(connection, on_close, holder);
}

static bool
check_room(const struct dispatch *dispatch, struct rpc_connection *connection, GError **error)
{
    if (g_hash_table_contains(dispatch->backups, connection) ||
        g_hash_table_size(dispatch->backups) < BACKUPS_MAX)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_RESOURCE_BUSY,
              "%d backups are being made already: wait for one of them", BACKUPS_MAX);
    return false;
}

enum rpc_outcome
dispatch_backup_begin(struct rpc_call *call, void *opaque,
                      struct virtcrypt_store_backup_begin_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct rpc_connection *connection = rpc_call_get_connection(call);
    struct service_backup *backup;

    if (!dispatch_check_local_root(dispatch, call, "back the store up", error))
        return RPC_FAILED;
    if (!dispatch->backups)
        dispatch->backups = g_hash_table_new_full(NULL, NULL, NULL, free_backup);
    if (!check_room(dispatch, connection, error))
        return RPC_FAILED;
    backup = service_backup_new(dispatch->service, error);
    if (!backup)
        return RPC_FAILED;
    ret->size = service_backup_size(backup);
    ret->secrets = service_backup_count(backup);
    ret->lost = dispatch_verify_pack(service_backup_lost(backup), &ret->lost_len);
    keep_backup(dispatch, connection, backup);
    return RPC_DONE;
}

enum rpc_outcome
dispatch_backup_read(struct rpc_call *call, void *opaque,
                     const struct virtcrypt_store_backup_read_args *args,
                     struct virtcrypt_store_backup_read_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct service_backup *backup =
        dispatch->backups ? g_hash_table_lookup(dispatch->backups, rpc_call_get_connection(call))
                          : NULL;
    g_autoptr(GBytes) bytes = NULL;
    gsize len = 0;

    if (!dispatch_check_local_root(dispatch, call, "back the store up", error))
        return RPC_FAILED;
    if (!backup) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "no backup was begun on this connection");
        return RPC_FAILED;
    }
    if (args->max == 0 || args->max > VIRTCRYPT_STORE_CHUNK_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a part of a backup has 1 to %d bytes", VIRTCRYPT_STORE_CHUNK_MAX);
        return RPC_FAILED;
    }
    bytes = service_backup_read(backup, args->at, args->max, error);
    if (!bytes)
        return RPC_FAILED;
    ret->bytes = g_bytes_unref_to_data(g_steal_pointer(&bytes), &len);
    ret->bytes_len = (uint32_t)len;
    return RPC_DONE;
}

void
dispatch_backup_clear(struct dispatch *dispatch)
{
    g_clear_pointer(&dispatch->backups, g_hash_table_unref);
}
