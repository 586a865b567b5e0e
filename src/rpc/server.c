/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see server.h: who is let in and who is put out. What a client sends is the connection's.
 */
#include "rpc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/connect_calls.h"
#include "rpc/connection.h"
#include "rpc/keepalive.h"
#include "rpc/peer.h"
#include "rpc/polkit.h"
#include "rpc/reply.h"
#include "rpc/server_state.h"
#include "rpc/user.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(server, "accept4 fcntl close");

enum {
    ACCEPTS_PER_ROUND = 16,
    POLKIT_THREADS_DEFAULT = 20,
    WARNING_INTERVAL_US = 10 * 1000 * 1000,
    /* One client in so many is kept for root. */
    RESERVE = 10,
};

struct listener {
    struct rpc_server *server;
    int fd;
    struct loop_watch *watch;
    bool readonly;
    enum rpc_auth auth;
};

static void
listener_free(void *opaque)
{
    struct listener *listener = opaque;

    loop_watch_free(listener->watch);
    file_fd_clear(&listener->fd);
    g_free(listener);
}

struct rpc_server *
rpc_server_new(const struct rpc_server_params *params)
{
    struct rpc_server *server = g_new0(struct rpc_server, 1);

    g_assert(params->max_client_requests > 0);
    server->params = *params;
    server->uri = g_strdup(params->uri);
    server->type_name = g_strdup(params->type_name);
    server->params.uri = server->uri;
    server->params.type_name = server->type_name;
    server->programs = g_array_new(FALSE, FALSE, sizeof(struct rpc_server_program));
    server->listeners = g_ptr_array_new_with_free_func(listener_free);
    g_queue_init(&server->connections);
    server->users = rpc_user_table_new();
    server->send = g_malloc(RPC_SEND_SIZE);
    rpc_connect_calls_add(server);
    return server;
}

void
rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    server->started = false;
    g_ptr_array_unref(server->listeners);
    server->listeners = NULL;
    while (server->connections.head)
        rpc_connection_close(server->connections.head->data);
    rpc_polkit_free(server->polkit);
    loop_timer_free(server->tick);
    loop_timer_free(server->idle);
    g_array_unref(server->programs);
    g_hash_table_unref(server->users);
    secret_buf_free(server->receive);
    g_free(server->send);
    g_free(server->uri);
    g_free(server->type_name);
    g_free(server);
}

void
rpc_server_add_program(struct rpc_server *server, const struct rpc_program *program,
                       const void *handlers, void *opaque)
{
    struct rpc_server_program entry = {.program = program, .handlers = handlers, .opaque = opaque};

    g_array_append_val(server->programs, entry);
}

unsigned int
rpc_server_count_clients(const struct rpc_server *server)
{
    return server->connections.length;
}

/* ---- time ---- */

static void on_tick(void *opaque);

static void
on_idle(void *opaque)
{
    struct rpc_server *server = opaque;
    const struct rpc_server_params *params = &server->params;

    if (!params->is_held || !params->is_held(params->opaque))
        params->on_idle(params->opaque);
}

/* Starts and stops the timers as the number of clients says. */
static void
set_timers(struct rpc_server *server)
{
    bool ticks = server->connections.length > 0 || server->paused;
    bool idles = server->connections.length == 0 && server->started &&
                 server->params.idle_exit_s > 0 && server->params.on_idle;

    if (ticks && !server->tick)
        server->tick = loop_timer_new(server->params.loop, RPC_TICK_MS, on_tick, server);
    else if (!ticks)
        loop_timer_free(g_steal_pointer(&server->tick));
    if (idles && !server->idle)
        server->idle =
            loop_timer_new(server->params.loop, server->params.idle_exit_s * 1000, on_idle, server);
    else if (!idles)
        loop_timer_free(g_steal_pointer(&server->idle));
}

/* ---- who is let in ---- */

static bool
has_room(const struct rpc_server *server)
{
    return server->params.max_clients == 0 ||
           server->connections.length < server->params.max_clients;
}

