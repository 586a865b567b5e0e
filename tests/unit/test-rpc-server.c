/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The RPC server as its handlers and its clients see it: calls at once and later, events, order,
 * limits on calls and on output, keys in secret memory only.
 */
#include "rpc-host.h"

/* What the handlers of this test were called with, and calls that they keep. */
struct service {
    GPtrArray *kept; /* of struct rpc_call */
    GString *order;  /* a character for each call begun */
    guint closed;
    struct rpc_connection *connection;
};

struct fixture {
    struct rpc_host host;
    struct service service;
};

static enum rpc_outcome
num_of_secrets(struct rpc_call *call, void *opaque, struct remote_connect_num_of_secrets_ret *ret,
               GError **error)
{
    struct service *service = opaque;

    service->connection = rpc_call_get_connection(call);
    g_string_append_c(service->order, 'n');
    ret->num = 7;
    return RPC_DONE;
}

static enum rpc_outcome
undefine(struct rpc_call *call, void *opaque, const struct remote_secret_undefine_args *args,
         GError **error)
{
    struct service *service = opaque;

    g_string_append_c(service->order, 'u');
    g_ptr_array_add(service->kept, call);
    return RPC_LATER;
}

static enum rpc_outcome
define_xml(struct rpc_call *call, void *opaque, const struct remote_secret_define_xml_args *args,
           struct remote_secret_define_xml_ret *ret, GError **error)
{
    struct service *service = opaque;
    struct remote_secret_define_xml_ret *kept_ret = rpc_call_get_ret(call);

    g_string_append_c(service->order, 'd');
    g_assert_true(kept_ret == ret);
    kept_ret->secret.usageID = g_strdup(args->xml);
    /* A call may end before its handler returns. */
    rpc_call_reply(call);
    return RPC_LATER;
}

static enum rpc_outcome
get_value(struct rpc_call *call, void *opaque, const struct remote_secret_get_value_args *args,
          struct remote_secret_get_value_ret *ret, GError **error)
{
    ret->value = secret_buf_new_from("abc\0d", 5, error);
    return ret->value ? RPC_DONE : RPC_FAILED;
}

static enum rpc_outcome
set_value(struct rpc_call *call, void *opaque, struct remote_secret_set_value_args *args,
          GError **error)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "%zu bytes starting with %02x",
              secret_buf_len(args->value), secret_buf_bytes(args->value)[0]);
    return RPC_FAILED;
}

static enum rpc_outcome
list_secrets(struct rpc_call *call, void *opaque,
             const struct remote_connect_list_secrets_args *args,
             struct remote_connect_list_secrets_ret *ret, GError **error)
{
    ret->uuids = g_new0(char *, args->maxuuids);
    ret->uuids_len = (uint32_t)args->maxuuids;
    for (int i = 0; i < args->maxuuids; i++)
        ret->uuids[i] = g_strnfill(1000, 'u');
    return RPC_DONE;
}

static const struct remote_secret_handlers handlers = {
    .connect_num_of_secrets = num_of_secrets,
    .connect_list_secrets = list_secrets,
    .secret_undefine = undefine,
    .secret_define_xml = define_xml,
    .secret_get_value = get_value,
    .secret_set_value = set_value,
};

static void
start(struct fixture *on, unsigned int max_client_requests)
{
    struct rpc_server_params params = rpc_host_params(&on->host);

    params.max_client_requests = max_client_requests;
    rpc_host_start(&on->host, &params);
    rpc_server_add_program(on->host.server, &remote_secret_program, &handlers, &on->service);
}

static void
set_up(struct fixture *on, gconstpointer unused)
{
    rpc_host_init(&on->host);
    on->service.kept = g_ptr_array_new();
    on->service.order = g_string_new(NULL);
    on->service.connection = NULL;
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    rpc_host_clear(&on->host);
    for (guint i = 0; i < on->service.kept->len; i++)
        rpc_call_reply(g_ptr_array_index(on->service.kept, i));
    g_ptr_array_unref(on->service.kept);
    g_string_free(on->service.order, TRUE);
}

static struct rpc_host_client *
connect_opened(struct fixture *on)
{
    struct rpc_host_client *client = rpc_host_connect(&on->host);

    rpc_open(&on->host, client, 0);
    return client;
}

static GByteArray *
num_call(uint32_t serial)
{
    return rpc_call_message(REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS, serial, NULL, NULL);
}

static GByteArray *
undefine_call(uint32_t serial)
{
    struct remote_secret_undefine_args args = {.secret.usageID = (char *)""};

    return rpc_call_message(REMOTE_SECRET_PROC_SECRET_UNDEFINE, serial,
                            &remote_secret_undefine_args_type, &args);
}

