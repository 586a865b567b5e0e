/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which guests may start while virtcryptd is away.
 */
#include <string.h>
#include <sys/stat.h>

#include "conf/volume_record.h"
#include "expect.h"
#include "folder.h"
#include "tools/hook_offline.h"

struct fixture {
    struct folder folder;
    char *volumes;
    char *pools;
    char *images;
    struct hook_folders folders;
};

static void
set_up(struct fixture *fixture, const void *unused)
{
    folder_init(&fixture->folder);
    fixture->volumes = folder_path(&fixture->folder, "volumes");
    fixture->pools = folder_path(&fixture->folder, "pools");
    fixture->images = folder_path(&fixture->folder, "images");
    g_assert_cmpint(g_mkdir(fixture->pools, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(fixture->images, 0700), ==, 0);
    fixture->folders = (struct hook_folders){
        .volumes_dir = fixture->volumes,
        .pool_state_dir = fixture->pools,
        .device_dir = "/dev/virtcrypt",
    };
}

static void
tear_down(struct fixture *fixture, const void *unused)
{
    folder_clear(&fixture->folder);
    g_free(fixture->volumes);
    g_free(fixture->pools);
    g_free(fixture->images);
}

/* ---- what is on the host ---- */

static char *
put_image(const struct fixture *fixture, const char *name, const char *bytes, size_t len)
{
    char *path = g_build_filename(fixture->images, name, NULL);

    g_assert_true(g_file_set_contents(path, bytes, (gssize)len, NULL));
    return path;
}

static char *
put_luks(const struct fixture *fixture, const char *name)
{
    static const char start[] = "LUKS\xba\xbe\0\1 and so on";

    return put_image(fixture, name, start, sizeof(start));
}

static void
put_pool(const struct fixture *fixture)
{
    g_autofree char *path = g_build_filename(fixture->pools, "p.xml", NULL);
    g_autofree char *xml =
        g_strdup_printf("<poolstate><pool type='dir'><name>p</name>"
                        "<uuid>11111111-1111-4111-8111-111111111111</uuid><source/>"
                        "<target><path>%s</path></target></pool></poolstate>",
                        fixture->images);

    g_assert_true(g_file_set_contents(path, xml, -1, NULL));
}

static void
put_record_text(const struct fixture *fixture, const char *text)
{
    g_autofree char *dir = g_build_filename(fixture->volumes, "p", NULL);
    g_autofree char *path = g_build_filename(dir, "v.xml", NULL);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
put_image_record(const struct fixture *fixture, const char *path, enum volume_state state)
{
    struct encryption element = {
        .format = ENCRYPTION_FORMAT_LUKS,
        .secret_by = ENCRYPTION_SECRET_UUID,
    };
    const struct volume_record record = {
        .pool = (char *)"p",
        .name = (char *)"v",
        .kind = VOLUME_KIND_RAW,
        .state = state,
        .path = (char *)path,
        .device = (char *)path,
        .encryption = &element,
    };
    g_autofree char *xml = volume_record_format(&record);

    put_record_text(fixture, xml);
}

static void
put_record(const struct fixture *fixture, const char *device)
{
    struct encryption element = {
        .engine = ENCRYPTION_ENGINE_DM_CRYPT,
        .format = ENCRYPTION_FORMAT_LUKS2,
        .secret_by = ENCRYPTION_SECRET_UUID,
    };
    const struct volume_record record = {
        .pool = (char *)"p",
        .name = (char *)"v",
        .kind = VOLUME_KIND_DM_CRYPT,
        .state = VOLUME_STATE_READY,
        .path = (char *)"/dev/virtcrypt/p/v",
        .device = (char *)device,
        .capacity = 1048576,
        .encryption = &element,
    };
    g_autofree char *xml = volume_record_format(&record);

    put_record_text(fixture, xml);
}

/* ---- the guest ---- */

static bool
check(const struct fixture *fixture, const char *disk, GError **error)
{
    g_autofree char *xml = g_strdup_printf(
        "<domain type='qemu'><name>g</name><uuid>22222222-2222-4222-8222-222222222222</uuid>"
        "<devices>%s</devices></domain>",
        disk);
    g_autoptr(domain_disks_t) guest = domain_disks_parse(xml, strlen(xml), error);

    g_assert_nonnull(guest);
    return hook_offline_check(&fixture->folders, guest, error);
}

static void
expect_start(const struct fixture *fixture, const char *disk)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(check(fixture, disk, &error));
    g_assert_no_error(error);
}

static void
expect_refusal(const struct fixture *fixture, const char *disk, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(check(fixture, disk, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_DOMAIN, part);
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_DOMAIN,
                      "disk 'vda' of guest 'g' is ");
}

static char *
file_disk(const char *path, const char *format, const char *more)
{
    return g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='%s'/>"
                           "<source file='%s'>%s</source><target dev='vda'/></disk>",
                           format, path, more);
}

static const char encryption[] = "<encryption format='luks'><secret type='passphrase' "
                                 "uuid='33333333-3333-4333-8333-333333333333'/></encryption>";

static const char pool_disk[] = "<disk type='volume' device='disk'><driver name='qemu' type='raw'/>"
                                "<source pool='p' volume='v'/><target dev='vda'/></disk>";

/* ---- */

