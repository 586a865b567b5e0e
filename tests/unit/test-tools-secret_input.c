/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where values come from.
 */
#include "expect.h"
#include "folder.h"
#include "tools/secret_input.h"

struct fixture {
    struct folder folder;
};

static void
set_up(struct fixture *fixture, const void *unused)
{
    folder_init(&fixture->folder);
}

static void
tear_down(struct fixture *fixture, const void *unused)
{
    folder_clear(&fixture->folder);
}

static struct secret_buf *
read_file(const struct fixture *fixture, const char *name, bool is_base64, GError **error)
{
    g_autofree char *path = folder_path(&fixture->folder, name);

    return secret_input_read_file(path, is_base64, error);
}

static void
expect_value(const struct secret_buf *value, const void *bytes, size_t len)
{
    g_assert_nonnull(value);
    g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), bytes, len);
}

static void
test_a_files_bytes_are_the_value(struct fixture *fixture, const void *unused)
{
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(GError) error = NULL;

    folder_put(&fixture->folder, "f", "a\0b\n", 4);
    value = read_file(fixture, "f", false, &error);
    g_assert_no_error(error);
    expect_value(value, "a\0b\n", 4);
}

static void
test_base64_may_be_broken_into_lines(struct fixture *fixture, const void *unused)
{
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(GError) error = NULL;

    folder_put_text(&fixture->folder, "f", " YWJj\r\nZGVm\n\nZw==\n");
    value = read_file(fixture, "f", true, &error);
    g_assert_no_error(error);
    expect_value(value, "abcdefg", 7);
}

static void
test_what_is_no_base64_is_refused_with_a_remedy(struct fixture *fixture, const void *unused)
{
    static const char *const bad[] = {"Y!!", "YWJ", "YWJj=", "YW=j", "=", "a value"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        folder_put_text(&fixture->folder, "f", bad[i]);
        g_assert_null(read_file(fixture, "f", true, &error));
        g_assert_nonnull(strstr(error->message, "Failed to decode file '"));
        g_assert_nonnull(strstr(error->message, "use --plain if it holds the value itself"));
    }
}

static void
put_long(const struct fixture *fixture, size_t len)
{
    g_autofree char *text = g_strnfill(len, 'A');

    folder_put_text(&fixture->folder, "f", text);
}

static void
test_the_longest_value_is_taken_and_a_longer_one_refused(struct fixture *fixture,
                                                         const void *unused)
{
    static const struct {
        size_t len;
        bool is_base64;
        const char *why; /* NULL if it is taken */
    } lengths[] = {
        {65536, false, NULL},
        {65537, false, "longer than the maximum of 65536 bytes"},
        {87380, true, NULL},
        {87384, true, "longer than the maximum of 65536 bytes"},
        {131073, true, "longer than the maximum of 131072 bytes"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(secret_buf_t) value = NULL;
        g_autoptr(GError) error = NULL;

        put_long(fixture, lengths[i].len);
        value = read_file(fixture, "f", lengths[i].is_base64, &error);
        g_assert_true((value == NULL) == (lengths[i].why != NULL));
        if (lengths[i].why)
            g_assert_nonnull(strstr(error->message, lengths[i].why));
    }
}

static void
test_a_file_that_is_not_there_is_named(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    g_assert_null(secret_input_read_file("/nonexistent/f", true, &error));
    text = error_describe(error);
    g_assert_cmpstr(text, ==, "Failed to open file '/nonexistent/f': No such file or directory");
}

static void
test_a_folder_is_refused(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(secret_input_read_file("/", false, &error));
    g_assert_cmpstr(error->message, ==, "Failed to read file '/': Is a directory");
}

static void
test_an_argument_is_decoded_and_wiped(struct fixture *fixture, const void *unused)
{
    char argument[] = "YWJj";
    const char zeros[sizeof(argument)] = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = secret_input_take_base64(argument, &error);

    g_assert_no_error(error);
    expect_value(value, "abc", 3);
    g_assert_cmpmem(argument, sizeof(argument), zeros, sizeof(zeros));
}

static void
test_generated_values_are_base64url_text_of_their_bits(struct fixture *fixture, const void *unused)
{
    static const struct {
        int bits;
        size_t len;
    } sizes[] = {{8, 2}, {16, 3}, {24, 4}, {256, 43}, {512, 86}, {393216, 65536}};

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(secret_buf_t) value = secret_input_generate(sizes[i].bits, &error);

        g_assert_no_error(error);
        g_assert_cmpuint(secret_buf_len(value), ==, sizes[i].len);
        for (size_t j = 0; j < sizes[i].len; j++) {
            char c = (char)secret_buf_bytes(value)[j];

            g_assert_true(g_ascii_isalnum(c) || c == '-' || c == '_');
        }
    }
}

static void
test_generated_values_differ(struct fixture *fixture, const void *unused)
{
    g_autoptr(secret_buf_t) one = secret_input_generate(256, NULL);
    g_autoptr(secret_buf_t) other = secret_input_generate(256, NULL);

    g_assert_false(secret_buf_equal(one, other));
}

static void
test_bits_that_make_no_value_are_refused(struct fixture *fixture, const void *unused)
{
    static const int bad[] = {0, 7, 9, 255, 393217, 393224, -8, G_MAXINT};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(secret_input_generate(bad[i], &error));
        expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                     "the number of bits must be a multiple of 8 from 8 to 393216");
    }
}

#define ADD(name)                                                                                  \
    g_test_add("/tools/secret_input/" #name, struct fixture, NULL, set_up, name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_files_bytes_are_the_value);
    ADD(test_base64_may_be_broken_into_lines);
    ADD(test_what_is_no_base64_is_refused_with_a_remedy);
    ADD(test_the_longest_value_is_taken_and_a_longer_one_refused);
    ADD(test_a_file_that_is_not_there_is_named);
    ADD(test_a_folder_is_refused);
    ADD(test_an_argument_is_decoded_and_wiped);
    ADD(test_generated_values_are_base64url_text_of_their_bits);
    ADD(test_generated_values_differ);
    ADD(test_bits_that_make_no_value_are_refused);
    return g_test_run();
}
