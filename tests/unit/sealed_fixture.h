/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a sealed file to spoil, for the tests of sealed values.
 */
#pragma once

#include "expect.h"
#include "golden_key.h"
#include "secret/sealed.h"

#define UUID "00112233-4455-6677-8899-aabbccddeeff"
#define NAME "the sealed value of secret " UUID " "

enum { OVERHEAD = 176, AT_VERSION = 8, AT_ALGORITHM = 10, AT_VALUE_LEN = 12, AT_UUID = 16 };
enum { AT_DEFINITION = 40, AT_MASTER_KEY_ID = 72, AT_WRAPPED_KEY = 100, AT_VALUE = 160 };

#define OTHER_DEFINITION                                                                           \
    NAME "was sealed for another definition (usage, private, ephemeral or the guest that owns it " \
         "differ); put the .xml "                                                                  \
         "file back as it was, or set the value again"

struct fixture {
    struct master_key *key;
    struct secret_def def;
    struct secret_buf *value;
    uint8_t *bytes; /* a sealed file to spoil, of `len` */
    size_t len;
};

static inline GBytes *
seal(const struct fixture *test, const struct secret_def *def)
{
    g_autoptr(GError) error = NULL;
    GBytes *sealed =
        sealed_format(test->key, &(struct sealed_binding){.def = def}, 7, test->value, &error);

    g_assert_no_error(error);
    return sealed;
}

static inline void
set_up(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) sealed = NULL;

    test->key = golden_key_new(0, 1);
    test->value = secret_buf_new_from("secret value", 12, NULL);
    test->def.usage_type = SECRET_USAGE_VOLUME;
    test->def.usage_id = g_strdup("/srv/a.img");
    test->def.is_private = true;
    g_assert_true(uuid_parse(UUID, &test->def.uuid));
    sealed = seal(test, &test->def);
    test->len = g_bytes_get_size(sealed);
    test->bytes = g_memdup2(g_bytes_get_data(sealed, NULL), test->len);
}

static inline void
tear_down(struct fixture *test, gconstpointer unused)
{
    master_key_free(test->key);
    secret_buf_free(test->value);
    g_free(test->def.usage_id);
    g_free(test->bytes);
}

static inline struct secret_buf *
open_bytes(const struct fixture *test, const void *bytes, size_t len, GError **error)
{
    return sealed_parse(test->key, &(struct sealed_binding){.def = &test->def}, bytes, len, error);
}

static inline void
expect_opens(const struct fixture *test)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = open_bytes(test, test->bytes, test->len, &error);

    g_assert_no_error(error);
    g_assert_true(secret_buf_equal(value, test->value));
}

static inline void
decode_hex(const char *hex, uint8_t *ret_bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ret_bytes[i] =
            (uint8_t)(g_ascii_xdigit_value(hex[2 * i]) * 16 + g_ascii_xdigit_value(hex[2 * i + 1]));
}
