/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Creating volumes: what is ours, whose key, what is refused, and what a failure leaves.
 */
#include "service_fixture.h"

static void
test_generated_key_opens_the_image(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) raw = create(test, "raw", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) qcow2 = create(test, "qcow2", TARGET("qcow2", LUKS));

    g_assert_true(raw->secret_is_generated);
    g_assert_cmpint(raw->kind, ==, VOLUME_KIND_RAW);
    g_assert_cmpint(qcow2->kind, ==, VOLUME_KIND_QCOW2);
    g_assert_true(qemu_opens(test, "raw", "raw", &raw->secret));
    g_assert_true(qemu_opens(test, "qcow2", "qcow2", &qcow2->secret));
    g_assert_false(uuid_equal(&raw->secret, &qcow2->secret));
    g_assert_cmpuint(folder_count(&test->images), ==, 2);
}

static void
test_deleted_volume_leaves_nothing(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "raw", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) other G_GNUC_UNUSED = create(test, "qcow2", TARGET("qcow2", LUKS));

    delete_volume(test, "raw");
    delete_volume(test, "qcow2");
    expect_nothing(test);
}

static void
test_volume_names_its_secret(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = storage_service_describe(test->service, "images", "disk", &error);
    char uuid[UUID_TEXT_SIZE];

    g_assert_no_error(error);
    g_assert_nonnull(strstr(xml, "<encryption format='luks'>"));
    g_assert_nonnull(strstr(xml, uuid_format(&volume->secret, uuid)));
    g_assert_nonnull(strstr(xml, "<capacity unit='bytes'>4194304</capacity>"));
}

static void
test_secret_by_usage_is_used_and_stays(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = NULL;
    const char *name = "aaaaaaaa-2222-4333-8444-555555555555";
    struct uuid uuid;

    g_assert_true(uuid_parse(name, &uuid));
    folder_put_text(&test->keys_folder, name, "my usage\nopen sesame");
    volume = create(test, "disk",
                    TARGET("raw", "<encryption format='luks'><secret type='passphrase' "
                                  "usage='my usage'/></encryption>"));
    g_assert_true(uuid_equal(&volume->secret, &uuid));
    g_assert_false(volume->secret_is_generated);
    delete_volume(test, "disk");
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
}

static void
test_secret_without_a_value_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume =
        try_create(test, "disk",
                   TARGET("raw", "<encryption format='luks'><secret type='passphrase' "
                                 "uuid='" POOL_UUID "'/></encryption>"),
                   &error);

    g_assert_null(volume);
    expect_error_part(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, "set its value first");
    expect_nothing(test);
}

static void
test_key_of_a_person_is_stored_and_goes_with_the_volume(struct fixture *test, gconstpointer unused)
{
    g_autofree char *xml = volume_xml("disk", TARGET("qcow2", LUKS));
    g_autoptr(secret_buf_t) key = secret_buf_new_from("open sesame", 11, NULL);
    const struct storage_create_request request = {.pool = "images", .xml = xml, .key = key};
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume =
        storage_service_create(test->service, &request, NULL, &error);
    g_autoptr(secret_buf_t) stored = NULL;

    g_assert_no_error(error);
    g_assert_false(volume->secret_is_generated);
    stored = key_files_get(&test->keys, &volume->secret, NULL);
    g_assert_true(secret_buf_equal(stored, key));
    delete_volume(test, "disk");
    expect_nothing(test);
}

static void
test_usage_of_another_secret_is_left_alone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->images, "disk");
    g_autofree char *other = g_strdup_printf("%s\nother", path);
    g_autoptr(storage_volume_t) volume = NULL;

    folder_put_text(&test->keys_folder, "aaaaaaaa-2222-4333-8444-555555555555", other);
    volume = create(test, "disk", TARGET("raw", LUKS));
    g_assert_true(qemu_opens(test, "disk", "raw", &volume->secret));
    delete_volume(test, "disk");
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
}

static void
test_second_volume_of_a_name_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) second = NULL;
    g_autoptr(GError) error = NULL;

    second = try_create(test, "disk", TARGET("qcow2", LUKS), &error);
    g_assert_null(second);
    expect_error(error, ERROR_STORAGE_VOL_EXIST, ERROR_FROM_STORAGE, "'disk'");
    g_assert_true(qemu_opens(test, "disk", "raw", &volume->secret));
}

static void
test_file_of_somebody_else_is_not_touched(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) content = g_bytes_new_static("theirs", 6);

    folder_put_text(&test->images, "disk", "theirs");
    volume = try_create(test, "disk", TARGET("raw", LUKS), &error);
    g_assert_null(volume);
    expect_error_part(error, ERROR_STORAGE_VOL_EXIST, ERROR_FROM_STORAGE, "'disk' (there is ");
    folder_expect(&test->images, "disk", content);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 0);
    g_assert_cmpuint(storage_service_count(test->service), ==, 0);
}

