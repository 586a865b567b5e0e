/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The master key: the keys derived from it, beside an independent computation.
 */
#include "expect.h"
#include "master/master_key.h"

static struct master_key *
counting_key(void)
{
    uint8_t raw[MASTER_KEY_SIZE];
    struct secret_buf *bytes;

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)i;
    bytes = secret_buf_take_bytes(raw, sizeof(raw), NULL);
    return master_key_new(bytes, NULL);
}

static void
expect_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < len; i++)
        g_string_append_printf(text, "%02x", bytes[i]);
    g_assert_cmpstr(text->str, ==, expected);
}

/* The expected bytes were computed by Python's hmac module as docs/sealed-format.md says. */
static void
test_id_is_that_of_the_format(void)
{
    g_autoptr(master_key_t) key = counting_key();

    expect_hex(master_key_id(key), MASTER_KEY_ID_SIZE, "7be082a037bcf7ee1f4df688ab6932d8");
}

static void
test_derived_key_is_that_of_the_format(void)
{
    g_autoptr(master_key_t) key = counting_key();
    g_autoptr(secret_buf_t) derived = NULL;
    struct uuid uuid;

    g_assert_true(uuid_parse("00112233-4455-6677-8899-aabbccddeeff", &uuid));
    derived = master_key_derive(key, &uuid, NULL);
    expect_hex(secret_buf_bytes(derived), secret_buf_len(derived),
               "72ba0648558aa2d118285b41f19f1d7069d39cc85fe4dedc45f5d1ab38d65146");
}

static void
test_keys_of_the_slots_file_are_those_of_the_format(void)
{
    g_autoptr(master_key_t) key = counting_key();
    g_autoptr(secret_buf_t) tag_key = master_key_derive_slots(key, NULL);
    g_autoptr(secret_buf_t) previous_key = master_key_derive_previous(key, NULL);

    expect_hex(secret_buf_bytes(tag_key), secret_buf_len(tag_key),
               "fcc9ae1012d9932efa76d9af0b083b71d5e29963dedb5bbe687194129169c9c0");
    expect_hex(secret_buf_bytes(previous_key), secret_buf_len(previous_key),
               "2fd4e3970f0a2a0105ddbe43daefb5d59360a6a492df8e2236cd362cb9edb961");
}

static void
test_derived_keys_of_two_secrets_differ(void)
{
    g_autoptr(master_key_t) key = counting_key();
    struct uuid one = {{1}};
    struct uuid two = {{2}};
    g_autoptr(secret_buf_t) first = master_key_derive(key, &one, NULL);
    g_autoptr(secret_buf_t) second = master_key_derive(key, &two, NULL);

    g_assert_false(secret_buf_equal(first, second));
}

static void
test_key_of_wrong_length_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    struct secret_buf *bytes = secret_buf_new(16, NULL);
    g_autoptr(master_key_t) key = master_key_new(bytes, &error);

    g_assert_null(key);
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "a master key has 32 bytes, not 16");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/master/master_key/id_is_that_of_the_format", test_id_is_that_of_the_format);
    g_test_add_func("/master/master_key/derived_key_is_that_of_the_format",
                    test_derived_key_is_that_of_the_format);
    g_test_add_func("/master/master_key/keys_of_the_slots_file_are_those_of_the_format",
                    test_keys_of_the_slots_file_are_those_of_the_format);
    g_test_add_func("/master/master_key/derived_keys_of_two_secrets_differ",
                    test_derived_keys_of_two_secrets_differ);
    g_test_add_func("/master/master_key/key_of_wrong_length_is_refused",
                    test_key_of_wrong_length_is_refused);
    return g_test_run();
}
