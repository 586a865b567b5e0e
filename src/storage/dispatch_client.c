/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see dispatch_client.h.
 */
#include "storage/dispatch_client.h"

#include "util/error.h"

struct dispatch_clients {
    GHashTable *clients; /* struct rpc_connection -> struct dispatch_client */
    bool is_ending;
};

/* What a connection gives back when it ends. */
struct registration {
    struct dispatch_clients *clients;
    struct rpc_connection *connection;
};

struct dispatch_client *
dispatch_client_ref(struct dispatch_client *client)
{
    client->refs++;
    return client;
}

void
dispatch_client_unref(struct dispatch_client *client)
{
    if (--client->refs > 0)
        return;
    g_ptr_array_unref(client->closings);
    g_free(client);
}

static void
client_unref(void *opaque)
{
    dispatch_client_unref(opaque);
}

struct dispatch_clients *
dispatch_clients_new(void)
{
    struct dispatch_clients *clients = g_new0(struct dispatch_clients, 1);

    clients->clients = g_hash_table_new_full(NULL, NULL, NULL, client_unref);
    return clients;
}

void
dispatch_clients_free(struct dispatch_clients *clients)
{
    if (!clients)
        return;
    g_hash_table_unref(clients->clients);
    g_free(clients);
}

static void
close_client(struct dispatch_client *client)
{
    dispatch_client_ref(client);
    client->is_closed = true;
    while (client->closings->len > 0) {
        struct dispatch_closing *closing =
            g_ptr_array_steal_index(client->closings, client->closings->len - 1);

        closing->func(closing);
    }
    dispatch_client_unref(client);
}

static void
on_close(void *opaque)
{
    struct registration *registration = opaque;
    GHashTable *clients = registration->clients->clients;

    close_client(g_hash_table_lookup(clients, registration->connection));
    g_hash_table_remove(clients, registration->connection);
    g_free(registration);
}

void
dispatch_clients_end(struct dispatch_clients *clients)
{
    GHashTableIter iter;
    void *client;

    clients->is_ending = true;
    g_hash_table_iter_init(&iter, clients->clients);
    while (g_hash_table_iter_next(&iter, NULL, &client))
        close_client(client);
}

bool
dispatch_clients_check(const struct dispatch_clients *clients, GError **error)
{
    if (!clients->is_ending)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
              "virtcryptd is ending: try again when it has been started anew");
    return false;
}

struct dispatch_client *
dispatch_clients_get(struct dispatch_clients *clients, const struct rpc_call *call)
{
    struct rpc_connection *connection = rpc_call_get_connection(call);
    struct dispatch_client *client = g_hash_table_lookup(clients->clients, connection);
    struct registration *registration;

    if (client)
        return client;
    client = g_new0(struct dispatch_client, 1);
    client->refs = 1;
    client->closings = g_ptr_array_new();
    g_hash_table_insert(clients->clients, connection, client);
    registration = g_new(struct registration, 1);
    *registration = (struct registration){.clients = clients, .connection = connection};
    rpc_connection_on_close(connection, on_close, registration);
    return client;
}

void
dispatch_client_add_closing(struct dispatch_client *client, struct dispatch_closing *closing)
{
    if (client->is_closed)
        closing->func(closing);
    else
        g_ptr_array_add(client->closings, closing);
}

void
dispatch_client_drop_closing(struct dispatch_client *client, struct dispatch_closing *closing)
{
    g_ptr_array_remove(client->closings, closing);
}
