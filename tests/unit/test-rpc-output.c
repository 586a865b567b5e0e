/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Output to a peer that reads slowly, not at all, or has gone.
 */
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/output.h"

enum { LARGE = 4 * 1024 * 1024 };

struct fixture {
    struct rpc_output output;
    size_t total;
    int fds[2];
    uint8_t *large;
};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    rpc_output_init(&on->output, &on->total);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, on->fds), ==, 0);
    on->large = g_malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        on->large[i] = (uint8_t)(i * 7 + i / 255);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    rpc_output_clear(&on->output);
    g_assert_cmpuint(on->total, ==, 0);
    close(on->fds[0]);
    if (on->fds[1] >= 0)
        close(on->fds[1]);
    g_free(on->large);
}

/* What the peer gets while the output is flushed whenever it has read something. */
static GByteArray *
drain(struct fixture *on)
{
    GByteArray *received = g_byte_array_new();
    uint8_t bytes[50000];
    ssize_t got;

    while ((got = recv(on->fds[1], bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        g_byte_array_append(received, bytes, (guint)got);
        g_assert_true(rpc_output_flush(&on->output, on->fds[0]));
    }
    return received;
}

static void
test_what_fits_is_sent_at_once(struct fixture *on, gconstpointer unused)
{
    char bytes[8] = {0};

    g_assert_true(rpc_output_send(&on->output, on->fds[0], "abc", 3, RPC_OUTPUT_REPLY));
    g_assert_true(rpc_output_is_empty(&on->output));
    g_assert_cmpint(recv(on->fds[1], bytes, sizeof(bytes), MSG_DONTWAIT), ==, 3);
    g_assert_cmpstr(bytes, ==, "abc");
}

static void
test_what_does_not_fit_is_sent_in_order(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GByteArray) received = NULL;
    struct secret_buf *secret = secret_buf_new_from("key", 3, NULL);

    g_assert_true(rpc_output_send(&on->output, on->fds[0], on->large, LARGE, RPC_OUTPUT_REPLY));
    g_assert_true(rpc_output_send_secret(&on->output, on->fds[0], secret));
    g_assert_true(rpc_output_send(&on->output, on->fds[0], "event", 5, RPC_OUTPUT_EVENT));
    g_assert_false(rpc_output_is_empty(&on->output));
    g_assert_cmpuint(rpc_output_count_events(&on->output), ==, 5);
    g_assert_cmpuint(on->total, >, 8);
    received = drain(on);
    g_assert_true(rpc_output_is_empty(&on->output));
    g_assert_cmpuint(rpc_output_count_events(&on->output), ==, 0);
    g_assert_cmpuint(received->len, ==, LARGE + 8);
    g_assert_true(memcmp(received->data, on->large, LARGE) == 0);
    g_assert_cmpmem(received->data + LARGE, 8, "keyevent", 8);
}

static void
test_large_secret_is_sent_from_secret_memory(struct fixture *on, gconstpointer unused)
{
    struct secret_buf *secret = secret_buf_new_from(on->large, 1024 * 1024, NULL);
    g_autoptr(GByteArray) received = NULL;

    g_assert_true(rpc_output_send_secret(&on->output, on->fds[0], secret));
    g_assert_false(rpc_output_is_empty(&on->output));
    received = drain(on);
    g_assert_cmpuint(received->len, ==, 1024 * 1024);
    g_assert_true(memcmp(received->data, on->large, received->len) == 0);
}

static void
test_peer_that_has_gone_is_told(struct fixture *on, gconstpointer unused)
{
    close(on->fds[1]);
    on->fds[1] = -1;
    g_assert_false(rpc_output_send(&on->output, on->fds[0], "abc", 3, RPC_OUTPUT_REPLY));
    g_assert_false(
        rpc_output_send_secret(&on->output, on->fds[0], secret_buf_new_from("key", 3, NULL)));
}

static void
test_peer_that_goes_while_output_waits(struct fixture *on, gconstpointer unused)
{
    g_assert_true(rpc_output_send(&on->output, on->fds[0], on->large, LARGE, RPC_OUTPUT_REPLY));
    close(on->fds[1]);
    on->fds[1] = -1;
    g_assert_false(rpc_output_flush(&on->output, on->fds[0]));
}

#define ADD(name)                                                                                  \
    g_test_add("/rpc/output/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(what_fits_is_sent_at_once);
    ADD(what_does_not_fit_is_sent_in_order);
    ADD(large_secret_is_sent_from_secret_memory);
    ADD(peer_that_has_gone_is_told);
    ADD(peer_that_goes_while_output_waits);
    return g_test_run();
}
