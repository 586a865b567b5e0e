/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sealed values: a round trip, a golden file, what each kind of damage is called, and that no
 * change of any byte or length is ever taken.
 */
#include "sealed_fixture.h"

/* Made with OpenSSL's AES-256-GCM and Python's hmac as docs/sealed-format.md says: master key
 * 00..1f, the definition of set_up, generation 7, value "secret value", data key and nonces of
 * repeated bytes. */
static const char golden_hex[] =
    "56435345414c4544000100010000000c00112233445566778899aabbccddeeff0000000000000007d7b070c1"
    "f81fe9619c4a8da58364b57ffdc565573751ed7acc1ac67a9bf785dc7be082a037bcf7ee1f4df688ab6932d8"
    "111111111111111111111111749502304cf95a5ecfabcedae2549c5f104ab2127710f65e4c8c31e2ee22e849"
    "de59c78b02a6cb7a5bb309baa94f555a22222222222222222222222275249581781a30a05806b3027bff4387"
    "8e8e370965d91c2860bc295d";

/* The fixture's (spoilt) file is refused with this text. */
static void
expect_refused(const struct fixture *test, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = open_bytes(test, test->bytes, test->len, &error);

    g_assert_null(value);
    expect_error(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, text);
}

static void
test_sealed_value_opens(struct fixture *test, gconstpointer unused)
{
    expect_opens(test);
}

static void
test_golden_file_opens(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = NULL;
    uint8_t bytes[sizeof(golden_hex) / 2];
    uint64_t generation = 0;

    decode_hex(golden_hex, bytes, sizeof(bytes));
    value = open_bytes(test, bytes, sizeof(bytes), &error);
    g_assert_no_error(error);
    g_assert_true(secret_buf_equal(value, test->value));
    g_assert_true(sealed_parse_generation(bytes, sizeof(bytes), &generation));
    g_assert_cmpuint(generation, ==, 7);
    /* What does not change from one sealing to the next is written the same. */
    g_assert_cmpmem(test->bytes, AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE, bytes,
                    AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE);
    g_assert_cmpuint(test->len, ==, sizeof(bytes));
}

static void
test_values_of_all_kinds_of_length_open(struct fixture *test, gconstpointer unused)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 32, 64, 4096, 65535, SEALED_VALUE_MAX};

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(secret_buf_t) value = secret_buf_new_random(lengths[i], NULL);
        g_autoptr(GBytes) sealed =
            sealed_format(test->key, &(struct sealed_binding){.def = &test->def}, 1, value, &error);
        g_autoptr(secret_buf_t) opened = NULL;

        g_assert_no_error(error);
        g_assert_cmpuint(g_bytes_get_size(sealed), ==, lengths[i] + OVERHEAD);
        opened = open_bytes(test, g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed), &error);
        g_assert_no_error(error);
        g_assert_true(secret_buf_equal(opened, value));
    }
}

static void
test_value_that_is_too_long_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = secret_buf_new(SEALED_VALUE_MAX + 1, NULL);
    g_autoptr(GBytes) sealed =
        sealed_format(test->key, &(struct sealed_binding){.def = &test->def}, 1, value, &error);

    g_assert_null(sealed);
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                 "the value has 65537 bytes, more than the maximum of 65536");
}

/* Fresh data key and nonces: nothing behind the header repeats. */
static void
test_sealing_twice_gives_other_bytes(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) again = seal(test, &test->def);
    const uint8_t *bytes = g_bytes_get_data(again, NULL);
    const size_t start = AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE;

    g_assert_cmpmem(bytes, start, test->bytes, start);
    for (size_t i = start; i + 8 <= test->len; i += 4)
        g_assert_cmpint(memcmp(bytes + i, test->bytes + i, 8), !=, 0);
}

static void
test_value_is_not_in_the_file(struct fixture *test, gconstpointer unused)
{
    g_assert_null(memmem(test->bytes, test->len, "secret", 6));
}

static void
test_each_changed_byte_is_refused(struct fixture *test, gconstpointer unused)
{
    for (size_t i = 0; i < test->len; i++) {
        for (unsigned int bit = 0; bit < 8; bit++) {
            g_autoptr(GError) error = NULL;
            g_autoptr(secret_buf_t) value = NULL;

            test->bytes[i] ^= (uint8_t)(1u << bit);
            value = open_bytes(test, test->bytes, test->len, &error);
            test->bytes[i] ^= (uint8_t)(1u << bit);
            g_assert_null(value);
            expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, NAME);
        }
    }
    expect_opens(test);
}

