/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sealed values: a round trip, a golden file, what each kind of damage is called, and that no
 * change of any byte or length is ever taken.
 */
#include "expect.h"
#include "secret/sealed.h"

#define UUID "00112233-4455-6677-8899-aabbccddeeff"
#define NAME "the sealed value of secret " UUID " "

enum { OVERHEAD = 176, AT_VERSION = 8, AT_ALGORITHM = 10, AT_VALUE_LEN = 12, AT_UUID = 16 };
enum { AT_DEFINITION = 40, AT_MASTER_KEY_ID = 72, AT_WRAPPED_KEY = 100, AT_VALUE = 160 };

/* Made with OpenSSL's AES-256-GCM and Python's hmac as docs/sealed-format.md says: master key
 * 00..1f, the definition of set_up, generation 7, value "secret value", data key and nonces of
 * repeated bytes. */
static const char golden_hex[] =
    "56435345414c4544000100010000000c00112233445566778899aabbccddeeff0000000000000007d7b070c1"
    "f81fe9619c4a8da58364b57ffdc565573751ed7acc1ac67a9bf785dc7be082a037bcf7ee1f4df688ab6932d8"
    "111111111111111111111111749502304cf95a5ecfabcedae2549c5f104ab2127710f65e4c8c31e2ee22e849"
    "de59c78b02a6cb7a5bb309baa94f555a22222222222222222222222275249581781a30a05806b3027bff4387"
    "8e8e370965d91c2860bc295d";

/* The same for the guest f0f1..ff, which owns the secret. */
static const char golden_owned_hex[] =
    "56435345414c4544000100010000000c00112233445566778899aabbccddeeff000000000000000790efb900"
    "915da8bd1bf81f3350f501a4c2fca5935b008b5e9ecb15be454b06df7be082a037bcf7ee1f4df688ab6932d8"
    "111111111111111111111111749502304cf95a5ecfabcedae2549c5f104ab2127710f65e4c8c31e2ee22e849"
    "6dd452845f86fb08c68b7d504ff19fc622222222222222222222222275249581781a30a05806b3024ef45864"
    "bb5ed2e30403c2a4f9ae1d21";

static const struct uuid owner = {{0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
                                   0xfb, 0xfc, 0xfd, 0xfe, 0xff}};

struct fixture {
    struct master_key *key;
    struct secret_def def;
    struct secret_buf *value;
    uint8_t *bytes; /* a sealed file to spoil, of `len` */
    size_t len;
};

static struct master_key *
new_key(uint8_t first)
{
    uint8_t raw[MASTER_KEY_SIZE];
    struct secret_buf *bytes;

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)(first + i);
    bytes = secret_buf_take_bytes(raw, sizeof(raw), NULL);
    return master_key_new(bytes, NULL);
}

static GBytes *
seal(const struct fixture *test, const struct secret_def *def)
{
    g_autoptr(GError) error = NULL;
    GBytes *sealed =
        sealed_format(test->key, &(struct sealed_binding){.def = def}, 7, test->value, &error);

    g_assert_no_error(error);
    return sealed;
}

static void
set_up(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) sealed = NULL;

    test->key = new_key(0);
    test->value = secret_buf_new_from("secret value", 12, NULL);
    test->def.usage_type = SECRET_USAGE_VOLUME;
    test->def.usage_id = g_strdup("/srv/a.img");
    test->def.is_private = true;
    g_assert_true(uuid_parse(UUID, &test->def.uuid));
    sealed = seal(test, &test->def);
    test->len = g_bytes_get_size(sealed);
    test->bytes = g_memdup2(g_bytes_get_data(sealed, NULL), test->len);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    master_key_free(test->key);
    secret_buf_free(test->value);
    g_free(test->def.usage_id);
    g_free(test->bytes);
}

static struct secret_buf *
open_bytes(const struct fixture *test, const void *bytes, size_t len, GError **error)
{
    return sealed_parse(test->key, &(struct sealed_binding){.def = &test->def}, bytes, len, error);
}

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
expect_opens(const struct fixture *test)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = open_bytes(test, test->bytes, test->len, &error);

    g_assert_no_error(error);
    g_assert_true(secret_buf_equal(value, test->value));
}

static void
test_sealed_value_opens(struct fixture *test, gconstpointer unused)
{
    expect_opens(test);
}

static void
decode_hex(const char *hex, uint8_t *ret_bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ret_bytes[i] =
            (uint8_t)(g_ascii_xdigit_value(hex[2 * i]) * 16 + g_ascii_xdigit_value(hex[2 * i + 1]));
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
    test->key = new_key(1);
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
    test->key = new_key(1);
    memcpy(test->bytes + AT_MASTER_KEY_ID, master_key_id(test->key), MASTER_KEY_ID_SIZE);
    expect_refused(test, NAME "is damaged or was tampered with; put a good copy of its .key file "
                              "back, or set the value again");
}

#define OTHER_DEFINITION                                                                           \
    NAME "was sealed for another definition (usage, private, ephemeral or the guest that owns it " \
         "differ); put the .xml "                                                                  \
         "file back as it was, or set the value again"

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
    g_autoptr(master_key_t) to = new_key(1);
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
    g_autoptr(master_key_t) to = new_key(1);
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
    g_autoptr(master_key_t) to = new_key(1);

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
    ADD(golden_copy_of_a_guest_opens);
    ADD(copy_of_another_guest_is_refused);
    ADD(rewrapped_value_opens_under_the_other_key_alone);
    ADD(copy_of_a_guest_stays_its_copy_when_rewrapped);
    ADD(what_is_no_sealed_value_is_not_rewrapped);
    ADD(spoilt_wrapping_is_not_rewrapped);
    return g_test_run();
}
