/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: for tests of the RPC server: a server in the test's own loop, clients that are the other
 * ends of socket pairs, and messages as bytes. Every wait has a bound.
 */
#pragma once

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "expect.h"
#include "patience.h"
#include "rpc/frame.h"
#include "rpc/protocol/remote_connection_server.h"
#include "rpc/protocol/remote_secret_server.h"
#include "rpc/server.h"
#include "util/loop.h"

enum { RPC_HOST_CLIENTS_MAX = 12 };

struct rpc_host_client {
    struct loop *loop;
    int fd;
    struct loop_watch *watch;
    GByteArray *received;
    bool closed; /* by the server */
    bool deaf;   /* does not read */
};

struct rpc_host {
    struct loop *loop;
    struct loop_timer *limit;
    struct rpc_server *server;
    struct rpc_host_client clients[RPC_HOST_CLIENTS_MAX];
    guint client_count;
};

static inline void
rpc_host_fail(void *opaque)
{
    g_error("what the test waits for does not happen");
}

static inline struct rpc_server_params
rpc_host_params(struct rpc_host *host)
{
    return (struct rpc_server_params){
        .loop = host->loop,
        .uri = "secret:///system",
        .type_name = "secret",
        .version = 1000,
        .lib_version = 9000000,
        .error_domain = ERROR_FROM_SECRET,
        .max_client_requests = 5,
    };
}

static inline void
rpc_host_init(struct rpc_host *host)
{
    g_autoptr(GError) error = NULL;

    *host = (struct rpc_host){0};
    host->loop = loop_new(&error);
    g_assert_no_error(error);
    host->limit = loop_timer_new(host->loop, patient_ms(20000), rpc_host_fail, NULL);
}

static inline void
rpc_host_start(struct rpc_host *host, const struct rpc_server_params *params)
{
    host->server = rpc_server_new(params);
    rpc_server_start(host->server);
}

static inline void
rpc_host_hang_up(struct rpc_host_client *client)
{
    if (client->fd < 0)
        return;
    loop_watch_free(client->watch);
    close(client->fd);
    client->fd = -1;
}

static inline void
rpc_host_clear(struct rpc_host *host)
{
    rpc_server_free(host->server);
    for (guint i = 0; i < host->client_count; i++) {
        rpc_host_hang_up(&host->clients[i]);
        g_byte_array_unref(host->clients[i].received);
    }
    loop_timer_free(host->limit);
    loop_free(host->loop);
}

static inline void
rpc_host_on_readable(uint32_t events, void *opaque)
{
    struct rpc_host_client *client = opaque;
    uint8_t bytes[65536];
    ssize_t got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (got > 0) {
        g_byte_array_append(client->received, bytes, (guint)got);
    } else if (got == 0 || errno == ECONNRESET) {
        client->closed = true;
        loop_watch_update(client->watch, 0);
        rpc_host_hang_up(client);
    }
    loop_quit(client->loop);
}

/* The test's end of a connected socket. */
static inline struct rpc_host_client *
rpc_host_adopt(struct rpc_host *host, int fd)
{
    struct rpc_host_client *client = &host->clients[host->client_count++];
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(host->client_count, <=, RPC_HOST_CLIENTS_MAX);
    client->loop = host->loop;
    client->fd = fd;
    client->received = g_byte_array_new();
    client->watch = loop_watch_new(host->loop, fd, EPOLLIN, rpc_host_on_readable, client, &error);
    g_assert_no_error(error);
    return client;
}

static inline struct rpc_host_client *
rpc_host_connect_as(struct rpc_host *host, bool readonly, enum rpc_auth auth)
{
    g_autoptr(GError) error = NULL;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    rpc_server_add_client(host->server, fds[0], readonly, auth, &error);
    g_assert_no_error(error);
    return rpc_host_adopt(host, fds[1]);
}

static inline struct rpc_host_client *
rpc_host_connect(struct rpc_host *host)
{
    return rpc_host_connect_as(host, false, RPC_AUTH_NONE);
}

/* ---- time ---- */

static inline void
rpc_host_quit(void *opaque)
{
    loop_quit(opaque);
}

/* Lets everything happen that can happen at once. */
static inline void
rpc_host_settle(struct rpc_host *host)
{
    struct loop_timer *timer = loop_timer_new(host->loop, 1, rpc_host_quit, host->loop);

    /* Clients quit the loop too, whenever they receive something. */
    for (int i = 0; i < 20; i++)
        loop_run(host->loop);
    loop_timer_free(timer);
}

static inline void
rpc_host_run_for(struct rpc_host *host, unsigned int ms)
{
    int64_t end = g_get_monotonic_time() + (int64_t)ms * 1000;
    struct loop_timer *timer = loop_timer_new(host->loop, 10, rpc_host_quit, host->loop);

    while (g_get_monotonic_time() < end)
        loop_run(host->loop);
    loop_timer_free(timer);
}

static inline void
rpc_host_wait_for_close(struct rpc_host *host, struct rpc_host_client *client)
{
    while (!client->closed)
        loop_run(host->loop);
}

/* ---- messages ---- */

static inline void
rpc_put_word(GByteArray *bytes, uint32_t word)
{
    word = GUINT32_TO_BE(word);
    g_byte_array_append(bytes, (const guint8 *)&word, sizeof(word));
}

