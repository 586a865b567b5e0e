/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The calls for secrets from the server's side: who may read a value, and clients that leave while
 * a change is under way. What is answered to whom is in tests/wire/test-secret-calls.py.
 */
#include "secretd.h"

static void
send_get_value(struct secretd *secretd, struct rpc_host_client *client, const struct uuid *uuid)
{
    struct remote_secret_get_value_args args = {.secret.usageID = (char *)""};

    memcpy(args.secret.uuid, uuid->bytes, sizeof(uuid->bytes));
    secretd_send(secretd, client, REMOTE_SECRET_PROC_SECRET_GET_VALUE,
                 &remote_secret_get_value_args_type, &args);
}

static void
expect_value(struct secretd *secretd, struct rpc_host_client *client, const struct uuid *uuid,
             const char *value)
{
    struct remote_secret_get_value_ret ret = {0};

    send_get_value(secretd, client, uuid);
    secretd_expect(secretd, client, &remote_secret_get_value_ret_type, &ret);
    g_assert_cmpmem(secret_buf_bytes(ret.value), secret_buf_len(ret.value), value, strlen(value));
    remote_secret_get_value_ret_clear(&ret);
}

static void
expect_no_value(struct secretd *secretd, struct rpc_host_client *client, const struct uuid *uuid,
                enum error_code code, const char *part)
{
    send_get_value(secretd, client, uuid);
    rpc_expect_error(&secretd->host, client, secretd->serial, (int)code, ERROR_FROM_SECRET, part);
}

/* What the client says of itself: NULL token and uid -1 are left out. */
static void
identify(struct secretd *secretd, struct rpc_host_client *client, int64_t uid, const char *token)
{
    struct remote_typed_param params[2] = {{0}};
    struct remote_connect_set_identity_args args = {.params = params};

    if (uid >= 0)
        params[args.params_len++] = (struct remote_typed_param){
            .field = (char *)"unix-user-id",
            .value = {.type = REMOTE_PARAM_ULLONG, .u.ul = (uint64_t)uid},
        };
    if (token)
        params[args.params_len++] = (struct remote_typed_param){
            .field = (char *)"system.token",
            .value = {.type = REMOTE_PARAM_STRING, .u.s = (char *)token},
        };
    secretd_send(secretd, client, REMOTE_CONNECTION_PROC_CONNECT_SET_IDENTITY,
                 &remote_connect_set_identity_args_type, &args);
    secretd_expect(secretd, client, NULL, NULL);
}

static struct uuid
give_value(struct secretd *secretd, struct rpc_host_client *client, const char *xml)
{
    struct uuid uuid = secretd_define(secretd, client, xml);

    secretd_set_value(secretd, client, &uuid, "value");
    return uuid;
}

static void
test_local_root_reads_what_is_not_private(void)
{
    struct secretd secretd;
    struct rpc_host_client *client;
    struct uuid public;
    struct uuid private;

    secretd_init(&secretd, SECRET_READBACK_LOCAL_ROOT, getuid());
    client = secretd_connect(&secretd);
    public = give_value(&secretd, client, "<secret/>");
    private = give_value(&secretd, client, "<secret private='yes'/>");
    expect_value(&secretd, client, &public, "value");
    expect_no_value(&secretd, client, &private, ERROR_INVALID_SECRET, "secret is private");
    secretd_clear(&secretd);
}

static void
test_a_peer_that_is_not_root_does_not_read(void)
{
    struct secretd secretd;
    struct rpc_host_client *client;
    struct uuid uuid;

    secretd_init(&secretd, SECRET_READBACK_LOCAL_ROOT, getuid() + 1);
    client = secretd_connect(&secretd);
    uuid = give_value(&secretd, client, "<secret/>");
    expect_no_value(&secretd, client, &uuid, ERROR_OPERATION_DENIED, "value_readback");
    /* Not even if it says that it speaks for root. */
    identify(&secretd, client, getuid() + 1, NULL);
    expect_no_value(&secretd, client, &uuid, ERROR_OPERATION_DENIED, "value_readback");
    secretd_clear(&secretd);
}

static void
test_root_reads_for_nobody_else(void)
{
    struct secretd secretd;
    struct rpc_host_client *client;
    struct uuid uuid;

    secretd_init(&secretd, SECRET_READBACK_LOCAL_ROOT, getuid());
    client = secretd_connect(&secretd);
    uuid = give_value(&secretd, client, "<secret/>");
    identify(&secretd, client, getuid(), NULL);
    expect_no_value(&secretd, client, &uuid, ERROR_OPERATION_DENIED, "value_readback");
    secretd_clear(&secretd);
}

