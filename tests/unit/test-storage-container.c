/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Containers: files for real; logical volumes as far as what LVM's programs are told (stand-ins in
 * PATH write it down), since activation needs device-mapper.
 */
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "storage/container.h"
#include "storage/container_file.h"

enum { SIZE = 4 * 1024 * 1024 };

struct fixture {
    struct folder folder;
    struct pool_def dir;
    struct pool_def logical;
    char *path;
    char *old_path;
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    folder_init(&fixture->folder);
    fixture->dir.type = POOL_TYPE_DIR;
    fixture->logical.type = POOL_TYPE_LOGICAL;
    fixture->logical.source_name = (char *)"group";
    fixture->path = folder_path(&fixture->folder, "container");
    fixture->old_path = g_strdup(g_getenv("PATH"));
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    g_setenv("PATH", fixture->old_path, TRUE);
    g_free(fixture->old_path);
    g_free(fixture->path);
    folder_clear(&fixture->folder);
}

/* A stand-in for one of LVM's programs: it notes its words, then runs `rest`. */
static void
put_program(struct fixture *fixture, const char *name, const char *rest)
{
    g_autofree char *path = folder_path(&fixture->folder, name);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\necho \"%s $*\" >>%s/log\n%s\n", name,
                                            fixture->folder.path, rest);
    g_autofree char *search = g_strdup_printf("%s:%s", fixture->folder.path, fixture->old_path);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, 0755), ==, 0);
    g_setenv("PATH", search, TRUE);
}

static void
expect_log(struct fixture *fixture, const char *expected)
{
    g_autofree char *path = folder_path(&fixture->folder, "log");
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
}

static bool
create_file(struct fixture *fixture, bool preallocate, GError **error)
{
    const struct container_params params = {
        .pool = &fixture->dir, .path = fixture->path, .size = SIZE, .preallocate = preallocate};

    return container_create(&params, NULL, error);
}

