/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Records: on disk and in memory alike, found by every name of a volume's path, and never guessed
 * when a file can't be read.
 */
#include "storage/records.h"

#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "record_fixture.h"

struct fixture {
    struct folder root;
    char *dir, *device_dir;
    struct storage_records *records;
};

static void
open_records(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    test->records = storage_records_new(test->dir, test->device_dir, &error);
    g_assert_no_error(error);
}

static void
reopen(struct fixture *test)
{
    storage_records_free(test->records);
    open_records(test);
}

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->root);
    test->dir = folder_path(&test->root, "volumes");
    test->device_dir = folder_path(&test->root, "dev");
    open_records(test);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    storage_records_free(test->records);
    g_free(test->dir);
    g_free(test->device_dir);
    folder_clear(&test->root);
}

/* `device` and `path` are below the fixture's folder. */
static void
put(struct fixture *test, const char *name, enum volume_kind kind, const char *device,
    const char *path)
{
    g_autofree char *full_device = folder_path(&test->root, device);
    g_autofree char *full_path = folder_path(&test->root, path);
    g_autoptr(volume_record_t) record = record_new("pool", name, kind, full_device, full_path);
    g_autoptr(GError) error = NULL;

    storage_records_put(test->records, record, &error);
    g_assert_no_error(error);
}

/* NULL: nothing is found. */
static void
expect_path(struct fixture *test, const char *path, const char *name, bool is_device)
{
    g_autofree char *full = folder_path(&test->root, path);
    bool found_device = false;
    g_autoptr(volume_record_t) record =
        storage_records_get_by_path(test->records, full, &found_device);

    g_assert_cmpstr(record ? record->name : NULL, ==, name);
    g_assert_cmpint(found_device, ==, is_device);
}

