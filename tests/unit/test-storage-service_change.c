/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Volumes that are there: deleted, wiped, resized, re-keyed, and left alone while a guest runs.
 */
#include "service_fixture.h"

static void
put_guest(struct fixture *test, const char *name, const char *image)
{
    g_autofree char *path = folder_path(&test->images, image);
    g_autofree char *file = g_strconcat(name, ".xml", NULL);
    g_autofree char *xml = g_strdup_printf(
        "<domstatus state='running'><domain><name>%s</name><uuid>" GUEST_UUID "</uuid><devices>"
        "<disk type='file'><driver type='raw'/><source file='%s'/><target dev='vda'/></disk>"
        "</devices></domain></domstatus>",
        name, path);

    folder_put_text(&test->guests, file, xml);
}

static void
test_volume_of_a_running_guest_stays(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) wipe_error = NULL;

    put_guest(test, "web1", "disk");
    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, &error));
    expect_error(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                 "volume 'disk' is in use by guest 'web1' and can't be deleted");
    g_assert_false(storage_service_wipe(test->service, "images", "disk", 0, NULL, &wipe_error));
    expect_error(wipe_error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                 "volume 'disk' is in use by guest 'web1' and can't be wiped");
    g_assert_true(qemu_opens(test, "disk", "raw", &volume->secret));
}

static void
test_backing_file_of_another_volume_stays(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) base = create(test, "base", TARGET("qcow2", LUKS));
    g_autofree char *rest =
        g_strdup_printf(TARGET("qcow2", LUKS) "<backingStore><path>%s</path><format type='qcow2'/>"
                                              "</backingStore>",
                        base->path);
    g_autoptr(storage_volume_t) layer G_GNUC_UNUSED = create(test, "layer", rest);
    g_autoptr(GError) error = NULL;

    g_assert_false(storage_service_delete(test->service, "images", "base", NULL, &error));
    expect_error(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                 "volume 'base' is the backing file of volume 'layer' and can't be deleted");
    g_clear_error(&error);
    g_assert_false(storage_service_wipe(test->service, "images", "base", 0, NULL, &error));
    expect_error(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                 "volume 'base' is the backing file of volume 'layer' and can't be wiped");
    delete_volume(test, "layer");
    delete_volume(test, "base");
    expect_nothing(test);
}

static void
test_unknown_volume_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, &error));
    expect_error(error, ERROR_NO_STORAGE_VOL, ERROR_FROM_STORAGE,
                 "no storage vol with matching name 'disk'");
}

/* Its file system may not be mounted, and its key would be erased. */
static void
test_volume_whose_file_is_missing_stays_until_there_is_one(struct fixture *test,
                                                           gconstpointer format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autoptr(storage_volume_t) volume = create(test, "disk", rest);
    g_autofree char *away = folder_path(&test->images, "away");
    g_autofree char *text = g_strdup_printf(
        "volume 'disk' of pool 'images' can't be deleted with its key, as %s is not there: mount "
        "what it is on; or, if it is gone for good, make an empty file of that name, and delete "
        "that",
        volume->path);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(rename(volume->path, away), ==, 0);
    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE, text);
    g_assert_cmpint(rename(away, volume->path), ==, 0);
    g_assert_true(qemu_opens(test, "disk", format, &volume->secret));
    g_assert_true(g_file_set_contents(volume->path, "", 0, NULL));
    delete_volume(test, "disk");
    expect_nothing(test);
}

static void
test_wiped_volume_opens_with_its_key(struct fixture *test, gconstpointer format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autoptr(storage_volume_t) volume = create(test, "disk", rest);
    g_autoptr(GError) error = NULL;

    storage_service_wipe(test->service, "images", "disk", 0, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(qemu_opens(test, "disk", format, &volume->secret));
}

static void
test_wipe_by_many_passes_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(GError) error = NULL;

    g_assert_false(storage_service_wipe(test->service, "images", "disk", 4, NULL, &error));
    expect_error_part(error, ERROR_ARGUMENT_UNSUPPORTED, ERROR_FROM_STORAGE,
                      "algorithm zero, random or trim");
}

static uint64_t
capacity_of(struct fixture *test, const char *name)
{
    g_autoptr(GError) error = NULL;
    struct backend_info info;

    storage_service_get_info(test->service, "images", name, &info, &error);
    g_assert_no_error(error);
    return info.capacity;
}

static bool
resize(struct fixture *test, uint64_t capacity, unsigned int flags, GError **error)
{
    const struct storage_resize wish = {
        .pool = "images", .name = "disk", .capacity = capacity, .flags = flags};

    return storage_service_resize(test->service, &wish, NULL, error);
}