static void
test_each_shorter_length_is_refused(struct fixture *test, gconstpointer unused)
{
    for (size_t len = 0; len < test->len; len++) {
        g_autoptr(GError) error = NULL;
        g_autofree uint8_t *exact = g_memdup2(test->bytes, len);
        g_autoptr(secret_buf_t) value = open_bytes(test, exact, len, &error);

        g_assert_null(value);
        expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                          len == 0 ? NAME "is empty; " : NAME "is cut off after ");
    }
}

static void
test_cut_file_says_how_much_is_there(struct fixture *test, gconstpointer unused)
{
    test->len = 180;
    expect_refused(test, NAME "is cut off after 180 of 188 bytes; put a good copy of its .key "
                              "file back, or set the value again");
}

static void
test_file_with_bytes_added_is_refused(struct fixture *test, gconstpointer unused)
{
    test->bytes = g_realloc(test->bytes, test->len + 1);
    test->bytes[test->len++] = 0;
    expect_refused(test, NAME "is damaged (its length is wrong); put a good copy of its .key file "
                              "back, or set the value again");
}

static void
test_huge_length_is_refused(struct fixture *test, gconstpointer unused)
{
    memset(test->bytes + AT_VALUE_LEN, 0xff, 4);
    expect_refused(test, NAME "is damaged (its length is wrong); put a good copy of its .key file "
                              "back, or set the value again");
}

static void
test_zeros_are_told_from_damage(struct fixture *test, gconstpointer unused)
{
    memset(test->bytes, 0, test->len);
    expect_refused(test, NAME "holds nothing but zeros; put a good copy of its .key file back, or "
                              "set the value again");
}

static void
test_foreign_file_is_refused(struct fixture *test, gconstpointer unused)
{
    memcpy(test->bytes, "c2VjcmV0", 8);
    expect_refused(test, NAME "is not in virtcrypt's format; put a good copy of its .key file "
                              "back, or set the value again");
}

static void
test_newer_format_is_refused(struct fixture *test, gconstpointer unused)
{
    test->bytes[AT_VERSION + 1] = 2;
    expect_refused(test, NAME "has format 2 with algorithm 1, and this program knows format 1 with "
                              "algorithm 1; use the newer virtcrypt that wrote it, or set the "
                              "value again");
}

static void
test_newer_algorithm_is_refused(struct fixture *test, gconstpointer unused)
{
    test->bytes[AT_ALGORITHM + 1] = 9;
    expect_refused(test, NAME "has format 1 with algorithm 9, and this program knows format 1 with "
                              "algorithm 1; use the newer virtcrypt that wrote it, or set the "
                              "value again");
}

static void
test_file_of_another_secret_is_refused(struct fixture *test, gconstpointer unused)
{
    test->def.uuid.bytes[0] = 0x99;
    expect_refused(test, "the sealed value of secret 99112233-4455-6677-8899-aabbccddeeff is that "
                         "of secret " UUID "; put a good copy of its .key file back, or set the "
                         "value again");
}

static void
test_file_with_another_uuid_written_in_is_refused(struct fixture *test, gconstpointer unused)
{
    test->def.uuid.bytes[0] = 0x99;
    test->bytes[AT_UUID] = 0x99;
    expect_refused(test, "the sealed value of secret 99112233-4455-6677-8899-aabbccddeeff is "
                         "damaged or was tampered with; put a good copy of its .key file back, or "
                         "set the value again");
}

static void
test_other_master_key_is_named(struct fixture *test, gconstpointer unused)
{
    master_key_free(test->key);
    test->key = golden_key_new(1, 1);
    expect_refused(
        test,
        NAME "was sealed under a key that is not here (7be082a037bcf7ee1f4df688ab6932d8, the "
             "present one is 82f533e1d45f2cdf73f7807f6456e570): under another master key, or under "
             "a key-encryption generation that was destroyed after an erasure; put a newer copy of "
             "its .key file back, or set the value again");
}

static void
test_other_master_key_with_the_id_written_in_is_refused(struct fixture *test, gconstpointer unused)
{
    master_key_free(test->key);
    test->key = golden_key_new(1, 1);
    memcpy(test->bytes + AT_MASTER_KEY_ID, master_key_id(test->key), MASTER_KEY_ID_SIZE);
    expect_refused(test, NAME "is damaged or was tampered with; put a good copy of its .key file "
                              "back, or set the value again");
}

static void
test_definition_made_public_is_refused(struct fixture *test, gconstpointer unused)
{
    test->def.is_private = false;
    expect_refused(test, OTHER_DEFINITION);
}

