/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Volumes by what paths lead to.
 */
#include "storage/identities.h"

#include "expect.h"
#include "folder.h"
#include "record_fixture.h"

struct fixture {
    struct folder root;
    struct storage_records *records;
    struct storage_identities *identities;
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    g_autofree char *dir = NULL;
    g_autofree char *devices = NULL;
    g_autoptr(GError) error = NULL;

    folder_init(&test->root);
    dir = folder_path(&test->root, "volumes");
    devices = folder_path(&test->root, "dev");
    test->records = storage_records_new(dir, devices, &error);
    g_assert_no_error(error);
    test->identities = storage_identities_new(test->records);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    storage_identities_free(test->identities);
    storage_records_free(test->records);
    folder_clear(&test->root);
}

static void
put(struct fixture *test, const char *name)
{
    g_autofree char *path = folder_path(&test->root, name);
    g_autoptr(volume_record_t) record = record_new("pool", name, VOLUME_KIND_QCOW2, path, path);
    g_autoptr(GError) error = NULL;

    folder_put_text(&test->root, name, "x");
    storage_records_put(test->records, record, &error);
    g_assert_no_error(error);
}

/* NULL: none of ours. */
static void
expect_found(struct fixture *test, const char *file, const char *name)
{
    g_autofree char *path = folder_path(&test->root, file);
    g_autoptr(volume_record_t) record = storage_identities_find(test->identities, path);

    g_assert_cmpstr(record ? record->name : NULL, ==, name);
}

static void
link_to(struct fixture *test, const char *name, const char *link)
{
    g_autofree char *path = folder_path(&test->root, name);

    g_assert_cmpint(symlinkat(path, test->root.fd, link), ==, 0);
}

static void
test_a_volume_is_found_by_its_path_and_by_what_leads_to_it(struct fixture *test,
                                                           gconstpointer unused)
{
    put(test, "a");
    put(test, "b");
    link_to(test, "b", "link");
    g_assert_cmpint(linkat(test->root.fd, "a", test->root.fd, "other", 0), ==, 0);
    expect_found(test, "a", "a");
    expect_found(test, "link", "b");
    expect_found(test, "other", "a");
}

static void
test_what_is_no_volume_is_none(struct fixture *test, gconstpointer unused)
{
    put(test, "a");
    folder_put_text(&test->root, "plain", "x");
    expect_found(test, "plain", NULL);
    expect_found(test, "nothing", NULL);
    expect_found(test, "volumes", NULL);
}

static void
test_a_new_volume_is_found_at_once_and_one_that_went_is_not(struct fixture *test,
                                                            gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    put(test, "a");
    link_to(test, "b", "link");
    expect_found(test, "link", NULL);
    put(test, "b");
    expect_found(test, "link", "b");
    storage_records_remove(test->records, "pool", "b", &error);
    g_assert_no_error(error);
    expect_found(test, "link", NULL);
    expect_found(test, "b", NULL);
}

static void
test_where_a_link_leads_is_known_soon(struct fixture *test, gconstpointer unused)
{
    put(test, "a");
    put(test, "b");
    link_to(test, "a", "link");
    expect_found(test, "link", "a");
    g_assert_cmpint(unlinkat(test->root.fd, "link", 0), ==, 0);
    link_to(test, "b", "link");
    expect_found(test, "link", "b");
    g_assert_cmpint(unlinkat(test->root.fd, "a", 0), ==, 0);
    g_assert_cmpint(linkat(test->root.fd, "b", test->root.fd, "a", 0), ==, 0);
    g_assert_cmpint(unlinkat(test->root.fd, "b", 0), ==, 0);
    folder_put_text(&test->root, "b", "new");
    g_usleep(1100 * G_TIME_SPAN_MILLISECOND);
    expect_found(test, "link", "b");
}

#define ADD(name)                                                                                  \
    g_test_add("/storage/identities/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_volume_is_found_by_its_path_and_by_what_leads_to_it);
    ADD(what_is_no_volume_is_none);
    ADD(a_new_volume_is_found_at_once_and_one_that_went_is_not);
    ADD(where_a_link_leads_is_known_soon);
    return g_test_run();
}
