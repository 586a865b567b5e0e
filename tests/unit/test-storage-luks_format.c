/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * LUKS headers that we make and erase, judged by cryptsetup and QEMU.
 */
#include "luks_fixture.h"

enum { MIB = 1024 * 1024 };
#define TEXT(text) ((char *)(text))

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
        g_assert_true(bytes[i] == 0);
}

/* What qemu-img writes with these words is what we say too, and QEMU opens ours. */
static const struct image_cipher {
    struct encryption encryption;
    const char *mode;
} image_ciphers[] = {
    {{.cipher_name = TEXT("aes"), .cipher_size = 128}, "xts-plain64"},
    {{.cipher_name = TEXT("aes"),
      .cipher_size = 256,
      .cipher_mode = TEXT("cbc"),
      .ivgen_name = TEXT("essiv"),
      .cipher_hash = TEXT("sha512")},
     "cbc-essiv:sha256"},
    {{.cipher_name = TEXT("aes"),
      .cipher_size = 128,
      .cipher_mode = TEXT("cbc"),
      .ivgen_name = TEXT("plain")},
     "cbc-plain"},
    {{.cipher_name = TEXT("aes"),
      .cipher_size = 256,
      .cipher_mode = TEXT("ctr"),
      .cipher_hash = TEXT("sha1")},
     "ctr-plain64"},
};

static void
test_qemu_opens_each_cipher_that_is_accepted_for_images(struct luks_fixture *fixture,
                                                        gconstpointer unused)
{
    for (size_t i = 0; i < G_N_ELEMENTS(image_ciphers); i++) {
        const struct luks_format_params params = {
            .type = LUKS_1,
            .encryption = &image_ciphers[i].encryption,
            .kdf = LUKS_KDF_FULL_ENTROPY,
            .for_image = true,
        };
        g_autoptr(GError) error = NULL;
        g_auto(luks_info_t) info = {0};

        luks_format(&fixture->place, &params, fixture->key, &error);
        g_assert_no_error(error);
        luks_probe(&fixture->place, &info, &error);
        g_assert_no_error(error);
        g_assert_true(g_str_has_suffix(info.cipher, image_ciphers[i].mode));
        g_assert_true(luks_fixture_run(
            NULL,
            "qemu-io --object secret,id=s,file=%s --image-opts "
            "driver=luks,key-secret=s,file.filename=%s -c 'write -P 9 0 4k' -c 'read -P 9 0 4k'",
            fixture->key_path, fixture->path));
    }
}

/* Processor time of qemu-io to open the container, in ms. */
static double
time_qemu(const struct luks_fixture *fixture)
{
    g_autofree char *output = NULL;
    double user, system;

    g_assert_true(luks_fixture_run(
        &output,
        "bash -c 'TIMEFORMAT=\"%%3U %%3S\"; time qemu-io --object secret,id=s,file=%s "
        "--image-opts driver=luks,key-secret=s,file.filename=%s -c quit'",
        fixture->key_path, fixture->path));
    g_assert_cmpint(sscanf(output, "%lf %lf", &user, &system), ==, 2);
    return (user + system) * 1000;
}

/* Two seconds of PBKDF2 against a thousand rounds. */
static void
test_keys_of_full_entropy_cost_qemu_next_to_nothing(struct luks_fixture *fixture,
                                                    gconstpointer unused)
{
    luks_fixture_format(fixture, LUKS_1);
    g_assert_cmpfloat(time_qemu(fixture), <, 300);
}

static void
test_the_sector_size_is_what_was_asked_for(struct luks_fixture *fixture, gconstpointer unused)
{
    const struct encryption encryption = {.dmcrypt.sector_size = 4096};
    const struct luks_format_params params = {
        .type = LUKS_2, .encryption = &encryption, .kdf = LUKS_KDF_FULL_ENTROPY};
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    luks_format(&fixture->place, &params, fixture->key, &error);
    luks_probe(&fixture->place, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(info.sector_size, ==, 4096);
    g_assert_cmpuint(info.payload_offset, ==, luks_header_size(LUKS_2));
}

static void
test_a_container_without_room_is_refused_untouched(struct luks_fixture *fixture,
                                                   gconstpointer unused)
{
    const struct luks_format_params params = {.type = LUKS_2, .kdf = LUKS_KDF_FULL_ENTROPY};
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) uneven = NULL;
    g_autofree char *bytes = NULL;
    gsize len;

    luks_fixture_make_file(fixture, "container", 16 * MIB);
    g_assert_false(luks_format(&fixture->place, &params, fixture->key, &error));
    expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE, "is too small");
    g_assert_true(g_file_get_contents(fixture->path, &bytes, &len, NULL));
    g_assert_true(bytes[0] == 0);
    luks_fixture_make_file(fixture, "container", 17 * MIB + 100);
    g_assert_false(luks_format(&fixture->place, &params, fixture->key, &uneven));
    expect_error_part(uneven, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE,
                      "is no multiple of sectors of 512");
}

