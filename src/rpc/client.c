/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: client.h but for rpc_client_open: frames, the match of replies to calls, errors of the
 * server, events kept until somebody waits for them, and keepalive. A frame is read header first,
 * so that it is known where its payload belongs (secret memory or not) before a byte of that is
 * read.
 */
#include "rpc/client.h"

#include <poll.h>
#include <string.h>

#include "rpc/client_transport.h"
#include "rpc/protocol/remote_types.h"
#include "util/error.h"

enum {
    HEADER_SIZE = 28,           /* the length word and six others */
    MESSAGE_MAX = 33554432 + 4, /* of libvirt's protocol, with the length word */
    EVENTS_MAX = 65536,         /* kept while nobody waits for them */
    KEEPALIVE_PROGRAM = 0x6b656570,
    KEEPALIVE_VERSION = 1,
    KEEPALIVE_PING = 1,
    KEEPALIVE_PONG = 2,
};

enum message_type { MESSAGE_CALL = 0, MESSAGE_REPLY = 1, MESSAGE_EVENT = 2 };
enum message_status { STATUS_OK = 0, STATUS_ERROR = 1 };

struct header {
    uint32_t length; /* of the whole message */
    uint32_t program;
    uint32_t version;
    int32_t procedure;
    uint32_t type;
    uint32_t serial;
    uint32_t status;
};

/* A message's bytes after its header, in one of two kinds of memory. */
struct payload {
    struct secret_buf *secret;
    uint8_t *plain;
    size_t len;
};

struct receiver {
    const struct rpc_program *program;
    rpc_client_event_func func;
    void *opaque;
};

struct event {
    const struct receiver *receiver;
    const struct rpc_procedure *procedure;
    void *message; /* of procedure->args, NULL for void */
};

struct rpc_client {
    struct rpc_transport transport;
    bool is_broken;
    int timeout_ms;
    uint32_t next_serial;
    GPtrArray *receivers; /* struct receiver */
    GQueue events;        /* struct event */
};

static void
payload_clear(struct payload *payload)
{
    secret_buf_free(payload->secret);
    g_free(payload->plain);
    *payload = (struct payload){0};
}

typedef struct payload payload_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(payload_t, payload_clear)

static bool
payload_init(struct payload *payload, size_t len, bool is_secret, GError **error)
{
    *payload = (struct payload){.len = len};
    if (!is_secret)
        payload->plain = g_malloc(MAX(len, 1));
    else
        payload->secret = secret_buf_new(len, error);
    return payload->plain || payload->secret;
}

static uint8_t *
payload_bytes(const struct payload *payload)
{
    return payload->secret ? secret_buf_writable(payload->secret) : payload->plain;
}

static void
event_free(void *opaque)
{
    struct event *event = opaque;

    if (event->message)
        event->procedure->args->clear(event->message);
    g_free(event->message);
    g_free(event);
}

static struct rpc_client *
client_new(void)
{
    struct rpc_client *client = g_new0(struct rpc_client, 1);

    rpc_transport_take_fd(&client->transport, -1);
    client->timeout_ms = RPC_CLIENT_TIMEOUT_MS;
    client->receivers = g_ptr_array_new_with_free_func(g_free);
    g_queue_init(&client->events);
    return client;
}

struct rpc_client *
rpc_client_new_unix(const char *path, GError **error)
{
    g_autoptr(rpc_client_t) client = client_new();
    int64_t deadline = rpc_transport_deadline(client->timeout_ms);

    if (!rpc_transport_open_unix(&client->transport, path, deadline, error))
        return NULL;
    return g_steal_pointer(&client);
}

struct rpc_client *
rpc_client_new_command(const char *const *argv, GError **error)
{
    g_autoptr(rpc_client_t) client = client_new();

    if (!rpc_transport_open_command(&client->transport, argv, error))
        return NULL;
    return g_steal_pointer(&client);
}

