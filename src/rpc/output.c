/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see output.h.
 */
#include "rpc/output.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/syscalls.h"

SYSCALLS_DECLARE(output, "sendto sendmsg");

struct chunk {
    enum rpc_output_kind kind;
    uint8_t *plain;
    struct secret_buf *secret; /* one of both */
    size_t len;
    size_t sent;
};

void
rpc_output_init(struct rpc_output *output, size_t *total)
{
    *output = (struct rpc_output){.total = total};
    g_queue_init(&output->chunks);
}

static void
chunk_free(void *opaque)
{
    struct chunk *chunk = opaque;

    g_free(chunk->plain);
    secret_buf_free(chunk->secret);
    g_free(chunk);
}

void
rpc_output_clear(struct rpc_output *output)
{
    g_queue_clear_full(&output->chunks, chunk_free);
    *output->total -= output->bytes;
    output->bytes = 0;
    output->event_bytes = 0;
}

bool
rpc_output_is_empty(const struct rpc_output *output)
{
    return output->chunks.length == 0;
}

size_t
rpc_output_count_events(const struct rpc_output *output)
{
    return output->event_bytes;
}

/* How many bytes the socket took, 0 if none just now, -1 if the peer is gone. */
static ssize_t
send_some(int fd, const void *bytes, size_t len)
{
    ssize_t sent;

    do {
        sent = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
        return 0;
    return sent;
}

static void
keep(struct rpc_output *output, struct chunk *chunk)
{
    g_queue_push_tail(&output->chunks, chunk);
    *output->total += chunk->len;
    output->bytes += chunk->len;
    if (chunk->kind == RPC_OUTPUT_EVENT)
        output->event_bytes += chunk->len;
}

bool
rpc_output_send(struct rpc_output *output, int fd, const void *bytes, size_t len,
                enum rpc_output_kind kind)
{
    ssize_t sent = rpc_output_is_empty(output) ? send_some(fd, bytes, len) : 0;
    struct chunk *chunk;

    if (sent < 0)
        return false;
    if ((size_t)sent == len)
        return true;
    chunk = g_new0(struct chunk, 1);
    chunk->kind = kind;
    chunk->len = len - (size_t)sent;
    chunk->plain = g_memdup2((const uint8_t *)bytes + sent, chunk->len);
    keep(output, chunk);
    return true;
}

bool
rpc_output_send_secret(struct rpc_output *output, int fd, struct secret_buf *take_message)
{
    g_autoptr(secret_buf_t) message = take_message;
    size_t len = secret_buf_len(message);
    ssize_t sent = rpc_output_is_empty(output) ? send_some(fd, secret_buf_bytes(message), len) : 0;
    struct chunk *chunk;

    if (sent < 0)
        return false;
    if ((size_t)sent == len)
        return true;
    chunk = g_new0(struct chunk, 1);
    chunk->kind = RPC_OUTPUT_REPLY;
    chunk->len = len;
    chunk->sent = (size_t)sent;
    chunk->secret = g_steal_pointer(&message);
    keep(output, chunk);
    return true;
}

static void
drop_first(struct rpc_output *output)
{
    struct chunk *chunk = g_queue_pop_head(&output->chunks);

    *output->total -= chunk->len;
    output->bytes -= chunk->len;
    if (chunk->kind == RPC_OUTPUT_EVENT)
        output->event_bytes -= chunk->len;
    chunk_free(chunk);
}

bool
rpc_output_flush(struct rpc_output *output, int fd)
{
    struct chunk *chunk;

    while ((chunk = g_queue_peek_head(&output->chunks))) {
        const uint8_t *bytes = chunk->secret ? secret_buf_bytes(chunk->secret) : chunk->plain;
        ssize_t sent = send_some(fd, bytes + chunk->sent, chunk->len - chunk->sent);

        if (sent < 0)
            return false;
        chunk->sent += (size_t)sent;
        if (chunk->sent < chunk->len)
            return true;
        drop_first(output);
    }
    return true;
}