static void
expect_num(struct fixture *on, struct rpc_host_client *client, uint32_t serial)
{
    struct remote_connect_num_of_secrets_ret ret = {0};

    rpc_expect_reply(&on->host, client, serial, &remote_connect_num_of_secrets_ret_type, &ret);
    g_assert_cmpint(ret.num, ==, 7);
}

static struct rpc_call *
take_kept(struct fixture *on)
{
    return g_ptr_array_steal_index(on->service.kept, 0);
}

static void
test_call_is_answered_at_once(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client, num_call(3));
    expect_num(on, client, 3);
}

static void
test_call_that_ends_before_its_handler_returns(struct fixture *on, gconstpointer unused)
{
    struct remote_secret_define_xml_args args = {.xml = (char *)"<secret/>"};
    struct remote_secret_define_xml_ret ret = {0};
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client,
                     rpc_call_message(REMOTE_SECRET_PROC_SECRET_DEFINE_XML, 4,
                                      &remote_secret_define_xml_args_type, &args));
    rpc_expect_reply(&on->host, client, 4, &remote_secret_define_xml_ret_type, &ret);
    g_assert_cmpstr(ret.secret.usageID, ==, "<secret/>");
    remote_secret_define_xml_ret_clear(&ret);
}

static void
test_calls_that_end_later_in_any_order(struct fixture *on, gconstpointer unused)
{
    GError *error = NULL;
    struct rpc_host_client *client;
    struct rpc_call *first;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client, undefine_call(10));
    rpc_send_message(&on->host, client, undefine_call(11));
    rpc_send_message(&on->host, client, num_call(12));
    expect_num(on, client, 12);
    g_assert_cmpuint(on->service.kept->len, ==, 2);
    first = take_kept(on);
    error_set(&error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "none like that");
    rpc_call_fail(take_kept(on), error);
    rpc_call_reply(first);
    rpc_expect_error(&on->host, client, 11, ERROR_NO_SECRET, ERROR_FROM_SECRET,
                     "Secret not found: none like that");
    rpc_expect_reply(&on->host, client, 10, NULL, NULL);
}

static void
test_reply_to_client_that_has_gone(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client, undefine_call(1));
    rpc_host_settle(&on->host);
    rpc_host_hang_up(client);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(rpc_server_count_clients(on->host.server), ==, 0);
    rpc_call_reply(take_kept(on));
}

static void
test_reply_after_server_is_freed(struct fixture *on, gconstpointer unused)
{
    start(on, 5);
    rpc_send_message(&on->host, connect_opened(on), undefine_call(1));
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.kept->len, ==, 1);
    /* tear_down frees the server and ends the call then. */
}

static void
test_pipelined_calls_are_all_answered(struct fixture *on, gconstpointer unused)
{
    enum { CALLS = 500 };
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    for (uint32_t i = 0; i < CALLS; i++) {
        g_autoptr(GByteArray) call = num_call(i);

        g_byte_array_append(bytes, call->data, call->len);
    }
    rpc_send(&on->host, client, bytes->data, bytes->len);
    for (uint32_t i = 0; i < CALLS; i++)
        expect_num(on, client, i);
}

static void
test_call_in_single_bytes(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GByteArray) call = undefine_call(9);
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    for (guint i = 0; i < call->len; i++) {
        g_assert_cmpuint(on->service.kept->len, ==, 0);
        rpc_send(&on->host, client, call->data + i, 1);
        rpc_host_settle(&on->host);
    }
    g_assert_cmpuint(on->service.kept->len, ==, 1);
}

static GByteArray *
set_value_call(uint32_t serial, const char *value, size_t len)
{
    g_autoptr(GError) error = NULL;
    struct remote_secret_set_value_args args = {.secret.usageID = (char *)""};
    GByteArray *message;

    args.value = secret_buf_new_from(value, len, &error);
    g_assert_no_error(error);
    message = rpc_call_message(REMOTE_SECRET_PROC_SECRET_SET_VALUE, serial,
                               &remote_secret_set_value_args_type, &args);
    secret_buf_free(args.value);
    return message;
}

static void
test_key_in_pieces(struct fixture *on, gconstpointer unused)
{
    g_autofree char *value = g_strnfill(65536, 'k');
    g_autoptr(GByteArray) call = set_value_call(2, value, 65536);
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    for (guint at = 0; at < call->len; at += 1000) {
        rpc_send(&on->host, client, call->data + at, MIN(1000, call->len - at));
        rpc_host_settle(&on->host);
    }
    rpc_expect_error(&on->host, client, 2, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                     "65536 bytes starting with 6b");
}