/* Accepts clients, or leaves them queued in the kernel. */
static void
set_accepting(struct rpc_server *server, bool accepting)
{
    if (!server->started || server->paused == !accepting)
        return;
    server->paused = !accepting;
    for (guint i = 0; i < server->listeners->len; i++) {
        struct listener *listener = g_ptr_array_index(server->listeners, i);

        loop_watch_update(listener->watch, accepting ? EPOLLIN : 0);
    }
    set_timers(server);
}

/* A warning about clients, seldom enough that they can't fill the log. */
static bool
may_warn(struct rpc_server *server)
{
    int64_t now = g_get_monotonic_time();

    if (now < server->next_warning_us)
        return false;
    server->next_warning_us = now + WARNING_INTERVAL_US;
    return true;
}

/* Why one more client of a user is not let in, or NULL. */
static const char *
find_refusal(const struct rpc_server *server, uid_t uid, bool authenticated)
{
    static const struct rpc_user newcomer;
    const struct rpc_user *found = g_hash_table_lookup(server->users, GUINT_TO_POINTER(uid));
    const struct rpc_user *user = found ? found : &newcomer;
    unsigned int max_anonymous = server->params.max_anonymous_clients;
    unsigned int max = server->params.max_clients - server->params.max_clients / RESERVE;

    if (!rpc_user_is_privileged(uid)) {
        if (max > 0 && server->unprivileged >= max)
            return "max_clients is reached, but for those kept for root";
        if (!rpc_user_may_take(user->clients, server->unprivileged, max))
            return "the rest of max_clients is kept for other users";
    }
    if (!authenticated && !rpc_user_may_take(user->anonymous, server->anonymous, max_anonymous) &&
        !rpc_user_may_take(user->waiting, server->waiting, RPC_WAITING_MAX))
        return "max_anonymous_clients is reached and too many wait already";
    return NULL;
}

static void
admit(struct rpc_server *server, struct rpc_connection *connection)
{
    struct rpc_user *user = connection->user;
    unsigned int max = server->params.max_anonymous_clients;

    server->unprivileged += !user->is_privileged;
    g_queue_push_tail_link(&server->connections, &connection->link);
    if (!connection->authenticated && !rpc_user_may_take(user->anonymous, server->anonymous, max)) {
        connection->waiting = true;
        server->waiting++;
        user->waiting++;
    } else {
        server->anonymous += !connection->authenticated;
        user->anonymous += !connection->authenticated;
        rpc_connection_start(connection);
    }
    if (!has_room(server))
        set_accepting(server, false);
    set_timers(server);
}

static bool
make_buffers(struct rpc_server *server, GError **error)
{
    if (!server->receive)
        server->receive =
            secret_buf_new(RPC_FRAME_HEADER_SIZE + RPC_FRAME_FDS_SIZE + RPC_RECEIVE_SIZE, error);
    return server->receive != NULL;
}

bool
rpc_server_add_client(struct rpc_server *server, int fd, bool readonly, enum rpc_auth auth,
                      GError **error)
{
    g_auto(file_fd) owned = fd;
    struct rpc_identity identity;
    struct rpc_connection *connection;
    bool authenticated;
    const char *refusal;

    if (!make_buffers(server, error) || !rpc_peer_identify(fd, &identity, error))
        return false;
    authenticated = auth == RPC_AUTH_NONE || identity.peer_uid == 0;
    refusal = find_refusal(server, identity.peer_uid, authenticated);
    if (refusal) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "a client of user %u is refused: %s",
                  identity.peer_uid, refusal);
        return false;
    }
    connection = rpc_connection_new(server, g_steal_fd(&owned), &identity, error);
    if (!connection)
        return false;
    connection->auth = auth;
    connection->readonly = readonly;
    connection->authenticated = authenticated;
    admit(server, connection);
    return true;
}