struct rpc_client *
rpc_client_new_fd(int fd)
{
    struct rpc_client *client = client_new();

    rpc_transport_take_fd(&client->transport, fd);
    return client;
}

void
rpc_client_free(struct rpc_client *client)
{
    if (!client)
        return;
    rpc_transport_close(&client->transport);
    g_queue_clear_full(&client->events, event_free);
    g_ptr_array_unref(client->receivers);
    g_free(client);
}

bool
rpc_client_is_command(const struct rpc_client *client)
{
    return client->transport.pid != 0;
}

int
rpc_client_get_timeout(const struct rpc_client *client)
{
    return client->timeout_ms;
}

void
rpc_client_set_timeout(struct rpc_client *client, int timeout_ms)
{
    client->timeout_ms = timeout_ms;
}

int
rpc_client_get_fd(const struct rpc_client *client)
{
    return client->transport.fd;
}

bool
rpc_client_has_events(const struct rpc_client *client)
{
    return client->events.length > 0;
}

void
rpc_client_on_event(struct rpc_client *client, const struct rpc_program *program,
                    rpc_client_event_func func, void *opaque)
{
    struct receiver *receiver = g_new(struct receiver, 1);

    *receiver = (struct receiver){.program = program, .func = func, .opaque = opaque};
    g_ptr_array_add(client->receivers, receiver);
}

static bool
check_usable(const struct rpc_client *client, GError **error)
{
    if (client->is_broken)
        error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "client socket is closed");
    return !client->is_broken;
}

static void
put_header(struct xdr_writer *writer, const struct header *header)
{
    xdr_write_uint32(writer, header->length);
    xdr_write_uint32(writer, header->program);
    xdr_write_uint32(writer, header->version);
    xdr_write_int32(writer, header->procedure);
    xdr_write_uint32(writer, header->type);
    xdr_write_uint32(writer, header->serial);
    xdr_write_uint32(writer, header->status);
}

static bool
get_header(struct rpc_client *client, int64_t deadline, struct header *ret_header, GError **error)
{
    uint8_t bytes[HEADER_SIZE];
    struct xdr_reader reader = {.pos = bytes, .end = bytes + sizeof(bytes)};
    struct header header = {0};

    if (!rpc_transport_recv(&client->transport, bytes, sizeof(bytes), deadline, error) ||
        !xdr_read_uint32(&reader, "length", &header.length, error) ||
        !xdr_read_uint32(&reader, "program", &header.program, error) ||
        !xdr_read_uint32(&reader, "version", &header.version, error) ||
        !xdr_read_int32(&reader, "procedure", &header.procedure, error) ||
        !xdr_read_uint32(&reader, "type", &header.type, error) ||
        !xdr_read_uint32(&reader, "serial", &header.serial, error) ||
        !xdr_read_uint32(&reader, "status", &header.status, error))
        return false;
    if (header.length < HEADER_SIZE || header.length > MESSAGE_MAX) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC,
                  "the server sent a message of %u bytes; %d to %d are possible", header.length,
                  HEADER_SIZE, MESSAGE_MAX);
        return false;
    }
    *ret_header = header;
    return true;
}

/* `ret_payload` is filled even on failure, as far as that got: for g_auto. */
static bool
get_payload(struct rpc_client *client, const struct header *header, bool is_secret,
            int64_t deadline, struct payload *ret_payload, GError **error)
{
    size_t len = header->length - HEADER_SIZE;

    return payload_init(ret_payload, len, is_secret, error) &&
           rpc_transport_recv(&client->transport, payload_bytes(ret_payload), len, deadline, error);
}

static bool
answer_ping(struct rpc_client *client, int64_t deadline, GError **error)
{
    const struct header pong = {
        .length = HEADER_SIZE,
        .program = KEEPALIVE_PROGRAM,
        .version = KEEPALIVE_VERSION,
        .procedure = KEEPALIVE_PONG,
        .type = MESSAGE_EVENT,
    };
    uint8_t bytes[HEADER_SIZE];
    struct xdr_writer writer = {.pos = bytes, .end = bytes + sizeof(bytes)};

    put_header(&writer, &pong);
    return rpc_transport_send(&client->transport, bytes, sizeof(bytes), deadline, error);
}

