/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether a volume is gone: only a file that is missing where it was seen, on the same file system.
 */
#include "guest/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <sys/mount.h>

#include "service_fixture.h"

static bool
exists(struct fixture *test, const char *path, const char *place)
{
    return guest_volume_exists(test->service, path, place);
}

/* The path of a new file; *ret_place: where it is. */
static char *
make_file(struct fixture *test, const char *name, char **ret_place)
{
    char *path = folder_path(&test->images, name);

    g_assert_true(g_file_set_contents(path, "x", -1, NULL));
    *ret_place = guest_volume_find_place(path);
    g_assert_nonnull(*ret_place);
    g_assert_true(exists(test, path, *ret_place));
    return path;
}

static void
test_a_file_that_is_missing_where_it_was_seen_is_gone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *path = make_file(test, "a", &place);

    g_assert_true(exists(test, path, NULL));
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_false(exists(test, path, place));
    g_assert_null(guest_volume_find_place(path));
}

static void
test_one_that_was_never_seen_counts_as_there(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->images, "never");

    g_assert_true(exists(test, path, NULL));
}

static void
test_another_file_system_says_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->images, "a");

    g_assert_true(exists(test, path, "ef53:0000000000000001"));
    g_assert_true(exists(test, path, ""));
}

static void
test_a_folder_that_is_missing_says_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *path = make_file(test, "a", &place);
    g_autofree char *below = g_build_filename(path, "b", NULL);
    g_autofree char *missing = folder_path(&test->images, "folder/b");

    g_assert_true(exists(test, missing, place));
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(exists(test, below, place));
}

static void
test_a_link_counts_though_it_leads_nowhere(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->images, "link");
    g_autofree char *place = NULL;

    g_assert_cmpint(symlink("/nowhere/at/all", path), ==, 0);
    place = guest_volume_find_place(path);
    g_assert_nonnull(place);
    g_assert_true(exists(test, path, place));
}

static void
test_a_link_that_is_taken_away_deletes_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *path = make_file(test, "a", &place);
    g_autofree char *target = folder_path(&test->images, "target");
    struct guest_key key = {.volume = path, .place = g_steal_pointer(&place)};

    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(g_file_set_contents(target, "x", -1, NULL));
    g_assert_cmpint(symlink("target", path), ==, 0);
    guest_volume_set(test->service, &key, path);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(exists(test, path, key.place));
    g_free(key.place);
}

static void
test_a_file_that_has_another_name_now_is_not_gone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *path = make_file(test, "a", &place);
    g_autofree char *renamed = folder_path(&test->images, "b");
    g_autofree char *folder = folder_path(&test->images, "archive");
    g_autofree char *moved = folder_path(&test->images, "archive/a");

    g_assert_cmpint(rename(path, renamed), ==, 0);
    g_assert_true(exists(test, path, place));
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    g_assert_cmpint(rename(renamed, moved), ==, 0);
    g_assert_true(exists(test, path, place));
    g_assert_cmpint(unlink(moved), ==, 0);
    g_assert_false(exists(test, path, place));
}

static void
test_a_file_that_has_two_names_is_gone_with_the_last(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *path = make_file(test, "a", &place);
    g_autofree char *other = folder_path(&test->images, "b");

    g_assert_cmpint(link(path, other), ==, 0);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(exists(test, path, place));
    g_assert_cmpint(unlink(other), ==, 0);
    g_assert_false(exists(test, path, place));
}

static void
test_a_file_that_is_still_open_is_gone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *path = make_file(test, "a", &place);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_false(exists(test, path, place));
    close(fd);
}

static void
test_another_volume_for_a_key_leaves_the_one_before_behind(struct fixture *test,
                                                           gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *other_place = NULL;
    g_autofree char *path = make_file(test, "a", &place);
    g_autofree char *other = make_file(test, "b", &other_place);
    g_autofree char *same = folder_path(&test->images, "link");
    struct guest_key key = {0};

    g_assert_cmpint(symlink("b", same), ==, 0);
    guest_volume_set(test->service, &key, path);
    g_assert_cmpstr(key.place, ==, place);
    g_assert_cmpint(unlink(path), ==, 0);
    guest_volume_set(test->service, &key, other); /* that one is gone */
    g_assert_cmpstr(key.place, ==, other_place);
    guest_volume_set(test->service, &key, same); /* another name */
    g_assert_cmpstr(key.place, ==, "link");
    g_free(make_file(test, "a", &key.reason));
    guest_volume_set(test->service, &key, path);
    g_assert_cmpstr(key.place, ==, GUEST_KEY_SEVERAL);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(exists(test, path, key.place));
    guest_volume_set(test->service, &key, other);
    g_assert_cmpstr(key.place, ==, GUEST_KEY_SEVERAL);
    g_free(key.reason);
    g_free(key.volume);
    g_free(key.place);
}

