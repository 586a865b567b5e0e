/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Records of volumes that go from host to host with their keys.
 */
#include <sys/stat.h>

#include "service_fixture.h"

static void
expect_volumes(struct fixture *test, unsigned int count)
{
    g_assert_cmpuint(storage_service_count(test->service), ==, count);
}

/* A volume whose record was given away and dropped, as after a migration. */
static struct volume_record *
give_away(struct fixture *test, const char *format, struct secret_buf **ret_key)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), format);
    g_autoptr(storage_volume_t) volume = create(test, "disk", rest);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = storage_service_give_record(test->service, volume->path, &error);
    struct volume_record *record;

    g_assert_no_error(error);
    record = volume_record_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    *ret_key = key_files_get(&test->keys, &volume->secret, NULL);
    storage_service_forget(test->service, volume->path, &volume->secret, &error);
    g_assert_no_error(error);
    expect_volumes(test, 0);
    g_assert_cmpuint(folder_count(&test->images), ==, 1);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
    return record;
}

static void
test_a_record_comes_back_as_it_went(struct fixture *test, gconstpointer unused)
{
    static const char *const formats[] = {"raw", "qcow2"};

    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_autoptr(secret_buf_t) key = NULL;
        g_autoptr(volume_record_t) record = give_away(test, formats[i], &key);
        g_autoptr(GError) error = NULL;

        storage_service_take_record(test->service, record, key, &error);
        g_assert_no_error(error);
        expect_volumes(test, 1);
        delete_volume(test, "disk");
        expect_nothing(test);
    }
}

static void
expect_not_taken(struct fixture *test, const struct volume_record *record,
                 const struct secret_buf *key)
{
    g_autoptr(GError) error = NULL;

    storage_service_take_record(test->service, record, key, &error);
    g_assert_no_error(error);
    expect_volumes(test, 0);
}

static void
test_a_record_is_not_taken_for_what_is_not_that_volume(struct fixture *test, gconstpointer unused)
{
    g_autoptr(secret_buf_t) key = NULL;
    g_autoptr(secret_buf_t) wrong = secret_buf_new_from("wrong", 5, NULL);
    g_autoptr(volume_record_t) record = give_away(test, "raw", &key);
    g_autofree char *path = g_strdup(record->path);

    expect_not_taken(test, record, wrong);
    g_free(record->path);
    record->path = g_strdup("/etc/hostname");
    expect_not_taken(test, record, key);
    g_free(record->device);
    record->device = g_strdup("/etc/hostname");
    expect_not_taken(test, record, key);
    g_free(record->path);
    g_free(record->device);
    record->path = g_strdup(path);
    record->device = g_strdup(path);
    g_free(record->pool);
    record->pool = g_strdup("elsewhere");
    expect_not_taken(test, record, key);
    g_free(record->pool);
    record->pool = g_strdup("images");
    g_assert_cmpint(g_unlink(path), ==, 0);
    expect_not_taken(test, record, key);
}

static void
test_a_record_that_is_there_stays(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autofree char *text = storage_service_give_record(test->service, volume->path, NULL);
    g_autoptr(volume_record_t) record = volume_record_parse(text, strlen(text), NULL);
    g_autoptr(secret_buf_t) key = key_files_get(&test->keys, &volume->secret, NULL);
    g_autoptr(storage_volume_t) after = NULL;
    g_autoptr(GError) error = NULL;

    record->secret_is_generated = false;
    storage_service_take_record(test->service, record, key, &error);
    g_assert_no_error(error);
    after = storage_service_get(test->service, "images", "disk", NULL);
    g_assert_true(after->secret_is_generated);
}

static void
test_a_volume_with_another_key_is_not_forgotten(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    struct uuid other;

    g_assert_true(uuid_parse(GUEST_UUID, &other));
    g_assert_true(storage_service_forget(test->service, volume->path, &other, NULL));
    expect_volumes(test, 1);
    g_assert_true(storage_service_forget(test->service, "/none", &volume->secret, NULL));
    expect_volumes(test, 1);
}

static void
test_what_is_no_volume_of_ours_has_no_record(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(storage_service_give_record(test->service, "/none", &error));
    g_assert_no_error(error);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name)                                                                                 \
    g_test_add("/storage/service_record/" #name, struct fixture, NULL, fixture_set_up,             \
               test_##name, fixture_tear_down)
    TEST(a_record_comes_back_as_it_went);
    TEST(a_record_is_not_taken_for_what_is_not_that_volume);
    TEST(a_record_that_is_there_stays);
    TEST(a_volume_with_another_key_is_not_forgotten);
    TEST(what_is_no_volume_of_ours_has_no_record);
    return g_test_run();
}