/* False if there is nobody more to accept now. */
static bool
accept_one(struct listener *listener)
{
    struct rpc_server *server = listener->server;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    g_autoptr(GError) error = NULL;

    if (fd >= 0) {
        if (!rpc_server_add_client(server, fd, listener->readonly, listener->auth, &error) &&
            may_warn(server))
            log_warn("%s", error->message);
        return has_room(server);
    }
    if (errno == EINTR || errno == ECONNABORTED)
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        /* Out of descriptors or memory: the next tick tries again. */
        if (may_warn(server))
            log_warn("cannot accept a client, who has to wait: %s", g_strerror(errno));
        set_accepting(server, false);
    }
    return false;
}

static void
on_client(uint32_t events, void *opaque)
{
    struct listener *listener = opaque;

    for (int i = 0; i < ACCEPTS_PER_ROUND && accept_one(listener); i++)
        ;
}

bool
rpc_server_add_listener(struct rpc_server *server, int fd, bool readonly, enum rpc_auth auth,
                        GError **error)
{
    struct listener *listener = g_new0(struct listener, 1);
    unsigned int threads = server->params.max_anonymous_clients;
    int flags = fcntl(fd, F_GETFL);

    listener->server = server;
    listener->fd = fd;
    listener->readonly = readonly;
    listener->auth = auth;
    g_ptr_array_add(server->listeners, listener);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "cannot listen on descriptor %d", fd);
        return false;
    }
    if (auth == RPC_AUTH_POLKIT && !server->polkit)
        server->polkit = rpc_polkit_new(server->params.loop,
                                        threads > 0 ? threads : POLKIT_THREADS_DEFAULT, error);
    if (server->polkit && server->params.ask_polkit)
        rpc_polkit_set_ask(server->polkit, server->params.ask_polkit, server->params.ask_opaque);
    if ((auth == RPC_AUTH_POLKIT && !server->polkit) || !make_buffers(server, error))
        return false;
    listener->watch = loop_watch_new(server->params.loop, fd, server->started ? EPOLLIN : 0,
                                     on_client, listener, error);
    return listener->watch != NULL;
}

void
rpc_server_start(struct rpc_server *server)
{
    server->started = true;
    server->paused = true;
    set_accepting(server, has_room(server));
    set_timers(server);
}

/* ---- who has gone, or has to ---- */

/* Those that wait are let in, oldest first, while there is room for their user. */
static void
admit_waiting(struct rpc_server *server)
{
    unsigned int max = server->params.max_anonymous_clients;

    for (GList *at = server->connections.head; at && server->waiting > 0 && server->anonymous < max;
         at = at->next) {
        struct rpc_connection *connection = at->data;
        struct rpc_user *user = connection->user;

        if (!connection->waiting || !rpc_user_may_take(user->anonymous, server->anonymous, max))
            continue;
        server->waiting--;
        user->waiting--;
        server->anonymous++;
        user->anonymous++;
        rpc_connection_start(connection);
    }
}

void
rpc_server_note_authenticated(struct rpc_server *server, struct rpc_user *user)
{
    server->anonymous--;
    user->anonymous--;
    admit_waiting(server);
}

void
rpc_server_drop_connection(struct rpc_server *server, struct rpc_connection *connection)
{
    struct rpc_user *user = g_steal_pointer(&connection->user);
    bool anonymous = !connection->waiting && !connection->authenticated;

    g_queue_unlink(&server->connections, &connection->link);
    server->unprivileged -= !user->is_privileged;
    server->waiting -= connection->waiting;
    user->waiting -= connection->waiting;
    server->anonymous -= anonymous;
    user->anonymous -= anonymous;
    rpc_user_drop(server->users, user);
    if (!server->started)
        return;
    admit_waiting(server);
    set_accepting(server, true);
    set_timers(server);
}

static size_t
count_plain_input(const struct rpc_connection *connection)
{
    return rpc_rest_is_secret(&connection->rest) ? 0 : connection->rest.capacity;
}

