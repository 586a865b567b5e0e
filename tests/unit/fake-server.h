/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a fake server for tests of the client: the other end of a socket pair. Its answer is
 * written before the call is made, and what the client sent is read afterwards.
 */
#pragma once

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "expect.h"
#include "rpc/client.h"
#include "rpc/protocol/remote_connection_client.h"
#include "rpc/protocol/remote_secret_client.h"

enum {
    HEADER_SIZE = 28,
    PROGRAM = 0x20008086,
    KEEPALIVE = 0x6b656570,
    CALL = 0,
    REPLY = 1,
    EVENT = 2,
    SHORT_MS = 50,
};

#define END_OF_FILE "End of file while reading data: Input/output error"

struct fixture {
    struct rpc_client *client;
    int server;      /* -1 when closed */
    GThread *thread; /* where a test has the server go on by itself */
    guint events;
    char last_event[64];
};

static inline void
set_up(struct fixture *fixture, const void *unused)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    fixture->client = rpc_client_new_fd(pair[0]);
    fixture->server = pair[1];
}

static inline void
tear_down(struct fixture *fixture, const void *unused)
{
    rpc_client_free(fixture->client);
    if (fixture->server >= 0)
        close(fixture->server);
}

/* ---- what the server does ---- */

static inline void
put_word(GByteArray *bytes, uint32_t word)
{
    uint32_t big = GUINT32_TO_BE(word);

    g_byte_array_append(bytes, (const guint8 *)&big, sizeof(big));
}

struct frame {
    uint32_t length; /* 0: what it is */
    uint32_t program;
    uint32_t procedure;
    uint32_t type;
    uint32_t serial;
    uint32_t status;
};

static inline void
serve(int server, struct frame frame, GByteArray *payload)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint payload_len = payload ? payload->len : 0;

    put_word(bytes, frame.length ? frame.length : HEADER_SIZE + payload_len);
    put_word(bytes, frame.program ? frame.program : PROGRAM);
    put_word(bytes, 1);
    put_word(bytes, frame.procedure);
    put_word(bytes, frame.type);
    put_word(bytes, frame.serial);
    put_word(bytes, frame.status);
    if (payload)
        g_byte_array_append(bytes, payload->data, payload->len);
    g_assert_cmpint(send(server, bytes->data, bytes->len, MSG_NOSIGNAL), ==, (ssize_t)bytes->len);
}

static inline GByteArray *
payload_of(const struct rpc_type *type, const void *value)
{
    GByteArray *bytes = g_byte_array_new();
    struct xdr_writer writer;

    g_byte_array_set_size(bytes, (guint)type->encoded_size(value));
    writer.pos = bytes->data;
    writer.end = bytes->data + bytes->len;
    type->encode(&writer, value);
    return bytes;
}

static const struct frame lookup_reply = {
    .procedure = REMOTE_SECRET_PROC_SECRET_LOOKUP_BY_UUID,
    .type = REPLY,
};

/* Answers the call of `look_up` with serial `serial`. */
static inline void
serve_lookup(const struct fixture *fixture, uint32_t serial)
{
    struct remote_secret_lookup_by_uuid_ret ret = {
        .secret = {.uuid = {1, 2, 3}, .usageType = 1, .usageID = (char *)"/v"},
    };
    g_autoptr(GByteArray) payload = payload_of(&remote_secret_lookup_by_uuid_ret_type, &ret);
    struct frame frame = lookup_reply;

    frame.serial = serial;
    serve(fixture->server, frame, payload);
}

static inline void
end_service(const struct fixture *fixture)
{
    g_assert_cmpint(shutdown(fixture->server, SHUT_WR), ==, 0);
}

/* All that the client sent so far. */
static inline GByteArray *
sent(const struct fixture *fixture)
{
    GByteArray *bytes = g_byte_array_new();
    guint8 part[4096];
    ssize_t got;

    while ((got = recv(fixture->server, part, sizeof(part), MSG_DONTWAIT)) > 0)
        g_byte_array_append(bytes, part, (guint)got);
    return bytes;
}

/* ---- what the client does ---- */

static inline bool
look_up(const struct fixture *fixture, GError **error)
{
    const struct remote_secret_lookup_by_uuid_args args = {.uuid = {1, 2, 3}};
    struct remote_secret_lookup_by_uuid_ret ret = {0};

    if (!remote_secret_lookup_by_uuid_call(fixture->client, &args, &ret, error)) {
        g_assert_null(ret.secret.usageID);
        return false;
    }
    g_assert_cmpint(ret.secret.usageType, ==, 1);
    g_assert_cmpstr(ret.secret.usageID, ==, "/v");
    remote_secret_lookup_by_uuid_ret_clear(&ret);
    return true;
}

static inline void
expect_lookup(const struct fixture *fixture)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(look_up(fixture, &error));
    g_assert_no_error(error);
}

/* The next call fails so, and the connection is of no use afterwards. */
static inline void
expect_broken(const struct fixture *fixture, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) later = NULL;

    g_assert_false(look_up(fixture, &error));
    expect_error_part(error, code, ERROR_FROM_RPC, part);
    g_assert_false(look_up(fixture, &later));
    expect_error(later, ERROR_INTERNAL, ERROR_FROM_RPC, "client socket is closed");
}
