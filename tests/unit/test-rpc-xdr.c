/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The primitives of XDR against bytes computed by hand from RFC 4506: each read to its last byte
 * and not beyond, lengths refused before anything is allocated.
 */
#include <string.h>

#include "expect.h"
#include "rpc/xdr.h"

#define READER(bytes)                                                                              \
    {                                                                                              \
        .pos = (bytes), .end = (bytes) + sizeof(bytes)                                             \
    }

static void
expect_left(const struct xdr_reader *reader, size_t left)
{
    g_assert_cmpuint((size_t)(reader->end - reader->pos), ==, left);
}

static void
expect_refused(const GError *error, const char *detail)
{
    expect_error(error, ERROR_RPC, ERROR_FROM_RPC, detail);
}

/* ---- numbers ---- */

static void
test_numbers_are_read_in_network_order(void)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0x02, 0x03, 0xff, 0xff, 0xff, 0xfe, 0x80,
                                    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xfd, 0xbf, 0xc4, 0x00,
                                    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01};
    struct xdr_reader reader = READER(bytes);
    uint32_t uint32;
    int32_t int32;
    uint64_t uint64;
    int64_t int64;
    double number;
    bool truth;

    g_assert_true(xdr_read_uint32(&reader, "u", &uint32, NULL));
    g_assert_cmphex(uint32, ==, 0x00010203);
    g_assert_true(xdr_read_int32(&reader, "i", &int32, NULL));
    g_assert_cmpint(int32, ==, -2);
    g_assert_true(xdr_read_uint64(&reader, "uh", &uint64, NULL));
    g_assert_cmphex(uint64, ==, 0x8000000000000001);
    g_assert_true(xdr_read_int64(&reader, "h", &int64, NULL));
    g_assert_cmpint(int64, ==, -3);
    g_assert_true(xdr_read_double(&reader, "d", &number, NULL));
    g_assert_cmpfloat(number, ==, -0.15625);
    g_assert_true(xdr_read_bool(&reader, "b", &truth, NULL));
    g_assert_true(truth);
    expect_left(&reader, 0);
}

static void
test_numbers_are_written_as_they_are_read(void)
{
    static const uint8_t wanted[] = {0xff, 0xff, 0xff, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00,
                                     0x00, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd,
                                     0xbf, 0xc4, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                     0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0xfe, 0xdc, 0xba, 0x98};
    uint8_t bytes[sizeof(wanted)];
    struct xdr_writer writer = {.pos = bytes, .end = bytes + sizeof(bytes)};

    xdr_write_int32(&writer, -2);
    xdr_write_uint64(&writer, 0x8000000000000001);
    xdr_write_int64(&writer, -3);
    xdr_write_double(&writer, -0.15625);
    xdr_write_bool(&writer, true);
    xdr_write_bool(&writer, false);
    xdr_write_uint32(&writer, 0xfedcba98);
    g_assert_true(writer.pos == writer.end);
    g_assert_cmpmem(bytes, sizeof(bytes), wanted, sizeof(wanted));
}

static void
test_a_number_that_is_cut_off_is_refused_and_nothing_is_read(void)
{
    static const uint8_t bytes[7] = {0};

    for (size_t len = 0; len < sizeof(bytes); len++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *detail = g_strdup_printf(
            "t.m: the message ends early: 8 bytes are needed and %zu are left", len);
        struct xdr_reader reader = {.pos = bytes, .end = bytes + len};
        uint64_t value = 42;

        g_assert_false(xdr_read_uint64(&reader, "t.m", &value, &error));
        expect_refused(error, detail);
        g_assert_cmpuint(value, ==, 42);
        expect_left(&reader, len);
    }
}

static void
test_a_bool_is_0_or_1(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 2};
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = READER(bytes);
    bool value = true;

    g_assert_false(xdr_read_bool(&reader, "t.m", &value, &error));
    expect_refused(error, "t.m: 2 is none of the values that are allowed");
    g_assert_true(value);
}

/* ---- counts ---- */

static void
test_a_count_up_to_its_maximum_is_read(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2};
    struct xdr_reader reader = READER(bytes);
    uint32_t count;

    g_assert_true(xdr_read_count(&reader, "t.m", 2, 4, &count, NULL));
    g_assert_cmpuint(count, ==, 2);
    expect_left(&reader, 8);
}

static void
test_a_count_above_its_maximum_is_refused(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = READER(bytes);
    uint32_t count;

    g_assert_false(xdr_read_count(&reader, "t.m", 2, 4, &count, &error));
    expect_refused(error, "t.m: 3 is above the maximum of 2");
}

