/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What clients send that no library of libvirt's would: bad lengths, unknown programs, procedures
 * and types, descriptors, garbage, large messages of no use. The server answers as libvirtd does
 * (tests/wire compares the two) and goes on.
 */
#include <fcntl.h>

#include "rpc-host.h"

struct fixture {
    struct rpc_host host;
    struct rpc_host_client *client;
};

static enum rpc_outcome
num_of_secrets(struct rpc_call *call, void *opaque, struct remote_connect_num_of_secrets_ret *ret,
               GError **error)
{
    ret->num = 7;
    return RPC_DONE;
}

static enum rpc_outcome
define_xml(struct rpc_call *call, void *opaque, const struct remote_secret_define_xml_args *args,
           struct remote_secret_define_xml_ret *ret, GError **error)
{
    ret->secret.usageID = g_strdup_printf("%zu", strlen(args->xml));
    return RPC_DONE;
}

static enum rpc_outcome
undefine(struct rpc_call *call, void *opaque, const struct remote_secret_undefine_args *args,
         GError **error)
{
    return RPC_DONE;
}

static const struct remote_secret_handlers handlers = {
    .connect_num_of_secrets = num_of_secrets,
    .secret_define_xml = define_xml,
    .secret_undefine = undefine,
};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    struct rpc_server_params params;

    rpc_host_init(&on->host);
    params = rpc_host_params(&on->host);
    rpc_host_start(&on->host, &params);
    rpc_server_add_program(on->host.server, &remote_secret_program, &handlers, NULL);
    on->client = rpc_host_connect(&on->host);
    rpc_open(&on->host, on->client, 0);
}

/* Whatever happened, another client is served. */
static void
tear_down(struct fixture *on, gconstpointer unused)
{
    struct remote_connect_num_of_secrets_ret ret = {0};
    struct rpc_host_client *other = rpc_host_connect(&on->host);

    rpc_open(&on->host, other, 0);
    rpc_send_message(&on->host, other,
                     rpc_call_message(REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS, 99, NULL, NULL));
    rpc_expect_reply(&on->host, other, 99, &remote_connect_num_of_secrets_ret_type, &ret);
    rpc_host_clear(&on->host);
}

static void
send_header(struct fixture *on, struct rpc_frame_header header)
{
    rpc_send_message(&on->host, on->client, rpc_message(header, NULL, 0));
}

/* The connection still works. */
static void
expect_alive(struct fixture *on)
{
    struct remote_connect_num_of_secrets_ret ret = {0};

    rpc_send_message(&on->host, on->client,
                     rpc_call_message(REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS, 50, NULL, NULL));
    rpc_expect_reply(&on->host, on->client, 50, &remote_connect_num_of_secrets_ret_type, &ret);
}

static struct rpc_frame_header
call_header(int procedure)
{
    return (struct rpc_frame_header){
        .program = 0x20008086, .version = 1, .procedure = procedure, .serial = 5};
}

static void
test_bad_length_closes(struct fixture *on, gconstpointer length)
{
    uint32_t word = GUINT32_TO_BE(GPOINTER_TO_UINT(length));

    rpc_send(&on->host, on->client, &word, sizeof(word));
    rpc_host_wait_for_close(&on->host, on->client);
    g_assert_cmpuint(on->client->received->len, ==, 0);
}

static void
test_garbage_closes(struct fixture *on, gconstpointer unused)
{
    g_autofree char *garbage = g_strnfill(100000, 'G');

    rpc_send(&on->host, on->client, garbage, 100000);
    rpc_host_wait_for_close(&on->host, on->client);
}

static void
test_unknown_program(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header header = call_header(1);

    header.program = 0x1234;
    send_header(on, header);
    rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC,
                     "Cannot find program 4660 version 1");
    expect_alive(on);
}

static void
test_unknown_version(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header header = call_header(1);

    header.version = 7;
    send_header(on, header);
    rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC,
                     "Cannot find program 536903814 version 7");
}

static void
test_unknown_procedures(struct fixture *on, gconstpointer unused)
{
    static const int numbers[] = {0, -5, 444, 99999};

    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        g_autofree char *text = g_strdup_printf("unknown procedure: %d", numbers[i]);

        send_header(on, call_header(numbers[i]));
        rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC, text);
    }
}

static void
test_event_cannot_be_called(struct fixture *on, gconstpointer unused)
{
    send_header(on, call_header(REMOTE_SECRET_PROC_SECRET_EVENT_LIFECYCLE));
    rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC, "unknown procedure: 382");
}

static void
test_procedure_of_another_driver_is_not_supported(struct fixture *on, gconstpointer unused)
{
    send_header(on, call_header(51));
    rpc_expect_error(&on->host, on->client, 5, ERROR_NO_SUPPORT, ERROR_FROM_DOMAIN,
                     "this function is not supported by the connection driver");
}

