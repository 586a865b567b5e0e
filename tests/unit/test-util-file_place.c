/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A file by its path: that a write which was killed is brought to its end, and what keeps from that
 * without harm.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "util/file_place.h"

enum { REST_SIZE = 64 * 1024 };

struct fixture {
    struct folder folder;
    char *path;
    struct file_place place;
};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    folder_init(&on->folder);
    on->path = folder_path(&on->folder, "f");
    file_place_open(on->path, false, &on->place, &error);
    g_assert_no_error(error);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    file_place_clear(&on->place);
    g_free(on->path);
    folder_clear(&on->folder);
}

static void
expect_text(const struct folder *folder, const char *name, const char *text)
{
    g_autoptr(GBytes) expected = g_bytes_new_static(text, strlen(text));

    folder_expect(folder, name, expected);
}

static void
test_a_path_is_a_folder_and_a_name(struct fixture *on, gconstpointer unused)
{
    struct stat of_place;
    struct stat of_folder;

    g_assert_cmpstr(on->place.name, ==, "f");
    g_assert_cmpint(fstat(on->place.dir_fd, &of_place), ==, 0);
    g_assert_cmpint(fstat(on->folder.fd, &of_folder), ==, 0);
    g_assert_cmpuint(of_place.st_ino, ==, of_folder.st_ino);
}

static void
test_a_folder_is_made_if_wanted_and_for_its_owner_alone(struct fixture *on, gconstpointer unused)
{
    g_autofree char *path = folder_path(&on->folder, "sub/f");
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GError) error = NULL;
    struct stat info;

    g_assert_false(file_place_open(path, false, &place, &error));
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
    g_assert_cmpint(place.dir_fd, ==, -1);
    g_assert_null(place.name);
    g_assert_true(file_place_open(path, true, &place, NULL));
    g_assert_cmpint(fstat(place.dir_fd, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
}

static void
test_what_is_written_is_for_its_owner_alone(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GBytes) content = g_bytes_new_static("new", 3);
    struct stat info;

    folder_put_text(&on->folder, "f", "old");
    g_assert_true(file_place_replace_wiping(&on->place, content, NULL));
    expect_text(&on->folder, "f", "new");
    g_assert_cmpint(fstatat(on->folder.fd, "f", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpuint(folder_count(&on->folder), ==, 1);
}

static void
test_the_rest_of_a_killed_write_goes(struct fixture *on, gconstpointer unused)
{
    folder_put_text(&on->folder, "f", "new");
    folder_put_text(&on->folder, "f.new", "old");
    g_assert_true(file_place_finish_replace(&on->place, NULL));
    expect_text(&on->folder, "f", "new");
    g_assert_cmpuint(folder_count(&on->folder), ==, 1);
}

static void
test_a_rest_that_is_no_file_is_told(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mkdirat(on->folder.fd, "f.new", 0700), ==, 0);
    g_assert_false(file_place_finish_replace(&on->place, &error));
    g_assert_nonnull(strstr(error->message, "f.new"));
}

/* ---- on a disk of its own ---- */

static bool
mount_small_disk(struct fixture *on)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", on->folder.path, "tmpfs", 0, "size=1m,mode=700") < 0) {
        g_test_skip("file systems can't be mounted here");
        return false;
    }
    file_place_clear(&on->place);
    file_place_open(on->path, false, &on->place, NULL);
    return true;
}

/* A file of holes, which takes space as soon as it is overwritten. */
static void
put_rest(struct fixture *on)
{
    g_auto(file_fd) fd =
        openat(on->place.dir_fd, "f.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    g_assert_cmpint(ftruncate(fd, REST_SIZE), ==, 0);
}

static void
fill_disk(struct fixture *on)
{
    g_auto(file_fd) fd =
        openat(on->place.dir_fd, "filler", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    static const char bytes[4096];

    while (write(fd, bytes, sizeof(bytes)) > 0)
        continue;
    g_assert_cmpint(errno, ==, ENOSPC);
}

static void
unmount(struct fixture *on)
{
    file_place_clear(&on->place);
    g_assert_cmpint(umount(on->folder.path), ==, 0);
}

static void
test_a_rest_stays_on_a_full_disk_and_goes_later(struct fixture *on, gconstpointer unused)
{
    if (!mount_small_disk(on))
        return;
    put_rest(on);
    fill_disk(on);
    g_assert_true(file_place_finish_replace(&on->place, NULL));
    g_assert_cmpint(faccessat(on->place.dir_fd, "f.new", F_OK, 0), ==, 0);
    g_assert_cmpint(unlinkat(on->place.dir_fd, "filler", 0), ==, 0);
    g_assert_true(file_place_finish_replace(&on->place, NULL));
    g_assert_cmpint(faccessat(on->place.dir_fd, "f.new", F_OK, 0), ==, -1);
    unmount(on);
}

static void
test_a_rest_stays_on_media_that_can_not_be_written(struct fixture *on, gconstpointer unused)
{
    if (!mount_small_disk(on))
        return;
    put_rest(on);
    g_assert_cmpint(mount("tmpfs", on->folder.path, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), ==, 0);
    g_assert_true(file_place_finish_replace(&on->place, NULL));
    g_assert_cmpint(faccessat(on->place.dir_fd, "f.new", F_OK, 0), ==, 0);
    unmount(on);
}

#define ADD(name)                                                                                  \
    g_test_add("/util/file_place/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_path_is_a_folder_and_a_name);
    ADD(a_folder_is_made_if_wanted_and_for_its_owner_alone);
    ADD(what_is_written_is_for_its_owner_alone);
    ADD(the_rest_of_a_killed_write_goes);
    ADD(a_rest_that_is_no_file_is_told);
    ADD(a_rest_stays_on_a_full_disk_and_goes_later);
    ADD(a_rest_stays_on_media_that_can_not_be_written);
    return g_test_run();
}
