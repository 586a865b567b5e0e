/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What <encryption> means to libcryptsetup, and what is refused.
 */
#include "expect.h"
#include "storage/luks_cipher.h"

struct accepted {
    const char *name;
    unsigned int size;
    const char *mode;
    const char *ivgen;
    const char *ivgen_hash;
    enum encryption_integrity integrity;
    const char *expected_mode;
    size_t expected_bytes;
};

static const struct accepted accepted[] = {
    {NULL, 0, NULL, NULL, NULL, 0, "xts-plain64", 64},
    {"aes", 256, NULL, NULL, NULL, 0, "xts-plain64", 64},
    {"aes", 128, "xts", "plain", NULL, 0, "xts-plain", 32},
    {"aes", 256, "cbc", "essiv", "sha256", 0, "cbc-essiv:sha256", 32},
    {"aes", 256, "cbc", "essiv", NULL, 0, "cbc-essiv:sha256", 32},
    {"aes", 256, "ctr", "plain64", NULL, 0, "ctr-plain64", 32},
    {"aes", 256, "ecb", NULL, NULL, 0, "ecb", 32},
    {"serpent", 192, "cbc", NULL, NULL, 0, "cbc-plain64", 24},
    {"twofish", 256, "xts", NULL, NULL, 0, "xts-plain64", 64},
    {"cast5", 128, "cbc", "plain64", NULL, 0, "cbc-plain64", 16},
    {"aes", 256, NULL, NULL, NULL, ENCRYPTION_INTEGRITY_HMAC, "xts-plain64", 96},
    {NULL, 0, NULL, NULL, NULL, ENCRYPTION_INTEGRITY_AEAD, "gcm-random", 32},
};

static void
test_what_is_left_unset_becomes_the_default(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(accepted); i++) {
        const struct accepted *row = &accepted[i];
        const struct encryption encryption = {
            .cipher_name = (char *)row->name,
            .cipher_size = row->size,
            .cipher_mode = (char *)row->mode,
            .ivgen_name = (char *)row->ivgen,
            .ivgen_hash = (char *)row->ivgen_hash,
            .dmcrypt.integrity = row->integrity,
        };
        g_auto(luks_cipher_t) cipher = {NULL};
        g_autoptr(GError) error = NULL;

        luks_cipher_init(&cipher, LUKS_2, &encryption, false, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(cipher.name, ==, row->name ? row->name : "aes");
        g_assert_cmpstr(cipher.mode, ==, row->expected_mode);
        g_assert_cmpuint(cipher.key_bytes, ==, row->expected_bytes);
        g_assert_cmpstr(cipher.hash, ==, "sha256");
        g_assert_cmpuint(cipher.sector_size, ==, 512);
    }
}

struct refused {
    struct encryption encryption;
    enum luks_type type;
    bool for_image;
    const char *text;
};

#define TEXT(text) ((char *)(text))
static const struct refused refused[] = {
    {{.cipher_name = TEXT("rot13"), .cipher_size = 256}, LUKS_2, false, "unknown cipher 'rot13'"},
    {{.cipher_name = TEXT("aes"), .cipher_size = 512}, LUKS_2, false, "no keys of 512 bits"},
    {{.cipher_name = TEXT("aes"), .cipher_size = 256, .cipher_mode = TEXT("gcm")},
     LUKS_2,
     false,
     "unknown cipher mode 'gcm'"},
    {{.cipher_name = TEXT("cast5"), .cipher_size = 128, .cipher_mode = TEXT("xts")},
     LUKS_2,
     false,
     "has no xts mode"},
    {{.ivgen_name = TEXT("lmk")}, LUKS_2, false, "unknown ivgen 'lmk'"},
    {{.ivgen_name = TEXT("essiv"), .ivgen_hash = TEXT("crc32")},
     LUKS_2,
     false,
     "unknown hash 'crc32'"},
    {{.ivgen_name = TEXT("plain64"), .ivgen_hash = TEXT("sha256")},
     LUKS_2,
     false,
     "ivgen 'plain64' takes no hash"},
    {{.cipher_hash = TEXT("md4")}, LUKS_1, false, "unknown hash 'md4'"},
    {{.cipher_name = TEXT("camellia"), .cipher_size = 256},
     LUKS_1,
     true,
     "unknown cipher 'camellia'"},
    {{.cipher_name = TEXT("aes"), .cipher_size = 256, .cipher_mode = TEXT("ecb")},
     LUKS_1,
     true,
     "unknown cipher mode 'ecb'"},
    {{.cipher_name = TEXT("twofish"), .cipher_size = 192, .cipher_mode = TEXT("cbc")},
     LUKS_1,
     true,
     "QEMU can't open volumes with 192-bit keys"},
    {{.dmcrypt.sector_size = 4096}, LUKS_1, false, "sectors of 512 bytes alone"},
    {{.dmcrypt.sector_size = 768}, LUKS_2, false, "sector_size 768 is none of"},
    {{.dmcrypt.sector_size = 8192}, LUKS_2, false, "sector_size 8192 is none of"},
    {{.dmcrypt.integrity = ENCRYPTION_INTEGRITY_HMAC}, LUKS_1, false, "needs format='luks2'"},
    {{.dmcrypt.integrity = ENCRYPTION_INTEGRITY_AEAD,
      .cipher_name = TEXT("serpent"),
      .cipher_size = 256},
     LUKS_2,
     false,
     "chooses cipher aes"},
    {{.dmcrypt.integrity = ENCRYPTION_INTEGRITY_HMAC, .cipher_mode = TEXT("cbc")},
     LUKS_2,
     false,
     "does not go with cipher mode 'cbc'"},
};

static void
test_what_libcryptsetup_or_qemu_can_not_do_is_refused(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        const struct refused *row = &refused[i];
        g_auto(luks_cipher_t) cipher = {NULL};
        g_autoptr(GError) error = NULL;

        g_assert_false(
            luks_cipher_init(&cipher, row->type, &row->encryption, row->for_image, &error));
        expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE, row->text);
        g_assert_null(cipher.mode);
    }
}

static void
test_plain_mode_takes_a_hash_as_long_as_its_key(void)
{
    g_auto(luks_cipher_t) cipher = {NULL};
    g_autoptr(GError) error = NULL;

    luks_cipher_init(&cipher, LUKS_PLAIN, NULL, false, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(cipher.hash, ==, "sha512");
    g_assert_cmpuint(cipher.key_bytes, ==, 64);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/storage/luks/cipher/defaults", test_what_is_left_unset_becomes_the_default);
    g_test_add_func("/storage/luks/cipher/refusals",
                    test_what_libcryptsetup_or_qemu_can_not_do_is_refused);
    g_test_add_func("/storage/luks/cipher/plain", test_plain_mode_takes_a_hash_as_long_as_its_key);
    return g_test_run();
}
