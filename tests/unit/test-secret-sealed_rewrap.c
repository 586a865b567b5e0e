/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sealed copies of guests, and sealed values that are moved to another key.
 */
#include "sealed_fixture.h"

/* Made with OpenSSL's AES-256-GCM and Python's hmac as docs/sealed-format.md says: that of
 * tests/unit/test-secret-sealed.c for the guest f0f1..ff, which owns the secret. */
static const char golden_owned_hex[] =
    "56435345414c4544000100010000000c00112233445566778899aabbccddeeff000000000000000790efb900"
    "915da8bd1bf81f3350f501a4c2fca5935b008b5e9ecb15be454b06df7be082a037bcf7ee1f4df688ab6932d8"
    "111111111111111111111111749502304cf95a5ecfabcedae2549c5f104ab2127710f65e4c8c31e2ee22e849"
    "6dd452845f86fb08c68b7d504ff19fc622222222222222222222222275249581781a30a05806b3024ef45864"
    "bb5ed2e30403c2a4f9ae1d21";

static const struct uuid owner = {{0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
                                   0xfb, 0xfc, 0xfd, 0xfe, 0xff}};

/* ---- copies of guests ---- */

static struct secret_buf *
open_as(const struct fixture *test, const struct uuid *guest, const void *bytes, size_t len,
        GError **error)
{
    const struct sealed_binding binding = {.def = &test->def, .owner = guest};

    return sealed_parse(test->key, &binding, bytes, len, error);
}

static void
test_golden_copy_of_a_guest_opens(struct fixture *test, gconstpointer unused)
{
    const struct sealed_binding binding = {.def = &test->def, .owner = &owner};
    uint8_t bytes[sizeof(golden_owned_hex) / 2];
    g_autoptr(GBytes) sealed = sealed_format(test->key, &binding, 7, test->value, NULL);
    g_autoptr(secret_buf_t) value = NULL;

    decode_hex(golden_owned_hex, bytes, sizeof(bytes));
    value = open_as(test, &owner, bytes, sizeof(bytes), NULL);
    g_assert_true(secret_buf_equal(value, test->value));
    g_assert_cmpmem(g_bytes_get_data(sealed, NULL), AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE, bytes,
                    AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE);
}

static void
expect_refused_as(const struct fixture *test, const struct uuid *guest, const void *bytes,
                  size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = open_as(test, guest, bytes, len, &error);

    g_assert_null(value);
    expect_error(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, OTHER_DEFINITION);
}

static void
test_copy_of_another_guest_is_refused(struct fixture *test, gconstpointer unused)
{
    uint8_t bytes[sizeof(golden_owned_hex) / 2];
    struct uuid other = owner;

    other.bytes[15] ^= 1;
    decode_hex(golden_owned_hex, bytes, sizeof(bytes));
    expect_refused_as(test, &other, bytes, sizeof(bytes));
    expect_refused_as(test, NULL, bytes, sizeof(bytes));
    expect_refused_as(test, &owner, test->bytes, test->len);
}

/* ---- under another key ---- */

static void
test_rewrapped_value_opens_under_the_other_key_alone(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) to = golden_key_new(1, 1);
    g_autoptr(GBytes) moved = sealed_rewrap(test->key, to, test->bytes, test->len, &error);
    const uint8_t *bytes;

    g_assert_no_error(error);
    bytes = g_bytes_get_data(moved, NULL);
    g_assert_cmpuint(g_bytes_get_size(moved), ==, test->len);
    /* Nothing but the wrapping of the data key is another. */
    g_assert_cmpmem(bytes, AT_MASTER_KEY_ID, test->bytes, AT_MASTER_KEY_ID);
    g_assert_cmpmem(bytes + AT_VALUE - 12, test->len - AT_VALUE + 12, test->bytes + AT_VALUE - 12,
                    test->len - AT_VALUE + 12);
    g_assert_cmpint(memcmp(bytes + AT_WRAPPED_KEY - 12, test->bytes + AT_WRAPPED_KEY - 12, 12), !=,
                    0);
    memcpy(test->bytes, bytes, test->len);
    g_assert_null(open_bytes(test, test->bytes, test->len, NULL));
    master_key_free(g_steal_pointer(&test->key));
    test->key = g_steal_pointer(&to);
    expect_opens(test);
}

static void
test_copy_of_a_guest_stays_its_copy_when_rewrapped(struct fixture *test, gconstpointer unused)
{
    const struct sealed_binding binding = {.def = &test->def, .owner = &owner};
    g_autoptr(master_key_t) to = golden_key_new(1, 1);
    g_autoptr(GBytes) sealed = sealed_format(test->key, &binding, 7, test->value, NULL);
    g_autoptr(GBytes) moved =
        sealed_rewrap(test->key, to, g_bytes_get_data(sealed, NULL), test->len, NULL);
    g_autoptr(secret_buf_t) value =
        sealed_parse(to, &binding, g_bytes_get_data(moved, NULL), test->len, NULL);

    g_assert_true(secret_buf_equal(value, test->value));
    g_assert_null(sealed_parse(to, &(struct sealed_binding){.def = &test->def},
                               g_bytes_get_data(moved, NULL), test->len, NULL));
}

static void
expect_not_rewrapped(const struct fixture *test, size_t len, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) to = golden_key_new(1, 1);

    g_assert_null(sealed_rewrap(test->key, to, test->bytes, len, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, part);
}

static void
test_what_is_no_sealed_value_is_not_rewrapped(struct fixture *test, gconstpointer unused)
{
    for (size_t len = 0; len < test->len; len++)
        expect_not_rewrapped(test, len, len == 0 ? "is empty" : "is cut off after");
    test->bytes[0] = 'X';
    expect_not_rewrapped(test, test->len, NAME "is not in virtcrypt's format");
}

static void
test_spoilt_wrapping_is_not_rewrapped(struct fixture *test, gconstpointer unused)
{
    test->bytes[AT_WRAPPED_KEY] ^= 1;
    expect_not_rewrapped(test, test->len, NAME "is damaged or was tampered with");
    test->bytes[AT_WRAPPED_KEY] ^= 1;
    test->bytes[AT_MASTER_KEY_ID] ^= 1;
    expect_not_rewrapped(test, test->len, NAME "was sealed under a key that is not here");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/sealed_rewrap/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(golden_copy_of_a_guest_opens);
    ADD(copy_of_another_guest_is_refused);
    ADD(rewrapped_value_opens_under_the_other_key_alone);
    ADD(copy_of_a_guest_stays_its_copy_when_rewrapped);
    ADD(what_is_no_sealed_value_is_not_rewrapped);
    ADD(spoilt_wrapping_is_not_rewrapped);
    return g_test_run();
}