static void
test_a_place_that_makes_no_sense_says_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *path = make_file(test, "a", &place);
    g_auto(GStrv) parts = g_strsplit(place, " ", 2);
    const char *const handles[] = {"", "!", "AAAA", "//////////8AAAAA"};

    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_false(exists(test, path, parts[0])); /* of an older record, without a handle */
    for (size_t i = 0; i < G_N_ELEMENTS(handles); i++) {
        g_autofree char *other = g_strdup_printf("%s %s", parts[0], handles[i]);

        g_assert_true(exists(test, path, other));
    }
}

static void
test_a_device_is_never_gone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = guest_volume_find_place("/dev/null");

    g_assert_true(exists(test, "/dev/no-such-group/volume", place));
    g_assert_true(exists(test, "/dev/no-such-device", place));
}

static void
test_what_is_no_path_counts_as_there(struct fixture *test, gconstpointer unused)
{
    g_assert_true(exists(test, "pool/volume", "ef53:1"));
    g_assert_null(guest_volume_find_place("."));
}

static void
test_a_volume_of_ours_is_there_as_long_as_its_record(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "ours", TARGET("qcow2", LUKS));
    g_autofree char *path = folder_path(&test->images, "ours");
    g_autofree char *place = guest_volume_find_place(path);

    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(exists(test, path, place));
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    delete_volume(test, "ours");
    g_assert_false(exists(test, path, place));
}

/* In a mount namespace of the test's own. */
static bool
mount_over(const char *path)
{
    if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tmpfs", path, "tmpfs", 0, "size=1m") == 0)
        return true;
    g_test_skip(g_strerror(errno));
    return false;
}

static void
test_what_is_not_mounted_is_not_gone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *place = NULL;
    g_autofree char *other = NULL;
    g_autofree char *path = NULL;

    if (!mount_over(test->images.path))
        return;
    path = make_file(test, "a", &place);
    g_assert_cmpint(umount2(test->images.path, MNT_DETACH), ==, 0);
    g_assert_true(exists(test, path, place));
    /* Another one in its place, even of the same kind. */
    g_assert_cmpint(mount("tmpfs", test->images.path, "tmpfs", 0, "size=1m"), ==, 0);
    g_assert_true(exists(test, path, place));
    g_free(make_file(test, "b", &other));
    g_assert_cmpstr(other, !=, place);
    g_assert_cmpint(umount2(test->images.path, MNT_DETACH), ==, 0);
}

/* A folder of the same file system, mounted where volumes are looked for. */
static void
test_a_bind_mount_that_is_away_is_not_gone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *other = folder_path(&test->images, "other");
    g_autofree char *folder = folder_path(&test->images, "folder");
    g_autofree char *place = NULL;
    g_autofree char *path = NULL;

    if (!mount_over(test->images.path))
        return;
    g_assert_cmpint(g_mkdir(other, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    g_assert_cmpint(mount(other, folder, NULL, MS_BIND, NULL), ==, 0);
    path = make_file(test, "folder/a", &place);
    g_assert_cmpint(umount2(folder, MNT_DETACH), ==, 0);
    g_assert_true(exists(test, path, place));
    g_assert_cmpint(mount(other, folder, NULL, MS_BIND, NULL), ==, 0);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_false(exists(test, path, place));
    g_assert_cmpint(umount2(folder, MNT_DETACH), ==, 0);
    g_assert_cmpint(umount2(test->images.path, MNT_DETACH), ==, 0);
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/volume/" #name, struct fixture, NULL, fixture_set_up, test_##name,          \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_file_that_is_missing_where_it_was_seen_is_gone);
    ADD(one_that_was_never_seen_counts_as_there);
    ADD(another_file_system_says_nothing);
    ADD(a_folder_that_is_missing_says_nothing);
    ADD(a_link_counts_though_it_leads_nowhere);
    ADD(a_link_that_is_taken_away_deletes_nothing);
    ADD(a_file_that_has_another_name_now_is_not_gone);
    ADD(a_file_that_has_two_names_is_gone_with_the_last);
    ADD(a_file_that_is_still_open_is_gone);
    ADD(another_volume_for_a_key_leaves_the_one_before_behind);
    ADD(a_place_that_makes_no_sense_says_nothing);
    ADD(a_device_is_never_gone);
    ADD(what_is_no_path_counts_as_there);
    ADD(a_volume_of_ours_is_there_as_long_as_its_record);
    ADD(what_is_not_mounted_is_not_gone);
    ADD(a_bind_mount_that_is_away_is_not_gone);
    return g_test_run();
}
