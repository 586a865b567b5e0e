/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The calls that every connection answers: opening, closing, features, identity; and what is
 * refused before opening and on read-only connections.
 */
#include "rpc-host.h"

#define TOKEN "0123456789abcdef0123456789abcdef"

struct fixture {
    struct rpc_host host;
    struct rpc_host_client *client;
    struct secret_buf *token;
    struct rpc_identity seen; /* by the last call */
};

static enum rpc_outcome
num_of_secrets(struct rpc_call *call, void *opaque, struct remote_connect_num_of_secrets_ret *ret,
               GError **error)
{
    struct fixture *on = opaque;

    on->seen = *rpc_connection_get_identity(rpc_call_get_connection(call));
    ret->num = rpc_connection_is_readonly(rpc_call_get_connection(call));
    return RPC_DONE;
}

static const struct remote_secret_handlers handlers = {.connect_num_of_secrets = num_of_secrets};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    struct rpc_server_params params;

    rpc_host_init(&on->host);
    params = rpc_host_params(&on->host);
    on->token = secret_buf_new_from(TOKEN, strlen(TOKEN), NULL);
    params.token = on->token;
    rpc_host_start(&on->host, &params);
    rpc_server_add_program(on->host.server, &remote_secret_program, &handlers, on);
    on->client = rpc_host_connect(&on->host);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    rpc_host_clear(&on->host);
    secret_buf_free(on->token);
}

static void
call(struct fixture *on, int procedure, const struct rpc_type *type, const void *args)
{
    rpc_send_message(&on->host, on->client, rpc_call_message(procedure, 7, type, args));
}

static void
expect(struct fixture *on, const struct rpc_type *type, void *ret)
{
    rpc_expect_reply(&on->host, on->client, 7, type, ret);
}

static void
expect_refusal(struct fixture *on, int code, int domain, const char *part)
{
    rpc_expect_error(&on->host, on->client, 7, code, domain, part);
}

static void
open_uri(struct fixture *on, const char *name, unsigned int flags)
{
    struct remote_connect_open_args args = {.name = (char *)name, .flags = flags};

    call(on, REMOTE_CONNECTION_PROC_CONNECT_OPEN, &remote_connect_open_args_type, &args);
}

static void
expect_uri(struct fixture *on, const char *uri)
{
    struct remote_connect_get_uri_ret ret = {0};

    call(on, REMOTE_CONNECTION_PROC_CONNECT_GET_URI, NULL, NULL);
    expect(on, &remote_connect_get_uri_ret_type, &ret);
    g_assert_cmpstr(ret.uri, ==, uri);
    remote_connect_get_uri_ret_clear(&ret);
}

static bool
is_readonly(struct fixture *on)
{
    struct remote_connect_num_of_secrets_ret ret = {0};

    call(on, REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS, NULL, NULL);
    expect(on, &remote_connect_num_of_secrets_ret_type, &ret);
    return ret.num;
}

static void
test_open_keeps_the_uri(struct fixture *on, gconstpointer unused)
{
    open_uri(on, "secret:///system?foo=bar", 0);
    expect(on, NULL, NULL);
    expect_uri(on, "secret:///system?foo=bar");
}

static void
test_open_without_a_name(struct fixture *on, gconstpointer name)
{
    open_uri(on, name, 0);
    expect(on, NULL, NULL);
    expect_uri(on, "secret:///system");
}