static inline GByteArray *
rpc_message(struct rpc_frame_header header, const void *payload, size_t len)
{
    GByteArray *bytes = g_byte_array_new();

    if (header.length == 0)
        header.length = RPC_FRAME_HEADER_SIZE + (uint32_t)len;
    g_byte_array_set_size(bytes, RPC_FRAME_HEADER_SIZE);
    rpc_frame_encode_header(&header, bytes->data);
    if (len > 0)
        g_byte_array_append(bytes, payload, (guint)len);
    return bytes;
}

/* A call of libvirt's program with `args` of `type` (NULL: void). */
static inline GByteArray *
rpc_call_message(int procedure, uint32_t serial, const struct rpc_type *type, const void *args)
{
    struct rpc_frame_header header = {.program = remote_secret_program.number,
                                      .version = 1,
                                      .procedure = procedure,
                                      .serial = serial};
    size_t len = type ? type->encoded_size(args) : 0;
    g_autofree uint8_t *payload = g_malloc0(len + 1);
    struct xdr_writer writer = {.pos = payload, .end = payload + len};

    if (type)
        type->encode(&writer, args);
    return rpc_message(header, payload, len);
}

/* Sends all, letting the server work whenever the socket is full. */
static inline void
rpc_send(struct rpc_host *host, struct rpc_host_client *client, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    while (len > 0 && client->fd >= 0) {
        ssize_t sent = send(client->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0) {
            if (errno != EAGAIN)
                return;
            rpc_host_run_for(host, 10);
            continue;
        }
        at += sent;
        len -= (size_t)sent;
    }
}

static inline void
rpc_send_message(struct rpc_host *host, struct rpc_host_client *client, GByteArray *take_message)
{
    rpc_send(host, client, take_message->data, take_message->len);
    g_byte_array_unref(take_message);
}

/* The next message to the client, header decoded and payload in *ret_payload. */
static inline struct rpc_frame_header
rpc_receive(struct rpc_host *host, struct rpc_host_client *client, GByteArray **ret_payload)
{
    struct rpc_frame_header header;
    size_t size;

    while (rpc_frame_examine(client->received->data, client->received->len, &header, &size) !=
           RPC_FRAME_WHOLE) {
        if (client->closed)
            g_error("the server has closed the connection");
        loop_run(host->loop);
    }
    *ret_payload = g_byte_array_new();
    g_byte_array_append(*ret_payload, client->received->data + RPC_FRAME_HEADER_SIZE,
                        header.length - RPC_FRAME_HEADER_SIZE);
    g_byte_array_remove_range(client->received, 0, header.length);
    return header;
}

/* An empty array has no bytes to point behind. */
static inline struct xdr_reader
rpc_reader_of(const GByteArray *payload)
{
    return (struct xdr_reader){
        .pos = payload->data,
        .end = payload->len > 0 ? payload->data + payload->len : payload->data,
    };
}

/* The next message is a reply of this serial, of success; *ret_value (of `type`) is filled. */
static inline void
rpc_expect_reply(struct rpc_host *host, struct rpc_host_client *client, uint32_t serial,
                 const struct rpc_type *type, void *ret_value)
{
    g_autoptr(GByteArray) payload = NULL;
    g_autoptr(GError) error = NULL;
    struct rpc_frame_header header = rpc_receive(host, client, &payload);
    struct xdr_reader reader = rpc_reader_of(payload);

    g_assert_cmpuint(header.type, ==, RPC_FRAME_REPLY);
    g_assert_cmpuint(header.serial, ==, serial);
    g_assert_cmpuint(header.status, ==, RPC_FRAME_OK);
    if (type)
        type->decode(&reader, ret_value, &error);
    g_assert_no_error(error);
    g_assert_true(reader.pos == reader.end);
}

/* The next message is a reply of this serial, with this error. */
static inline void
rpc_expect_error(struct rpc_host *host, struct rpc_host_client *client, uint32_t serial, int code,
                 int domain, const char *part)
{
    g_autoptr(GByteArray) payload = NULL;
    g_autoptr(GError) error = NULL;
    struct rpc_frame_header header = rpc_receive(host, client, &payload);
    struct xdr_reader reader = rpc_reader_of(payload);
    struct remote_error answer = {0};

    g_assert_cmpuint(header.type, ==, RPC_FRAME_REPLY);
    g_assert_cmpuint(header.serial, ==, serial);
    g_assert_cmpuint(header.status, ==, RPC_FRAME_ERROR);
    remote_error_decode(&reader, &answer, &error);
    g_assert_no_error(error);
    g_assert_true(reader.pos == reader.end);
    if (!strstr(answer.message, part))
        g_error("'%s' does not hold '%s'", answer.message, part);
    g_assert_cmpint(answer.code, ==, code);
    g_assert_cmpint(answer.domain, ==, domain);
    remote_error_clear(&answer);
}

static inline void
rpc_open(struct rpc_host *host, struct rpc_host_client *client, unsigned int flags)
{
    struct remote_connect_open_args args = {.name = (char *)"secret:///system", .flags = flags};

    rpc_send_message(host, client,
                     rpc_call_message(REMOTE_CONNECTION_PROC_CONNECT_OPEN, 0,
                                      &remote_connect_open_args_type, &args));
    rpc_expect_reply(host, client, 0, NULL, NULL);
}