static void
test_call_with_a_status(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header header = call_header(99999);

    header.status = 77;
    send_header(on, header);
    rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC,
                     "Unexpected message status 77");
}

static void
test_other_types_are_dropped(struct fixture *on, gconstpointer unused)
{
    static const uint32_t types[] = {1, 2, 3, 5, 6, 7, 99, G_MAXUINT32};

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        struct rpc_frame_header header = call_header(66);

        header.type = types[i];
        send_header(on, header);
        expect_alive(on);
    }
}

static void
test_arguments_that_end_early(struct fixture *on, gconstpointer unused)
{
    rpc_send_message(&on->host, on->client,
                     rpc_message(call_header(REMOTE_SECRET_PROC_SECRET_LOOKUP_BY_UUID), "123", 3));
    rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC,
                     "Unable to decode message payload");
    expect_alive(on);
}

static void
test_bytes_after_the_arguments_are_ignored(struct fixture *on, gconstpointer unused)
{
    struct remote_connect_num_of_secrets_ret ret = {0};

    rpc_send_message(
        &on->host, on->client,
        rpc_message(call_header(REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS), "12345", 5));
    rpc_expect_reply(&on->host, on->client, 5, &remote_connect_num_of_secrets_ret_type, &ret);
}

/* Sends a byte with a descriptor; returns the pipe's reading end, which ends once all copies of the
 * descriptor are closed. */
static int
send_descriptor(struct fixture *on)
{
    int pipes[2];
    char byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};

    g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.head), &pipes[1], sizeof(int));
    g_assert_cmpint(sendmsg(on->client->fd, &message, 0), ==, 1);
    close(pipes[1]);
    return pipes[0];
}

static void
test_descriptors_with_a_call_are_closed(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header header = call_header(REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS);
    struct remote_connect_num_of_secrets_ret ret = {0};
    uint32_t count = GUINT32_TO_BE(2);
    int ends[2];
    char byte;

    header.type = RPC_FRAME_CALL_WITH_FDS;
    rpc_send_message(&on->host, on->client, rpc_message(header, &count, sizeof(count)));
    ends[0] = send_descriptor(on);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(on->client->received->len, ==, 0);
    ends[1] = send_descriptor(on);
    rpc_expect_reply(&on->host, on->client, 5, &remote_connect_num_of_secrets_ret_type, &ret);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(read(ends[i], &byte, 1), ==, 0);
        close(ends[i]);
    }
    expect_alive(on);
}

static void
test_unannounced_descriptor_is_closed(struct fixture *on, gconstpointer unused)
{
    int end = send_descriptor(on);
    char byte;

    rpc_host_settle(&on->host);
    g_assert_cmpint(read(end, &byte, 1), ==, 0);
    close(end);
}

static void
test_too_many_descriptors_close(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header header = call_header(66);
    uint32_t count = GUINT32_TO_BE(33);

    header.type = RPC_FRAME_CALL_WITH_FDS;
    rpc_send_message(&on->host, on->client, rpc_message(header, &count, sizeof(count)));
    rpc_host_wait_for_close(&on->host, on->client);
}

static void
test_large_arguments(struct fixture *on, gconstpointer unused)
{
    g_autofree char *xml = g_strnfill(4194304, 'x');
    struct remote_secret_define_xml_args args = {.xml = xml};
    struct remote_secret_define_xml_ret ret = {0};

    rpc_send_message(&on->host, on->client,
                     rpc_call_message(REMOTE_SECRET_PROC_SECRET_DEFINE_XML, 6,
                                      &remote_secret_define_xml_args_type, &args));
    rpc_expect_reply(&on->host, on->client, 6, &remote_secret_define_xml_ret_type, &ret);
    g_assert_cmpstr(ret.secret.usageID, ==, "4194304");
    remote_secret_define_xml_ret_clear(&ret);
}

/* Megabytes that will be refused or dropped are not kept; what follows them is served. */
static void
test_large_message_of_no_use(struct fixture *on, gconstpointer unused)
{
    enum { SIZE = 33554436 };
    g_autofree uint8_t *zeros = g_malloc0(65536);
    struct rpc_frame_header header = call_header(99999);

    header.length = SIZE;
    send_header(on, header);
    for (size_t left = SIZE - RPC_FRAME_HEADER_SIZE; left > 0; left -= MIN(left, 65536))
        rpc_send(&on->host, on->client, zeros, MIN(left, 65536));
    rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC,
                     "unknown procedure: 99999");
    expect_alive(on);
}

