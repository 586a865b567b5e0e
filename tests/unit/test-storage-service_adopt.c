/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Adopting volumes that others made: cryptsetup and qemu-img.
 */
#include "service_fixture.h"

#define PASSPHRASE "open sesame"

static void
run(const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    int status = -1;

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                 &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
}

static void
make_luks(struct fixture *test, const char *name, const char *type)
{
    g_autofree char *path = folder_path(&test->images, name);
    g_autofree char *key = folder_path(&test->root, "passphrase");
    const char *argv[] = {"cryptsetup", "-q",      "luksFormat", "--type",
                          type,         "--pbkdf", "pbkdf2",     "--pbkdf-force-iterations",
                          "1000",       path,      key,          NULL};

    folder_put_text(&test->root, "passphrase", PASSPHRASE);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    g_assert_cmpint(truncate(path, 32 * 1024 * 1024), ==, 0);
    run(argv);
}

static struct storage_volume *
try_adopt(struct fixture *test, const char *name, const char *passphrase, GError **error)
{
    g_autofree char *xml = g_strdup_printf("<volume><name>%s</name></volume>", name);
    g_autoptr(secret_buf_t) key =
        passphrase ? secret_buf_new_from(passphrase, strlen(passphrase), NULL) : NULL;
    const struct storage_create_request request = {.pool = "images", .xml = xml, .key = key};

    return storage_service_adopt(test->service, &request, error);
}

static void
test_luks1_file_becomes_a_raw_volume(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = NULL;
    g_autoptr(GError) error = NULL;

    make_luks(test, "disk", "luks1");
    volume = try_adopt(test, "disk", PASSPHRASE, &error);
    g_assert_no_error(error);
    g_assert_cmpint(volume->kind, ==, VOLUME_KIND_RAW);
    g_assert_false(volume->secret_is_generated);
    g_assert_null(volume->state);
    g_assert_true(qemu_opens(test, "disk", "raw", &volume->secret));
}

static void
test_luks2_file_becomes_a_dm_crypt_volume(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = g_build_filename(test->root.path, "dev/images/disk", NULL);
    g_autoptr(storage_volume_t) volume = NULL;
    g_autoptr(GError) error = NULL;

    make_luks(test, "disk", "luks2");
    volume = try_adopt(test, "disk", PASSPHRASE, &error);
    g_assert_no_error(error);
    g_assert_cmpint(volume->kind, ==, VOLUME_KIND_DM_CRYPT);
    g_assert_cmpstr(volume->path, ==, path);
}

static void
test_wrong_key_registers_nothing(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = NULL;
    g_autoptr(GError) error = NULL;

    make_luks(test, "disk", "luks1");
    volume = try_adopt(test, "disk", "open barley", &error);
    g_assert_null(volume);
    g_assert_true(error_is(error, ERROR_AUTH_FAILED));
    g_assert_cmpuint(storage_service_count(test->service), ==, 0);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 0);
}

static void
expect_refused(struct fixture *test, const char *passphrase, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume = try_adopt(test, "disk", passphrase, &error);

    g_assert_null(volume);
    expect_error_part(error, code, ERROR_FROM_STORAGE, part);
}

static void
test_what_is_not_encrypted_is_refused(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->images, "disk", "text");
    expect_refused(test, PASSPHRASE, ERROR_CONFIG_UNSUPPORTED, "it is not encrypted");
}

static void
test_adoption_without_a_key_is_refused(struct fixture *test, gconstpointer unused)
{
    make_luks(test, "disk", "luks1");
    expect_refused(test, NULL, ERROR_CONFIG_UNSUPPORTED, "neither a key nor a <secret>");
}

static void
test_second_adoption_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = NULL;

    make_luks(test, "disk", "luks1");
    volume = try_adopt(test, "disk", PASSPHRASE, NULL);
    g_assert_nonnull(volume);
    expect_refused(test, PASSPHRASE, ERROR_STORAGE_VOL_EXIST, "'disk'");
}

static void
test_adopted_volume_of_the_pool_is_deleted_with_its_stored_key(struct fixture *test,
                                                               gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = NULL;

    make_luks(test, "disk", "luks1");
    volume = try_adopt(test, "disk", PASSPHRASE, NULL);
    g_assert_nonnull(volume);
    delete_volume(test, "disk");
    expect_nothing(test);
}

static void
test_stopped_adoption_leaves_the_volume_as_it_was(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path G_GNUC_UNUSED = folder_path(&test->images, "disk");
    g_autofree char *record = g_build_filename(test->volumes.path, "images", "disk.xml", NULL);
    g_autoptr(storage_volume_t) volume = NULL;
    g_autofree char *text = NULL;
    g_autoptr(GString) stopped = NULL;

    make_luks(test, "disk", "luks1");
    volume = try_adopt(test, "disk", PASSPHRASE, NULL);
    g_assert_nonnull(volume);
    fixture_stop(test);
    g_assert_true(g_file_get_contents(record, &text, NULL, NULL));
    stopped = g_string_new(text);
    g_assert_cmpuint(g_string_replace(stopped, ">ready<", ">adopting<", 0), ==, 1);
    g_assert_true(g_file_set_contents(record, stopped->str, -1, NULL));
    fixture_start(test);
    g_assert_cmpuint(storage_service_count(test->service), ==, 0);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 0);
    g_clear_pointer(&volume, storage_volume_free);
    volume = try_adopt(test, "disk", PASSPHRASE, NULL);
    g_assert_nonnull(volume);
    g_assert_true(qemu_opens(test, "disk", "raw", &volume->secret));
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/service_adopt/" path, struct fixture, NULL, fixture_set_up, function,     \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("luks1", test_luks1_file_becomes_a_raw_volume);
    ADD("luks2", test_luks2_file_becomes_a_dm_crypt_volume);
    ADD("wrong-key", test_wrong_key_registers_nothing);
    ADD("cleartext", test_what_is_not_encrypted_is_refused);
    ADD("no-key", test_adoption_without_a_key_is_refused);
    ADD("twice", test_second_adoption_is_refused);
    ADD("delete", test_adopted_volume_of_the_pool_is_deleted_with_its_stored_key);
    ADD("stopped", test_stopped_adoption_leaves_the_volume_as_it_was);
    return g_test_run();
}