static void
test_a_count_of_more_than_the_message_holds_is_refused(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3};
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = READER(bytes);
    uint32_t count;

    g_assert_false(xdr_read_count(&reader, "t.m", 9, 4, &count, &error));
    expect_refused(error, "t.m: the message ends early: 3 of at least 4 bytes are announced and 11 "
                          "bytes are left");
}

static void
test_a_count_whose_bytes_overflow_is_refused(void)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = READER(bytes);
    uint32_t count;

    g_assert_false(xdr_read_count(&reader, "t.m", UINT32_MAX, SIZE_MAX, &count, &error));
    g_assert_nonnull(error);
}

/* ---- bytes ---- */

static const uint8_t padded[] = {0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o', 0, 0, 0};

static void
test_a_string_is_read_with_its_padding(void)
{
    struct xdr_reader reader = READER(padded);
    g_autofree char *text = NULL;

    g_assert_true(xdr_read_string(&reader, "t.m", 5, &text, NULL));
    g_assert_cmpstr(text, ==, "hello");
    expect_left(&reader, 0);
}

static void
test_an_empty_string_is_text(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 0};
    struct xdr_reader reader = READER(bytes);
    g_autofree char *text = NULL;

    g_assert_true(xdr_read_string(&reader, "t.m", 5, &text, NULL));
    g_assert_cmpstr(text, ==, "");
}

static void
test_a_string_without_its_padding_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = {.pos = padded, .end = padded + sizeof(padded) - 1};
    char *text = NULL;

    g_assert_false(xdr_read_string(&reader, "t.m", 5, &text, &error));
    expect_refused(error, "t.m: the message ends early: 8 bytes are needed and 7 are left");
    g_assert_null(text);
    expect_left(&reader, sizeof(padded) - 1);
}

static void
test_a_string_that_is_too_long_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = READER(padded);
    char *text = NULL;

    g_assert_false(xdr_read_string(&reader, "t.m", 4, &text, &error));
    expect_refused(error, "t.m: 5 is above the maximum of 4");
    g_assert_null(text);
}

static void
test_a_string_with_a_nul_byte_is_refused(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 4, 'a', 0, 'b', 'c'};
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = READER(bytes);
    char *text = NULL;

    g_assert_false(xdr_read_string(&reader, "t.m", 4, &text, &error));
    expect_refused(error, "t.m: the text holds a NUL byte");
    g_assert_null(text);
}

static void
test_bytes_are_copied(void)
{
    struct xdr_reader reader = READER(padded);
    g_autofree uint8_t *bytes = NULL;
    uint32_t len;

    g_assert_true(xdr_read_opaque(&reader, "t.m", 5, &bytes, &len, NULL));
    g_assert_cmpmem(bytes, len, "hello", 5);
    g_assert_true(bytes != padded + 4);
    expect_left(&reader, 0);
}

static void
test_bytes_of_fixed_length_are_read_with_their_padding(void)
{
    struct xdr_reader reader = {.pos = padded + 4, .end = padded + sizeof(padded)};
    char bytes[5];

    g_assert_true(xdr_read_opaque_fixed(&reader, "t.m", bytes, sizeof(bytes), NULL));
    g_assert_cmpmem(bytes, sizeof(bytes), "hello", 5);
    expect_left(&reader, 0);
}

static void
test_a_secret_is_read_into_secret_memory(void)
{
    struct xdr_reader reader = READER(padded);
    g_autoptr(secret_buf_t) value = NULL;

    g_assert_true(xdr_read_secret(&reader, "t.m", 5, &value, NULL));
    g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), "hello", 5);
    expect_left(&reader, 0);
}

static void
test_a_secret_that_is_too_long_or_cut_off_is_refused(void)
{
    g_autoptr(GError) too_long = NULL;
    g_autoptr(GError) cut_off = NULL;
    struct xdr_reader whole = READER(padded);
    struct xdr_reader part = {.pos = padded, .end = padded + 7};
    struct secret_buf *value = NULL;

    g_assert_false(xdr_read_secret(&whole, "t.m", 4, &value, &too_long));
    expect_refused(too_long, "t.m: 5 is above the maximum of 4");
    g_assert_false(xdr_read_secret(&part, "t.m", 5, &value, &cut_off));
    expect_refused(cut_off, "t.m: the message ends early: 5 of at least 1 bytes are announced and "
                            "3 bytes are left");
    g_assert_null(value);
}

static void
test_padding_is_written_as_zero(void)
{
    uint8_t bytes[20];
    static const uint8_t wanted[] = {0, 0, 0,   5,   'h', 'e', 'l', 'l', 'o', 0,
                                     0, 0, 'a', 'b', 'c', 0,   0,   0,   0,   0};
    struct xdr_writer writer = {.pos = bytes, .end = bytes + sizeof(bytes)};

    memset(bytes, 0xee, sizeof(bytes));
    xdr_write_opaque(&writer, "hello", 5);
    xdr_write_opaque_fixed(&writer, "abc", 3);
    xdr_write_opaque(&writer, NULL, 0);
    g_assert_true(writer.pos == writer.end);
    g_assert_cmpmem(bytes, sizeof(bytes), wanted, sizeof(wanted));
}

