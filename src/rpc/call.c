/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see call.h. A call has two owners while its handler runs, the dispatcher and the handler:
 * a handler that keeps a call may end it before it returns.
 */
#include "rpc/call.h"

#include <string.h>

#include "rpc/keepalive.h"
#include "rpc/reply.h"
#include "rpc/server_state.h"
#include "util/error.h"

/* libvirt's program, and the highest procedure of it that libvirt 9.0.0 knows. */
enum { REMOTE_PROGRAM = 0x20008086, REMOTE_PROCEDURE_MAX = 443 };

struct rpc_call {
    unsigned int refs;
    bool ended;
    struct rpc_connection *connection;
    struct rpc_frame_header header;
    const struct rpc_procedure *procedure;
    void *ret; /* behind this struct, as are the arguments */
    max_align_t storage[];
};

static bool
is_keepalive(const struct rpc_frame_header *header)
{
    return header->program == RPC_KEEPALIVE_PROGRAM && header->version == RPC_KEEPALIVE_VERSION &&
           header->type == RPC_FRAME_MESSAGE;
}

/* Looks in all programs of the right number and version. With *ret_target.program set and no
 * procedure, that is unknown; with neither, the program is. */
static void
find_target(const struct rpc_server *server, const struct rpc_frame_header *header,
            struct rpc_target *ret_target)
{
    *ret_target = (struct rpc_target){0};
    for (guint i = 0; i < server->programs->len && !ret_target->procedure; i++) {
        const struct rpc_server_program *entry =
            &g_array_index(server->programs, struct rpc_server_program, i);

        if (entry->program->number == header->program &&
            entry->program->version == header->version) {
            ret_target->program = entry;
            ret_target->procedure = rpc_program_find(entry->program, header->procedure);
        }
    }
}

static void
refuse_unknown(const struct rpc_connection *connection, const struct rpc_frame_header *header,
               bool is_event, GError **error)
{
    bool is_libvirts = header->program == REMOTE_PROGRAM && header->procedure > 0 &&
                       header->procedure <= REMOTE_PROCEDURE_MAX && !is_event && connection->opened;

    /* Calls of libvirt's other drivers are answered as by a libvirtd without those drivers. */
    if (is_libvirts)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_NO_SUPPORT, "procedure %d", header->procedure);
    else
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "unknown procedure: %d", header->procedure);
}

enum rpc_verdict
rpc_call_judge(struct rpc_connection *connection, const struct rpc_frame_header *header,
               struct rpc_target *ret_target, GError **error)
{
    struct rpc_target target;
    unsigned int flags;

    *ret_target = (struct rpc_target){0};
    if (is_keepalive(header))
        return RPC_VERDICT_TAKE;
    if (header->type != RPC_FRAME_CALL && header->type != RPC_FRAME_CALL_WITH_FDS)
        return RPC_VERDICT_DROP;
    find_target(connection->server, header, &target);
    flags = target.procedure ? target.procedure->flags : 0;
    if (!target.program)
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "Cannot find program %u version %u",
                  header->program, header->version);
    else if (header->status != RPC_FRAME_OK)
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "Unexpected message status %u", header->status);
    else if (!target.procedure || (flags & RPC_PROC_EVENT))
        refuse_unknown(connection, header, flags & RPC_PROC_EVENT, error);
    else if (!connection->authenticated && !(flags & RPC_PROC_NO_AUTH))
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "authentication required");
    else {
        *ret_target = target;
        return RPC_VERDICT_TAKE;
    }
    return RPC_VERDICT_REFUSE;
}

/* Flags of what would be called. */
static unsigned int
flags_of(struct rpc_connection *connection, const struct rpc_frame_header *header)
{
    struct rpc_target target;

    rpc_call_judge(connection, header, &target, NULL);
    return target.procedure ? target.procedure->flags : 0;
}

bool
rpc_call_is_secret(struct rpc_connection *connection, const struct rpc_frame_header *header)
{
    return flags_of(connection, header) & RPC_PROC_SECRET_ARGS;
}

bool
rpc_call_overtakes(struct rpc_connection *connection, const struct rpc_frame_header *header)
{
    return is_keepalive(header) || (flags_of(connection, header) & RPC_PROC_PRIORITY);
}

static size_t
storage_of(const struct rpc_type *type)
{
    size_t unit = sizeof(max_align_t);

    return type ? (type->size + unit - 1) / unit : 0;
}