static void
test_call_with_a_key_has_a_maximum(struct fixture *on, gconstpointer unused)
{
    enum { SIZE = 10 * 1024 * 1024 };
    g_autofree uint8_t *zeros = g_malloc0(65536);
    struct rpc_frame_header header = call_header(REMOTE_SECRET_PROC_SECRET_SET_VALUE);

    header.length = SIZE;
    send_header(on, header);
    for (size_t left = SIZE - RPC_FRAME_HEADER_SIZE; left > 0; left -= MIN(left, 65536))
        rpc_send(&on->host, on->client, zeros, MIN(left, 65536));
    rpc_expect_error(&on->host, on->client, 5, ERROR_RPC, ERROR_FROM_RPC,
                     "a call that carries a key has 10485760 bytes");
    expect_alive(on);
}

/* A client that begins a call with a key and lets `len` of its bytes come. */
static struct rpc_host_client *
begin_key(struct fixture *on, const uint8_t *bytes, size_t len)
{
    struct rpc_host_client *client = rpc_host_connect(&on->host);
    struct rpc_frame_header header = call_header(REMOTE_SECRET_PROC_SECRET_SET_VALUE);

    rpc_open(&on->host, client, 0);
    header.length = 5 * 1024 * 1024;
    rpc_send_message(&on->host, client, rpc_message(header, NULL, 0));
    rpc_send(&on->host, client, bytes, len - RPC_FRAME_HEADER_SIZE);
    rpc_host_settle(&on->host);
    return client;
}

static void
test_who_holds_most_secret_memory_is_disconnected(struct fixture *on, gconstpointer unused)
{
    enum { LARGE = 5 * 1024 * 1024 - 4, SMALL = 4 * 1024 * 1024, ROOM = 48 * 1024 * 1024 };
    g_autofree uint8_t *zeros = g_malloc0(LARGE);
    g_autoptr(secret_buf_t) probe = secret_buf_new(ROOM, NULL);
    struct rpc_host_client *large;
    struct rpc_host_client *small = NULL;

    if (!probe) {
        g_test_skip("needs more lockable memory");
        return;
    }
    g_clear_pointer(&probe, secret_buf_free);
    large = begin_key(on, zeros, LARGE);
    for (int i = 0; i < 8 && !large->closed; i++)
        small = begin_key(on, zeros, SMALL);
    rpc_host_wait_for_close(&on->host, large);
    rpc_host_settle(&on->host);
    g_assert_false(small->closed);
}

static void
test_client_that_goes_in_the_middle(struct fixture *on, gconstpointer unused)
{
    struct rpc_frame_header header = call_header(REMOTE_SECRET_PROC_SECRET_SET_VALUE);

    header.length = 100;
    send_header(on, header);
    rpc_host_settle(&on->host);
    rpc_host_hang_up(on->client);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(rpc_server_count_clients(on->host.server), ==, 0);
}

static void
test_calls_before_the_end_of_input_are_served(struct fixture *on, gconstpointer unused)
{
    struct remote_connect_num_of_secrets_ret ret = {0};

    rpc_send_message(&on->host, on->client,
                     rpc_call_message(REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS, 8, NULL, NULL));
    shutdown(on->client->fd, SHUT_WR);
    rpc_expect_reply(&on->host, on->client, 8, &remote_connect_num_of_secrets_ret_type, &ret);
    rpc_host_wait_for_close(&on->host, on->client);
}

#define ADD(name, data)                                                                            \
    g_test_add("/rpc/connection/" #name, struct fixture, data, set_up, test_##name, tear_down)
#define ADD_LENGTH(length)                                                                         \
    g_test_add("/rpc/connection/bad_length_closes/" #length, struct fixture,                       \
               GUINT_TO_POINTER(length), set_up, test_bad_length_closes, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD_LENGTH(0);
    ADD_LENGTH(4);
    ADD_LENGTH(27);
    ADD_LENGTH(33554437);
    ADD_LENGTH(0x80000000);
    ADD_LENGTH(0xffffffff);
    ADD(garbage_closes, NULL);
    ADD(unknown_program, NULL);
    ADD(unknown_version, NULL);
    ADD(unknown_procedures, NULL);
    ADD(event_cannot_be_called, NULL);
    ADD(procedure_of_another_driver_is_not_supported, NULL);
    ADD(call_with_a_status, NULL);
    ADD(other_types_are_dropped, NULL);
    ADD(arguments_that_end_early, NULL);
    ADD(bytes_after_the_arguments_are_ignored, NULL);
    ADD(descriptors_with_a_call_are_closed, NULL);
    ADD(unannounced_descriptor_is_closed, NULL);
    ADD(too_many_descriptors_close, NULL);
    ADD(large_arguments, NULL);
    ADD(large_message_of_no_use, NULL);
    ADD(call_with_a_key_has_a_maximum, NULL);
    ADD(who_holds_most_secret_memory_is_disconnected, NULL);
    ADD(client_that_goes_in_the_middle, NULL);
    ADD(calls_before_the_end_of_input_are_served, NULL);
    return g_test_run();
}
