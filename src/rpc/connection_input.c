/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see connection_input.h.
 */
#include "rpc/connection_input.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "rpc/call.h"
#include "rpc/reply.h"
#include "rpc/server_state.h"
#include "util/error.h"
#include "util/registers.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(connection_input, "recvfrom recvmsg");

/* Room before the received bytes for a head that came in pieces. */
enum { HEAD_MAX = RPC_FRAME_HEADER_SIZE + RPC_FRAME_FDS_SIZE };

bool
rpc_connection_may_begin(const struct rpc_connection *connection)
{
    return connection->in_work < connection->server->params.max_client_requests &&
           rpc_output_is_empty(&connection->output);
}

/* Bytes received; 0 if there are none now or the client has gone, which aborts. Descriptors that
 * came along are closed by the kernel, since no room for them is given. */
static size_t
receive(struct rpc_connection *connection, uint8_t *bytes, size_t room)
{
    ssize_t got;

    do {
        got = recv(connection->fd, bytes, room, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0)
        return (size_t)got;
    if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        rpc_connection_abort(connection);
    return 0;
}

static void
end_skip(struct rpc_connection *connection)
{
    g_autoptr(GError) refusal = g_steal_pointer(&connection->skip.refusal);

    if (refusal)
        rpc_reply_send_error(connection, &connection->skip.header, refusal);
}

/* Throws `left` more bytes of the frame away, then answers with `take_refusal` if there is one. */
static void
begin_skip(struct rpc_connection *connection, const struct rpc_frame_header *header, size_t left,
           GError *take_refusal)
{
    connection->skip.header = *header;
    connection->skip.left = left;
    connection->skip.refusal = take_refusal;
    if (left == 0)
        end_skip(connection);
}

static size_t
take_skipped(struct rpc_connection *connection, size_t len)
{
    size_t skipped = MIN(connection->skip.left, len);

    connection->skip.left -= skipped;
    if (skipped > 0 && connection->skip.left == 0)
        end_skip(connection);
    return skipped;
}

/* Whether a key may be among `bytes`. */
static bool
hold_secret(struct rpc_connection *connection, const uint8_t *bytes, size_t len)
{
    struct rpc_frame_header header;
    size_t size;

    while (len > 0) {
        switch (rpc_frame_examine(bytes, len, &header, &size)) {
        case RPC_FRAME_INVALID:
        case RPC_FRAME_HEADLESS:
            return false;
        case RPC_FRAME_PARTIAL:
            return rpc_call_is_secret(connection, &header);
        case RPC_FRAME_WHOLE:
            if (rpc_call_is_secret(connection, &header))
                return true;
            bytes += size;
            len -= size;
        }
    }
    return false;
}

static void
shed_if_full(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;

    if (server->rests.secret > RPC_REST_SECRET_MAX)
        rpc_server_shed_input(server, true);
    if (server->rests.plain > RPC_REST_PLAIN_MAX)
        rpc_server_shed_input(server, false);
}

/* The first `size` of `len` bytes, which begin with a call that may not begin yet. */
static void
keep_waiting(struct rpc_connection *connection, const uint8_t *bytes, size_t size, size_t len)
{
    g_autoptr(GError) error = NULL;
    bool secret = connection->rest_waits ? rpc_rest_is_secret(&connection->rest)
                                         : hold_secret(connection, bytes, len);

    if (!rpc_rest_append(&connection->rest, bytes, size, secret, &error)) {
        rpc_connection_abort(connection);
        return;
    }
    connection->rest_waits = true;
    shed_if_full(connection);
}

/* Refuses what is not worth keeping until it is whole. */
static bool
is_refused(struct rpc_connection *connection, const struct rpc_frame_header *header, size_t left)
{
    struct rpc_target target;
    g_autoptr(GError) error = NULL;

    if (rpc_call_judge(connection, header, &target, &error) == RPC_VERDICT_TAKE) {
        if (header->length <= RPC_SECRET_FRAME_MAX || !rpc_call_is_secret(connection, header))
            return false;
        error_set(&error, ERROR_FROM_RPC, ERROR_RPC,
                  "a call that carries a key has %u bytes, more than the maximum of %u",
                  header->length, RPC_SECRET_FRAME_MAX);
    }
    begin_skip(connection, header, left, g_steal_pointer(&error));
    return true;
}

/* The beginning of a frame of `size` bytes. */
static void
keep_partial(struct rpc_connection *connection, const struct rpc_frame_header *header,
             const uint8_t *bytes, size_t len, size_t size)
{
    GError *error = NULL;
    bool secret = connection->rest_waits ? rpc_rest_is_secret(&connection->rest)
                                         : rpc_call_is_secret(connection, header);

    if (!connection->rest_waits && is_refused(connection, header, size - len))
        return;
    if (rpc_rest_append(&connection->rest, bytes, len, secret, &error)) {
        shed_if_full(connection);
    } else if (connection->rest_waits) {
        g_error_free(error);
        rpc_connection_abort(connection);
    } else {
        begin_skip(connection, header, size - len, error);
    }
}

/* The beginning of a head: no payload, so no key. */
static void
keep_head(struct rpc_connection *connection, const uint8_t *bytes, size_t len)
{
    if (!rpc_rest_append(&connection->rest, bytes, len, rpc_rest_is_secret(&connection->rest),
                         NULL))
        rpc_connection_abort(connection);
}

/* A whole frame of `size` bytes, at the beginning of `len`. */
static void
take_frame(struct rpc_connection *connection, const struct rpc_frame_header *header,
           const uint8_t *bytes, size_t size, size_t len)
{
    bool may_begin = rpc_connection_may_begin(connection) && !connection->rest_waits;

    if (may_begin ||
        (rpc_output_is_empty(&connection->output) && rpc_call_overtakes(connection, header)))
        rpc_call_begin(connection, header, bytes);
    else
        keep_waiting(connection, bytes, size, len);
}

/* Counts from the first time it is asked, which a client with one call at a time never is. */
static bool
turn_is_over(int64_t *end_us)
{
    int64_t now = g_get_monotonic_time();

    if (*end_us == 0)
        *end_us = now + RPC_TURN_US;
    return now >= *end_us;
}

static void
take_bytes(struct rpc_connection *connection, const uint8_t *bytes, size_t len)
{
    bool was_closing = connection->closing;
    int64_t end_us = 0;
    bool is_first = true;
    struct rpc_frame_header header;
    size_t size;
    size_t used = take_skipped(connection, len);

    /* What follows the client's goodbye is dropped. */
    while (used < len && !connection->aborted && connection->closing == was_closing) {
        const uint8_t *at = bytes + used;
        size_t left = len - used;

        switch (rpc_frame_examine(at, left, &header, &size)) {
        case RPC_FRAME_INVALID:
            rpc_connection_abort(connection);
            return;
        case RPC_FRAME_HEADLESS:
            keep_head(connection, at, left);
            return;
        case RPC_FRAME_PARTIAL:
            keep_partial(connection, &header, at, left, size);
            return;
        case RPC_FRAME_WHOLE:
            if (!is_first && turn_is_over(&end_us)) {
                keep_waiting(connection, at, left, left);
                return;
            }
            take_frame(connection, &header, at, size, left);
            is_first = false;
            used += size;
        }
    }
}

static void
read_into_buffer(struct rpc_connection *connection)
{
    uint8_t *bytes = secret_buf_writable(connection->server->receive) + HEAD_MAX;
    size_t head = connection->rest.len;
    size_t got = receive(connection, bytes, RPC_RECEIVE_SIZE);

    if (got == 0)
        return;
    if (head > 0)
        memcpy(bytes - head, rpc_rest_bytes(&connection->rest), head);
    rpc_rest_clear(&connection->rest);
    take_bytes(connection, bytes - head, head + got);
    explicit_bzero(bytes - head, head + got);
    registers_wipe();
}

void
rpc_connection_resume(struct rpc_connection *connection)
{
    struct rpc_rest taken;

    rpc_rest_init(&taken, connection->rest.usage);
    rpc_rest_move(&taken, &connection->rest);
    connection->rest_waits = false;
    take_bytes(connection, rpc_rest_bytes(&taken), taken.len);
    rpc_rest_clear(&taken);
}

static void
read_into_rest(struct rpc_connection *connection, const struct rpc_frame_header *header,
               size_t size)
{
    struct rpc_rest *rest = &connection->rest;
    GError *error = NULL;
    size_t room = 0;
    uint8_t *bytes = rpc_rest_reserve(rest, size - rest->len, &room, &error);

    if (!bytes) {
        begin_skip(connection, header, size - rest->len, error);
        rpc_rest_clear(rest);
        return;
    }
    rpc_rest_add_len(rest, receive(connection, bytes, room));
    if (rest->len == size)
        rpc_connection_resume(connection);
    else
        shed_if_full(connection);
}

void
rpc_connection_read(struct rpc_connection *connection)
{
    struct rpc_frame_header header;
    size_t size;

    if (connection->rest.len > 0 &&
        rpc_frame_examine(rpc_rest_bytes(&connection->rest), connection->rest.len, &header,
                          &size) == RPC_FRAME_PARTIAL)
        read_into_rest(connection, &header, size);
    else
        read_into_buffer(connection);
}
