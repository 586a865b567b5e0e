/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes kept for a connection: growth by what arrived, both kinds of memory, accounting.
 */
#include <glib.h>
#include <string.h>

#include "rpc/rest.h"

struct fixture {
    struct rpc_rest_usage usage;
    struct rpc_rest rest;
};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    rpc_rest_init(&on->rest, &on->usage);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    rpc_rest_clear(&on->rest);
    g_assert_cmpuint(on->usage.plain, ==, 0);
    g_assert_cmpuint(on->usage.secret, ==, 0);
}

static void
append(struct rpc_rest *rest, const char *text, bool secret)
{
    g_autoptr(GError) error = NULL;

    rpc_rest_append(rest, (const uint8_t *)text, strlen(text), secret, &error);
    g_assert_no_error(error);
}

static void
test_plain_bytes_are_kept_in_order(struct fixture *on, gconstpointer unused)
{
    append(&on->rest, "ab", false);
    append(&on->rest, "cde", false);
    g_assert_false(rpc_rest_is_secret(&on->rest));
    g_assert_cmpmem(rpc_rest_bytes(&on->rest), on->rest.len, "abcde", 5);
    g_assert_cmpuint(on->usage.plain, >=, 5);
    g_assert_cmpuint(on->usage.secret, ==, 0);
}

static void
test_secret_bytes_are_in_secret_memory(struct fixture *on, gconstpointer unused)
{
    append(&on->rest, "ab", true);
    append(&on->rest, "cde", false);
    g_assert_true(rpc_rest_is_secret(&on->rest));
    g_assert_cmpmem(rpc_rest_bytes(&on->rest), on->rest.len, "abcde", 5);
    g_assert_cmpuint(on->usage.plain, ==, 0);
    g_assert_cmpuint(on->usage.secret, >=, 5);
}

static void
test_room_is_as_much_as_arrived(struct fixture *on, gconstpointer secret)
{
    size_t room = 0;

    append(&on->rest, "head", GPOINTER_TO_INT(secret));
    for (size_t total = 4; total < 100000; total += room) {
        uint8_t *bytes = rpc_rest_reserve(&on->rest, 33554432, &room, NULL);

        g_assert_nonnull(bytes);
        g_assert_cmpuint(room, >, 0);
        g_assert_cmpuint(on->rest.capacity, <=, MAX(2 * total, 4 + 512));
        memset(bytes, 'x', room);
        rpc_rest_add_len(&on->rest, room);
    }
    g_assert_cmpmem(rpc_rest_bytes(&on->rest), 6, "headxx", 6);
}

static void
test_room_is_no_more_than_wanted(struct fixture *on, gconstpointer unused)
{
    size_t room = 0;

    append(&on->rest, "head", false);
    g_assert_nonnull(rpc_rest_reserve(&on->rest, 3, &room, NULL));
    g_assert_cmpuint(room, ==, 3);
    g_assert_cmpuint(on->rest.capacity, ==, 7);
}

static void
test_moving_leaves_nothing_behind(struct fixture *on, gconstpointer unused)
{
    struct rpc_rest to;

    rpc_rest_init(&to, &on->usage);
    append(&on->rest, "abc", true);
    rpc_rest_move(&to, &on->rest);
    g_assert_cmpuint(on->rest.len, ==, 0);
    g_assert_cmpmem(rpc_rest_bytes(&to), to.len, "abc", 3);
    /* The place it left can hold the other kind. */
    append(&on->rest, "d", false);
    g_assert_false(rpc_rest_is_secret(&on->rest));
    rpc_rest_clear(&to);
}

static void
test_memory_that_cannot_be_had_is_an_error(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = g_malloc0(SECRET_BUF_MAX + 1);

    append(&on->rest, "abc", true);
    g_assert_false(rpc_rest_append(&on->rest, bytes, SECRET_BUF_MAX, true, &error));
    g_assert_nonnull(error);
    g_assert_cmpmem(rpc_rest_bytes(&on->rest), on->rest.len, "abc", 3);
}

#define ADD(name, data)                                                                            \
    g_test_add("/rpc/rest/" #name, struct fixture, data, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(plain_bytes_are_kept_in_order, NULL);
    ADD(secret_bytes_are_in_secret_memory, NULL);
    ADD(room_is_as_much_as_arrived, NULL);
    g_test_add("/rpc/rest/room_is_as_much_as_arrived_secret", struct fixture, GINT_TO_POINTER(1),
               set_up, test_room_is_as_much_as_arrived, tear_down);
    ADD(room_is_no_more_than_wanted, NULL);
    ADD(moving_leaves_nothing_behind, NULL);
    ADD(memory_that_cannot_be_had_is_an_error, NULL);
    return g_test_run();
}