static void
test_encryption_that_cannot_be_done_is_refused(struct fixture *test, gconstpointer unused)
{
    create_refused(test, TARGET("raw", "<encryption format='luks2'/>"), ERROR_CONFIG_UNSUPPORTED,
                   "engine='dm-crypt'");
    create_refused(test, TARGET("qcow2", "<encryption format='qcow'/>"), ERROR_CONFIG_UNSUPPORTED,
                   "use format='luks'");
    create_refused(test, TARGET("qcow2", "<encryption format='default'/>"),
                   ERROR_CONFIG_UNSUPPORTED, "use format='luks'");
    create_refused(test, TARGET("raw", "<encryption format='luks-any'/>"), ERROR_CONFIG_UNSUPPORTED,
                   "luks-any");
    create_refused(test, TARGET("vmdk", LUKS), ERROR_CONFIG_UNSUPPORTED,
                   "use format 'qcow2' or 'raw'");
}

static void
test_volume_without_encryption_is_libvirts(struct fixture *test, gconstpointer unused)
{
    g_autofree char *xml = volume_xml("disk", TARGET("raw", ""));
    const struct storage_create_request request = {.pool = "images", .xml = xml};
    bool wants = true;

    g_assert_true(storage_service_wants(test->service, &request, &wants, NULL));
    g_assert_false(wants);
    create_refused(test, TARGET("raw", ""), ERROR_CONFIG_UNSUPPORTED, "leave it to libvirt");
}

static void
test_pool_policy_encrypts_what_does_not_say_so(struct fixture *test, gconstpointer unused)
{
    g_autofree char *xml = volume_xml("disk", TARGET("qcow2", ""));
    const struct storage_create_request request = {.pool = "images", .xml = xml};
    g_autoptr(storage_volume_t) volume = NULL;
    bool wants = false;

    g_assert_true(storage_pools_set_policy(storage_service_pools(test->service), "images",
                                           POOL_POLICY_LUKS, NULL));
    g_assert_true(storage_service_wants(test->service, &request, &wants, NULL));
    g_assert_true(wants);
    volume = create(test, "disk", TARGET("qcow2", ""));
    g_assert_cmpint(volume->kind, ==, VOLUME_KIND_QCOW2);
    g_assert_true(qemu_opens(test, "disk", "qcow2", &volume->secret));
}

static void
test_pool_of_another_type_is_libvirts_but_for_dm_crypt(struct fixture *test, gconstpointer unused)
{
    g_autofree char *luks = volume_xml("disk", TARGET("raw", LUKS));
    g_autofree char *dm_crypt = volume_xml("disk", "<target><encryption format='luks2' "
                                                   "engine='dm-crypt'/></target>");
    struct storage_create_request request = {.pool = "ceph", .xml = luks};
    g_autoptr(storage_volume_t) volume = NULL;
    g_autoptr(GError) error = NULL;
    bool wants = true;

    fixture_put_pool(test, "ceph", "rbd");
    g_assert_true(storage_service_wants(test->service, &request, &wants, NULL));
    g_assert_false(wants);
    request.xml = dm_crypt;
    g_assert_true(storage_service_wants(test->service, &request, &wants, NULL));
    g_assert_true(wants);
    volume = storage_service_create(test->service, &request, NULL, &error);
    g_assert_null(volume);
    expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE, "of type 'rbd'");
}

static void
test_custodian_that_is_away_leaves_nothing(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = NULL;
    g_autoptr(GError) error = NULL;

    test->keys.is_away = true;
    volume = try_create(test, "disk", TARGET("raw", LUKS), &error);
    g_assert_null(volume);
    expect_error_part(error, ERROR_NO_CONNECT, ERROR_FROM_SECRET,
                      "can't store the key of volume 'disk' of pool 'images'");
    expect_nothing(test);
}

static void
test_volumes_are_found_by_name_and_path(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) found = NULL;
    g_autoptr(GPtrArray) list = storage_service_list(test->service, NULL);
    g_autoptr(GError) error = NULL;
    struct backend_info info;

    g_assert_cmpuint(list->len, ==, 1);
    found = storage_service_get_by_path(test->service, volume->path, NULL);
    g_assert_cmpstr(found->name, ==, "disk");
    g_assert_true(storage_service_get_info(test->service, "images", "disk", &info, NULL));
    g_assert_cmpuint(info.capacity, ==, 4 * 1024 * 1024);
    g_assert_null(storage_service_get_by_path(test->service, "/none", &error));
    expect_error(error, ERROR_NO_STORAGE_VOL, ERROR_FROM_STORAGE,
                 "no storage vol with matching path '/none'");
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/service_create/" path, struct fixture, NULL, fixture_set_up, function,    \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("generated-key", test_generated_key_opens_the_image);
    ADD("deleted", test_deleted_volume_leaves_nothing);
    ADD("xml", test_volume_names_its_secret);
    ADD("usage", test_secret_by_usage_is_used_and_stays);
    ADD("no-value", test_secret_without_a_value_is_refused);
    ADD("person", test_key_of_a_person_is_stored_and_goes_with_the_volume);
    ADD("usage-taken", test_usage_of_another_secret_is_left_alone);
    ADD("twice", test_second_volume_of_a_name_is_refused);
    ADD("foreign", test_file_of_somebody_else_is_not_touched);
    ADD("impossible", test_encryption_that_cannot_be_done_is_refused);
    ADD("cleartext", test_volume_without_encryption_is_libvirts);
    ADD("policy", test_pool_policy_encrypts_what_does_not_say_so);
    ADD("other-pool", test_pool_of_another_type_is_libvirts_but_for_dm_crypt);
    ADD("custodian-away", test_custodian_that_is_away_leaves_nothing);
    ADD("found", test_volumes_are_found_by_name_and_path);
    return g_test_run();
}
