/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The disk that a volume becomes, parsed again as virtcryptd parses a guest's disks.
 */
#include <string.h>

#include "conf/domain_disks.h"
#include "tools/attach_disk.h"
#include "tools/xpath.h"

static struct domain_disk *
parse(const struct attach_disk *disk)
{
    g_autofree char *xml = attach_disk_format(disk);
    g_autoptr(GError) error = NULL;
    struct domain_disk *parsed = domain_disk_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return parsed;
}

static void
test_a_dm_crypt_volume_is_a_block_device(void)
{
    const struct attach_disk disk = {
        .kind = VOLUME_SPEC_DM_CRYPT,
        .is_block = true,
        .path = "/dev/virtcrypt/p/a&b",
        .target = "vdb",
        .is_readonly = true,
    };
    g_autoptr(domain_disk_t) parsed = parse(&disk);
    const struct disk_source *source = parsed->sources->pdata[0];

    g_assert_cmpstr(parsed->target, ==, "vdb");
    g_assert_true(parsed->is_readonly);
    g_assert_cmpint(source->type, ==, DISK_SOURCE_BLOCK);
    g_assert_cmpstr(source->path, ==, "/dev/virtcrypt/p/a&b");
    g_assert_cmpstr(source->format, ==, "raw");
    g_assert_null(source->encryption);
}

static void
test_an_image_names_the_secret_that_opens_it(void)
{
    struct uuid secret;
    const struct attach_disk disk = {
        .kind = VOLUME_SPEC_QCOW2,
        .path = "/images/x",
        .target = "sda",
        .secret = &secret,
        .serial = "<1>",
    };
    g_autofree char *xml = NULL;
    g_autofree char *serial = NULL;
    g_autoptr(domain_disk_t) parsed = NULL;
    const struct disk_source *source;

    memset(secret.bytes, 7, sizeof(secret.bytes));
    parsed = parse(&disk);
    source = parsed->sources->pdata[0];
    g_assert_cmpint(source->type, ==, DISK_SOURCE_FILE);
    g_assert_cmpstr(source->format, ==, "qcow2");
    g_assert_nonnull(source->encryption);
    g_assert_true(uuid_equal(&source->encryption->secret_uuid, &secret));
    g_assert_false(parsed->is_readonly);
    xml = attach_disk_format(&disk);
    serial = xpath_get_text(xml, "string(/disk/serial)");
    g_assert_cmpstr(serial, ==, "<1>");
}

static void
test_the_first_free_target_is_found(void)
{
    g_autoptr(GString) full = g_string_new("<domain><name>g</name><devices>");
    g_autofree char *first = attach_disk_free_target("<domain><name>g</name></domain>");
    g_autofree char *gap = attach_disk_free_target(
        "<domain><name>g</name><devices><disk><target dev='vda'/></disk>"
        "<disk><target dev='sdb'/></disk><disk><target dev='vdc'/></disk></devices></domain>");

    g_assert_cmpstr(first, ==, "vda");
    g_assert_cmpstr(gap, ==, "vdb");
    for (int letter = 'a'; letter <= 'z'; letter++)
        g_string_append_printf(full, "<disk><target dev='vd%c'/></disk>", letter);
    g_string_append(full, "</devices></domain>");
    g_assert_null(attach_disk_free_target(full->str));
}

#define ADD(name) g_test_add_func("/tools/attach_disk/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_dm_crypt_volume_is_a_block_device);
    ADD(test_an_image_names_the_secret_that_opens_it);
    ADD(test_the_first_free_target_is_found);
    return g_test_run();
}