static void
test_definition_made_ephemeral_is_refused(struct fixture *test, gconstpointer unused)
{
    test->def.is_ephemeral = true;
    expect_refused(test, OTHER_DEFINITION);
}

static void
test_definition_of_another_usage_is_refused(struct fixture *test, gconstpointer unused)
{
    test->def.usage_id[5] = 'b';
    expect_refused(test, OTHER_DEFINITION);
}

static void
test_definition_of_another_usage_type_is_refused(struct fixture *test, gconstpointer unused)
{
    test->def.usage_type = SECRET_USAGE_ISCSI;
    expect_refused(test, OTHER_DEFINITION);
}

static void
test_other_definition_with_its_digest_written_in_is_refused(struct fixture *test,
                                                            gconstpointer unused)
{
    g_autoptr(GBytes) open_one = NULL;

    test->def.is_private = false;
    open_one = seal(test, &test->def);
    memcpy(test->bytes + AT_DEFINITION,
           (const uint8_t *)g_bytes_get_data(open_one, NULL) + AT_DEFINITION, 32);
    expect_refused(test, NAME "is damaged or was tampered with; put a good copy of its .key file "
                              "back, or set the value again");
}

/* A description may change: it is not what the value is bound to. */
static void
test_other_description_opens(struct fixture *test, gconstpointer unused)
{
    g_autofree char *description = g_strdup("new words");

    test->def.description = description;
    expect_opens(test);
    test->def.description = NULL;
}

static void
test_usage_none_opens(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct secret_def def = {.uuid = test->def.uuid};
    g_autoptr(GBytes) sealed = seal(test, &def);
    g_autoptr(secret_buf_t) value =
        sealed_parse(test->key, &(struct sealed_binding){.def = &def},
                     g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed), &error);

    g_assert_no_error(error);
    g_assert_true(secret_buf_equal(value, test->value));
}

/* Neither the wrapped key nor the value of one file is taken in another of the same secret. */
static void
test_parts_of_two_files_do_not_mix(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) other = seal(test, &test->def);
    const uint8_t *bytes = g_bytes_get_data(other, NULL);

    memcpy(test->bytes + AT_VALUE - 12, bytes + AT_VALUE - 12, test->len - AT_VALUE + 12);
    expect_refused(test, NAME "is damaged or was tampered with; put a good copy of its .key file "
                              "back, or set the value again");
}

static void
test_generation_is_read_without_a_key(struct fixture *test, gconstpointer unused)
{
    uint64_t generation = 0;

    g_assert_true(sealed_parse_generation(test->bytes, test->len, &generation));
    g_assert_cmpuint(generation, ==, 7);
}

static void
test_generation_of_damaged_bytes_is_not_told(struct fixture *test, gconstpointer unused)
{
    uint64_t generation = 1;

    g_assert_false(sealed_parse_generation(test->bytes, OVERHEAD - 1, &generation));
    test->bytes[0] = 'X';
    g_assert_false(sealed_parse_generation(test->bytes, test->len, &generation));
    g_assert_false(sealed_parse_generation("", 0, &generation));
    g_assert_cmpuint(generation, ==, 1);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/sealed/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(sealed_value_opens);
    ADD(golden_file_opens);
    ADD(values_of_all_kinds_of_length_open);
    ADD(value_that_is_too_long_is_refused);
    ADD(sealing_twice_gives_other_bytes);
    ADD(value_is_not_in_the_file);
    ADD(each_changed_byte_is_refused);
    ADD(each_shorter_length_is_refused);
    ADD(cut_file_says_how_much_is_there);
    ADD(file_with_bytes_added_is_refused);
    ADD(huge_length_is_refused);
    ADD(zeros_are_told_from_damage);
    ADD(foreign_file_is_refused);
    ADD(newer_format_is_refused);
    ADD(newer_algorithm_is_refused);
    ADD(file_of_another_secret_is_refused);
    ADD(file_with_another_uuid_written_in_is_refused);
    ADD(other_master_key_is_named);
    ADD(other_master_key_with_the_id_written_in_is_refused);
    ADD(definition_made_public_is_refused);
    ADD(definition_made_ephemeral_is_refused);
    ADD(definition_of_another_usage_is_refused);
    ADD(definition_of_another_usage_type_is_refused);
    ADD(other_definition_with_its_digest_written_in_is_refused);
    ADD(other_description_opens);
    ADD(usage_none_opens);
    ADD(parts_of_two_files_do_not_mix);
    ADD(generation_is_read_without_a_key);
    ADD(generation_of_damaged_bytes_is_not_told);
    return g_test_run();
}
