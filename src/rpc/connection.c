/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the life of a connection, as connection.h says: its states and what is sent. Reading is in
 * connection_input.c.
 */
#include "rpc/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/connection_input.h"
#include "rpc/server_state.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(connection, "shutdown close");

struct closing_func {
    GDestroyNotify func;
    void *opaque;
};

struct rpc_connection *
rpc_connection_ref(struct rpc_connection *connection)
{
    connection->refs++;
    return connection;
}

void
rpc_connection_unref(struct rpc_connection *connection)
{
    if (--connection->refs > 0)
        return;
    g_assert(!connection->server);
    g_array_unref(connection->on_close);
    g_free(connection->uri);
    g_free(connection);
}

static uint32_t
wanted_events(const struct rpc_connection *connection)
{
    bool may_begin = rpc_connection_may_begin(connection);

    if (connection->waiting || connection->aborted)
        return 0;
    if (!rpc_output_is_empty(&connection->output))
        return EPOLLOUT;
    /* A socket without output is always writable: that is how calls that waited go on. */
    if (connection->rest_waits)
        return may_begin ? EPOLLOUT : 0;
    return may_begin && !connection->closing ? EPOLLIN : 0;
}

void
rpc_connection_settle(struct rpc_connection *connection)
{
    uint32_t events;

    if (!connection->server || connection->aborted)
        return;
    if (connection->closing && connection->in_work == 0 && !connection->rest_waits &&
        rpc_output_is_empty(&connection->output)) {
        rpc_connection_abort(connection);
        return;
    }
    events = wanted_events(connection);
    if (events != connection->watched) {
        loop_watch_update(connection->watch, events);
        connection->watched = events;
    }
}

static void
on_ready(uint32_t events, void *opaque)
{
    struct rpc_connection *connection = opaque;

    rpc_connection_ref(connection);
    /* That it takes what we send is a sign of life too. */
    connection->heard |= (events & (EPOLLIN | EPOLLOUT)) != 0;
    if ((events & EPOLLOUT) && !rpc_output_flush(&connection->output, connection->fd))
        rpc_connection_abort(connection);
    if (!connection->aborted && (events & EPOLLOUT) && connection->rest_waits)
        rpc_connection_resume(connection);
    if (!connection->aborted && (events & connection->watched & EPOLLIN))
        rpc_connection_read(connection);
    else if (events & (EPOLLHUP | EPOLLERR))
        connection->aborted = true;
    if (connection->aborted)
        rpc_connection_close(connection);
    else
        rpc_connection_settle(connection);
    rpc_connection_unref(connection);
}

struct rpc_connection *
rpc_connection_new(struct rpc_server *server, int fd, const struct rpc_identity *identity,
                   GError **error)
{
    g_auto(file_fd) owned = fd;
    struct loop *loop = server->params.loop;
    struct rpc_user *user = rpc_user_take(server->users, loop, identity->peer_uid, error);
    struct rpc_connection *connection;

    if (!user)
        return NULL;
    connection = g_new0(struct rpc_connection, 1);
    connection->refs = 1;
    connection->identity = *identity;
    connection->user = user;
    connection->watch = user->group
                            ? loop_group_watch(user->group, fd, 0, on_ready, connection, error)
                            : loop_watch_new(loop, fd, 0, on_ready, connection, error);
    if (!connection->watch) {
        rpc_user_drop(server->users, user);
        g_free(connection);
        return NULL;
    }
    connection->link.data = connection;
    connection->server = server;
    connection->fd = g_steal_fd(&owned);
    connection->on_close = g_array_new(FALSE, FALSE, sizeof(struct closing_func));
    rpc_rest_init(&connection->rest, &server->rests);
    rpc_output_init(&connection->output, &server->output_bytes);
    return connection;
}

void
rpc_connection_start(struct rpc_connection *connection)
{
    connection->waiting = false;
    connection->handshake_s = 0;
    rpc_connection_settle(connection);
}

/* The hang-up that shutdown() causes is what makes the loop close the connection. */
void
rpc_connection_abort(struct rpc_connection *connection)
{
    if (!connection->server || connection->aborted)
        return;
    connection->aborted = true;
    rpc_output_clear(&connection->output);
    rpc_rest_clear(&connection->rest);
    connection->rest_waits = false;
    shutdown(connection->fd, SHUT_RDWR);
}

void
rpc_connection_finish(struct rpc_connection *connection)
{
    connection->closing = true;
    connection->handshake_s = 0;
}

void
rpc_connection_close(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;

    if (!server)
        return;
    loop_watch_free(g_steal_pointer(&connection->watch));
    close(connection->fd);
    connection->fd = -1;
    rpc_rest_clear(&connection->rest);
    rpc_output_clear(&connection->output);
    g_clear_error(&connection->skip.refusal);
    connection->aborted = true;
    connection->server = NULL;
    for (guint i = 0; i < connection->on_close->len; i++) {
        struct closing_func *closing = &g_array_index(connection->on_close, struct closing_func, i);

        closing->func(closing->opaque);
    }
    g_array_set_size(connection->on_close, 0);
    rpc_server_drop_connection(server, connection);
    rpc_connection_unref(connection);
}

void
rpc_connection_set_authenticated(struct rpc_connection *connection)
{
    if (connection->authenticated || !connection->server)
        return;
    connection->authenticated = true;
    rpc_server_note_authenticated(connection->server, connection->user);
}

static void
shed_if_full(struct rpc_server *server)
{
    if (server->output_bytes > RPC_OUTPUT_MAX)
        rpc_server_shed_output(server);
}

void
rpc_connection_send(struct rpc_connection *connection, const void *bytes, size_t len,
                    enum rpc_output_kind kind)
{
    if (!connection->server || connection->aborted)
        return;
    if (kind == RPC_OUTPUT_EVENT &&
        rpc_output_count_events(&connection->output) + len > RPC_EVENTS_MAX) {
        log_warn("the client with pid %d does not read its events: disconnected",
                 connection->identity.peer_pid);
        rpc_connection_abort(connection);
        return;
    }
    if (!rpc_output_send(&connection->output, connection->fd, bytes, len, kind))
        rpc_connection_abort(connection);
    shed_if_full(connection->server);
}

void
rpc_connection_send_secret(struct rpc_connection *connection, struct secret_buf *take_message)
{
    if (!connection->server || connection->aborted)
        secret_buf_free(take_message);
    else if (!rpc_output_send_secret(&connection->output, connection->fd, take_message))
        rpc_connection_abort(connection);
    if (connection->server)
        shed_if_full(connection->server);
}

bool
rpc_connection_is_readonly(const struct rpc_connection *connection)
{
    return connection->readonly;
}

const struct rpc_identity *
rpc_connection_get_identity(const struct rpc_connection *connection)
{
    return &connection->identity;
}

void
rpc_connection_on_close(struct rpc_connection *connection, GDestroyNotify func, void *opaque)
{
    struct closing_func closing = {.func = func, .opaque = opaque};

    if (connection->server)
        g_array_append_val(connection->on_close, closing);
    else
        func(opaque);
}
