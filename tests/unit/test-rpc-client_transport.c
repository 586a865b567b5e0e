/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Ways to a server: sockets, and commands such as ssh.
 */
#include <errno.h>

#include "expect.h"
#include "rpc/client.h"
#include "rpc/protocol/remote_connection_client.h"

static void
test_a_socket_that_is_not_there_is_named(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(rpc_client_new_unix("/nonexistent/socket", &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_RPC,
                 "Failed to connect socket to '/nonexistent/socket': No such file or directory");
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_a_path_that_no_socket_can_have_is_refused(void)
{
    g_autofree char *path = g_strnfill(200, 'p');
    g_autoptr(GError) error = NULL;

    g_assert_null(rpc_client_new_unix(path, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_RPC, "longer than 107 bytes: ppp");
}

static struct rpc_client *
new_shell(const char *script, GError **error)
{
    const char *const argv[] = {"sh", "-c", script, NULL};

    return rpc_client_new_command(argv, error);
}

static void
test_a_command_is_spoken_to_over_its_standard_streams(void)
{
    /* Reads the call (28 bytes) and sends the reply of CONNECT_CLOSE. */
    g_autoptr(GError) error = NULL;
    g_autoptr(rpc_client_t) client =
        new_shell("head -c 28 >/dev/null; printf '\\0\\0\\0\\034\\040\\0\\200\\206\\0\\0\\0\\001"
                  "\\0\\0\\0\\002\\0\\0\\0\\001\\0\\0\\0\\0\\0\\0\\0\\0'",
                  &error);

    g_assert_no_error(error);
    remote_connect_close_call(client, &error);
    g_assert_no_error(error);
}

static void
test_what_a_command_says_before_it_ends_is_in_the_error(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(rpc_client_t) client =
        new_shell("head -c 28 >/dev/null; echo Permission >&2; echo denied >&2", &error);

    g_assert_no_error(error);
    g_assert_false(remote_connect_close_call(client, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_RPC,
                 "End of file while reading data: Permission denied: Input/output error");
}

static void
test_a_command_that_talks_much_neither_blocks_nor_fills_memory(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(rpc_client_t) client =
        new_shell("head -c 28 >/dev/null; head -c 1000000 /dev/zero | tr '\\0' x >&2", &error);

    g_assert_no_error(error);
    g_assert_false(remote_connect_close_call(client, &error));
    g_assert_cmpuint(strlen(error->message), <, 1200);
}

static void
test_a_command_that_is_not_there_is_named(void)
{
    const char *const argv[] = {"/nonexistent/ssh", NULL};
    g_autoptr(GError) error = NULL;

    g_assert_null(rpc_client_new_command(argv, &error));
    expect_error_part(error, ERROR_INTERNAL, ERROR_FROM_RPC, "cannot run /nonexistent/ssh: ");
}

static void
test_a_command_that_does_not_end_is_ended(void)
{
    g_autoptr(GError) error = NULL;
    struct rpc_client *client = new_shell("exec sleep 300", &error);
    gint64 start = g_get_monotonic_time();

    g_assert_no_error(error);
    rpc_client_free(client);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 60 * G_USEC_PER_SEC);
}

#define ADD_FUNC(name) g_test_add_func("/rpc/client_transport/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD_FUNC(test_a_socket_that_is_not_there_is_named);
    ADD_FUNC(test_a_path_that_no_socket_can_have_is_refused);
    ADD_FUNC(test_a_command_is_spoken_to_over_its_standard_streams);
    ADD_FUNC(test_what_a_command_says_before_it_ends_is_in_the_error);
    ADD_FUNC(test_a_command_that_talks_much_neither_blocks_nor_fills_memory);
    ADD_FUNC(test_a_command_that_is_not_there_is_named);
    ADD_FUNC(test_a_command_that_does_not_end_is_ended);
    return g_test_run();
}