static void
test_key_in_a_reply(struct fixture *on, gconstpointer unused)
{
    struct remote_secret_get_value_args args = {.secret.usageID = (char *)""};
    struct remote_secret_get_value_ret ret = {0};
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client,
                     rpc_call_message(REMOTE_SECRET_PROC_SECRET_GET_VALUE, 5,
                                      &remote_secret_get_value_args_type, &args));
    rpc_expect_reply(&on->host, client, 5, &remote_secret_get_value_ret_type, &ret);
    g_assert_cmpmem(secret_buf_bytes(ret.value), secret_buf_len(ret.value), "abc\0d", 5);
    remote_secret_get_value_ret_clear(&ret);
}

static void
test_missing_handler_is_not_supported(struct fixture *on, gconstpointer unused)
{
    struct remote_secret_lookup_by_uuid_args args = {0};
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client,
                     rpc_call_message(REMOTE_SECRET_PROC_SECRET_LOOKUP_BY_UUID, 5,
                                      &remote_secret_lookup_by_uuid_args_type, &args));
    rpc_expect_error(&on->host, client, 5, ERROR_NO_SUPPORT, ERROR_FROM_DOMAIN,
                     "virSecretLookupByUUID");
}

static void
test_calls_beyond_the_limit_wait(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    start(on, 2);
    client = connect_opened(on);
    for (uint32_t i = 0; i < 4; i++)
        rpc_send_message(&on->host, client, undefine_call(i));
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.kept->len, ==, 2);
    rpc_call_reply(take_kept(on));
    rpc_expect_reply(&on->host, client, 0, NULL, NULL);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.kept->len, ==, 2);
    for (uint32_t i = 1; i < 4; i++) {
        rpc_call_reply(take_kept(on));
        rpc_expect_reply(&on->host, client, i, NULL, NULL);
        rpc_host_settle(&on->host);
    }
}

static void
test_calls_beyond_the_limit_wait_in_one_packet(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct rpc_host_client *client;

    start(on, 1);
    client = connect_opened(on);
    for (uint32_t i = 0; i < 3; i++) {
        g_autoptr(GByteArray) call = undefine_call(i);

        g_byte_array_append(bytes, call->data, call->len);
    }
    /* A part of a fourth follows. */
    rpc_send(&on->host, client, bytes->data, bytes->len);
    rpc_send(&on->host, client, bytes->data, 30);
    for (uint32_t i = 0; i < 3; i++) {
        rpc_host_settle(&on->host);
        g_assert_cmpuint(on->service.kept->len, ==, 1);
        rpc_call_reply(take_kept(on));
        rpc_expect_reply(&on->host, client, i, NULL, NULL);
    }
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.kept->len, ==, 0);
    rpc_send(&on->host, client, bytes->data + 30, undefine_call(0)->len - 30);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.kept->len, ==, 1);
}

static void
test_priority_call_overtakes_those_that_wait(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct rpc_host_client *client;

    start(on, 1);
    client = connect_opened(on);
    for (uint32_t i = 0; i < 3; i++) {
        g_autoptr(GByteArray) call = i < 2 ? undefine_call(i) : num_call(i);

        g_byte_array_append(bytes, call->data, call->len);
    }
    rpc_send(&on->host, client, bytes->data, bytes->len);
    expect_num(on, client, 2);
    g_assert_cmpstr(on->service.order->str, ==, "un");
    rpc_call_reply(take_kept(on));
    rpc_host_settle(&on->host);
    g_assert_cmpstr(on->service.order->str, ==, "unu");
}

static void
test_one_clients_wait_is_not_anothers(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *busy;
    struct rpc_host_client *other;

    start(on, 1);
    busy = connect_opened(on);
    other = connect_opened(on);
    rpc_send_message(&on->host, busy, undefine_call(0));
    rpc_send_message(&on->host, busy, undefine_call(1));
    rpc_send_message(&on->host, other, num_call(0));
    expect_num(on, other, 0);
    g_assert_cmpuint(on->service.kept->len, ==, 1);
}

static void
test_goodbye_waits_for_calls_before_it(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct rpc_host_client *client;

    start(on, 1);
    client = connect_opened(on);
    for (uint32_t i = 0; i < 4; i++) {
        g_autoptr(GByteArray) call =
            i == 2 ? rpc_call_message(REMOTE_CONNECTION_PROC_CONNECT_CLOSE, i, NULL, NULL)
                   : undefine_call(i);

        g_byte_array_append(bytes, call->data, call->len);
    }
    rpc_send(&on->host, client, bytes->data, bytes->len);
    rpc_expect_reply(&on->host, client, 2, NULL, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        rpc_host_settle(&on->host);
        g_assert_false(client->closed);
        rpc_call_reply(take_kept(on));
        rpc_expect_reply(&on->host, client, i, NULL, NULL);
    }
    rpc_host_wait_for_close(&on->host, client);
    g_assert_cmpstr(on->service.order->str, ==, "uu");
}

static void
count_closed(void *opaque)
{
    struct service *service = opaque;

    service->closed++;
}