static void
test_volume_grows_and_opens(struct fixture *test, gconstpointer format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autoptr(storage_volume_t) volume = create(test, "disk", rest);
    g_autoptr(GError) error = NULL;

    resize(test, 8 * 1024 * 1024, 0, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(capacity_of(test, "disk"), ==, 8 * 1024 * 1024);
    resize(test, 1024 * 1024, STORAGE_RESIZE_DELTA, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(capacity_of(test, "disk"), ==, 9 * 1024 * 1024);
    g_assert_true(qemu_opens(test, "disk", format, &volume->secret));
}

static void
test_volume_shrinks_only_when_asked(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(GError) error = NULL;

    g_assert_false(resize(test, 1024 * 1024, 0, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_STORAGE, "Can't shrink capacity");
    g_clear_error(&error);
    resize(test, 1024 * 1024, STORAGE_RESIZE_SHRINK, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(capacity_of(test, "disk"), ==, 1024 * 1024);
}

static void
test_rekeyed_volume_opens_with_the_new_key_alone(struct fixture *test, gconstpointer format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autoptr(storage_volume_t) volume = create(test, "disk", rest);
    g_autoptr(secret_buf_t) old = key_files_get(&test->keys, &volume->secret, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) rekeyed =
        storage_service_rekey(test->service, "images", "disk", &error);
    char uuid[UUID_TEXT_SIZE];

    g_assert_no_error(error);
    g_assert_false(uuid_equal(&rekeyed->secret, &volume->secret));
    g_assert_null(rekeyed->state);
    g_assert_true(qemu_opens(test, "disk", format, &rekeyed->secret));
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
    g_assert_nonnull(strstr(rekeyed->warnings[0], uuid_format(&rekeyed->secret, uuid)));

    /* The old key, put back under its name, opens nothing. */
    g_assert_true(key_files_put(&test->keys, &volume->secret, "old", "by virtcrypt", old, NULL));
    g_assert_false(qemu_opens(test, "disk", format, &volume->secret));
}

static void
test_rekeyed_clone_leaves_its_source_alone(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) source = create(test, "source", TARGET("raw", LUKS));
    g_autofree char *xml = volume_xml("clone", TARGET("raw", ""));
    const struct storage_create_request request = {
        .pool = "images", .xml = xml, .source_pool = "images", .source_volume = "source"};
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) clone G_GNUC_UNUSED =
        storage_service_create(test->service, &request, NULL, &error);
    g_autoptr(storage_volume_t) rekeyed = NULL;

    g_assert_no_error(error);
    rekeyed = storage_service_rekey(test->service, "images", "clone", &error);
    g_assert_no_error(error);
    g_assert_true(qemu_opens(test, "source", "raw", &source->secret));
    g_assert_true(qemu_opens(test, "clone", "raw", &rekeyed->secret));
    delete_volume(test, "source");
    g_assert_true(qemu_opens(test, "clone", "raw", &rekeyed->secret));
    delete_volume(test, "clone");
    expect_nothing(test);
}

/* LUKS On-Disk Format 1: where the payload begins, in sectors. */
static void
test_header_that_claims_more_than_there_is_is_erased(struct fixture *test, gconstpointer unused)
{
    static const uint8_t far[] = {0x00, 0x10, 0x00, 0x00}; /* 512 MiB */
    enum { PAYLOAD_AT = 104 };
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autofree char *spy = folder_path(&test->root, "spy");
    g_auto(file_fd) fd = openat(test->images.fd, "disk", O_RDWR | O_CLOEXEC);
    struct stat before, after;

    g_assert_cmpint(link(volume->path, spy), ==, 0);
    g_assert_cmpint(pwrite(fd, far, sizeof(far), PAYLOAD_AT), ==, sizeof(far));
    g_assert_cmpint(fstat(fd, &before), ==, 0);
    delete_volume(test, "disk");
    g_assert_cmpint(stat(spy, &after), ==, 0);
    g_assert_cmpint(after.st_size, ==, before.st_size);
}

#define ADD(path, argument, function)                                                              \
    g_test_add("/storage/service_change/" path, struct fixture, argument, fixture_set_up,          \
               function, fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("running-guest", NULL, test_volume_of_a_running_guest_stays);
    ADD("backing-file", NULL, test_backing_file_of_another_volume_stays);
    ADD("unknown", NULL, test_unknown_volume_is_refused);
    ADD("missing-raw", "raw", test_volume_whose_file_is_missing_stays_until_there_is_one);
    ADD("missing-qcow2", "qcow2", test_volume_whose_file_is_missing_stays_until_there_is_one);
    ADD("wipe-raw", "raw", test_wiped_volume_opens_with_its_key);
    ADD("wipe-qcow2", "qcow2", test_wiped_volume_opens_with_its_key);
    ADD("wipe-algorithm", NULL, test_wipe_by_many_passes_is_refused);
    ADD("resize-raw", "raw", test_volume_grows_and_opens);
    ADD("resize-qcow2", "qcow2", test_volume_grows_and_opens);
    ADD("shrink", NULL, test_volume_shrinks_only_when_asked);
    ADD("rekey-raw", "raw", test_rekeyed_volume_opens_with_the_new_key_alone);
    ADD("rekey-qcow2", "qcow2", test_rekeyed_volume_opens_with_the_new_key_alone);
    ADD("erase-bounded", NULL, test_header_that_claims_more_than_there_is_is_erased);
    ADD("rekey-clone", NULL, test_rekeyed_clone_leaves_its_source_alone);
    return g_test_run();
}
