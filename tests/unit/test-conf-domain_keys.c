/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A domain's XML that is defined with keys: how its volumes are called, and that secrets are put
 * where libvirt reads them while every other byte stays.
 */
#include <string.h>

#include "conf/domain_keys.h"
#include "expect.h"

#define UUID   "d9a3c9a0-1111-4222-8333-444455556666"
#define SECRET "11111111-1111-4222-8333-444455556666"

#define HEAD "<domain type='qemu'>\n  <name>web</name>\n"
#define TAIL "</domain>\n<!-- end -->\n"
#define ELEMENT                                                                                    \
    "        <encryption format='luks'>\n"                                                         \
    "          <secret type='passphrase' uuid='" SECRET "'/>\n"                                    \
    "        </encryption>\n"

static struct domain_keys *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct domain_keys *keys = domain_keys_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return keys;
}

static char *
put(const char *xml, const char *name, GError **error)
{
    g_autoptr(domain_keys_t) keys = parse(xml);
    struct domain_key_place place = {.volume = domain_keys_find(keys, name, error)};
    struct uuid uuid;

    g_assert_nonnull(place.volume);
    g_assert_true(uuid_parse(SECRET, &place.secret));
    g_assert_true(uuid_parse(UUID, &uuid));
    return domain_keys_put(xml, keys, keys->has_uuid ? &keys->uuid : &uuid, &place, 1, error);
}

