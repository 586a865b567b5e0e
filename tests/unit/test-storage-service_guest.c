/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Guests' starts: a disk that would show a container in the place of its data is refused, and all
 * others are let pass. (Opening dm-crypt volumes needs a kernel that can: tests/vm.)
 */
#include "service_fixture.h"

static bool
prepare(struct fixture *test, const char *disk, GError **error)
{
    g_autofree char *xml = g_strdup_printf("<domain type='qemu'><name>web1</name><uuid>" GUEST_UUID
                                           "</uuid><devices>%s</devices></domain>",
                                           disk);

    return storage_service_prepare_guest(test->service, xml, error);
}

/* `driver` and `inner` (within <source>) are XML. */
static char *
file_disk(struct fixture *test, const char *name, const char *driver, const char *inner)
{
    g_autofree char *path = folder_path(&test->images, name);

    return g_strdup_printf("<disk type='file' device='disk'>%s<source file='%s'>%s</source>"
                           "<target dev='vda'/></disk>",
                           driver, path, inner);
}

static void
expect_refused(struct fixture *test, const char *disk, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(prepare(test, disk, &error));
    expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE, part);
    g_assert_true(g_str_has_prefix(error->message, "disk 'vda' of guest 'web1': "));
}

static void
expect_passed(struct fixture *test, const char *disk)
{
    g_autoptr(GError) error = NULL;

    prepare(test, disk, &error);
    g_assert_no_error(error);
}

#define RAW   "<driver name='qemu' type='raw'/>"
#define QCOW2 "<driver name='qemu' type='qcow2'/>"
#define ENCRYPTION                                                                                 \
    "<encryption format='luks'><secret type='passphrase' uuid='" POOL_UUID "'/></encryption>"

static void
test_encrypted_volume_without_encryption_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autofree char *bare = file_disk(test, "disk", RAW, "");
    g_autofree char *silent = file_disk(test, "disk", "", "");
    g_autofree char *whole = file_disk(test, "disk", RAW, ENCRYPTION);
    char uuid[UUID_TEXT_SIZE];

    expect_refused(test, bare, "has no <encryption>");
    expect_refused(test, bare, uuid_format(&volume->secret, uuid));
    expect_refused(test, silent, "has no <encryption>");
    expect_refused(test,
                   "<disk type='volume'><source pool='images' volume='disk'/>"
                   "<target dev='vda'/></disk>",
                   "has no <encryption>");
    expect_passed(test, whole);
}

static void
test_encrypted_qcow2_as_raw_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("qcow2", LUKS));
    g_autofree char *raw = file_disk(test, "disk", RAW, ENCRYPTION);
    g_autofree char *bare = file_disk(test, "disk", QCOW2, "");
    g_autofree char *whole = file_disk(test, "disk", QCOW2, ENCRYPTION);

    expect_refused(test, raw, "type='qcow2'");
    expect_refused(test, bare, "has no <encryption>");
    expect_passed(test, whole);
}

static void
copy_image(struct fixture *test, const char *from, const char *to)
{
    g_autoptr(GBytes) content = folder_get(&test->images, from);

    folder_put(&test->images, to, g_bytes_get_data(content, NULL), g_bytes_get_size(content));
}

static void
test_luks_that_is_not_ours_is_refused_unless_read_only(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("raw", LUKS));
    g_autofree char *bare = file_disk(test, "copy", RAW, "");
    g_autofree char *whole = file_disk(test, "copy", RAW, ENCRYPTION);
    g_autofree char *path = folder_path(&test->images, "copy");
    g_autofree char *cdrom = g_strdup_printf("<disk type='file' device='cdrom'>" RAW
                                             "<source file='%s'/><target dev='sda'/><readonly/>"
                                             "</disk>",
                                             path);

    copy_image(test, "disk", "copy");
    expect_refused(test, bare, "is encrypted with LUKS, and the <source> of the <disk> has no");
    expect_passed(test, whole);
    expect_passed(test, cdrom);
}

/* QEMU can't open LUKS2: it is what guests make of their own disks. */
static void
test_luks2_of_a_guests_own_is_let_pass(struct fixture *test, gconstpointer unused)
{
    g_autofree char *bare = file_disk(test, "data", RAW, "");
    g_autofree char *path = folder_path(&test->images, "data");
    g_autofree char *command = g_strdup_printf(
        "truncate -s 32M '%s' && echo key | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 "
        "--pbkdf-force-iterations 1000 '%s' -",
        path, path);

    g_assert_cmpint(system(command), ==, 0); /* NOLINT(cert-env33-c): a test's own words */
    expect_passed(test, bare);
}