static void
test_record_is_there_after_a_restart(struct fixture *test, gconstpointer unused)
{
    g_autofree char *file = g_build_filename(test->dir, "pool", "disk.xml", NULL);
    g_autoptr(volume_record_t) record = NULL;
    struct stat info;

    put(test, "disk", VOLUME_KIND_RAW, "images/disk", "images/disk");
    reopen(test);
    record = storage_records_get(test->records, "pool", "disk", NULL);
    g_assert_nonnull(record);
    g_assert_cmpint(record->kind, ==, VOLUME_KIND_RAW);
    expect_path(test, "images/disk", "disk", false);
    g_assert_cmpint(stat(file, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
}

static void
test_removed_record_stays_away(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put(test, "disk", VOLUME_KIND_RAW, "images/disk", "images/disk");
    g_assert_true(storage_records_remove(test->records, "pool", "disk", NULL));
    g_assert_true(storage_records_remove(test->records, "pool", "disk", NULL));
    folder_expect_none(&test->root, "volumes/pool");
    expect_path(test, "images/disk", NULL, false);
    reopen(test);
    g_assert_null(storage_records_get(test->records, "pool", "disk", &error));
    expect_error(error, ERROR_NO_STORAGE_VOL, ERROR_FROM_STORAGE,
                 "no storage vol with matching name 'disk'");
}

static void
test_list_is_in_order_of_pool_and_name(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GPtrArray) list = NULL;
    const struct volume_record *first;

    put(test, "b", VOLUME_KIND_RAW, "images/b", "images/b");
    put(test, "a", VOLUME_KIND_RAW, "images/a", "images/a");
    list = storage_records_list(test->records, "pool");
    g_assert_cmpuint(list->len, ==, 2);
    first = list->pdata[0];
    g_assert_cmpstr(first->name, ==, "a");
    g_ptr_array_unref(list);
    list = storage_records_list(test->records, "other");
    g_assert_cmpuint(list->len, ==, 0);
}

static void
test_every_path_of_a_dm_crypt_volume_finds_it(struct fixture *test, gconstpointer unused)
{
    put(test, "disk", VOLUME_KIND_DM_CRYPT, "images/disk.crypt", "dev/pool/disk");
    expect_path(test, "dev/pool/disk", "disk", false);
    expect_path(test, "images/disk", "disk", false);
    expect_path(test, "images/../images//disk", "disk", false);
    expect_path(test, "images/disk.crypt", "disk", true);
    expect_path(test, "images/other", NULL, false);
}

static void
test_links_to_a_container_find_it(struct fixture *test, gconstpointer unused)
{
    g_autofree char *images = folder_path(&test->root, "images");
    g_autofree char *container = folder_path(&test->root, "images/disk.crypt");
    g_autofree char *symbolic = folder_path(&test->root, "symbolic");
    g_autofree char *hard = folder_path(&test->root, "hard");
    g_autofree char *folder = folder_path(&test->root, "folder");

    put(test, "disk", VOLUME_KIND_DM_CRYPT, "images/disk.crypt", "dev/pool/disk");
    g_assert_cmpint(g_mkdir(images, 0700), ==, 0);
    g_assert_true(g_file_set_contents(container, "x", 1, NULL));
    g_assert_cmpint(symlink(container, symbolic), ==, 0);
    g_assert_cmpint(symlink(images, folder), ==, 0);
    g_assert_cmpint(link(container, hard), ==, 0);
    expect_path(test, "symbolic", "disk", true);
    expect_path(test, "hard", "disk", true);
    expect_path(test, "folder/disk.crypt", "disk", true);
}

static void
test_unreadable_record_is_neither_used_nor_replaced(struct fixture *test, gconstpointer unused)
{
    g_autofree char *file = g_build_filename(test->dir, "pool", "disk.xml", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *kept = NULL;

    put(test, "disk", VOLUME_KIND_RAW, "images/disk", "images/disk");
    g_assert_true(g_file_set_contents(file, "<volumeRecord", -1, NULL));
    reopen(test);
    g_assert_null(storage_records_get(test->records, "pool", "disk", &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "can't be read");
    g_assert_true(g_file_get_contents(file, &kept, NULL, NULL));
    g_assert_cmpstr(kept, ==, "<volumeRecord");
}

static void
test_record_in_anothers_place_is_unreadable(struct fixture *test, gconstpointer unused)
{
    g_autofree char *file = g_build_filename(test->dir, "pool", "disk.xml", NULL);
    g_autofree char *other = g_build_filename(test->dir, "pool", "other.xml", NULL);
    g_autoptr(GError) error = NULL;

    put(test, "disk", VOLUME_KIND_RAW, "images/disk", "images/disk");
    g_assert_cmpint(link(file, other), ==, 0);
    reopen(test);
    g_assert_null(storage_records_get(test->records, "pool", "other", &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "of volume 'disk'");
}

static void
test_shared_secret_is_counted_and_an_unreadable_record_may_share_it(struct fixture *test,
                                                                    gconstpointer unused)
{
    g_autofree char *other = g_build_filename(test->dir, "pool", "b.xml", NULL);
    g_autoptr(volume_record_t) record = NULL;
    struct uuid uuid;

    g_assert_true(uuid_parse(SECRET_UUID, &uuid));
    put(test, "a", VOLUME_KIND_RAW, "images/a", "images/a");
    put(test, "b", VOLUME_KIND_RAW, "images/b", "images/b");
    record = storage_records_get(test->records, "pool", "a", NULL);
    g_assert_cmpuint(storage_records_count_secret(test->records, &uuid, NULL), ==, 2);
    g_assert_cmpuint(storage_records_count_secret(test->records, &uuid, record), ==, 1);
    record->state = VOLUME_STATE_DELETING;
    g_assert_true(storage_records_put(test->records, record, NULL));
    g_assert_cmpuint(storage_records_count_secret(test->records, &uuid, NULL), ==, 1);
    g_assert_true(g_file_set_contents(other, "torn", -1, NULL));
    reopen(test);
    g_assert_cmpuint(storage_records_count_secret(test->records, &uuid, NULL), ==, 1);
}

static void
count_call(void *opaque)
{
    (*(unsigned int *)opaque)++;
}

static void
test_who_watches_is_told_when_an_operation_has_ended(struct fixture *test, gconstpointer unused)
{
    g_autoptr(volume_record_t) record =
        record_new("pool", "disk", VOLUME_KIND_RAW, "/images/disk", "/images/disk");
    g_autoptr(GError) error = NULL;
    unsigned int calls = 0;

    storage_records_set_watcher(test->records, count_call, &calls);
    record->state = VOLUME_STATE_CREATING;
    g_assert_true(storage_records_put(test->records, record, &error));
    g_assert_cmpuint(calls, ==, 0);
    record->state = VOLUME_STATE_READY;
    g_assert_true(storage_records_put(test->records, record, &error));
    g_assert_cmpuint(calls, ==, 1);
    g_assert_true(storage_records_remove(test->records, "pool", "disk", &error));
    g_assert_cmpuint(calls, ==, 2);
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/records/" path, struct fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("restart", test_record_is_there_after_a_restart);
    ADD("removed", test_removed_record_stays_away);
    ADD("list", test_list_is_in_order_of_pool_and_name);
    ADD("paths", test_every_path_of_a_dm_crypt_volume_finds_it);
    ADD("links", test_links_to_a_container_find_it);
    ADD("unreadable", test_unreadable_record_is_neither_used_nor_replaced);
    ADD("misplaced", test_record_in_anothers_place_is_unreadable);
    ADD("shared-secret", test_shared_secret_is_counted_and_an_unreadable_record_may_share_it);
    ADD("watcher", test_who_watches_is_told_when_an_operation_has_ended);
    return g_test_run();
}
