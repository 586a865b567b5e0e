/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every message of every program, cut off at every length and with every word replaced by lies: it
 * is refused with an error that says where, or it is a message that we would write ourselves. With
 * sanitizers each of these cases is also a test for leaks and for reads beyond the end.
 */
#include <string.h>

#include "codec_types.h"
#include "util/error.h"

static const uint32_t lies[] = {
    0,          1,          2,          3,          4,          5,          7,          8,
    20,         21,         64,         1000,       16384,      16385,      65536,      65537,
    4194304,    4194305,    33554432,   0x3fffffff, 0x40000000, 0x7ffffffe, 0x7fffffff, 0x80000000,
    0x80000001, 0xaaaaaaaa, 0xfffffffc, 0xfffffffd, 0xfffffffe, 0xffffffff,
};

static GArray *
read_golden(void)
{
    g_autofree char *path =
        g_test_build_filename(G_TEST_DIST, "tests", "gen", "golden", "messages.txt", NULL);

    return codec_messages_read(path);
}

/* What can be decoded and encoded again is the same from then on. */
static void
expect_stable(const struct rpc_type *type, const void *value)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) first = codec_type_encode(type, value);
    g_autoptr(GBytes) second = NULL;
    size_t left = 0;
    void *again = codec_type_decode(type, g_bytes_get_data(first, NULL), g_bytes_get_size(first),
                                    &left, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(left, ==, 0);
    second = codec_type_encode(type, again);
    g_assert_true(g_bytes_equal(first, second));
    codec_type_free(type, again);
}

/* Whether the bytes are a value; if not, the error is of the kind that they all have. */
static bool
try_message(const struct rpc_type *type, const uint8_t *bytes, size_t len)
{
    g_autoptr(GError) error = NULL;
    void *value = codec_type_decode(type, bytes, len, NULL, &error);

    if (value) {
        expect_stable(type, value);
        codec_type_free(type, value);
        return true;
    }
    g_assert_nonnull(error);
    g_assert_cmpint(error_get_code(error), ==, ERROR_RPC);
    g_assert_cmpint(error_get_domain(error), ==, ERROR_FROM_RPC);
    g_assert_nonnull(strstr(error->message, ": "));
    return false;
}

static void
test_every_message_is_a_value(void)
{
    g_autoptr(GArray) messages = read_golden();

    for (guint i = 0; i < messages->len; i++) {
        const struct codec_message *message = &g_array_index(messages, struct codec_message, i);

        g_assert_true(try_message(message->type, g_bytes_get_data(message->bytes, NULL),
                                  g_bytes_get_size(message->bytes)));
    }
}

static void
test_every_type_has_a_message(void)
{
    g_autoptr(GArray) messages = read_golden();

    for (const struct rpc_type *const *type = codec_types(); *type; type++) {
        guint i = 0;

        while (i < messages->len && g_array_index(messages, struct codec_message, i).type != *type)
            i++;
        if (i == messages->len)
            g_error("tests/gen/messages.py has no message of type %s", (*type)->name);
    }
}

static void
test_every_truncation_is_refused(void)
{
    g_autoptr(GArray) messages = read_golden();

    for (guint i = 0; i < messages->len; i++) {
        const struct codec_message *message = &g_array_index(messages, struct codec_message, i);

        for (size_t len = 0; len < g_bytes_get_size(message->bytes); len++)
            g_assert_false(try_message(message->type, g_bytes_get_data(message->bytes, NULL), len));
    }
}

static void
put_word(uint8_t *place, uint32_t word)
{
    word = GUINT32_TO_BE(word);
    memcpy(place, &word, sizeof(word));
}

/* Calls `func` for each word of each message replaced by each lie. */
static void
tell_lies(void (*func)(const struct rpc_type *type, uint8_t *bytes, size_t len))
{
    g_autoptr(GArray) messages = read_golden();

    for (guint i = 0; i < messages->len; i++) {
        const struct codec_message *message = &g_array_index(messages, struct codec_message, i);
        size_t len = g_bytes_get_size(message->bytes);

        for (size_t at = 0; at + 4 <= len; at += 4) {
            for (size_t lie = 0; lie < G_N_ELEMENTS(lies); lie++) {
                g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(message->bytes, NULL), len);

                put_word(bytes + at, lies[lie]);
                func(message->type, bytes, len);
            }
        }
    }
}

static void
try_whole(const struct rpc_type *type, uint8_t *bytes, size_t len)
{
    try_message(type, bytes, len);
}

static void
test_every_lie_is_refused_or_a_value(void)
{
    tell_lies(try_whole);
}

/* A wrong word makes the rest be read as something else; so does where the message then ends. */
static void
try_truncated(const struct rpc_type *type, uint8_t *bytes, size_t len)
{
    for (size_t end = 0; end < len; end += 4)
        try_message(type, bytes, end);
}

static void
test_every_lie_in_every_truncation_is_refused_or_a_value(void)
{
    tell_lies(try_truncated);
}

static void
test_zeros_and_ones_of_every_length_are_refused_or_values(void)
{
    static const uint8_t fillings[] = {0x00, 0x01, 0x7f, 0xff};

    for (const struct rpc_type *const *type = codec_types(); *type; type++) {
        for (size_t i = 0; i < G_N_ELEMENTS(fillings); i++) {
            uint8_t bytes[300];

            memset(bytes, fillings[i], sizeof(bytes));
            for (size_t len = 0; len <= sizeof(bytes); len++)
                try_message(*type, bytes, len);
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lies/every-message-is-a-value", test_every_message_is_a_value);
    g_test_add_func("/lies/every-type-has-a-message", test_every_type_has_a_message);
    g_test_add_func("/lies/every-truncation-is-refused", test_every_truncation_is_refused);
    g_test_add_func("/lies/every-lie-is-refused-or-a-value", test_every_lie_is_refused_or_a_value);
    g_test_add_func("/lies/every-lie-in-every-truncation-is-refused-or-a-value",
                    test_every_lie_in_every_truncation_is_refused_or_a_value);
    g_test_add_func("/lies/zeros-and-ones-of-every-length-are-refused-or-values",
                    test_zeros_and_ones_of_every_length_are_refused_or_values);
    return g_test_run();
}