/* Several programs may share a number: the one that has the procedure counts. */
static const struct receiver *
find_receiver(const struct rpc_client *client, const struct header *header,
              const struct rpc_procedure **ret_procedure)
{
    for (guint i = 0; i < client->receivers->len; i++) {
        const struct receiver *receiver = g_ptr_array_index(client->receivers, i);
        const struct rpc_program *program = receiver->program;
        const struct rpc_procedure *procedure;

        if (program->number != header->program || program->version != header->version)
            continue;
        procedure = rpc_program_find(program, header->procedure);
        if (procedure && (procedure->flags & RPC_PROC_EVENT)) {
            *ret_procedure = procedure;
            return receiver;
        }
    }
    return NULL;
}

static bool
decode(const struct rpc_type *type, const struct payload *payload, void *ret_value, GError **error)
{
    const uint8_t *bytes = payload_bytes(payload);
    struct xdr_reader reader = {.pos = bytes, .end = bytes + payload->len};

    return !type || type->decode(&reader, ret_value, error);
}

static bool
keep_event(struct rpc_client *client, const struct header *header, const struct payload *payload,
           GError **error)
{
    const struct rpc_procedure *procedure = NULL;
    const struct receiver *receiver = find_receiver(client, header, &procedure);
    g_autofree void *message = NULL;
    struct event *event;

    if (!receiver)
        return true;
    if (client->events.length >= EVENTS_MAX) {
        error_set(error, ERROR_FROM_RPC, ERROR_OVERFLOW,
                  "the server sent more than %d events within one call", EVENTS_MAX);
        return false;
    }
    if (procedure->args)
        message = g_malloc0(procedure->args->size);
    if (!decode(procedure->args, payload, message, error))
        return false;
    event = g_new(struct event, 1);
    event->receiver = receiver;
    event->procedure = procedure;
    event->message = g_steal_pointer(&message);
    g_queue_push_tail(&client->events, event);
    return true;
}

/* An event or a keepalive message, whose header was read. */
static bool
take_message(struct rpc_client *client, const struct header *header, int64_t deadline,
             GError **error)
{
    g_auto(payload_t) payload = {0};

    if (!get_payload(client, header, false, deadline, &payload, error))
        return false;
    if (header->program == KEEPALIVE_PROGRAM)
        return header->procedure != KEEPALIVE_PING || answer_ping(client, deadline, error);
    return keep_event(client, header, &payload, error);
}

static bool
send_call(struct rpc_client *client, const struct header *call,
          const struct rpc_procedure *procedure, const void *args, GError **error)
{
    bool is_secret = procedure->flags & RPC_PROC_SECRET_ARGS;
    g_auto(payload_t) frame = {0};
    struct xdr_writer writer;

    if (!payload_init(&frame, call->length, is_secret, error))
        return false;
    writer.pos = payload_bytes(&frame);
    writer.end = writer.pos + frame.len;
    put_header(&writer, call);
    if (procedure->args)
        procedure->args->encode(&writer, args);
    return rpc_transport_send(&client->transport, payload_bytes(&frame), frame.len,
                              rpc_transport_deadline(client->timeout_ms), error);
}

static bool
check_reply(const struct header *call, const struct header *reply, GError **error)
{
    if (reply->type == MESSAGE_REPLY && reply->program == call->program &&
        reply->version == call->version && reply->procedure == call->procedure &&
        reply->serial == call->serial && reply->status <= STATUS_ERROR)
        return true;
    error_set(error, ERROR_FROM_RPC, ERROR_RPC,
              "the server sent something else than the reply to call %u of procedure %d "
              "(program 0x%x, version %u, procedure %d, type %u, serial %u, status %u)",
              call->serial, call->procedure, reply->program, reply->version, reply->procedure,
              reply->type, reply->serial, reply->status);
    return false;
}