static void
test_other_disks_are_let_pass(struct fixture *test, gconstpointer unused)
{
    g_autofree char *clear = file_disk(test, "clear", RAW, "");
    g_autofree char *missing = file_disk(test, "missing", RAW, "");

    folder_put_text(&test->images, "clear", "text");
    expect_passed(test, clear);
    expect_passed(test, missing);
    expect_passed(test, "<disk type='file' device='cdrom'><target dev='sda'/></disk>");
    expect_passed(test, "<disk type='volume'><source pool='none' volume='x'/><target dev='vda'/>"
                        "</disk>");
    expect_passed(test, "<disk type='network'><source protocol='rbd' name='a/b'/>"
                        "<target dev='vda'/></disk>");
}

static void
put_dm_crypt_record(struct fixture *test)
{
    g_autofree char *dir = folder_path(&test->volumes, "images");
    g_autofree char *file = folder_path(&test->volumes, "images/disk.xml");
    g_autofree char *xml = g_strdup_printf(
        "<volumeRecord version='1'><pool>images</pool><name>disk</name><kind>dm-crypt</kind>"
        "<state>ready</state><path>%s/dev/images/disk</path><device>%s/disk.crypt</device>"
        "<made>yes</made><capacity>4194304</capacity><encryption format='luks2' "
        "engine='dm-crypt'><secret type='passphrase' uuid='" POOL_UUID "'/></encryption>"
        "<generated>yes</generated><stored>no</stored></volumeRecord>",
        test->root.path, test->images.path);

    fixture_stop(test);
    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, xml, -1, NULL));
    fixture_start(test);
    g_assert_cmpuint(storage_service_count(test->service), ==, 1);
}

static void
test_ciphertext_as_a_disk_is_refused_by_any_name(struct fixture *test, gconstpointer unused)
{
    g_autofree char *container = folder_path(&test->images, "disk.crypt");
    g_autofree char *link = folder_path(&test->images, "link");
    g_autofree char *direct = file_disk(test, "disk.crypt", RAW, "");
    g_autofree char *linked = file_disk(test, "link", QCOW2, ENCRYPTION);
    g_autofree char *expected =
        g_strdup_printf("is the ciphertext of volume 'disk' of pool 'images': use <source "
                        "dev='%s/dev/images/disk'/>",
                        test->root.path);

    put_dm_crypt_record(test);
    folder_put_text(&test->images, "disk.crypt", "container");
    g_assert_cmpint(symlink(container, link), ==, 0);
    expect_refused(test, direct, expected);
    expect_refused(test, linked, expected);
    expect_refused(test,
                   "<disk type='volume'><source pool='images' volume='disk.crypt'/>"
                   "<target dev='vda'/></disk>",
                   expected);
}

static void
test_missing_key_stops_the_start_and_names_the_volume(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct uuid guest;

    put_dm_crypt_record(test);
    g_assert_false(prepare(test,
                           "<disk type='volume'><source pool='images' volume='disk'/>"
                           "<target dev='vda'/></disk>",
                           &error));
    expect_error_part(error, ERROR_NO_SECRET, ERROR_FROM_SECRET,
                      "can't get the key of volume 'disk' of pool 'images': ");
    g_assert_true(uuid_parse(GUEST_UUID, &guest));
    g_clear_error(&error);
    storage_service_release_guest(test->service, &guest, &error);
    g_assert_no_error(error);
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/service_guest/" path, struct fixture, NULL, fixture_set_up, function,     \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("no-encryption", test_encrypted_volume_without_encryption_is_refused);
    ADD("qcow2-as-raw", test_encrypted_qcow2_as_raw_is_refused);
    ADD("foreign-luks", test_luks_that_is_not_ours_is_refused_unless_read_only);
    ADD("foreign-luks2", test_luks2_of_a_guests_own_is_let_pass);
    ADD("others", test_other_disks_are_let_pass);
    ADD("ciphertext", test_ciphertext_as_a_disk_is_refused_by_any_name);
    ADD("missing-key", test_missing_key_stops_the_start_and_names_the_volume);
    return g_test_run();
}
