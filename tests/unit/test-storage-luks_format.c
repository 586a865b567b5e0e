/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * LUKS headers that we make and erase, judged by cryptsetup and QEMU.
 */
#include "luks_fixture.h"

enum { MIB = 1024 * 1024 };

static void
test_cryptsetup_opens_what_we_format(struct luks_fixture *fixture, gconstpointer type)
{
    luks_fixture_format(fixture, (enum luks_type)GPOINTER_TO_INT(type));
    g_assert_true(luks_fixture_run(NULL, "cryptsetup open --test-passphrase --key-file %s %s",
                                   fixture->key_path, fixture->path));
    g_assert_false(luks_fixture_run(
        NULL, "printf wrong | cryptsetup open --test-passphrase --key-file - %s", fixture->path));
}

static void
test_qemu_reads_and_writes_what_we_format(struct luks_fixture *fixture, gconstpointer unused)
{
    luks_fixture_format(fixture, LUKS_1);
    g_assert_true(luks_fixture_run(
        NULL,
        "qemu-io --object secret,id=s,file=%s --image-opts "
        "driver=luks,key-secret=s,file.filename=%s -c 'write -P 7 1M 64k' -c 'read -P 7 1M 64k'",
        fixture->key_path, fixture->path));
}

static void
test_full_entropy_keys_cost_the_minimum(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autofree char *dump = NULL;

    luks_fixture_format(fixture, LUKS_1);
    g_assert_true(
        luks_fixture_run(&dump, "cryptsetup luksDump %s | tr -s ' \\t' ' '", fixture->path));
    g_assert_nonnull(strstr(dump, "MK iterations: 1000\n"));
    g_assert_nonnull(strstr(dump, "\n Iterations: 1000\n"));
}

static void
test_full_entropy_keys_use_pbkdf2_in_luks2(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autofree char *dump = NULL;

    luks_fixture_format(fixture, LUKS_2);
    g_assert_true(
        luks_fixture_run(&dump, "cryptsetup luksDump %s | tr -s ' \\t' ' '", fixture->path));
    g_assert_nonnull(strstr(dump, "PBKDF: pbkdf2"));
    g_assert_nonnull(strstr(dump, " Iterations: 1000\n"));
    g_assert_null(strstr(dump, "argon2"));
    g_assert_nonnull(strstr(dump, "sector: 512 "));
}

static void
test_an_image_header_fits_a_file_of_its_own(struct luks_fixture *fixture, gconstpointer unused)
{
    const struct luks_format_params params = {
        .type = LUKS_1, .kdf = LUKS_KDF_FULL_ENTROPY, .for_image = true};
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    luks_fixture_make_file(fixture, "container", 0);
    luks_format(&fixture->place, &params, fixture->key, &error);
    g_assert_no_error(error);
    luks_probe(&fixture->place, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpint(info.type, ==, LUKS_1);
    g_assert_cmpuint(info.payload_offset, ==, luks_header_size(LUKS_1));
    g_assert_cmpuint(info.key_bits, ==, 512);
    g_assert_cmpstr(info.cipher, ==, "aes-xts-plain64");
}

static void
test_an_unknown_cipher_is_refused_before_anything_is_written(struct luks_fixture *fixture,
                                                             gconstpointer unused)
{
    const struct encryption encryption = {.cipher_name = (char *)"rot13", .cipher_size = 256};
    const struct luks_format_params params = {.type = LUKS_2, .encryption = &encryption};
    g_autoptr(GError) error = NULL;
    g_autofree char *bytes = NULL;
    gsize len;

    g_assert_false(luks_format(&fixture->place, &params, fixture->key, &error));
    expect_error(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE,
                 "unknown cipher 'rot13' in <encryption>; possible: aes, serpent, twofish, "
                 "camellia, cast5, cast6");
    g_assert_true(g_file_get_contents(fixture->path, &bytes, &len, NULL));
    for (gsize i = 0; i < len; i++)
        g_assert_cmpint(bytes[i], ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, opaque, func)                                                                    \
    g_test_add(path, struct luks_fixture, opaque, luks_fixture_init, func, luks_fixture_clear)
    ADD("/storage/luks/format/cryptsetup-opens/luks1", GINT_TO_POINTER(LUKS_1),
        test_cryptsetup_opens_what_we_format);
    ADD("/storage/luks/format/cryptsetup-opens/luks2", GINT_TO_POINTER(LUKS_2),
        test_cryptsetup_opens_what_we_format);
    ADD("/storage/luks/format/qemu-opens", NULL, test_qemu_reads_and_writes_what_we_format);
    ADD("/storage/luks/format/minimum/luks1", NULL, test_full_entropy_keys_cost_the_minimum);
    ADD("/storage/luks/format/minimum/luks2", NULL, test_full_entropy_keys_use_pbkdf2_in_luks2);
    ADD("/storage/luks/format/image-header", NULL, test_an_image_header_fits_a_file_of_its_own);
    ADD("/storage/luks/format/unknown-cipher", NULL,
        test_an_unknown_cipher_is_refused_before_anything_is_written);
    return g_test_run();
}
