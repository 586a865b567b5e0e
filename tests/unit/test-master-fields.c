/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Named texts: their limits, numbers and bytes, and that what was written is read again and nothing
 * else is.
 */
#include "expect.h"
#include "master/fields.h"

static void
refuse_set(struct fields *fields, const char *name, const char *value, const char *part)
{
    g_autoptr(GError) error = NULL;
    size_t before = fields_count(fields);

    g_assert_false(fields_set(fields, name, value, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, part);
    g_assert_cmpuint(fields_count(fields), ==, before);
}

static void
test_what_is_set_is_got_in_its_order(void)
{
    g_autoptr(fields_t) fields = fields_new();

    g_assert_true(fields_set(fields, "path", "/a b", NULL));
    g_assert_true(fields_set(fields, "bank", "sha256", NULL));
    g_assert_true(fields_set(fields, "path", "/c\xc3\xa4", NULL));
    g_assert_cmpuint(fields_count(fields), ==, 2);
    g_assert_cmpstr(fields_name(fields, 0), ==, "path");
    g_assert_cmpstr(fields_get(fields, "path"), ==, "/c\xc3\xa4");
    g_assert_cmpstr(fields_get(fields, "bank"), ==, "sha256");
    g_assert_null(fields_get(fields, "pcrs"));
}

static void
test_bad_names_and_values_are_refused(void)
{
    g_autoptr(fields_t) fields = fields_new();
    g_autofree char *long_name = g_strnfill(FIELD_NAME_MAX + 1, 'a');
    g_autofree char *long_value = g_strnfill(FIELD_VALUE_MAX + 1, 'a');

    refuse_set(fields, "", "x", "the name of a field has");
    refuse_set(fields, "Path", "x", "the name of a field has");
    refuse_set(fields, "a b", "x", "the name of a field has");
    refuse_set(fields, long_name, "x", "the name of a field has");
    refuse_set(fields, "a", "x\ny", "the field 'a' is no text");
    refuse_set(fields, "a", "\xff", "the field 'a' is no text");
    refuse_set(fields, "a", "\xc2\x85", "the field 'a' is no text");
    refuse_set(fields, "a", long_value, "the field 'a' is no text");
}

static void
test_no_more_than_the_maximum_fit(void)
{
    g_autoptr(fields_t) fields = fields_new();

    for (int i = 0; i < FIELDS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("n%d", i);

        g_assert_true(fields_set(fields, name, "", NULL));
    }
    refuse_set(fields, "more", "x", "there is no room for the field 'more'");
    g_assert_true(fields_set(fields, "n3", "again", NULL));
}

static void
refuse_number(const char *text)
{
    g_autoptr(fields_t) fields = fields_new();
    g_autoptr(GError) error = NULL;
    uint64_t number = 42;

    g_assert_true(fields_set(fields, "passes", text, NULL));
    g_assert_false(fields_get_number(fields, "passes", 1, 100, &number, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                 "the field 'passes' is no number from 1 to 100");
    g_assert_cmpuint(number, ==, 42);
}

static void
test_numbers_are_checked_against_their_bounds(void)
{
    g_autoptr(fields_t) fields = fields_new();
    g_autoptr(GError) error = NULL;
    uint64_t number = 0;

    g_assert_true(fields_set_number(fields, "passes", 100, NULL));
    g_assert_true(fields_get_number(fields, "passes", 1, 100, &number, NULL));
    g_assert_cmpuint(number, ==, 100);
    refuse_number("0");
    refuse_number("101");
    refuse_number("-1");
    refuse_number("7x");
    refuse_number("");
    refuse_number("99999999999999999999999");
    g_assert_false(fields_get_number(fields, "lanes", 1, 4, &number, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "the field 'lanes' is missing");
}

static void
test_bytes_come_back_and_what_is_no_base64_is_refused(void)
{
    static const char *const bad[] = {"A", "AA==\xc3\xa4", "A A=", "!!!!", "AB==", "AAAAAAAAAAAA"};
    static const uint8_t salt[] = {0, 1, 0xff, 4};
    g_autoptr(fields_t) fields = fields_new();
    g_autoptr(GBytes) got = NULL;

    g_assert_true(fields_set_bytes(fields, "salt", salt, sizeof(salt), NULL));
    got = fields_get_bytes(fields, "salt", sizeof(salt), NULL);
    g_assert_cmpmem(g_bytes_get_data(got, NULL), g_bytes_get_size(got), salt, sizeof(salt));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_true(fields_set(fields, "salt", bad[i], NULL));
        g_assert_null(fields_get_bytes(fields, "salt", sizeof(salt), &error));
        expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                     "the field 'salt' is no base64 of at most 4 bytes");
    }
}

static struct fields *
new_sample(void)
{
    struct fields *fields = fields_new();

    g_assert_true(fields_set(fields, "path", "/a", NULL));
    g_assert_true(fields_set(fields, "b", "", NULL));
    return fields;
}

static void
test_bytes_of_the_format(void)
{
    static const uint8_t expected[] = {0, 2,   0,   4, 'p', 'a', 't', 'h', 0,
                                       2, '/', 'a', 0, 1,   'b', 0,   0};
    g_autoptr(fields_t) fields = new_sample();
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    fields_append(fields, bytes);
    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
}

static void
test_what_was_written_is_read_and_what_follows_is_left(void)
{
    g_autoptr(fields_t) fields = new_sample();
    g_autoptr(fields_t) again = NULL;
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    const uint8_t *at;

    fields_append(fields, bytes);
    g_byte_array_append(bytes, (const uint8_t *)"rest", 4);
    at = bytes->data;
    again = fields_parse(&at, bytes->data + bytes->len, NULL);
    g_assert_nonnull(again);
    g_assert_cmpuint(fields_count(again), ==, 2);
    g_assert_cmpstr(fields_get(again, "path"), ==, "/a");
    g_assert_cmpstr(fields_get(again, "b"), ==, "");
    g_assert_cmpmem(at, 4, "rest", 4);
}

static void
test_every_cut_is_refused(void)
{
    g_autoptr(fields_t) fields = new_sample();
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    fields_append(fields, bytes);
    for (guint len = 0; len < bytes->len; len++) {
        /* Of that length exactly, so that a tool for memory errors sees a byte too many. */
        g_autofree uint8_t *cut = g_memdup2(bytes->data, len);
        g_autoptr(GError) error = NULL;
        const uint8_t *at = cut;

        g_assert_null(fields_parse(&at, len > 0 ? cut + len : NULL, &error));
        expect_error(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, "the fields are damaged");
    }
}

static void
refuse_bytes(const uint8_t *bytes, size_t len)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *at = bytes;

    g_assert_null(fields_parse(&at, bytes + len, &error));
    expect_error(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, "the fields are damaged");
}

