/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Keepalive: pings of clients are answered whatever state they are in; ours go to clients that
 * said that they answer, and those that then don't are disconnected.
 */
#include "rpc-host.h"

#include "rpc/keepalive.h"

struct fixture {
    struct rpc_host host;
    struct rpc_host_client *client;
};

static void
start(struct fixture *on, int interval_s, unsigned int count)
{
    struct rpc_server_params params = rpc_host_params(&on->host);

    params.keepalive_interval_s = interval_s;
    params.keepalive_count = count;
    rpc_host_start(&on->host, &params);
    on->client = rpc_host_connect(&on->host);
}

static void
set_up(struct fixture *on, gconstpointer unused)
{
    rpc_host_init(&on->host);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    rpc_host_clear(&on->host);
}

static struct rpc_frame_header
keepalive(int procedure)
{
    return (struct rpc_frame_header){
        .program = 0x6b656570, .version = 1, .procedure = procedure, .type = RPC_FRAME_MESSAGE};
}

static void
send_header(struct fixture *on, struct rpc_frame_header header)
{
    rpc_send_message(&on->host, on->client, rpc_message(header, NULL, 0));
}

static void
expect_keepalive(struct fixture *on, int procedure)
{
    g_autoptr(GByteArray) payload = NULL;
    struct rpc_frame_header header = rpc_receive(&on->host, on->client, &payload);

    g_assert_cmphex(header.program, ==, 0x6b656570);
    g_assert_cmpint(header.procedure, ==, procedure);
    g_assert_cmpuint(header.type, ==, RPC_FRAME_MESSAGE);
    g_assert_cmpuint(header.serial, ==, 0);
    g_assert_cmpuint(header.status, ==, 0);
    g_assert_cmpuint(payload->len, ==, 0);
}

static void
say_that_we_answer(struct fixture *on)
{
    struct remote_connect_supports_feature_args args = {.feature = 10};
    struct remote_connect_supports_feature_ret ret = {0};

    rpc_send_message(&on->host, on->client,
                     rpc_call_message(REMOTE_CONNECTION_PROC_CONNECT_SUPPORTS_FEATURE, 0,
                                      &remote_connect_supports_feature_args_type, &args));
    rpc_expect_reply(&on->host, on->client, 0, &remote_connect_supports_feature_ret_type, &ret);
    g_assert_cmpint(ret.supported, ==, 1);
}

static void
test_ping_is_answered_before_open(struct fixture *on, gconstpointer unused)
{
    start(on, -1, 5);
    send_header(on, keepalive(RPC_KEEPALIVE_PING));
    expect_keepalive(on, RPC_KEEPALIVE_PONG);
}

static void
test_ping_is_answered_before_authentication(struct fixture *on, gconstpointer unused)
{
    start(on, -1, 5);
    if (geteuid() != 0 || seteuid(65534) != 0) {
        g_test_skip("needs root to be somebody else");
        return;
    }
    on->client = rpc_host_connect_as(&on->host, false, RPC_AUTH_POLKIT);
    g_assert_cmpint(seteuid(0), ==, 0);
    send_header(on, keepalive(RPC_KEEPALIVE_PING));
    expect_keepalive(on, RPC_KEEPALIVE_PONG);
}

static void
test_other_keepalive_messages_are_dropped(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header version_2 = keepalive(RPC_KEEPALIVE_PING);

    start(on, -1, 5);
    version_2.version = 2;
    send_header(on, version_2);
    send_header(on, keepalive(RPC_KEEPALIVE_PONG));
    send_header(on, keepalive(3));
    rpc_open(&on->host, on->client, 0);
}

static void
test_ping_as_a_call_is_an_unknown_program(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header header = keepalive(RPC_KEEPALIVE_PING);

    start(on, -1, 5);
    header.type = RPC_FRAME_CALL;
    send_header(on, header);
    rpc_expect_error(&on->host, on->client, 0, ERROR_RPC, ERROR_FROM_RPC,
                     "Cannot find program 1801807216 version 1");
}

static void
test_server_pings_who_answers(struct fixture *on, gconstpointer unused)
{
    start(on, 1, 1);
    say_that_we_answer(on);
    for (int i = 0; i < 3; i++) {
        expect_keepalive(on, RPC_KEEPALIVE_PING);
        send_header(on, keepalive(RPC_KEEPALIVE_PONG));
    }
    g_assert_false(on->client->closed);
}

static void
test_client_that_stops_answering_is_disconnected(struct fixture *on, gconstpointer unused)
{
    start(on, 1, 2);
    say_that_we_answer(on);
    expect_keepalive(on, RPC_KEEPALIVE_PING);
    expect_keepalive(on, RPC_KEEPALIVE_PING);
    rpc_host_wait_for_close(&on->host, on->client);
    g_assert_cmpuint(on->client->received->len, ==, 0);
}

static void
test_client_that_did_not_ask_gets_no_pings(struct fixture *on, gconstpointer unused)
{
    start(on, 1, 1);
    rpc_open(&on->host, on->client, 0);
    rpc_host_run_for(&on->host, 3500);
    g_assert_false(on->client->closed);
    g_assert_cmpuint(on->client->received->len, ==, 0);
}

static void
test_no_pings_without_an_interval(struct fixture *on, gconstpointer interval)
{
    start(on, GPOINTER_TO_INT(interval), 1);
    say_that_we_answer(on);
    rpc_host_run_for(&on->host, 2500);
    g_assert_false(on->client->closed);
    g_assert_cmpuint(on->client->received->len, ==, 0);
}

#define ADD_AS(label, name, data)                                                                  \
    g_test_add("/rpc/keepalive/" label, struct fixture, data, set_up, test_##name, tear_down)
#define ADD(name) ADD_AS(#name, name, NULL)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(ping_is_answered_before_open);
    ADD(ping_is_answered_before_authentication);
    ADD(other_keepalive_messages_are_dropped);
    ADD(ping_as_a_call_is_an_unknown_program);
    ADD(server_pings_who_answers);
    ADD(client_that_stops_answering_is_disconnected);
    ADD(client_that_did_not_ask_gets_no_pings);
    ADD_AS("no_pings_at_interval_0", no_pings_without_an_interval, GINT_TO_POINTER(0));
    ADD_AS("no_pings_at_interval_minus_1", no_pings_without_an_interval, GINT_TO_POINTER(-1));
    return g_test_run();
}