static void
expect_put(const char *xml, const char *name, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *result = put(xml, name, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(result, ==, expected);
}

#define DEVICES(disk)                                                                              \
    HEAD "  <uuid>" UUID "</uuid>\n  <devices>\n    <emulator>/q</emulator>\n" disk                \
         "  </devices>\n" TAIL
#define DISK(rest)                                                                                 \
    "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2'/>\n" rest        \
    "      <target dev='vda' bus='virtio'/>\n    </disk>\n"
#define SOURCE "      <source file=\"/v/a\" startupPolicy='optional' />\n"
#define CLEARED                                                                                    \
    "      <source file=\"/v/a\" startupPolicy='optional'>\n" ELEMENT "      </source>\n"

static void
test_an_empty_source_is_opened(void)
{
    expect_put(DEVICES(DISK(SOURCE)), "vda", DEVICES(DISK(CLEARED)));
}

static void
test_a_source_with_children_gets_one_more(void)
{
    expect_put(DEVICES(DISK("      <source file='/v/a'>\n        <seclabel relabel='no'/>\n"
                            "      </source>\n")),
               "/v/a",
               DEVICES(DISK("      <source file='/v/a'>\n        <seclabel relabel='no'/>\n" ELEMENT
                            "      </source>\n")));
}

static void
test_encryption_without_a_secret_is_completed(void)
{
    expect_put(DEVICES(DISK("      <source file='/v/a'>\n        <encryption format='luks'/>\n"
                            "      </source>\n")),
               "vda",
               DEVICES(DISK("      <source file='/v/a'>\n        <encryption format='luks'>\n"
                            "          <secret type='passphrase' uuid='" SECRET "'/>\n"
                            "        </encryption>\n      </source>\n")));
}

static void
test_encryption_beside_the_source_is_completed(void)
{
    expect_put(DEVICES(DISK("      <source file='/v/a'/>\n      <encryption format='luks'>\n"
                            "      </encryption>\n")),
               "vda",
               DEVICES(DISK("      <source file='/v/a'/>\n      <encryption format='luks'>\n"
                            "        <secret type='passphrase' uuid='" SECRET "'/>\n"
                            "      </encryption>\n")));
}

#define LAYER(source)                                                                              \
    "      <source file='/v/top'/>\n      <backingStore type='block'>\n"                           \
    "        <format type='raw'/>\n" source "        <backingStore/>\n      </backingStore>\n"     \
    "      <mirror type='file'>\n        <source file='/v/mirror'/>\n      </mirror>\n"

static void
test_a_backing_file_is_named_by_its_path(void)
{
    g_autoptr(domain_keys_t) keys = parse(DEVICES(DISK(LAYER("        <source dev='/d/b'/>\n"))));
    const struct domain_volume *volume = domain_keys_find(keys, "/d/b", NULL);

    g_assert_cmpuint(volume->layer, ==, 1);
    g_assert_cmpint(volume->type, ==, DISK_SOURCE_BLOCK);
    g_assert_cmpstr(volume->format, ==, "raw");
    expect_put(DEVICES(DISK(LAYER("        <source dev='/d/b'/>\n"))), "/d/b",
               DEVICES(DISK(LAYER("        <source dev='/d/b'>\n"
                                  "          <encryption format='luks'>\n"
                                  "            <secret type='passphrase' uuid='" SECRET "'/>\n"
                                  "          </encryption>\n        </source>\n"))));
}

static void
test_a_uuid_is_put_behind_the_name(void)
{
    expect_put(HEAD "  <devices>\n" DISK(SOURCE) "  </devices>\n" TAIL, "vda",
               HEAD "  <uuid>" UUID "</uuid>\n  <devices>\n" DISK(CLEARED) "  </devices>\n" TAIL);
}

static void
test_what_only_looks_like_a_disk_is_left_alone(void)
{
    expect_put(
        DEVICES("    <!-- <disk><source/></disk> -->\n    <x:disk xmlns:x='u'><source/></x:disk>\n"
                "    <disk type='volume'><source pool='p' volume='v'/>"
                "<target dev='vdb'/></disk>\n" DISK(SOURCE)),
        "vda",
        DEVICES("    <!-- <disk><source/></disk> -->\n    <x:disk xmlns:x='u'><source/></x:disk>\n"
                "    <disk type='volume'><source pool='p' volume='v'/>"
                "<target dev='vdb'/></disk>\n" DISK(CLEARED)));
}

static void
test_a_volume_of_a_pool_is_named_by_both(void)
{
    g_autoptr(domain_keys_t) keys = parse(
        DEVICES("<disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/></disk>"));

    g_assert_cmpstr(domain_keys_find(keys, "p/v", NULL)->target, ==, "vdb");
}

static void
expect_not_found(const char *xml, const char *name, const char *part)
{
    g_autoptr(domain_keys_t) keys = parse(xml);
    g_autoptr(GError) error = NULL;

    g_assert_null(domain_keys_find(keys, name, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_DOMAIN, part);
}

static void
test_what_no_disk_is_called_is_refused(void)
{
    expect_not_found(DEVICES(DISK(SOURCE)), "vdb", "guest 'web' has no disk 'vdb'");
    expect_not_found(DEVICES(DISK("")), "vda", "disk 'vda' of guest 'web' has no volume");
}

/* The declared namespace takes the element away from libvirt's sight, not from the scan's. */
static void
test_a_place_that_libvirt_would_not_read_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *result = put(
        DEVICES("    <disk xmlns='u'><source file='/x'/></disk>\n" DISK(SOURCE)), "vda", &error);

    g_assert_null(result);
    expect_error_part(error, ERROR_XML, ERROR_FROM_DOMAIN, "can't be put into this XML");
}

static void
test_a_domain_without_a_name_or_with_a_bad_uuid_is_refused(void)
{
    const char *xmls[] = {"<domain/>", "<domain><name>a</name><uuid>b</uuid></domain>",
                          "<domain><name>a</name><uuid/></domain>"};

    for (size_t i = 0; i < G_N_ELEMENTS(xmls); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(domain_keys_parse(xmls[i], strlen(xmls[i]), &error));
        expect_error_part(error, ERROR_XML, ERROR_FROM_DOMAIN, "has no valid <");
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/conf/domain_keys/" #name, test_##name)
    TEST(an_empty_source_is_opened);
    TEST(a_source_with_children_gets_one_more);
    TEST(encryption_without_a_secret_is_completed);
    TEST(encryption_beside_the_source_is_completed);
    TEST(a_backing_file_is_named_by_its_path);
    TEST(a_uuid_is_put_behind_the_name);
    TEST(what_only_looks_like_a_disk_is_left_alone);
    TEST(a_volume_of_a_pool_is_named_by_both);
    TEST(what_no_disk_is_called_is_refused);
    TEST(a_place_that_libvirt_would_not_read_is_refused);
    TEST(a_domain_without_a_name_or_with_a_bad_uuid_is_refused);
    return g_test_run();
}
