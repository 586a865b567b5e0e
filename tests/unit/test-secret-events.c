/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Registrations for events: who is told what, and clients that end, at any moment.
 */
#include "secretd.h"

static void
set_up(struct secretd *secretd, gconstpointer unused)
{
    secretd_init(secretd, SECRET_READBACK_ANY, getuid());
}

static void
tear_down(struct secretd *secretd, gconstpointer unused)
{
    secretd_clear(secretd);
}

static void
send_register(struct secretd *secretd, struct rpc_host_client *client, int event,
              const struct uuid *only)
{
    struct remote_nonnull_secret secret = {.usageID = (char *)""};
    const struct remote_connect_secret_event_register_any_args args = {
        .eventID = event,
        .secret = only ? &secret : NULL,
    };

    if (only)
        memcpy(secret.uuid, only->bytes, sizeof(only->bytes));
    secretd_send(secretd, client, REMOTE_SECRET_PROC_CONNECT_SECRET_EVENT_REGISTER_ANY,
                 &remote_connect_secret_event_register_any_args_type, &args);
}

static int
register_for(struct secretd *secretd, struct rpc_host_client *client, int event,
             const struct uuid *only)
{
    struct remote_connect_secret_event_register_any_ret ret = {0};

    send_register(secretd, client, event, only);
    secretd_expect(secretd, client, &remote_connect_secret_event_register_any_ret_type, &ret);
    return ret.callbackID;
}

/* The next message is this lifecycle event. */
static void
expect_lifecycle(struct secretd *secretd, struct rpc_host_client *client, int callback, int event,
                 const struct uuid *uuid)
{
    g_autoptr(GByteArray) payload = NULL;
    struct remote_secret_event_lifecycle_msg message = {0};
    struct rpc_frame_header header = rpc_receive(&secretd->host, client, &payload);
    struct xdr_reader reader = rpc_reader_of(payload);

    g_assert_cmpuint(header.type, ==, RPC_FRAME_MESSAGE);
    g_assert_cmpint(header.procedure, ==, REMOTE_SECRET_PROC_SECRET_EVENT_LIFECYCLE);
    g_assert_cmpuint(header.serial, ==, 1);
    g_assert_true(remote_secret_event_lifecycle_msg_decode(&reader, &message, NULL));
    g_assert_cmpint(message.callbackID, ==, callback);
    g_assert_cmpint(message.event, ==, event);
    g_assert_cmpmem(message.secret.uuid, 16, uuid->bytes, 16);
    remote_secret_event_lifecycle_msg_clear(&message);
}

static void
expect_silence(struct secretd *secretd, struct rpc_host_client *client)
{
    rpc_host_settle(&secretd->host);
    g_assert_cmpuint(client->received->len, ==, 0);
}

static void
test_each_client_is_told_under_its_own_number(struct secretd *secretd, gconstpointer unused)
{
    struct rpc_host_client *maker = secretd_connect(secretd);
    struct rpc_host_client *first = secretd_connect(secretd);
    struct rpc_host_client *second = secretd_connect(secretd);
    struct uuid uuid;

    g_assert_cmpint(register_for(secretd, first, SECRET_EVENT_VALUE_CHANGED, NULL), ==, 0);
    g_assert_cmpint(register_for(secretd, first, SECRET_EVENT_LIFECYCLE, NULL), ==, 1);
    g_assert_cmpint(register_for(secretd, second, SECRET_EVENT_LIFECYCLE, NULL), ==, 0);
    uuid = secretd_define(secretd, maker, "<secret/>");
    expect_lifecycle(secretd, first, 1, SECRET_EVENT_DEFINED, &uuid);
    expect_lifecycle(secretd, second, 0, SECRET_EVENT_DEFINED, &uuid);
    expect_silence(secretd, maker);
}