static void
test_lengths_are_padded_to_words(void)
{
    g_assert_cmpuint(xdr_padded(0), ==, 0);
    g_assert_cmpuint(xdr_padded(1), ==, 4);
    g_assert_cmpuint(xdr_padded(4), ==, 4);
    g_assert_cmpuint(xdr_padded(5), ==, 8);
    g_assert_cmpuint(xdr_padded(4194304), ==, 4194304);
}

static void
test_writing_past_the_end_aborts(void)
{
    uint8_t bytes[3];
    struct xdr_writer writer = {.pos = bytes, .end = bytes + sizeof(bytes)};

    if (g_test_subprocess()) {
        xdr_write_uint32(&writer, 1);
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*assertion failed*");
}

/* ---- depth ---- */

static void
test_depth_ends_at_its_maximum_and_comes_back(void)
{
    g_autoptr(GError) error = NULL;
    struct xdr_reader reader = {0};

    for (int i = 0; i < XDR_DEPTH_MAX; i++)
        g_assert_true(xdr_enter(&reader, "t", NULL));
    g_assert_false(xdr_enter(&reader, "t", &error));
    expect_refused(error, "t: more than 64 of them hold each other");
    xdr_leave(&reader);
    g_assert_true(xdr_enter(&reader, "t", NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/xdr/numbers-are-read-in-network-order",
                    test_numbers_are_read_in_network_order);
    g_test_add_func("/rpc/xdr/numbers-are-written-as-they-are-read",
                    test_numbers_are_written_as_they_are_read);
    g_test_add_func("/rpc/xdr/a-number-that-is-cut-off-is-refused-and-nothing-is-read",
                    test_a_number_that_is_cut_off_is_refused_and_nothing_is_read);
    g_test_add_func("/rpc/xdr/a-bool-is-0-or-1", test_a_bool_is_0_or_1);
    g_test_add_func("/rpc/xdr/a-count-up-to-its-maximum-is-read",
                    test_a_count_up_to_its_maximum_is_read);
    g_test_add_func("/rpc/xdr/a-count-above-its-maximum-is-refused",
                    test_a_count_above_its_maximum_is_refused);
    g_test_add_func("/rpc/xdr/a-count-of-more-than-the-message-holds-is-refused",
                    test_a_count_of_more_than_the_message_holds_is_refused);
    g_test_add_func("/rpc/xdr/a-count-whose-bytes-overflow-is-refused",
                    test_a_count_whose_bytes_overflow_is_refused);
    g_test_add_func("/rpc/xdr/a-string-is-read-with-its-padding",
                    test_a_string_is_read_with_its_padding);
    g_test_add_func("/rpc/xdr/an-empty-string-is-text", test_an_empty_string_is_text);
    g_test_add_func("/rpc/xdr/a-string-without-its-padding-is-refused",
                    test_a_string_without_its_padding_is_refused);
    g_test_add_func("/rpc/xdr/a-string-that-is-too-long-is-refused",
                    test_a_string_that_is_too_long_is_refused);
    g_test_add_func("/rpc/xdr/a-string-with-a-nul-byte-is-refused",
                    test_a_string_with_a_nul_byte_is_refused);
    g_test_add_func("/rpc/xdr/bytes-are-copied", test_bytes_are_copied);
    g_test_add_func("/rpc/xdr/bytes-of-fixed-length-are-read-with-their-padding",
                    test_bytes_of_fixed_length_are_read_with_their_padding);
    g_test_add_func("/rpc/xdr/a-secret-is-read-into-secret-memory",
                    test_a_secret_is_read_into_secret_memory);
    g_test_add_func("/rpc/xdr/a-secret-that-is-too-long-or-cut-off-is-refused",
                    test_a_secret_that_is_too_long_or_cut_off_is_refused);
    g_test_add_func("/rpc/xdr/padding-is-written-as-zero", test_padding_is_written_as_zero);
    g_test_add_func("/rpc/xdr/lengths-are-padded-to-words", test_lengths_are_padded_to_words);
    g_test_add_func("/rpc/xdr/writing-past-the-end-aborts", test_writing_past_the_end_aborts);
    g_test_add_func("/rpc/xdr/depth-ends-at-its-maximum-and-comes-back",
                    test_depth_ends_at_its_maximum_and_comes_back);
    return g_test_run();
}