static size_t
count_secret_input(const struct rpc_connection *connection)
{
    return rpc_rest_is_secret(&connection->rest) ? connection->rest.capacity : 0;
}

static size_t
count_output(const struct rpc_connection *connection)
{
    return connection->output.bytes;
}

/* The user at whom `count_bytes` finds most; root only if nobody else has any. */
static const struct rpc_user *
find_greediest(struct rpc_server *server,
               size_t (*count_bytes)(const struct rpc_connection *connection))
{
    const struct rpc_user *greediest = NULL;

    for (GList *at = server->connections.head; at; at = at->next)
        ((struct rpc_connection *)at->data)->user->held = 0;
    for (GList *at = server->connections.head; at; at = at->next) {
        struct rpc_connection *connection = at->data;
        struct rpc_user *user = connection->user;

        user->held += count_bytes(connection);
        if (!greediest || (user->held > 0 && greediest->is_privileged && !user->is_privileged) ||
            (user->held > greediest->held && user->is_privileged == greediest->is_privileged))
            greediest = user;
    }
    return greediest;
}

/* Aborts the connection that `count_bytes` finds most at, of the user who has most. */
static void
shed(struct rpc_server *server, size_t (*count_bytes)(const struct rpc_connection *connection),
     const char *what)
{
    const struct rpc_user *user = find_greediest(server, count_bytes);
    struct rpc_connection *worst = NULL;
    size_t most = 0;

    for (GList *at = server->connections.head; at; at = at->next) {
        struct rpc_connection *connection = at->data;

        if (connection->user == user && !connection->aborted && count_bytes(connection) > most) {
            worst = connection;
            most = count_bytes(connection);
        }
    }
    if (!worst)
        return;
    if (may_warn(server))
        log_warn("%s of all clients take too much memory; the client with pid %d of user %u, which "
                 "holds most of it (%zu bytes), is disconnected",
                 what, worst->identity.peer_pid, user->uid, most);
    rpc_connection_abort(worst);
}

void
rpc_server_shed_input(struct rpc_server *server, bool secret)
{
    shed(server, secret ? count_secret_input : count_plain_input, "incomplete calls");
}

void
rpc_server_shed_output(struct rpc_server *server)
{
    shed(server, count_output, "replies that are not read");
}

/* False if the client took too long to authenticate and open, or to read its last replies. Time
 * that a call takes, such as somebody typing a password for polkit, has a bound of its own. */
static bool
tick_handshake(struct rpc_connection *connection)
{
    unsigned int timeout_s = connection->server->params.handshake_timeout_s;

    if (timeout_s == 0 || connection->waiting || connection->in_work > 0 ||
        (connection->authenticated && connection->opened && !connection->closing))
        return true;
    return ++connection->handshake_s <= timeout_s;
}

static void
on_tick(void *opaque)
{
    struct rpc_server *server = opaque;
    GList *next;

    for (GList *at = server->connections.head; at; at = next) {
        struct rpc_connection *connection = at->data;
        const char *reason = NULL;

        next = at->next;
        if (!tick_handshake(connection))
            reason = "did not open or close its connection in time";
        else if (!rpc_keepalive_tick(connection))
            reason = "does not answer keepalive messages";
        if (reason) {
            log_info("the client with pid %d %s: disconnected", connection->identity.peer_pid,
                     reason);
            rpc_connection_close(connection);
        }
    }
    if (server->paused && has_room(server))
        set_accepting(server, true);
    set_timers(server);
}

void
rpc_connection_send_event(struct rpc_connection *connection, const struct rpc_program *program,
                          const struct rpc_procedure *procedure, const void *message)
{
    struct rpc_frame_header header = {
        .program = program->number,
        .version = program->version,
        .procedure = procedure->number,
        .type = RPC_FRAME_MESSAGE,
        .serial = RPC_FRAME_EVENT_SERIAL,
        .status = RPC_FRAME_OK,
    };

    rpc_reply_send_event(connection, &header, procedure->args, message);
}