static void
test_a_client_that_left_is_forgotten(struct secretd *secretd, gconstpointer unused)
{
    struct rpc_host_client *leaving = secretd_connect(secretd);
    struct rpc_host_client *staying = secretd_connect(secretd);
    struct uuid uuid;

    register_for(secretd, leaving, SECRET_EVENT_LIFECYCLE, NULL);
    register_for(secretd, staying, SECRET_EVENT_LIFECYCLE, NULL);
    rpc_host_hang_up(leaving);
    rpc_host_settle(&secretd->host);
    secretd_send_define(secretd, staying,
                        "<secret><uuid>11111111-1111-4111-8111-111111111111"
                        "</uuid></secret>");
    uuid_parse("11111111-1111-4111-8111-111111111111", &uuid);
    expect_lifecycle(secretd, staying, 0, SECRET_EVENT_DEFINED, &uuid);
}

static void
test_a_client_may_leave_while_it_is_told(struct secretd *secretd, gconstpointer unused)
{
    struct rpc_host_client *maker = secretd_connect(secretd);
    struct rpc_host_client *leaving = secretd_connect(secretd);
    struct remote_secret_define_xml_ret ret = {0};

    register_for(secretd, leaving, SECRET_EVENT_LIFECYCLE, NULL);
    secretd_send_define(secretd, maker, "<secret/>");
    /* Before the loop has noticed anything. */
    rpc_host_hang_up(leaving);
    secretd_expect(secretd, maker, &remote_secret_define_xml_ret_type, &ret);
    remote_secret_define_xml_ret_clear(&ret);
}

static void
test_a_client_that_does_not_read_events_is_dropped_and_forgotten(struct secretd *secretd,
                                                                 gconstpointer unused)
{
    struct rpc_host_client *maker = secretd_connect(secretd);
    struct rpc_host_client *deaf = secretd_connect(secretd);
    g_autofree char *usage = g_strnfill(100000, 'u');
    g_autofree char *xml =
        g_strdup_printf("<secret ephemeral='yes'><usage type='ceph'><name>%s</name></usage>"
                        "</secret>",
                        usage);

    register_for(secretd, deaf, SECRET_EVENT_LIFECYCLE, NULL);
    loop_watch_update(deaf->watch, 0);
    for (int i = 0; i < 20; i++) {
        struct uuid uuid = secretd_define(secretd, maker, xml);
        struct remote_secret_undefine_args args = {.secret.usageID = (char *)""};

        memcpy(args.secret.uuid, uuid.bytes, sizeof(uuid.bytes));
        secretd_send(secretd, maker, REMOTE_SECRET_PROC_SECRET_UNDEFINE,
                     &remote_secret_undefine_args_type, &args);
        secretd_expect(secretd, maker, NULL, NULL);
    }
    rpc_host_settle(&secretd->host);
    g_assert_cmpuint(rpc_server_count_clients(secretd->host.server), ==, 1);
}

static void
test_registrations_have_a_bound_that_is_named(struct secretd *secretd, gconstpointer unused)
{
    struct rpc_host_client *client = secretd_connect(secretd);
    struct uuid only = {{0}};

    for (int i = 0; i < SECRET_EVENTS_MAX; i++) {
        only.bytes[0] = (uint8_t)i;
        only.bytes[1] = (uint8_t)(i >> 8);
        g_assert_cmpint(register_for(secretd, client, SECRET_EVENT_LIFECYCLE, &only), ==, i);
    }
    send_register(secretd, client, SECRET_EVENT_LIFECYCLE, NULL);
    rpc_expect_error(&secretd->host, client, secretd->serial, ERROR_OPERATION_FAILED,
                     ERROR_FROM_SECRET, "1024 registrations at a time are possible");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/events/" #name, struct secretd, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(each_client_is_told_under_its_own_number);
    ADD(a_client_that_left_is_forgotten);
    ADD(a_client_may_leave_while_it_is_told);
    ADD(a_client_that_does_not_read_events_is_dropped_and_forgotten);
    ADD(registrations_have_a_bound_that_is_named);
    return g_test_run();
}
