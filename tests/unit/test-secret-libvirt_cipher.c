/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt's encryption of values, against vectors that openssl made, and against openssl itself.
 */
#include <string.h>

#include "expect.h"
#include "libvirt_files.h"
#include "secret/libvirt_cipher.h"
#include "util/base64.h"

static struct folder scratch;

static struct secret_buf *
key_of(const char *hex)
{
    g_autoptr(GByteArray) bytes = unhex(hex);

    return secret_buf_new_from(bytes->data, bytes->len, NULL);
}

static struct secret_buf *
decrypt(const char *key_hex, const char *text, unsigned int *ret_padding, GError **error)
{
    g_autoptr(secret_buf_t) key = key_of(key_hex);
    g_autoptr(secret_buf_t) encoded = secret_buf_new_from(text, strlen(text), NULL);
    g_autoptr(secret_buf_t) data = base64_decode_secret(encoded, NULL);

    g_assert_true(libvirt_cipher_is_whole(data));
    return libvirt_cipher_decrypt(key, data, ret_padding, error);
}

/* printf '\xa0...\xaf' and openssl enc -aes-256-cbc -K 0001..1f -iv a0a1..af, through base64 -w0 */
static const struct {
    const char *value;
    const char *text;
} vectors[] = {
    {"", "oKGio6SlpqeoqaqrrK2ur2ANB6O5ssTkCCFT1tFweqY="},
    {"f", "oKGio6SlpqeoqaqrrK2urwQM/PKniJfgoUwbhh5FDw0="},
    {"secret", "oKGio6SlpqeoqaqrrK2ur94d8MrQCMfEYxqxQbFeh6A="},
    {"0123456789abcde", "oKGio6SlpqeoqaqrrK2ur/r0d1lSfStTFRV6OFxChzU="},
    {"0123456789abcdef", "oKGio6SlpqeoqaqrrK2ur84c86TjuHsTm6PP8QrONbYG2WsuGEvyK3PTG6S+FNjJ"},
};

static void
test_vectors_open(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(vectors); i++) {
        size_t len = strlen(vectors[i].value);
        unsigned int padding = 0;
        g_autoptr(GError) error = NULL;
        g_autoptr(secret_buf_t) value = decrypt(KEY_HEX, vectors[i].text, &padding, &error);

        g_assert_no_error(error);
        g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), vectors[i].value, len);
        g_assert_cmpuint(padding, ==, 16 - len % 16);
    }
}

static void
test_openssl_opens_what_is_encrypted(void)
{
    static const size_t lengths[] = {1, 15, 16, 17, 100, 65536};
    g_autoptr(secret_buf_t) key = key_of(KEY_HEX);

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(secret_buf_t) value = secret_buf_new_random(lengths[i], NULL);
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) file = libvirt_cipher_encrypt(key, value, &error);
        g_autofree char *text = NULL;
        g_autoptr(GByteArray) opened = NULL;

        g_assert_no_error(error);
        text = g_strndup(g_bytes_get_data(file, NULL), g_bytes_get_size(file));
        opened = decrypt_as_libvirt(&scratch, KEY_HEX, text);
        g_assert_cmpmem(opened->data, opened->len, secret_buf_bytes(value), lengths[i]);
        g_assert_cmpuint(strlen(text), ==, (LIBVIRT_CIPHER_SIZE(lengths[i]) + 2) / 3 * 4);
    }
}

static void
test_every_file_has_its_own_initialization_vector(void)
{
    g_autoptr(secret_buf_t) key = key_of(KEY_HEX);
    g_autoptr(secret_buf_t) value = secret_buf_new_from("secret", 6, NULL);
    g_autoptr(GBytes) one = libvirt_cipher_encrypt(key, value, NULL);
    g_autoptr(GBytes) other = libvirt_cipher_encrypt(key, value, NULL);

    g_assert_false(g_bytes_equal(one, other));
}

static void
test_another_key_is_told_by_the_padding(void)
{
    unsigned int padding = 0;
    g_autoptr(GError) error = NULL;

    g_assert_null(decrypt(OTHER_KEY_HEX, vectors[2].text, &padding, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "it is another key, or the file is damaged");
}

/* A block whose last byte says 3, without three of them; and one that says 0 or 17. */
static void
test_padding_is_checked_as_a_whole(void)
{
    static const guint8 lasts[][2] = {{2, 3}, {0, 0}, {17, 17}};

    for (size_t i = 0; i < G_N_ELEMENTS(lasts); i++) {
        guint8 block[32] = "0123456789abcd";
        g_autoptr(GByteArray) rest = NULL;
        g_autoptr(GByteArray) file = unhex(IV_HEX);
        g_autofree char *text = NULL;
        g_autoptr(GError) error = NULL;
        unsigned int padding = 0;

        block[14] = lasts[i][0];
        block[15] = lasts[i][1];
        /* openssl adds a block of padding of its own behind it, which is left out. */
        rest = run_openssl(&scratch, "-e", KEY_HEX, IV_HEX, block, 16);
        g_assert_cmpuint(rest->len, ==, 32);
        g_byte_array_append(file, rest->data, 16);
        text = g_base64_encode(file->data, file->len);
        g_assert_null(decrypt(KEY_HEX, text, &padding, &error));
        g_assert_nonnull(error);
    }
}

static void
test_lengths_that_no_file_has_are_told(void)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 31, 33, 47};

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(secret_buf_t) data = secret_buf_new(lengths[i], NULL);

        g_assert_false(libvirt_cipher_is_whole(data));
    }
}

#define ADD(name) g_test_add_func("/secret/libvirt_cipher/" #name, test_##name)

int
main(int argc, char **argv)
{
    int result;

    g_test_init(&argc, &argv, NULL);
    folder_init(&scratch);
    ADD(vectors_open);
    ADD(openssl_opens_what_is_encrypted);
    ADD(every_file_has_its_own_initialization_vector);
    ADD(another_key_is_told_by_the_padding);
    ADD(padding_is_checked_as_a_whole);
    ADD(lengths_that_no_file_has_are_told);
    result = g_test_run();
    folder_clear(&scratch);
    return result;
}