static void
test_end_of_a_connection_is_told_once(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client, num_call(0));
    expect_num(on, client, 0);
    rpc_connection_on_close(on->service.connection, count_closed, &on->service);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.closed, ==, 0);
    rpc_host_hang_up(client);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.closed, ==, 1);
}

static struct remote_secret_event_lifecycle_msg event = {.callbackID = 3,
                                                         .secret.usageID = (char *)"/v/a"};

static void
test_event_carries_serial_1(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = NULL;
    struct rpc_host_client *client;
    struct rpc_frame_header header;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client, num_call(0));
    expect_num(on, client, 0);
    remote_secret_event_lifecycle_send(on->service.connection, &event);
    header = rpc_receive(&on->host, client, &payload);
    g_assert_cmpint(header.procedure, ==, REMOTE_SECRET_PROC_SECRET_EVENT_LIFECYCLE);
    g_assert_cmpuint(header.type, ==, RPC_FRAME_MESSAGE);
    g_assert_cmpuint(header.serial, ==, 1);
    g_assert_cmpuint(header.status, ==, 0);
    g_assert_cmpuint(header.length, ==, 0x44);
}

static void
test_client_that_reads_no_events_is_disconnected(struct fixture *on, gconstpointer unused)
{
    enum { EVENTS_MAX = 100000 };
    struct rpc_host_client *client;
    int sent = 0;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client, num_call(0));
    expect_num(on, client, 0);
    loop_watch_update(client->watch, 0);
    rpc_connection_on_close(on->service.connection, count_closed, &on->service);
    /* Never within the sending itself. */
    for (; sent < EVENTS_MAX; sent++)
        remote_secret_event_lifecycle_send(on->service.connection, &event);
    g_assert_cmpuint(on->service.closed, ==, 0);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->service.closed, ==, 1);
}

static void
test_client_that_reads_no_replies_is_not_served(struct fixture *on, gconstpointer unused)
{
    enum { CALLS = 20 };
    struct remote_connect_list_secrets_args args = {.maxuuids = 1000};
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    loop_watch_update(client->watch, 0);
    for (uint32_t i = 0; i < CALLS; i++) {
        rpc_send_message(&on->host, client,
                         rpc_call_message(REMOTE_SECRET_PROC_CONNECT_LIST_SECRETS, i,
                                          &remote_connect_list_secrets_args_type, &args));
        rpc_send_message(&on->host, client, num_call(1000 + i));
    }
    rpc_host_settle(&on->host);
    /* The first reply of a megabyte does not fit into the socket: nothing more has begun. */
    g_assert_cmpstr(on->service.order->str, ==, "");
    loop_watch_update(client->watch, EPOLLIN);
    for (uint32_t i = 0; i < CALLS; i++) {
        struct remote_connect_list_secrets_ret ret = {0};

        rpc_expect_reply(&on->host, client, i, &remote_connect_list_secrets_ret_type, &ret);
        g_assert_cmpuint(ret.uuids_len, ==, 1000);
        remote_connect_list_secrets_ret_clear(&ret);
        expect_num(on, client, 1000 + i);
    }
}

static void
test_reply_beyond_the_maximum_is_an_error(struct fixture *on, gconstpointer unused)
{
    struct remote_connect_list_secrets_args args = {.maxuuids = 35000};
    struct rpc_host_client *client;

    start(on, 5);
    client = connect_opened(on);
    rpc_send_message(&on->host, client,
                     rpc_call_message(REMOTE_SECRET_PROC_CONNECT_LIST_SECRETS, 0,
                                      &remote_connect_list_secrets_args_type, &args));
    rpc_expect_error(&on->host, client, 0, ERROR_RPC, ERROR_FROM_RPC,
                     "larger than the maximum of 33554436 bytes");
}

#define ADD(name)                                                                                  \
    g_test_add("/rpc/server/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(call_is_answered_at_once);
    ADD(call_that_ends_before_its_handler_returns);
    ADD(calls_that_end_later_in_any_order);
    ADD(reply_to_client_that_has_gone);
    ADD(reply_after_server_is_freed);
    ADD(pipelined_calls_are_all_answered);
    ADD(call_in_single_bytes);
    ADD(key_in_pieces);
    ADD(key_in_a_reply);
    ADD(missing_handler_is_not_supported);
    ADD(calls_beyond_the_limit_wait);
    ADD(calls_beyond_the_limit_wait_in_one_packet);
    ADD(priority_call_overtakes_those_that_wait);
    ADD(one_clients_wait_is_not_anothers);
    ADD(goodbye_waits_for_calls_before_it);
    ADD(end_of_a_connection_is_told_once);
    ADD(event_carries_serial_1);
    ADD(client_that_reads_no_events_is_disconnected);
    ADD(client_that_reads_no_replies_is_not_served);
    ADD(reply_beyond_the_maximum_is_an_error);
    return g_test_run();
}