static void
test_in_a_session_its_user_reads_for_himself_and_not_for_others(void)
{
    struct secretd secretd;
    struct rpc_host_client *client;
    struct uuid uuid;

    secretd_init(&secretd, SECRET_READBACK_LOCAL_ROOT, getuid());
    secretd.dispatch.believes_claims = true;
    client = secretd_connect(&secretd);
    uuid = give_value(&secretd, client, "<secret/>");
    identify(&secretd, client, getuid(), NULL);
    expect_value(&secretd, client, &uuid, "value");
    identify(&secretd, client, 1000 + getuid(), NULL);
    expect_no_value(&secretd, client, &uuid, ERROR_OPERATION_DENIED, "value_readback");
    identify(&secretd, client, (1LL << 32) + getuid(), NULL);
    expect_no_value(&secretd, client, &uuid, ERROR_OPERATION_DENIED, "value_readback");
    /* Somebody without a uid of this host. */
    identify(&secretd, client, -1, NULL);
    expect_no_value(&secretd, client, &uuid, ERROR_OPERATION_DENIED, "value_readback");
    secretd_clear(&secretd);
}

static void
test_the_token_opens_every_value_whoever_asks(void)
{
    struct secretd secretd;
    struct rpc_host_client *client;
    struct uuid uuid;

    secretd_init(&secretd, SECRET_READBACK_NEVER, getuid());
    client = secretd_connect(&secretd);
    uuid = give_value(&secretd, client, "<secret private='yes'/>");
    expect_no_value(&secretd, client, &uuid, ERROR_INVALID_SECRET, "secret is private");
    identify(&secretd, client, 1000, TOKEN);
    expect_value(&secretd, client, &uuid, "value");
    identify(&secretd, client, 1000, "0123456789abcdef0123456789abcdee");
    expect_no_value(&secretd, client, &uuid, ERROR_INVALID_SECRET, "secret is private");
    secretd_clear(&secretd);
}

static void
test_any_client_reads_if_it_is_set_so(void)
{
    struct secretd secretd;
    struct rpc_host_client *client;
    struct uuid uuid;

    secretd_init(&secretd, SECRET_READBACK_ANY, getuid() + 1);
    client = secretd_connect(&secretd);
    uuid = give_value(&secretd, client, "<secret/>");
    expect_value(&secretd, client, &uuid, "value");
    secretd_clear(&secretd);
}

static void
test_changes_of_a_client_that_left_are_made_all_the_same(void)
{
    struct secretd secretd;
    struct rpc_host_client *leaving;
    struct rpc_host_client *client;
    struct remote_connect_num_of_secrets_ret ret = {0};

    secretd_init(&secretd, SECRET_READBACK_ANY, getuid());
    client = secretd_connect(&secretd);
    leaving = secretd_connect(&secretd);
    secretd_send_define(&secretd, leaving, "<secret/>");
    secretd_send_define(&secretd, leaving,
                        "<secret><usage type='ceph'><name>x</name></usage></secret>");
    rpc_host_hang_up(leaving);
    rpc_host_settle(&secretd.host);
    secret_service_drain(secretd.service);
    secretd_send(&secretd, client, REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS, NULL, NULL);
    secretd_expect(&secretd, client, &remote_connect_num_of_secrets_ret_type, &ret);
    g_assert_cmpint(ret.num, ==, 2);
    secretd_clear(&secretd);
}

static void
test_changes_under_way_at_the_end_are_answered(void)
{
    struct secretd secretd;
    struct rpc_host_client *client;
    struct uuid uuid;

    secretd_init(&secretd, SECRET_READBACK_ANY, getuid());
    client = secretd_connect(&secretd);
    uuid = secretd_define(&secretd, client, "<secret/>");
    secretd_send_set_value(&secretd, client, &uuid, "value");
    /* One round: the call is taken, and its end not yet. */
    loop_post(secretd.host.loop, rpc_host_quit, secretd.host.loop);
    loop_run(secretd.host.loop);
    g_assert_cmpuint(client->received->len, ==, 0);
    secret_service_drain(secretd.service);
    rpc_server_free(secretd.host.server);
    secretd.host.server = NULL;
    secretd_expect(&secretd, client, NULL, NULL);
    secretd_clear(&secretd);
}

#define ADD(name) g_test_add_func("/secret/dispatch_remote/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(local_root_reads_what_is_not_private);
    ADD(a_peer_that_is_not_root_does_not_read);
    ADD(root_reads_for_nobody_else);
    ADD(in_a_session_its_user_reads_for_himself_and_not_for_others);
    ADD(the_token_opens_every_value_whoever_asks);
    ADD(any_client_reads_if_it_is_set_so);
    ADD(changes_of_a_client_that_left_are_made_all_the_same);
    ADD(changes_under_way_at_the_end_are_answered);
    return g_test_run();
}