/* Reads up to the reply of `call`. */
static bool
get_reply(struct rpc_client *client, const struct header *call, bool is_secret,
          struct header *ret_header, struct payload *ret_payload, GError **error)
{
    int64_t deadline = rpc_transport_deadline(client->timeout_ms);
    struct header header;

    for (;;) {
        if (!get_header(client, deadline, &header, error))
            return false;
        if (header.type != MESSAGE_EVENT)
            break;
        if (!take_message(client, &header, deadline, error))
            return false;
    }
    *ret_header = header;
    return check_reply(call, &header, error) &&
           get_payload(client, &header, is_secret, deadline, ret_payload, error);
}

/* The server's error becomes ours. */
static void
set_server_error(const struct payload *payload, GError **error)
{
    struct remote_error sent = {0};

    if (!decode(&remote_error_type, payload, &sent, error))
        return;
    error_set_remote(error, sent.domain, sent.code, sent.message ? sent.message : "unknown error");
    remote_error_clear(&sent);
}

bool
rpc_client_call(struct rpc_client *client, const struct rpc_program *program,
                const struct rpc_procedure *procedure, const void *args, void *ret, GError **error)
{
    size_t len = HEADER_SIZE + (procedure->args ? procedure->args->encoded_size(args) : 0);
    struct header call = {
        .program = program->number,
        .version = program->version,
        .procedure = procedure->number,
        .type = MESSAGE_CALL,
        .status = STATUS_OK,
    };
    g_auto(payload_t) payload = {0};
    struct header reply;

    if (procedure->ret)
        memset(ret, 0, procedure->ret->size);
    if (!check_usable(client, error))
        return false;
    if (len > MESSAGE_MAX) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC,
                  "the arguments of %s take %zu bytes; %d are possible", procedure->name, len,
                  MESSAGE_MAX);
        return false;
    }
    call.length = (uint32_t)len;
    call.serial = client->next_serial++;
    if (!send_call(client, &call, procedure, args, error) ||
        !get_reply(client, &call, procedure->flags & RPC_PROC_SECRET_RET, &reply, &payload,
                   error)) {
        client->is_broken = true;
        return false;
    }
    if (reply.status == STATUS_ERROR) {
        set_server_error(&payload, error);
        return false;
    }
    return decode(procedure->ret, &payload, ret, error);
}

static void
deliver_events(struct rpc_client *client)
{
    struct event *event;

    while ((event = g_queue_pop_head(&client->events))) {
        event->receiver->func(event->receiver->program, event->procedure, event->message,
                              event->receiver->opaque);
        event_free(event);
    }
}

/* The next message, which began to arrive while no call is under way. */
static bool
take_unasked(struct rpc_client *client, GError **error)
{
    int64_t deadline = rpc_transport_deadline(client->timeout_ms);
    struct header header;

    if (!get_header(client, deadline, &header, error))
        return false;
    if (header.type != MESSAGE_EVENT) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC,
                  "the server sent a message of type %u that nobody asked for (program 0x%x, "
                  "procedure %d)",
                  header.type, header.program, header.procedure);
        return false;
    }
    return take_message(client, &header, deadline, error);
}

bool
rpc_client_wait(struct rpc_client *client, int timeout_ms, GError **error)
{
    int64_t deadline = rpc_transport_deadline(timeout_ms);

    while (client->events.length == 0) {
        enum rpc_transport_state state;

        if (!check_usable(client, error))
            return false;
        state = rpc_transport_wait(&client->transport, POLLIN, deadline, error);
        if (state == RPC_TRANSPORT_TIMED_OUT)
            return true;
        if (state == RPC_TRANSPORT_FAILED || !take_unasked(client, error)) {
            client->is_broken = true;
            return false;
        }
    }
    deliver_events(client);
    return true;
}
