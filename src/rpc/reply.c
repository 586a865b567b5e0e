/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see reply.h. Everything is sized before it is written; a message that fits is built in the
 * server's own buffer.
 */
#include "rpc/reply.h"

#include "rpc/protocol/remote_types.h"
#include "rpc/server_state.h"
#include "util/error.h"
#include "util/log.h"

/* virErrorLevel */
enum { LEVEL_ERROR = 2 };

static struct rpc_frame_header
answer_to(const struct rpc_frame_header *request, enum rpc_frame_status status)
{
    struct rpc_frame_header header = *request;

    header.type = RPC_FRAME_REPLY;
    header.status = status;
    return header;
}

/* Header and payload into `bytes`, which have the size that header->length says. */
static void
write_message(const struct rpc_frame_header *header, const struct rpc_type *type, const void *value,
              uint8_t *bytes)
{
    struct xdr_writer writer = {.pos = bytes + RPC_FRAME_HEADER_SIZE,
                                .end = bytes + header->length};

    rpc_frame_encode_header(header, bytes);
    if (type)
        type->encode(&writer, value);
    g_assert(writer.pos == writer.end);
}

/* Sets header->length; false if that is too long for a message. */
static bool
measure(struct rpc_frame_header *header, const struct rpc_type *type, const void *value)
{
    size_t size = RPC_FRAME_HEADER_SIZE + (type ? type->encoded_size(value) : 0);

    if (size > RPC_FRAME_MAX)
        return false;
    header->length = (uint32_t)size;
    return true;
}

static void
send_plain(struct rpc_connection *connection, const struct rpc_frame_header *header,
           const struct rpc_type *type, const void *value, enum rpc_output_kind kind)
{
    g_autofree uint8_t *large = header->length > RPC_SEND_SIZE ? g_malloc(header->length) : NULL;
    uint8_t *bytes = large ? large : connection->server->send;

    write_message(header, type, value, bytes);
    rpc_connection_send(connection, bytes, header->length, kind);
}

static bool
send_secret(struct rpc_connection *connection, const struct rpc_frame_header *header,
            const struct rpc_type *type, const void *value, GError **error)
{
    struct secret_buf *message = secret_buf_new(header->length, error);

    if (!message)
        return false;
    write_message(header, type, value, secret_buf_writable(message));
    rpc_connection_send_secret(connection, message);
    return true;
}

void
rpc_reply_send(struct rpc_connection *connection, const struct rpc_frame_header *request,
               const struct rpc_type *type, const void *value, bool carries_key)
{
    struct rpc_frame_header header = answer_to(request, RPC_FRAME_OK);
    g_autoptr(GError) error = NULL;

    if (!connection->server)
        return;
    if (!measure(&header, type, value))
        error_set(&error, ERROR_FROM_RPC, ERROR_RPC,
                  "the reply is larger than the maximum of %u bytes", RPC_FRAME_MAX);
    else if (!carries_key)
        send_plain(connection, &header, type, value, RPC_OUTPUT_REPLY);
    else
        send_secret(connection, &header, type, value, &error);
    if (error)
        rpc_reply_send_error(connection, request, error);
}

void
rpc_reply_send_error(struct rpc_connection *connection, const struct rpc_frame_header *request,
                     const GError *error)
{
    struct rpc_frame_header header = answer_to(request, RPC_FRAME_ERROR);
    g_autofree char *message = error_describe(error);
    int errnum = error_get_errno(error);
    /* Only read: the texts stay with their owners. */
    struct remote_error answer = {
        .code = error_get_code(error),
        .domain = error_get_domain(error),
        .message = message,
        .level = LEVEL_ERROR,
        .str1 = (char *)error_class_format(error_get_code(error)),
        .str2 = error->message,
        .int1 = errnum > 0 ? errnum : -1,
        .int2 = -1,
    };

    if (error_get_function(error)) {
        answer.str1 = (char *)error_get_function(error);
        answer.str2 = (char *)error_get_parameter(error);
        answer.int1 = 0;
        answer.int2 = 0;
    }
    if (!connection->server)
        return;
    log_debug("call %d of pid %d: %s", header.procedure, connection->identity.peer_pid, message);
    if (measure(&header, &remote_error_type, &answer))
        send_plain(connection, &header, &remote_error_type, &answer, RPC_OUTPUT_REPLY);
    else
        rpc_connection_abort(connection);
}

void
rpc_reply_send_event(struct rpc_connection *connection, struct rpc_frame_header *header,
                     const struct rpc_type *type, const void *value)
{
    if (!connection->server || connection->aborted)
        return;
    if (!measure(header, type, value)) {
        log_error("an event of %s is too large to be sent", type->name);
        return;
    }
    send_plain(connection, header, type, value, RPC_OUTPUT_EVENT);
    rpc_connection_settle(connection);
}
