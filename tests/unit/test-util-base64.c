/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Base64 of key bytes, against GLib's own and the test vectors of RFC 4648 section 10.
 */
#include <string.h>

#include "expect.h"
#include "util/base64.h"

static struct secret_buf *
decode(const char *text, GError **error)
{
    g_autoptr(secret_buf_t) in = secret_buf_new_from(text, strlen(text), NULL);

    return base64_decode_secret(in, error);
}

static void
expect_decoded(const char *text, const char *value)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) out = decode(text, &error);

    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(out), secret_buf_len(out), value, strlen(value));
}

static const struct {
    const char *value;
    const char *text;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void
test_the_vectors_of_the_rfc_hold(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(vectors); i++) {
        g_autoptr(secret_buf_t) in =
            secret_buf_new_from(vectors[i].value, strlen(vectors[i].value), NULL);
        g_autoptr(secret_buf_t) out = base64_encode_secret(in, NULL);

        g_assert_cmpmem(secret_buf_bytes(out), secret_buf_len(out), vectors[i].text,
                        strlen(vectors[i].text));
        expect_decoded(vectors[i].text, vectors[i].value);
    }
}

static void
test_any_bytes_come_back_and_agree_with_glib(void)
{
    for (size_t len = 0; len < 300; len++) {
        g_autoptr(secret_buf_t) value = secret_buf_new_random(len, NULL);
        g_autoptr(secret_buf_t) text = base64_encode_secret(value, NULL);
        g_autoptr(secret_buf_t) again = base64_decode_secret(text, NULL);
        g_autofree char *theirs = g_base64_encode(secret_buf_bytes(value), len);

        g_assert_cmpmem(secret_buf_bytes(text), secret_buf_len(text), theirs, strlen(theirs));
        g_assert_true(secret_buf_equal(again, value));
    }
}

static void
test_every_byte_value_is_encoded_and_decoded(void)
{
    uint8_t all[256];
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(secret_buf_t) text = NULL;
    g_autoptr(secret_buf_t) again = NULL;

    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    value = secret_buf_new_from(all, sizeof(all), NULL);
    text = base64_encode_secret(value, NULL);
    again = base64_decode_secret(text, NULL);
    g_assert_true(secret_buf_equal(again, value));
}

static void
test_white_space_at_the_end_is_allowed(void)
{
    expect_decoded("Zm8=\n", "fo");
    expect_decoded("Zm9v \t\r\n", "foo");
    expect_decoded(" \n", "");
}

static void
test_malformed_text_is_refused(void)
{
    static const char *const texts[] = {
        "Z",        "Zm",       "Zm9",  "Zm9vY", "=",       "==",      "===",
        "====",     "Z===",     "Zg=",  "Zg===", "Zm8==",   "Zm9v=",   "Zm9v==",
        "Zm9v====", "Zg==Zg==", "Zm=v", "=m9v",  "Z=9v",    " Zm9v",   "Zm 9v",
        "Zm\n9v",   "Zm9-",     "Zm9_", "Zm9.",  "Zm9\x80", "Zm9\xff", "Zm9@",
        "Zm9[",     "Zm9`",     "Zm9{", "Zm9:",  "Zm9,",    "Zg=\n=",  "Zm9v,Zm9v",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        if (decode(texts[i], &error))
            g_error("'%s' was decoded", texts[i]);
        expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE, "the value is not valid base64");
    }
}

static void
test_no_character_outside_the_alphabet_is_taken(void)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (int c = 0; c < 256; c++) {
        char text[4] = {'A', (char)c, 'A', 'A'};
        g_autoptr(secret_buf_t) in = secret_buf_new_from(text, 4, NULL);
        g_autoptr(secret_buf_t) out = base64_decode_secret(in, NULL);
        bool valid = c != 0 && strchr(alphabet, c) != NULL;

        g_assert_true((out != NULL) == valid);
    }
}

static void
test_a_zero_byte_is_refused(void)
{
    g_autoptr(secret_buf_t) in = secret_buf_new_from("Zm9v\0\0\0\0", 8, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_null(base64_decode_secret(in, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE, "the value is not valid base64");
}

#define ADD(name) g_test_add_func("/util/base64/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_vectors_of_the_rfc_hold);
    ADD(any_bytes_come_back_and_agree_with_glib);
    ADD(every_byte_value_is_encoded_and_decoded);
    ADD(white_space_at_the_end_is_allowed);
    ADD(malformed_text_is_refused);
    ADD(no_character_outside_the_alphabet_is_taken);
    ADD(a_zero_byte_is_refused);
    return g_test_run();
}