static void
test_cryptsetup_opens_our_detached_header(struct luks_fixture *fixture, gconstpointer type)
{
    const struct luks_format_params params = {.type = (enum luks_type)GPOINTER_TO_INT(type),
                                              .kdf = LUKS_KDF_FULL_ENTROPY};
    g_autofree char *header = folder_path(&fixture->folder, "header");
    const struct luks_place place = {.device = fixture->path, .header_path = header};
    g_autoptr(GError) error = NULL;
    g_auto(luks_info_t) info = {0};
    g_autofree char *bytes = NULL;
    gsize len;

    luks_fixture_make_file(fixture, "header", luks_header_size(params.type));
    luks_format(&place, &params, fixture->key, &error);
    g_assert_no_error(error);
    g_assert_true(luks_fixture_run(NULL,
                                   "cryptsetup open --test-passphrase --header %s --key-file %s %s",
                                   header, fixture->key_path, fixture->path));
    luks_probe(&place, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(info.payload_offset, ==, 0);
    g_assert_true(g_file_get_contents(fixture->path, &bytes, &len, NULL));
    for (gsize i = 0; i < len; i++)
        g_assert_true(bytes[i] == 0);
}

static bool
is_zero(const struct luks_fixture *fixture, gsize len)
{
    g_autofree char *bytes = NULL;
    gsize present;

    g_assert_true(g_file_get_contents(fixture->path, &bytes, &present, NULL));
    g_assert_cmpuint(present, >=, len);
    for (gsize i = 0; i < len; i++)
        if (bytes[i])
            return false;
    return true;
}

static void
test_nothing_of_a_header_is_left_after_erasing(struct luks_fixture *fixture, gconstpointer type)
{
    g_autoptr(GError) error = NULL;

    luks_fixture_format(fixture, (enum luks_type)GPOINTER_TO_INT(type));
    g_assert_false(is_zero(fixture, MIB));
    luks_erase(&fixture->place, &error);
    g_assert_no_error(error);
    g_assert_true(is_zero(fixture, luks_header_size((enum luks_type)GPOINTER_TO_INT(type))));
    g_assert_false(luks_fixture_run(NULL, "cryptsetup isLuks %s", fixture->path));
    luks_erase(&fixture->place, &error);
    g_assert_no_error(error);
}

static void
test_a_torn_header_is_erased_as_well(struct luks_fixture *fixture, gconstpointer unused)
{
    int fd = openat(fixture->folder.fd, "container", O_RDWR | O_CLOEXEC);
    g_autoptr(GError) error = NULL;

    luks_fixture_format(fixture, LUKS_2);
    /* Both copies of the metadata; the first one's magic stays. */
    g_assert_cmpint(pwrite(fd, "torn", 4, 0x1010), ==, 4);
    g_assert_cmpint(pwrite(fd, "torn", 4, 0x4000), ==, 4);
    close(fd);
    luks_erase(&fixture->place, &error);
    g_assert_no_error(error);
    g_assert_true(is_zero(fixture, luks_header_size(LUKS_2)));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, opaque, func)                                                                    \
    g_test_add("/storage/luks/format/" path, struct luks_fixture, opaque, luks_fixture_init, func, \
               luks_fixture_clear)
    ADD("cryptsetup-opens/luks1", GINT_TO_POINTER(LUKS_1), test_cryptsetup_opens_what_we_format);
    ADD("cryptsetup-opens/luks2", GINT_TO_POINTER(LUKS_2), test_cryptsetup_opens_what_we_format);
    ADD("qemu-opens", NULL, test_qemu_reads_and_writes_what_we_format);
    ADD("qemu-ciphers", NULL, test_qemu_opens_each_cipher_that_is_accepted_for_images);
    ADD("qemu-time", NULL, test_keys_of_full_entropy_cost_qemu_next_to_nothing);
    ADD("minimum/luks1", NULL, test_full_entropy_keys_cost_the_minimum);
    ADD("minimum/luks2", NULL, test_full_entropy_keys_use_pbkdf2_in_luks2);
    ADD("image-header", NULL, test_an_image_header_fits_a_file_of_its_own);
    ADD("sector-size", NULL, test_the_sector_size_is_what_was_asked_for);
    ADD("unknown-cipher", NULL, test_an_unknown_cipher_is_refused_before_anything_is_written);
    ADD("room", NULL, test_a_container_without_room_is_refused_untouched);
    ADD("detached/luks1", GINT_TO_POINTER(LUKS_1), test_cryptsetup_opens_our_detached_header);
    ADD("detached/luks2", GINT_TO_POINTER(LUKS_2), test_cryptsetup_opens_our_detached_header);
    ADD("erase/luks1", GINT_TO_POINTER(LUKS_1), test_nothing_of_a_header_is_left_after_erasing);
    ADD("erase/luks2", GINT_TO_POINTER(LUKS_2), test_nothing_of_a_header_is_left_after_erasing);
    ADD("erase/torn", NULL, test_a_torn_header_is_erased_as_well);
    return g_test_run();
}