static void
test_two_fields_of_one_name_and_odd_bytes_are_refused(void)
{
    static const uint8_t twice[] = {0, 2, 0, 1, 'a', 0, 0, 0, 1, 'a', 0, 0};
    static const uint8_t with_nul[] = {0, 1, 0, 1, 'a', 0, 2, 'x', 0};
    static const uint8_t no_name[] = {0, 1, 0, 0, 0, 1, 'x'};
    static const uint8_t many[] = {0, 17};

    refuse_bytes(twice, sizeof(twice));
    refuse_bytes(with_nul, sizeof(with_nul));
    refuse_bytes(no_name, sizeof(no_name));
    refuse_bytes(many, sizeof(many));
}

static void
test_a_copy_is_of_its_own(void)
{
    g_autoptr(fields_t) fields = new_sample();
    g_autoptr(fields_t) copy = fields_copy(fields);

    g_assert_true(fields_set(copy, "path", "/other", NULL));
    g_assert_cmpstr(fields_get(fields, "path"), ==, "/a");
}

#define ADD(name) g_test_add_func("/master/fields/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(what_is_set_is_got_in_its_order);
    ADD(bad_names_and_values_are_refused);
    ADD(no_more_than_the_maximum_fit);
    ADD(numbers_are_checked_against_their_bounds);
    ADD(bytes_come_back_and_what_is_no_base64_is_refused);
    ADD(bytes_of_the_format);
    ADD(what_was_written_is_read_and_what_follows_is_left);
    ADD(every_cut_is_refused);
    ADD(two_fields_of_one_name_and_odd_bytes_are_refused);
    ADD(a_copy_is_of_its_own);
    return g_test_run();
}
