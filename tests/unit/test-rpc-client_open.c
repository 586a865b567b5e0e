/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What comes before the first call: authentication, and opening the connection.
 */
#include "fake-server.h"

/* ---- opening ---- */

static void
serve_auth_list(const struct fixture *fixture, int type)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();

    put_word(payload, type < 0 ? 0 : 1);
    if (type >= 0)
        put_word(payload, (uint32_t)type);
    serve(fixture->server, (struct frame){.procedure = 66, .type = REPLY}, payload);
}

static void
serve_polkit(const struct fixture *fixture, uint32_t complete)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();

    put_word(payload, complete);
    serve(fixture->server, (struct frame){.procedure = 70, .type = REPLY, .serial = 1}, payload);
}

static void
test_a_connection_without_authentication_is_opened(struct fixture *fixture, const void *unused)
{
    const guint8 name_and_flags[] = {0,   0,   0,   1,   0,   0,   0,   16,  's', 'e',
                                     'c', 'r', 'e', 't', ':', '/', '/', '/', 's', 'y',
                                     's', 't', 'e', 'm', 0,   0,   0,   1};
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GError) error = NULL;

    serve_auth_list(fixture, REMOTE_AUTH_NONE);
    serve(fixture->server, (struct frame){.procedure = 1, .type = REPLY, .serial = 1}, NULL);
    rpc_client_open(fixture->client, "secret:///system", true, &error);
    g_assert_no_error(error);
    bytes = sent(fixture);
    g_assert_cmpuint(bytes->len, ==, 2 * HEADER_SIZE + sizeof(name_and_flags));
    g_assert_cmpmem(bytes->data + 2 * HEADER_SIZE, sizeof(name_and_flags), name_and_flags,
                    sizeof(name_and_flags));
}

/* Nobody is asked anything yet, so that there is nothing to wait for as long as for a person. */
static void
test_a_server_that_does_not_answer_is_not_waited_for_as_for_a_person(struct fixture *fixture,
                                                                     const void *unused)
{
    g_autoptr(GError) error = NULL;

    rpc_client_set_timeout(fixture->client, 100);
    g_assert_false(rpc_client_open(fixture->client, "secret:///system", false, &error));
    expect_error_part(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_RPC, "did not answer in time");
}

static void
test_polkit_is_asked_where_the_server_wants_it(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    serve_auth_list(fixture, REMOTE_AUTH_POLKIT);
    serve_polkit(fixture, 1);
    serve(fixture->server, (struct frame){.procedure = 1, .type = REPLY, .serial = 2}, NULL);
    rpc_client_open(fixture->client, "secret:///system", false, &error);
    g_assert_no_error(error);
}

static void
test_a_polkit_that_does_not_finish_is_an_error(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    serve_auth_list(fixture, REMOTE_AUTH_POLKIT);
    serve_polkit(fixture, 0);
    g_assert_false(rpc_client_open(fixture->client, "secret:///system", false, &error));
    expect_error_part(error, ERROR_AUTH_FAILED, ERROR_FROM_RPC, "did not finish");
}

static void
test_a_server_that_wants_sasl_is_an_error_with_a_remedy(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    serve_auth_list(fixture, REMOTE_AUTH_SASL);
    g_assert_false(rpc_client_open(fixture->client, "secret:///system", false, &error));
    expect_error_part(error, ERROR_AUTH_FAILED, ERROR_FROM_RPC, "set auth_unix_rw to");
}

#define ADD(name)                                                                                  \
    g_test_add("/rpc/client_open/" #name, struct fixture, NULL, set_up, name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_connection_without_authentication_is_opened);
    ADD(test_a_server_that_does_not_answer_is_not_waited_for_as_for_a_person);
    ADD(test_polkit_is_asked_where_the_server_wants_it);
    ADD(test_a_polkit_that_does_not_finish_is_an_error);
    ADD(test_a_server_that_wants_sasl_is_an_error_with_a_remedy);
    return g_test_run();
}