static void
test_a_guest_that_has_nothing_to_do_with_us_starts(struct fixture *fixture, const void *unused)
{
    g_autofree char *image = put_image(fixture, "plain", "plain", 5);
    g_autofree char *disk = file_disk(image, "raw", "");
    g_autofree char *missing = file_disk("/nosuch/file", "raw", "");

    expect_start(fixture, disk);
    expect_start(fixture, missing);
    expect_start(fixture, pool_disk);
    expect_start(fixture, "");
    expect_start(fixture, "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
                          "<source protocol='rbd' name='a/b'/><target dev='vda'/></disk>"
                          "<disk type='file' device='cdrom'><target dev='sda'/></disk>");
    put_pool(fixture);
    put_record(fixture, "/nosuch/other");
    expect_start(fixture, disk);
    folder_expect_none(&fixture->folder, "images/v");
}

static void
test_no_folder_is_made_by_asking(struct fixture *fixture, const void *unused)
{
    expect_start(fixture, pool_disk);
    folder_expect_none(&fixture->folder, "volumes");
}

static void
test_a_volume_of_ours_is_recognized_by_each_of_its_names(struct fixture *fixture,
                                                         const void *unused)
{
    g_autofree char *device = put_image(fixture, "v.crypt", "ciphertext", 10);
    g_autofree char *other_name = g_build_filename(fixture->images, "link", NULL);
    const char *const paths[] = {"/dev/virtcrypt/p/v", "/dev/virtcrypt/../virtcrypt/p//v", device,
                                 other_name};

    g_assert_cmpint(symlink(device, other_name), ==, 0);
    put_record(fixture, device);
    expect_refusal(fixture, pool_disk, "volume 'v' of pool 'p', which virtcryptd keeps");
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *disk = file_disk(paths[i], "raw", "");

        expect_refusal(fixture, disk, "volume 'v' of pool 'p', which virtcryptd keeps");
    }
}

static void
test_an_image_that_qemu_opens_needs_no_virtcryptd(struct fixture *fixture, const void *unused)
{
    g_autofree char *luks = put_luks(fixture, "v");
    g_autofree char *disk = file_disk(luks, "raw", encryption);
    g_autofree char *bare = file_disk(luks, "raw", "");

    put_image_record(fixture, luks, VOLUME_STATE_READY);
    expect_start(fixture, disk);
    expect_refusal(fixture, bare, "its <source> has no <encryption> element");
    put_image_record(fixture, luks, VOLUME_STATE_DELETING);
    expect_refusal(fixture, disk, "volume 'v' of pool 'p', which virtcryptd keeps");
}

static void
test_a_volume_whose_record_is_damaged_is_one_of_ours_too(struct fixture *fixture,
                                                         const void *unused)
{
    put_record_text(fixture, "<vol");
    expect_refusal(fixture, pool_disk, "volume 'v' of pool 'p'");
}

static void
test_a_device_that_only_we_make_is_recognized_without_a_record(struct fixture *fixture,
                                                               const void *unused)
{
    expect_refusal(fixture,
                   "<disk type='block' device='disk'><driver name='qemu' type='raw'/>"
                   "<source dev='/dev/virtcrypt/p/other'/><target dev='vda'/></disk>",
                   "/dev/virtcrypt/p/other, which virtcryptd makes");
}

static void
test_a_container_is_not_given_out_as_a_disk(struct fixture *fixture, const void *unused)
{
    g_autofree char *luks = put_luks(fixture, "v");
    g_autofree char *bare = file_disk(luks, "raw", "");
    g_autofree char *encrypted = file_disk(luks, "raw", encryption);
    g_autofree char *qcow2 = file_disk(luks, "qcow2", "");
    g_autofree char *readonly = g_strdup_printf(
        "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='%s'/>"
        "<target dev='vda'/><readonly/></disk>",
        luks);

    expect_refusal(fixture, bare, "its <source> has no <encryption> element");
    expect_start(fixture, encrypted);
    expect_start(fixture, qcow2);
    expect_start(fixture, readonly);
    put_pool(fixture);
    expect_refusal(fixture, pool_disk, "its <source> has no <encryption> element");
}

static void
test_what_a_chain_of_images_ends_in_counts(struct fixture *fixture, const void *unused)
{
    g_autofree char *luks = put_luks(fixture, "base");
    g_autofree char *disk = g_strdup_printf(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source file='/x'/><backingStore type='file'><format type='raw'/><source file='%s'/>"
        "<backingStore/></backingStore><target dev='vda'/></disk>",
        luks);

    expect_refusal(fixture, disk, "<encryption>");
}

#define ADD(name)                                                                                  \
    g_test_add("/tools/hook_offline/" #name, struct fixture, NULL, set_up, name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_guest_that_has_nothing_to_do_with_us_starts);
    ADD(test_no_folder_is_made_by_asking);
    ADD(test_a_volume_of_ours_is_recognized_by_each_of_its_names);
    ADD(test_an_image_that_qemu_opens_needs_no_virtcryptd);
    ADD(test_a_volume_whose_record_is_damaged_is_one_of_ours_too);
    ADD(test_a_device_that_only_we_make_is_recognized_without_a_record);
    ADD(test_a_container_is_not_given_out_as_a_disk);
    ADD(test_what_a_chain_of_images_ends_in_counts);
    return g_test_run();
}
