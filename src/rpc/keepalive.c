/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see keepalive.h. Whatever arrives counts as a sign of life.
 */
#include "rpc/keepalive.h"

#include <sys/epoll.h>

#include "rpc/server_state.h"

static void
send_message(struct rpc_connection *connection, int32_t procedure)
{
    struct rpc_frame_header header = {
        .length = RPC_FRAME_HEADER_SIZE,
        .program = RPC_KEEPALIVE_PROGRAM,
        .version = RPC_KEEPALIVE_VERSION,
        .procedure = procedure,
        .type = RPC_FRAME_MESSAGE,
    };
    uint8_t bytes[RPC_FRAME_HEADER_SIZE];

    rpc_frame_encode_header(&header, bytes);
    rpc_connection_send(connection, bytes, sizeof(bytes), RPC_OUTPUT_REPLY);
}

void
rpc_keepalive_receive(struct rpc_connection *connection, const struct rpc_frame_header *header)
{
    if (header->procedure == RPC_KEEPALIVE_PING)
        send_message(connection, RPC_KEEPALIVE_PONG);
}

bool
rpc_keepalive_tick(struct rpc_connection *connection)
{
    const struct rpc_server_params *params = &connection->server->params;
    bool heard = connection->heard;

    connection->heard = false;
    if (!connection->pings || params->keepalive_interval_s <= 0)
        return true;
    /* What we do not read can't be missed. */
    if (heard || connection->watched == 0) {
        connection->silent_s = 0;
        connection->missed = 0;
        return true;
    }
    if (++connection->silent_s < (unsigned int)params->keepalive_interval_s)
        return true;
    connection->silent_s = 0;
    if (connection->missed >= params->keepalive_count)
        return false;
    connection->missed++;
    /* Behind output that the client does not take, one ping more would not help. */
    if (rpc_output_is_empty(&connection->output)) {
        send_message(connection, RPC_KEEPALIVE_PING);
        rpc_connection_settle(connection);
    }
    return true;
}
