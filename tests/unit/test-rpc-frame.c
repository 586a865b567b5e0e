/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Heads of messages: bytes in both directions, and what a beginning of any length says.
 */
#include <glib.h>

#include "rpc/frame.h"

/* The AUTH_LIST call of a real virsh. */
static const uint8_t auth_list[RPC_FRAME_HEADER_SIZE] = {
    0, 0,    0, 0x1c, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0,
    0, 0x42, 0, 0,    0,    0, 0,    0,    0, 9, 0, 0, 0, 0};

static void
test_header_from_bytes(void)
{
    struct rpc_frame_header header;

    rpc_frame_decode_header(auth_list, &header);
    g_assert_cmpuint(header.length, ==, 28);
    g_assert_cmphex(header.program, ==, 0x20008086);
    g_assert_cmpuint(header.version, ==, 1);
    g_assert_cmpint(header.procedure, ==, 66);
    g_assert_cmpuint(header.type, ==, RPC_FRAME_CALL);
    g_assert_cmpuint(header.serial, ==, 9);
    g_assert_cmpuint(header.status, ==, RPC_FRAME_OK);
}

static void
test_header_to_bytes(void)
{
    struct rpc_frame_header header = {
        .length = 28, .program = 0x20008086, .version = 1, .procedure = 66, .serial = 9};
    uint8_t bytes[RPC_FRAME_HEADER_SIZE];

    rpc_frame_encode_header(&header, bytes);
    g_assert_cmpmem(bytes, sizeof(bytes), auth_list, sizeof(auth_list));
}

static void
test_lengths(void)
{
    g_assert_false(rpc_frame_length_is_valid(0));
    g_assert_false(rpc_frame_length_is_valid(27));
    g_assert_true(rpc_frame_length_is_valid(28));
    g_assert_true(rpc_frame_length_is_valid(33554436));
    g_assert_false(rpc_frame_length_is_valid(33554437));
    g_assert_false(rpc_frame_length_is_valid(G_MAXUINT32));
}

static enum rpc_frame_progress
examine(uint32_t length, enum rpc_frame_type type, uint32_t fds, size_t len, size_t *ret_size)
{
    struct rpc_frame_header header = {.length = length, .type = type};
    uint8_t bytes[RPC_FRAME_HEADER_SIZE + RPC_FRAME_FDS_SIZE] = {0};

    rpc_frame_encode_header(&header, bytes);
    bytes[RPC_FRAME_HEADER_SIZE + 3] = (uint8_t)fds;
    return rpc_frame_examine(bytes, len, &header, ret_size);
}

static void
test_progress_of_a_call(void)
{
    size_t size = 0;

    g_assert_cmpint(examine(30, RPC_FRAME_CALL, 0, 0, &size), ==, RPC_FRAME_HEADLESS);
    g_assert_cmpint(examine(30, RPC_FRAME_CALL, 0, 27, &size), ==, RPC_FRAME_HEADLESS);
    g_assert_cmpint(examine(30, RPC_FRAME_CALL, 0, 28, &size), ==, RPC_FRAME_PARTIAL);
    g_assert_cmpuint(size, ==, 30);
    g_assert_cmpint(examine(30, RPC_FRAME_CALL, 0, 30, &size), ==, RPC_FRAME_WHOLE);
}

static void
test_a_bad_length_is_seen_at_once(void)
{
    size_t size;

    g_assert_cmpint(examine(27, RPC_FRAME_CALL, 0, 3, &size), ==, RPC_FRAME_HEADLESS);
    g_assert_cmpint(examine(27, RPC_FRAME_CALL, 0, 4, &size), ==, RPC_FRAME_INVALID);
    g_assert_cmpint(examine(G_MAXUINT32, RPC_FRAME_CALL, 0, 4, &size), ==, RPC_FRAME_INVALID);
}

static void
test_descriptors_add_a_byte_each(void)
{
    size_t size = 0;

    g_assert_cmpint(examine(32, RPC_FRAME_CALL_WITH_FDS, 2, 31, &size), ==, RPC_FRAME_HEADLESS);
    g_assert_cmpint(examine(32, RPC_FRAME_CALL_WITH_FDS, 2, 32, &size), ==, RPC_FRAME_PARTIAL);
    g_assert_cmpuint(size, ==, 34);
    g_assert_cmpint(examine(32, RPC_FRAME_CALL_WITH_FDS, 0, 32, &size), ==, RPC_FRAME_WHOLE);
}

static void
test_descriptors_without_a_count_or_too_many(void)
{
    size_t size;

    g_assert_cmpint(examine(28, RPC_FRAME_CALL_WITH_FDS, 0, 28, &size), ==, RPC_FRAME_INVALID);
    g_assert_cmpint(examine(32, RPC_FRAME_CALL_WITH_FDS, 33, 32, &size), ==, RPC_FRAME_INVALID);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/frame/header_from_bytes", test_header_from_bytes);
    g_test_add_func("/rpc/frame/header_to_bytes", test_header_to_bytes);
    g_test_add_func("/rpc/frame/lengths", test_lengths);
    g_test_add_func("/rpc/frame/progress_of_a_call", test_progress_of_a_call);
    g_test_add_func("/rpc/frame/a_bad_length_is_seen_at_once", test_a_bad_length_is_seen_at_once);
    g_test_add_func("/rpc/frame/descriptors_add_a_byte_each", test_descriptors_add_a_byte_each);
    g_test_add_func("/rpc/frame/descriptors_without_a_count_or_too_many",
                    test_descriptors_without_a_count_or_too_many);
    return g_test_run();
}
