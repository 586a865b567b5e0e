/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether a volume is there: everything that is not surely gone is.
 */
#include "guest/volume.h"

#include "guest/domain_files.h"
#include "service_fixture.h"

static bool
exists(struct fixture *test, const char *path)
{
    return guest_volume_exists(test->service, path);
}

static void
test_only_a_file_that_is_missing_in_its_folder_is_gone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *there = folder_path(&test->images, "there");
    g_autofree char *gone = folder_path(&test->images, "gone");
    g_autofree char *below = folder_path(&test->images, "there/below");
    g_autofree char *elsewhere = folder_path(&test->images, "nowhere/a");

    folder_put_text(&test->images, "there", "x");
    g_assert_true(exists(test, there));
    g_assert_false(exists(test, gone));
    g_assert_false(exists(test, below));
    g_assert_true(exists(test, elsewhere)); /* where is its folder? */
    g_assert_true(exists(test, "pool/volume"));
}

static void
test_a_volume_of_ours_is_there_until_it_is_deleted(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "a", TARGET("raw", LUKS));
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(g_unlink(volume->path), ==, 0);
    g_assert_true(exists(test, volume->path));
    storage_service_delete(test->service, "images", "a", NULL, &error);
    g_assert_no_error(error);
    g_assert_false(exists(test, volume->path));
}

static void
test_what_should_be_mounted_and_is_not_may_hold_it(struct fixture *test, gconstpointer unused)
{
    g_autofree char *fstab = folder_path(&test->root, "fstab");
    g_autofree char *mounts = folder_path(&test->root, "mounts");

    folder_put_text(&test->root, "fstab",
                    "# comment\n/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n"
                    "nas:/vms /srv/vms nfs defaults 0 0\n");
    folder_put_text(&test->root, "mounts", "/dev/sda1 / ext4 rw 0 0\n");
    g_assert_true(guest_volume_is_unmounted("/srv/vms/a", fstab, mounts));
    g_assert_true(guest_volume_is_unmounted("/srv/vms", fstab, mounts));
    g_assert_false(guest_volume_is_unmounted("/srv/vms2/a", fstab, mounts));
    g_assert_false(guest_volume_is_unmounted("/srv/a", fstab, mounts));
    folder_put_text(&test->root, "mounts", "nas:/vms /srv/vms nfs rw 0 0\n");
    g_assert_false(guest_volume_is_unmounted("/srv/vms/a", fstab, mounts));
    g_assert_false(guest_volume_is_unmounted("/srv/vms/a", "/nowhere/fstab", mounts));
}

#define UUID_1 "11111111-1111-4111-8111-111111111111"
#define UUID_2 "22222222-2222-4222-8222-222222222222"

static bool
has(GHashTable *uuids, const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return g_hash_table_contains(uuids, &uuid);
}

static void
test_definitions_are_searched_for_uuids(struct fixture *test, gconstpointer unused)
{
    g_autofree char *nowhere = folder_path(&test->root, "nowhere");
    g_autoptr(GHashTable) none = guest_domain_files_read(nowhere, NULL);
    g_autoptr(GHashTable) uuids = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(g_hash_table_size(none), ==, 0);
    folder_put_text(&test->images, "a.xml", "<domain>\n <uuid>" UUID_1 "</uuid><broken");
    folder_put_text(&test->images, "b.xml", "<uuid>not one</uuid><uuid>");
    folder_put_text(&test->images, "c.txt", "<uuid>" UUID_2 "</uuid>");
    uuids = guest_domain_files_read(test->images.path, &error);
    g_assert_no_error(error);
    g_assert_true(has(uuids, UUID_1));
    g_assert_false(has(uuids, UUID_2));
}

static void
test_a_definition_that_cannot_be_read_is_an_error(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mkdirat(test->images.fd, "a.xml", 0700), ==, 0);
    g_assert_null(guest_domain_files_read(test->images.path, &error));
    g_assert_nonnull(strstr(error->message, test->images.path));
}

#define ADD(function)                                                                              \
    g_test_add("/guest/volume/" #function, struct fixture, NULL, fixture_set_up, test_##function,  \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(only_a_file_that_is_missing_in_its_folder_is_gone);
    ADD(a_volume_of_ours_is_there_until_it_is_deleted);
    ADD(what_should_be_mounted_and_is_not_may_hold_it);
    ADD(definitions_are_searched_for_uuids);
    ADD(a_definition_that_cannot_be_read_is_an_error);
    return g_test_run();
}
