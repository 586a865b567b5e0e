/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: registrations for events. A connection may end while it is being told: its listener is then
 * only marked, and forgotten when everybody has been told.
 */
#include "secret/events.h"

#include "rpc/protocol/remote_secret_server.h"
#include "secret/dispatch.h"
#include "util/error.h"

struct registration {
    int callback_id;
    enum secret_event_id event;
    bool has_only;
    struct uuid only;
};

struct listener {
    struct secret_events *events;
    struct rpc_connection *connection; /* NULL: it has ended */
    GArray *registrations;             /* struct registration */
    int next_id;
};

struct secret_events {
    GHashTable *listeners; /* connection -> struct listener */
    bool telling;
};

static void
listener_free(void *opaque)
{
    struct listener *listener = opaque;

    g_array_unref(listener->registrations);
    g_free(listener);
}

struct secret_events *
secret_events_new(void)
{
    struct secret_events *events = g_new0(struct secret_events, 1);

    events->listeners = g_hash_table_new_full(NULL, NULL, NULL, listener_free);
    return events;
}

void
secret_events_free(struct secret_events *events)
{
    if (!events)
        return;
    g_hash_table_unref(events->listeners);
    g_free(events);
}

static void
on_close(void *opaque)
{
    struct listener *listener = opaque;

    if (listener->events->telling)
        listener->connection = NULL;
    else
        g_hash_table_remove(listener->events->listeners, listener->connection);
}

static struct listener *
get_listener(struct secret_events *events, struct rpc_connection *connection)
{
    struct listener *listener = g_hash_table_lookup(events->listeners, connection);

    if (listener)
        return listener;
    listener = g_new0(struct listener, 1);
    listener->events = events;
    listener->connection = connection;
    listener->registrations = g_array_new(FALSE, FALSE, sizeof(struct registration));
    g_hash_table_insert(events->listeners, connection, listener);
    rpc_connection_on_close(connection, on_close, listener);
    return listener;
}

static bool
is_same(const struct registration *a, const struct registration *b)
{
    return a->event == b->event && a->has_only == b->has_only &&
           (!a->has_only || uuid_equal(&a->only, &b->only));
}

static bool
check_new(const struct listener *listener, const struct registration *wanted, GError **error)
{
    for (guint i = 0; i < listener->registrations->len; i++) {
        if (is_same(&g_array_index(listener->registrations, struct registration, i), wanted)) {
            error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "event callback already tracked");
            return false;
        }
    }
    if (listener->registrations->len >= SECRET_EVENTS_MAX || listener->next_id == G_MAXINT) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "this connection has registered for secret events too often: %d registrations at "
                  "a time are possible; register once for all secrets instead",
                  SECRET_EVENTS_MAX);
        return false;
    }
    return true;
}

bool
secret_events_register(struct secret_events *events, struct rpc_connection *connection,
                       int event_id, const struct uuid *only, int *ret_callback_id, GError **error)
{
    struct registration registration = {.has_only = only != NULL};
    struct listener *listener;

    if (event_id != SECRET_EVENT_LIFECYCLE && event_id != SECRET_EVENT_VALUE_CHANGED) {
        error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "unsupported secret event ID %d",
                  event_id);
        return false;
    }
    registration.event = (enum secret_event_id)event_id;
    if (only)
        registration.only = *only;
    listener = get_listener(events, connection);
    if (!check_new(listener, &registration, error))
        return false;
    registration.callback_id = listener->next_id++;
    g_array_append_val(listener->registrations, registration);
    *ret_callback_id = registration.callback_id;
    return true;
}

bool
secret_events_deregister(struct secret_events *events, struct rpc_connection *connection,
                         int callback_id, GError **error)
{
    struct listener *listener = g_hash_table_lookup(events->listeners, connection);

    for (guint i = 0; listener && i < listener->registrations->len; i++) {
        if (g_array_index(listener->registrations, struct registration, i).callback_id ==
            callback_id) {
            g_array_remove_index(listener->registrations, i);
            return true;
        }
    }
    error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "secret event callback %d not registered",
              callback_id);
    return false;
}

static void
send_lifecycle(struct rpc_connection *connection, int callback_id, int detail,
               const struct secret_def *def)
{
    struct remote_secret_event_lifecycle_msg message = {
        .callbackID = callback_id,
        .event = detail,
        .detail = 0,
    };

    dispatch_describe(def, &message.secret);
    remote_secret_event_lifecycle_send(connection, &message);
    remote_secret_event_lifecycle_msg_clear(&message);
}

static void
send_value_changed(struct rpc_connection *connection, int callback_id, const struct secret_def *def)
{
    struct remote_secret_event_value_changed_msg message = {.callbackID = callback_id};

    dispatch_describe(def, &message.secret);
    remote_secret_event_value_changed_send(connection, &message);
    remote_secret_event_value_changed_msg_clear(&message);
}

static void
tell_listener(const struct listener *listener, enum secret_event_id event, int detail,
              const struct secret_def *def)
{
    for (guint i = 0; listener->connection && i < listener->registrations->len; i++) {
        const struct registration *registration =
            &g_array_index(listener->registrations, struct registration, i);

        if (registration->event != event ||
            (registration->has_only && !uuid_equal(&registration->only, &def->uuid)))
            continue;
        if (event == SECRET_EVENT_LIFECYCLE)
            send_lifecycle(listener->connection, registration->callback_id, detail, def);
        else
            send_value_changed(listener->connection, registration->callback_id, def);
    }
}

static gboolean
has_ended(gpointer key, gpointer value, gpointer opaque)
{
    const struct listener *listener = value;

    return listener->connection == NULL;
}

void
secret_events_tell(struct secret_events *events, enum secret_event_id event, int detail,
                   const struct secret_def *def)
{
    GHashTableIter iter;
    gpointer listener;
    bool was_telling = events->telling;

    events->telling = true;
    g_hash_table_iter_init(&iter, events->listeners);
    while (g_hash_table_iter_next(&iter, NULL, &listener))
        tell_listener(listener, event, detail, def);
    events->telling = was_telling;
    if (!was_telling)
        g_hash_table_foreach_remove(events->listeners, has_ended, NULL);
}