static void
test_open_of_another_uri_is_refused_and_can_be_repeated(struct fixture *on, gconstpointer unused)
{
    static const struct {
        const char *name;
        int code;
        const char *text;
    } cases[] = {
        {"qemu:///system", ERROR_NO_CONNECT, "no connection driver available for qemu:///system"},
        {"SECRET:///system", ERROR_NO_CONNECT, "available for SECRET:///system"},
        {"secret://host/system", ERROR_NO_CONNECT, "available for secret://host/system"},
        {"secret:///session", ERROR_INTERNAL,
         "unexpected secret URI path '/session', try secret:///system"},
        {"secret:///", ERROR_INTERNAL, "unexpected secret URI path '/'"},
        {"not a uri", ERROR_INTERNAL, "Unable to parse URI not a uri"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        open_uri(on, cases[i].name, 0);
        expect_refusal(on, cases[i].code, ERROR_FROM_NONE, cases[i].text);
    }
    open_uri(on, "secret:///system", 0);
    expect(on, NULL, NULL);
}

static void
test_second_open_is_refused(struct fixture *on, gconstpointer unused)
{
    rpc_open(&on->host, on->client, 0);
    open_uri(on, "secret:///system", 0);
    expect_refusal(on, ERROR_INTERNAL, ERROR_FROM_RPC, "connection already open");
    expect_uri(on, "secret:///system");
}

static void
test_bits_of_open(struct fixture *on, gconstpointer unused)
{
    rpc_open(&on->host, on->client, 0xfffffffe);
    g_assert_false(is_readonly(on));
    on->client = rpc_host_connect(&on->host);
    rpc_open(&on->host, on->client, 1);
    g_assert_true(is_readonly(on));
}

static void
test_readonly_socket_is_readonly_for_ever(struct fixture *on, gconstpointer unused)
{
    on->client = rpc_host_connect_as(&on->host, true, RPC_AUTH_NONE);
    rpc_open(&on->host, on->client, 0);
    g_assert_true(is_readonly(on));
}

static void
test_changes_and_values_are_refused_when_readonly(struct fixture *on, gconstpointer unused)
{
    static const struct {
        int procedure;
        const char *api;
    } cases[] = {
        {REMOTE_SECRET_PROC_SECRET_UNDEFINE, "read only access prevents virSecretUndefine"},
        {REMOTE_SECRET_PROC_SECRET_GET_VALUE, "read only access prevents virSecretGetValue"},
    };
    struct remote_secret_get_value_args args = {.secret.usageID = (char *)""};

    rpc_open(&on->host, on->client, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        call(on, cases[i].procedure, &remote_secret_get_value_args_type, &args);
        expect_refusal(on, ERROR_OPERATION_DENIED, ERROR_FROM_SECRET, cases[i].api);
    }
}

static void
test_calls_before_open_are_refused(struct fixture *on, gconstpointer unused)
{
    struct remote_connect_supports_feature_args feature = {.feature = 14};

    call(on, REMOTE_SECRET_PROC_CONNECT_NUM_OF_SECRETS, NULL, NULL);
    expect_refusal(on, ERROR_INTERNAL, ERROR_FROM_RPC, "connection not open");
    call(on, REMOTE_CONNECTION_PROC_CONNECT_GET_TYPE, NULL, NULL);
    expect_refusal(on, ERROR_INTERNAL, ERROR_FROM_RPC, "connection not open");
    call(on, REMOTE_CONNECTION_PROC_CONNECT_SUPPORTS_FEATURE,
         &remote_connect_supports_feature_args_type, &feature);
    expect_refusal(on, ERROR_INTERNAL, ERROR_FROM_RPC, "connection not open");
}

static int
ask_feature(struct fixture *on, int number)
{
    struct remote_connect_supports_feature_args args = {.feature = number};
    struct remote_connect_supports_feature_ret ret = {0};

    call(on, REMOTE_CONNECTION_PROC_CONNECT_SUPPORTS_FEATURE,
         &remote_connect_supports_feature_args_type, &args);
    expect(on, &remote_connect_supports_feature_ret_type, &ret);
    return ret.supported;
}

static void
test_features(struct fixture *on, gconstpointer unused)
{
    g_assert_cmpint(ask_feature(on, 10), ==, 1);
    rpc_open(&on->host, on->client, 0);
    for (int number = -1; number < 30; number++)
        g_assert_cmpint(ask_feature(on, number), ==,
                        number == 8 || number == 10 || number == 14 || number == 15);
}

static void
test_facts_about_the_connection(struct fixture *on, gconstpointer unused)
{
    struct remote_connect_get_type_ret type = {0};
    struct remote_connect_get_version_ret version = {0};
    struct remote_connect_get_lib_version_ret lib_version = {0};
    struct remote_connect_is_secure_ret secure = {0};
    struct remote_connect_get_hostname_ret hostname = {0};

    rpc_open(&on->host, on->client, 0);
    call(on, REMOTE_CONNECTION_PROC_CONNECT_GET_TYPE, NULL, NULL);
    expect(on, &remote_connect_get_type_ret_type, &type);
    g_assert_cmpstr(type.type, ==, "secret");
    remote_connect_get_type_ret_clear(&type);
    call(on, REMOTE_CONNECTION_PROC_CONNECT_GET_VERSION, NULL, NULL);
    expect(on, &remote_connect_get_version_ret_type, &version);
    g_assert_cmpuint(version.hv_ver, ==, 1000);
    call(on, REMOTE_CONNECTION_PROC_CONNECT_GET_LIB_VERSION, NULL, NULL);
    expect(on, &remote_connect_get_lib_version_ret_type, &lib_version);
    g_assert_cmpuint(lib_version.lib_ver, ==, 9000000);
    call(on, REMOTE_CONNECTION_PROC_CONNECT_IS_SECURE, NULL, NULL);
    expect(on, &remote_connect_is_secure_ret_type, &secure);
    g_assert_cmpint(secure.secure, ==, 1);
    call(on, REMOTE_CONNECTION_PROC_CONNECT_GET_HOSTNAME, NULL, NULL);
    expect(on, &remote_connect_get_hostname_ret_type, &hostname);
    g_assert_cmpstr(hostname.hostname, ==, g_get_host_name());
    remote_connect_get_hostname_ret_clear(&hostname);
}

static void
test_close_callbacks_always_succeed(struct fixture *on, gconstpointer unused)
{
    static const int procedures[] = {361, 360, 360, 361, 361};

    rpc_open(&on->host, on->client, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(procedures); i++) {
        call(on, procedures[i], NULL, NULL);
        expect(on, NULL, NULL);
    }
}

static void
test_close_is_answered_first(struct fixture *on, gconstpointer unused)
{
    call(on, REMOTE_CONNECTION_PROC_CONNECT_CLOSE, NULL, NULL);
    call(on, REMOTE_CONNECTION_PROC_AUTH_LIST, NULL, NULL);
    expect(on, NULL, NULL);
    rpc_host_wait_for_close(&on->host, on->client);
    g_assert_cmpuint(on->client->received->len, ==, 0);
}

static void
test_auth_list_without_authentication(struct fixture *on, gconstpointer unused)
{
    struct remote_auth_list_ret ret = {0};

    call(on, REMOTE_CONNECTION_PROC_AUTH_LIST, NULL, NULL);
    expect(on, &remote_auth_list_ret_type, &ret);
    g_assert_cmpuint(ret.types_len, ==, 1);
    g_assert_cmpint(ret.types[0], ==, REMOTE_AUTH_NONE);
    remote_auth_list_ret_clear(&ret);
    call(on, REMOTE_CONNECTION_PROC_AUTH_POLKIT, NULL, NULL);
    expect_refusal(on, ERROR_AUTH_FAILED, ERROR_FROM_RPC, "polkit was not offered");
}

static struct remote_typed_param
text_param(const char *field, const char *text)
{
    return (struct remote_typed_param){.field = (char *)field,
                                       .value = {.type = REMOTE_PARAM_STRING, .u.s = (char *)text}};
}

static struct remote_typed_param
uid_param(uint64_t uid)
{
    return (struct remote_typed_param){.field = (char *)"unix-user-id",
                                       .value = {.type = REMOTE_PARAM_ULLONG, .u.ul = uid}};
}

static void
set_identity(struct fixture *on, struct remote_typed_param *params, uint32_t count)
{
    struct remote_connect_set_identity_args args = {.params = params, .params_len = count};

    call(on, REMOTE_CONNECTION_PROC_CONNECT_SET_IDENTITY, &remote_connect_set_identity_args_type,
         &args);
}

static void
look(struct fixture *on)
{
    is_readonly(on);
}

static void
test_identity_of_the_peer(struct fixture *on, gconstpointer unused)
{
    rpc_open(&on->host, on->client, 0);
    look(on);
    g_assert_cmpuint(on->seen.peer_uid, ==, geteuid());
    g_assert_cmpint(on->seen.peer_pid, ==, getpid());
    g_assert_cmpuint(on->seen.peer_start_time, >, 0);
    g_assert_false(on->seen.forwarded);
    g_assert_false(on->seen.elevated);
}

static void
test_forwarded_identity_replaces_the_one_before(struct fixture *on, gconstpointer unused)
{
    struct remote_typed_param first[] = {uid_param(1234), text_param("system.token", TOKEN)};
    struct remote_typed_param second[] = {text_param("user-name", "somebody")};

    rpc_open(&on->host, on->client, 0);
    set_identity(on, first, 2);
    expect(on, NULL, NULL);
    look(on);
    g_assert_true(on->seen.forwarded);
    g_assert_true(on->seen.has_claimed_uid);
    g_assert_cmpuint(on->seen.claimed_uid, ==, 1234);
    g_assert_true(on->seen.elevated);
    set_identity(on, second, 1);
    expect(on, NULL, NULL);
    look(on);
    g_assert_true(on->seen.forwarded);
    g_assert_false(on->seen.has_claimed_uid);
    g_assert_false(on->seen.elevated);
    g_assert_cmpuint(on->seen.peer_uid, ==, geteuid());
}

static void
test_wrong_token_does_not_elevate(struct fixture *on, gconstpointer token)
{
    struct remote_typed_param params[] = {text_param("system.token", token)};

    rpc_open(&on->host, on->client, 0);
    set_identity(on, params, 1);
    expect(on, NULL, NULL);
    look(on);
    g_assert_true(on->seen.forwarded);
    g_assert_false(on->seen.elevated);
}

static void
test_bad_identity_changes_nothing(struct fixture *on, gconstpointer unused)
{
    struct remote_typed_param good[] = {uid_param(1234), text_param("system.token", TOKEN)};
    struct remote_typed_param unknown[] = {uid_param(1), text_param("shoe-size", "44")};
    struct remote_typed_param typed[] = {text_param("unix-user-id", "1")};
    struct remote_typed_param twice[] = {uid_param(1), uid_param(1)};

    rpc_open(&on->host, on->client, 0);
    set_identity(on, good, 2);
    expect(on, NULL, NULL);
    set_identity(on, unknown, 2);
    expect_refusal(on, ERROR_ARGUMENT_UNSUPPORTED, ERROR_FROM_NONE,
                   "argument unsupported: parameter 'shoe-size' not supported");
    set_identity(on, typed, 1);
    expect_refusal(on, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                   "invalid type 'string' for parameter 'unix-user-id', expected 'ullong'");
    set_identity(on, twice, 2);
    expect_refusal(on, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                   "parameter 'unix-user-id' occurs multiple times");
    look(on);
    g_assert_cmpuint(on->seen.claimed_uid, ==, 1234);
    g_assert_true(on->seen.elevated);
}

static void
test_identity_forwarded_by_an_untrusted_peer_is_ignored(struct fixture *on, gconstpointer unused)
{
    struct remote_typed_param params[] = {uid_param(0), text_param("system.token", TOKEN)};

    if (geteuid() != 0) {
        g_test_skip("needs root to be somebody else");
        return;
    }
    /* The kernel notes the effective user of whoever makes the pair. */
    g_assert_cmpint(seteuid(65534), ==, 0);
    on->client = rpc_host_connect(&on->host);
    g_assert_cmpint(seteuid(0), ==, 0);
    rpc_open(&on->host, on->client, 0);
    set_identity(on, params, 2);
    expect(on, NULL, NULL);
    look(on);
    g_assert_cmpuint(on->seen.peer_uid, ==, 65534);
    g_assert_false(on->seen.forwarded);
    g_assert_false(on->seen.elevated);
}

#define ADD_AS(label, name, data)                                                                  \
    g_test_add("/rpc/connect_calls/" label, struct fixture, data, set_up, test_##name, tear_down)
#define ADD(name) ADD_AS(#name, name, NULL)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(open_keeps_the_uri);
    ADD_AS("open_without_a_name", open_without_a_name, NULL);
    ADD_AS("open_with_an_empty_name", open_without_a_name, "");
    ADD(open_of_another_uri_is_refused_and_can_be_repeated);
    ADD(second_open_is_refused);
    ADD(bits_of_open);
    ADD(readonly_socket_is_readonly_for_ever);
    ADD(changes_and_values_are_refused_when_readonly);
    ADD(calls_before_open_are_refused);
    ADD(features);
    ADD(facts_about_the_connection);
    ADD(close_callbacks_always_succeed);
    ADD(close_is_answered_first);
    ADD(auth_list_without_authentication);
    ADD(identity_of_the_peer);
    ADD(forwarded_identity_replaces_the_one_before);
    ADD_AS("wrong_token", wrong_token_does_not_elevate, "0123456789abcdef0123456789abcdee");
    ADD_AS("short_token", wrong_token_does_not_elevate, "0123");
    ADD_AS("empty_token", wrong_token_does_not_elevate, "");
    ADD(bad_identity_changes_nothing);
    ADD(identity_forwarded_by_an_untrusted_peer_is_ignored);
    return g_test_run();
}
