/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The XML that options become. That virtcryptd takes it is shown by parsing it as it does.
 */
#include <string.h>

#include "conf/volume_def.h"
#include "expect.h"
#include "tools/volume_spec.h"

static struct volume_def *
parse(const struct volume_spec *spec)
{
    g_autofree char *xml = volume_spec_format(spec);
    g_autoptr(GError) error = NULL;
    struct volume_def *def = volume_def_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return def;
}

static void
test_a_volume_is_written_as_virsh_writes_it(void)
{
    const struct volume_spec spec = {
        .name = "f",
        .kind = VOLUME_SPEC_QCOW2,
        .is_encrypted = true,
        .has_capacity = true,
        .capacity = 1048576,
        .has_allocation = true,
        .backing_path = "/var/lib/libvirt/images/a",
        .backing_format = "raw",
    };
    g_autofree char *xml = volume_spec_format(&spec);

    g_assert_cmpstr(xml, ==,
                    "<volume>\n"
                    "  <name>f</name>\n"
                    "  <capacity>1048576</capacity>\n"
                    "  <allocation>0</allocation>\n"
                    "  <target>\n"
                    "    <format type='qcow2'/>\n"
                    "    <encryption format='luks'/>\n"
                    "  </target>\n"
                    "  <backingStore>\n"
                    "    <path>/var/lib/libvirt/images/a</path>\n"
                    "    <format type='raw'/>\n"
                    "  </backingStore>\n"
                    "</volume>\n");
}

static void
test_each_kind_has_its_encryption(void)
{
    static const struct {
        const char *name;
        const char *format;
        enum encryption_engine engine;
        enum encryption_format encryption;
    } kinds[] = {
        {"qcow2", "qcow2", ENCRYPTION_ENGINE_DEFAULT, ENCRYPTION_FORMAT_LUKS},
        {"raw", "raw", ENCRYPTION_ENGINE_DEFAULT, ENCRYPTION_FORMAT_LUKS},
        {"dm-crypt", "raw", ENCRYPTION_ENGINE_DM_CRYPT, ENCRYPTION_FORMAT_LUKS2},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        struct volume_spec spec = {.name = "v", .is_encrypted = true};
        g_autoptr(volume_def_t) def = NULL;

        g_assert_true(volume_spec_find_kind(kinds[i].name, &spec.kind, NULL));
        g_assert_cmpstr(volume_spec_kind_name(spec.kind), ==, kinds[i].name);
        def = parse(&spec);
        g_assert_cmpstr(def->format, ==, kinds[i].format);
        g_assert_cmpint(def->encryption->engine, ==, kinds[i].engine);
        g_assert_cmpint(def->encryption->format, ==, kinds[i].encryption);
        g_assert_cmpint(def->encryption->secret_by, ==, ENCRYPTION_SECRET_NONE);
    }
}

static void
test_a_kind_that_can_not_be_encrypted_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    enum volume_spec_kind kind;

    g_assert_false(volume_spec_find_kind("vmdk", &kind, &error));
    expect_error(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE,
                 "the format 'vmdk' can't be encrypted: qcow2, raw and dm-crypt can");
}

static void
test_a_number_that_is_no_kind_has_a_name_too(void)
{
    g_assert_cmpstr(volume_spec_kind_name(-1), ==, "unknown");
    g_assert_cmpstr(volume_spec_kind_name(3), ==, "unknown");
}

static void
test_key_and_cipher_are_in_the_encryption(void)
{
    struct volume_spec spec = {
        .name = "v",
        .is_encrypted = true,
        .has_secret = true,
        .cipher = "aes-256-cbc-essiv:sha256",
    };
    g_autoptr(volume_def_t) def = NULL;

    memset(spec.secret.bytes, 0x5a, sizeof(spec.secret.bytes));
    def = parse(&spec);
    g_assert_cmpint(def->encryption->secret_by, ==, ENCRYPTION_SECRET_UUID);
    g_assert_true(uuid_equal(&def->encryption->secret_uuid, &spec.secret));
    g_assert_cmpstr(def->encryption->cipher_name, ==, "aes");
    g_assert_cmpuint(def->encryption->cipher_size, ==, 256);
    g_assert_cmpstr(def->encryption->cipher_mode, ==, "cbc");
    g_assert_cmpstr(def->encryption->ivgen_name, ==, "essiv");
    g_assert_cmpstr(def->encryption->ivgen_hash, ==, "sha256");
}

static void
test_names_and_paths_are_text_not_xml(void)
{
    const struct volume_spec spec = {
        .name = "a<b>&'\"c",
        .path = "/x/<&>",
        .backing_path = "/y/'&'",
        .backing_format = "raw",
        .kind = VOLUME_SPEC_QCOW2,
    };
    g_autoptr(volume_def_t) def = parse(&spec);

    g_assert_cmpstr(def->name, ==, spec.name);
    g_assert_cmpstr(def->path, ==, spec.path);
    g_assert_cmpstr(def->backing_path, ==, spec.backing_path);
    g_assert_null(def->encryption);
}

static void
test_ciphers_have_a_name_and_a_size_at_least(void)
{
    static const char *const good[] = {"aes-256", "serpent-128-xts", "aes-256-xts-plain64",
                                       "aes-256-cbc-essiv:sha256"};
    static const char *const bad[] = {"",
                                      "aes",
                                      "aes-xts",
                                      "aes-xts-plain64",
                                      "aes-0",
                                      "aes-12345",
                                      "aes-256-",
                                      "aes-256-xts-plain64-x",
                                      "aes-256-xts:sha256",
                                      "aes-256-cbc-essiv:",
                                      "aes-256-cbc-essiv:a:b",
                                      "aes'-256"};

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(volume_spec_check_cipher(good[i], NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(volume_spec_check_cipher(bad[i], &error));
        expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_STORAGE,
                          "is not of the form NAME-BITS-MODE-IVGEN");
    }
}

#define ADD(name) g_test_add_func("/tools/volume_spec/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_volume_is_written_as_virsh_writes_it);
    ADD(test_each_kind_has_its_encryption);
    ADD(test_a_kind_that_can_not_be_encrypted_is_refused);
    ADD(test_a_number_that_is_no_kind_has_a_name_too);
    ADD(test_key_and_cipher_are_in_the_encryption);
    ADD(test_names_and_paths_are_text_not_xml);
    ADD(test_ciphers_have_a_name_and_a_size_at_least);
    return g_test_run();
}