static struct rpc_call *
call_new(struct rpc_connection *connection, const struct rpc_frame_header *header,
         const struct rpc_procedure *procedure)
{
    size_t units = storage_of(procedure->ret) + storage_of(procedure->args);
    struct rpc_call *call = g_malloc0(sizeof(*call) + units * sizeof(max_align_t));

    call->refs = 2;
    call->connection = rpc_connection_ref(connection);
    call->header = *header;
    call->procedure = procedure;
    call->ret = procedure->ret ? call->storage : NULL;
    connection->in_work++;
    return call;
}

static void
call_unref(struct rpc_call *call)
{
    if (--call->refs > 0)
        return;
    rpc_connection_unref(call->connection);
    g_free(call);
}

/* Answers with `error`, or with what `ret` holds if it is NULL, and gives up the handler's part. */
static void
end_call(struct rpc_call *call, const GError *error)
{
    struct rpc_connection *connection = call->connection;
    const struct rpc_type *type = call->procedure->ret;

    g_assert(!call->ended);
    call->ended = true;
    if (error)
        rpc_reply_send_error(connection, &call->header, error);
    else
        rpc_reply_send(connection, &call->header, type, call->ret,
                       call->procedure->flags & RPC_PROC_SECRET_RET);
    if (type)
        type->clear(call->ret);
    connection->in_work--;
    rpc_connection_settle(connection);
    call_unref(call);
}

struct rpc_connection *
rpc_call_get_connection(const struct rpc_call *call)
{
    return call->connection;
}

void *
rpc_call_get_ret(struct rpc_call *call)
{
    return call->ret;
}

void
rpc_call_reply(struct rpc_call *call)
{
    end_call(call, NULL);
}

void
rpc_call_fail(struct rpc_call *call, GError *error)
{
    g_autoptr(GError) taken = error;

    end_call(call, taken);
}

/* The checks that libvirt makes once the arguments are known, in its order. */
static bool
check_state(const struct rpc_connection *connection, const struct rpc_procedure *procedure,
            GError **error)
{
    if (!connection->opened && !(procedure->flags & RPC_PROC_NO_OPEN)) {
        error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "connection not open");
        return false;
    }
    if (connection->readonly && !(procedure->flags & RPC_PROC_READONLY)) {
        error_set(error, connection->server->params.error_domain, ERROR_OPERATION_DENIED,
                  "read only access prevents %s",
                  procedure->api_name ? procedure->api_name : procedure->name);
        return false;
    }
    return true;
}

static bool
decode_args(const struct rpc_procedure *procedure, const struct rpc_frame_header *header,
            const uint8_t *frame, void *args, GError **error)
{
    size_t head =
        RPC_FRAME_HEADER_SIZE + (header->type == RPC_FRAME_CALL_WITH_FDS ? RPC_FRAME_FDS_SIZE : 0);
    struct xdr_reader reader = {.pos = frame + head, .end = frame + header->length};

    if (!procedure->args || procedure->args->decode(&reader, args, error))
        return true;
    g_prefix_error(error, "Unable to decode message payload: ");
    return false;
}

static void
run_handler(struct rpc_call *call, const struct rpc_server_program *program, void *args)
{
    const struct rpc_procedure *procedure = call->procedure;
    g_autoptr(GError) error = NULL;

    switch (procedure->invoke(program->handlers, call, program->opaque, args, call->ret, &error)) {
    case RPC_DONE:
        end_call(call, NULL);
        break;
    case RPC_FAILED:
        g_assert(error);
        end_call(call, error);
        break;
    case RPC_LATER:
        break;
    }
}

static void
call_procedure(struct rpc_connection *connection, const struct rpc_target *target,
               const struct rpc_frame_header *header, const uint8_t *frame)
{
    const struct rpc_procedure *procedure = target->procedure;
    struct rpc_call *call = call_new(connection, header, procedure);
    void *args = call->storage + storage_of(procedure->ret);
    g_autoptr(GError) error = NULL;

    if (decode_args(procedure, header, frame, args, &error) &&
        check_state(connection, procedure, &error))
        run_handler(call, target->program, args);
    else
        end_call(call, error);
    if (procedure->args)
        procedure->args->clear(args);
    call_unref(call);
}

void
rpc_call_begin(struct rpc_connection *connection, const struct rpc_frame_header *header,
               const uint8_t *frame)
{
    struct rpc_target target;
    g_autoptr(GError) error = NULL;

    switch (rpc_call_judge(connection, header, &target, &error)) {
    case RPC_VERDICT_DROP:
        break;
    case RPC_VERDICT_REFUSE:
        rpc_reply_send_error(connection, header, error);
        break;
    case RPC_VERDICT_TAKE:
        if (target.procedure)
            call_procedure(connection, &target, header, frame);
        else
            rpc_keepalive_receive(connection, header);
    }
}