static void
test_a_file_is_made_sparse(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    uint64_t size, allocation;
    struct stat info;

    g_assert_true(create_file(fixture, false, &error));
    g_assert_true(container_get_size(fixture->path, &size, &allocation, &error));
    g_assert_cmpuint(size, ==, SIZE);
    g_assert_cmpuint(allocation, ==, 0);
    g_assert_cmpint(stat(fixture->path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
}

static void
test_a_file_is_allocated_when_asked(struct fixture *fixture, gconstpointer unused)
{
    uint64_t size, allocation;

    g_assert_true(create_file(fixture, true, NULL));
    g_assert_true(container_get_size(fixture->path, &size, &allocation, NULL));
    g_assert_cmpuint(allocation, >=, SIZE);
}

static void
test_a_file_that_exists_is_refused(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(create_file(fixture, false, NULL));
    g_assert_false(create_file(fixture, false, &error));
    expect_error_part(error, ERROR_STORAGE_VOL_EXIST, ERROR_FROM_STORAGE, fixture->path);
}

static void
test_a_missing_file_is_named(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    uint64_t size, allocation;

    g_assert_false(container_get_size(fixture->path, &size, &allocation, &error));
    expect_error_part(error, ERROR_NO_STORAGE_VOL, ERROR_FROM_STORAGE, fixture->path);
}

static void
test_a_file_grows_and_shrinks(struct fixture *fixture, gconstpointer unused)
{
    uint64_t size, allocation;

    g_assert_true(create_file(fixture, false, NULL));
    g_assert_true(container_resize(&fixture->dir, fixture->path, 2 * SIZE, true, NULL));
    g_assert_true(container_get_size(fixture->path, &size, &allocation, NULL));
    g_assert_cmpuint(size, ==, 2 * SIZE);
    g_assert_cmpuint(allocation, >=, SIZE);
    g_assert_true(container_resize(&fixture->dir, fixture->path, SIZE / 2, false, NULL));
    g_assert_true(container_get_size(fixture->path, &size, &allocation, NULL));
    g_assert_cmpuint(size, ==, SIZE / 2);
}

static void
test_a_file_is_removed_once_and_again(struct fixture *fixture, gconstpointer unused)
{
    g_assert_true(create_file(fixture, false, NULL));
    g_assert_true(container_remove(&fixture->dir, fixture->path, NULL));
    g_assert_false(g_file_test(fixture->path, G_FILE_TEST_EXISTS));
    g_assert_true(container_remove(&fixture->dir, fixture->path, NULL));
}

static void
test_a_link_is_not_opened(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    uint64_t size, allocation;

    g_assert_cmpint(symlink("/etc/passwd", fixture->path), ==, 0);
    g_assert_false(container_get_size(fixture->path, &size, &allocation, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_STORAGE, fixture->path);
}

/* Bytes 100 to 199 of 300, all of which were 'x'. */
static void
expect_wiped_middle(struct fixture *fixture, enum container_wipe how, bool zero)
{
    g_autofree char *before = g_strnfill(300, 'x');
    g_autofree char *after = NULL;
    gsize len = 0;

    g_assert_true(g_file_set_contents(fixture->path, before, 300, NULL));
    g_assert_true(container_wipe(fixture->path, 100, 100, how, NULL, NULL));
    g_assert_true(g_file_get_contents(fixture->path, &after, &len, NULL));
    g_assert_cmpuint(len, ==, 300);
    g_assert_cmpmem(after, 100, before, 100);
    g_assert_cmpmem(after + 200, 100, before, 100);
    g_assert_cmpint(memcmp(after + 100, before, 100), !=, 0);
    for (int i = 100; zero && i < 200; i++)
        g_assert_true(after[i] == 0);
}

static void
test_a_part_is_overwritten_and_no_more(struct fixture *fixture, gconstpointer unused)
{
    expect_wiped_middle(fixture, CONTAINER_WIPE_ZERO, true);
    expect_wiped_middle(fixture, CONTAINER_WIPE_RANDOM, false);
    expect_wiped_middle(fixture, CONTAINER_WIPE_TRIM, true);
}

static void
test_a_wipe_allocates_nothing(struct fixture *fixture, gconstpointer unused)
{
    uint64_t size, allocation;

    g_assert_true(create_file(fixture, false, NULL));
    g_assert_true(container_wipe(fixture->path, 0, 0, CONTAINER_WIPE_RANDOM, NULL, NULL));
    g_assert_true(container_get_size(fixture->path, &size, &allocation, NULL));
    g_assert_cmpuint(size, ==, SIZE);
    g_assert_cmpuint(allocation, ==, 0);
}

static void
test_a_wipe_that_is_cancelled_says_so(struct fixture *fixture, gconstpointer unused)
{
    struct storage_progress progress = {.is_cancelled = 1};
    g_autoptr(GError) error = NULL;

    g_assert_true(create_file(fixture, true, NULL));
    g_assert_true(g_file_set_contents(fixture->path, "text", 4, NULL));
    g_assert_false(container_wipe(fixture->path, 0, 0, CONTAINER_WIPE_ZERO, &progress, &error));
    expect_error(error, ERROR_OPERATION_ABORTED, ERROR_FROM_STORAGE, "it was cancelled");
}

static bool
create_logical(struct fixture *fixture, const char *path, GError **error)
{
    const struct container_params params = {.pool = &fixture->logical, .path = path, .size = SIZE};

    return container_create(&params, NULL, error);
}

static void
test_lvcreate_is_told_all_and_asks_nothing(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put_program(fixture, "lvs", "");
    put_program(fixture, "lvcreate", "");
    g_assert_true(create_logical(fixture, "/dev/group/volume", &error));
    g_assert_no_error(error);
    expect_log(fixture, "lvs --noheadings -o lv_name -S lv_name=\"volume\" group\n"
                        "lvcreate --yes -Wy -Zy --addtag virtcrypt -n volume -L 4194304b group\n");
}

static void
test_a_logical_volume_that_exists_is_refused(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put_program(fixture, "lvs", "echo '  volume'");
    put_program(fixture, "lvcreate", "");
    g_assert_false(create_logical(fixture, "/dev/group/volume", &error));
    expect_error(error, ERROR_STORAGE_VOL_EXIST, ERROR_FROM_STORAGE,
                 "there is a logical volume group/volume already");
    expect_log(fixture, "lvs --noheadings -o lv_name -S lv_name=\"volume\" group\n");
}

static void
test_a_full_volume_group_is_said_in_lvm_s_words(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put_program(fixture, "lvs", "");
    put_program(fixture, "lvcreate",
                "echo '  Volume group \"group\" has insufficient free space' >&2; exit 5");
    g_assert_false(create_logical(fixture, "/dev/group/volume", &error));
    expect_error(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE,
                 "lvcreate failed (status 5): Volume group \"group\" has insufficient free "
                 "space");
}

static void
test_names_that_lvm_could_misread_never_reach_it(struct fixture *fixture, gconstpointer unused)
{
    static const char *const names[] = {"-f", "a b", "a;b", "a\"b", "..", ""};

    put_program(fixture, "lvs", "");
    put_program(fixture, "lvcreate", "");
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("/dev/group/%s", names[i]);
        g_autofree char *log = folder_path(&fixture->folder, "log");
        g_autoptr(GError) error = NULL;

        g_assert_false(create_logical(fixture, path, &error));
        expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_STORAGE, "names of logical volumes");
        g_assert_false(container_remove(&fixture->logical, path, NULL));
        g_assert_false(g_file_test(log, G_FILE_TEST_EXISTS));
    }
}

static void
test_lvremove_is_asked_for_what_exists(struct fixture *fixture, gconstpointer unused)
{
    put_program(fixture, "lvs", "echo '  volume'");
    put_program(fixture, "lvremove", "");
    g_assert_true(container_remove(&fixture->logical, "/dev/group/volume", NULL));
    expect_log(fixture, "lvs --noheadings -o lv_name -S lv_name=\"volume\" group\n"
                        "lvremove --yes group/volume\n");
}

static void
test_a_missing_logical_volume_is_removed_already(struct fixture *fixture, gconstpointer unused)
{
    put_program(fixture, "lvs", "");
    put_program(fixture, "lvremove", "exit 5");
    g_assert_true(container_remove(&fixture->logical, "/dev/group/volume", NULL));
}

static void
test_a_logical_volume_without_a_node_is_activated(struct fixture *fixture, gconstpointer unused)
{
    put_program(fixture, "lvs", "echo '  volume'");
    put_program(fixture, "lvchange", "");
    g_assert_true(container_make_available("/dev/virtcrypt-no-group/volume", NULL));
    g_assert_true(container_make_available(fixture->folder.path, NULL));
    expect_log(fixture, "lvs --noheadings -o lv_name -S lv_name=\"volume\" virtcrypt-no-group\n"
                        "lvchange --yes -ay -K virtcrypt-no-group/volume\n");
}

static void
test_a_logical_volume_that_is_missing_is_named(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put_program(fixture, "lvs", "");
    put_program(fixture, "lvchange", "");
    g_assert_false(container_make_available("/dev/virtcrypt-no-group/volume", &error));
    expect_error(error, ERROR_NO_STORAGE_VOL, ERROR_FROM_STORAGE,
                 "there is no logical volume virtcrypt-no-group/volume");
}

#define ADD(name, function)                                                                        \
    g_test_add("/storage/container/" name, struct fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("file/sparse", test_a_file_is_made_sparse);
    ADD("file/allocated", test_a_file_is_allocated_when_asked);
    ADD("file/exists", test_a_file_that_exists_is_refused);
    ADD("file/missing", test_a_missing_file_is_named);
    ADD("file/resize", test_a_file_grows_and_shrinks);
    ADD("file/remove", test_a_file_is_removed_once_and_again);
    ADD("file/link", test_a_link_is_not_opened);
    ADD("wipe/part", test_a_part_is_overwritten_and_no_more);
    ADD("wipe/sparse", test_a_wipe_allocates_nothing);
    ADD("wipe/cancel", test_a_wipe_that_is_cancelled_says_so);
    ADD("lvm/create", test_lvcreate_is_told_all_and_asks_nothing);
    ADD("lvm/exists", test_a_logical_volume_that_exists_is_refused);
    ADD("lvm/full", test_a_full_volume_group_is_said_in_lvm_s_words);
    ADD("lvm/names", test_names_that_lvm_could_misread_never_reach_it);
    ADD("lvm/remove", test_lvremove_is_asked_for_what_exists);
    ADD("lvm/missing", test_a_missing_logical_volume_is_removed_already);
    ADD("lvm/activate", test_a_logical_volume_without_a_node_is_activated);
    ADD("lvm/none", test_a_logical_volume_that_is_missing_is_named);
    return g_test_run();
}
