/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The service's dm-crypt volumes and their users, where the kernel has device-mapper: in the
 * machine of test-service.py.
 */
#include "../unit/service_fixture.h"
#include "storage/mapping.h"

#define DM_CRYPT "<target><encryption format='luks2' engine='dm-crypt'/></target>"
#define WEB      "aaaaaaaa-2222-4333-8444-555555555555"
#define MAIL     "bbbbbbbb-2222-4333-8444-555555555555"

enum { CLOSE_BOUND_MS = 20 * 1000, STEP_MS = 50 };

static char *
domain_xml(const char *name, const char *uuid, const char *disks)
{
    return g_strdup_printf("<domain type='qemu'><name>%s</name><uuid>%s</uuid><devices>%s"
                           "</devices></domain>",
                           name, uuid, disks);
}

static bool
try_prepare(struct fixture *test, const char *name, const char *uuid, const char *disks,
            GError **error)
{
    g_autofree char *xml = domain_xml(name, uuid, disks);

    return storage_service_prepare_guest(test->service, xml, error);
}

static void
prepare(struct fixture *test, const char *name, const char *uuid, const char *disks)
{
    g_autoptr(GError) error = NULL;

    try_prepare(test, name, uuid, disks, &error);
    g_assert_no_error(error);
}

static void
release(struct fixture *test, const char *uuid)
{
    g_autoptr(GError) error = NULL;
    struct uuid guest;

    g_assert_true(uuid_parse(uuid, &guest));
    storage_service_release_guest(test->service, &guest, &error);
    g_assert_no_error(error);
}

#define DISK(volume, rest)                                                                         \
    "<disk type='volume'><source pool='images' volume='" volume "'/><target dev='vda'/>" rest      \
    "</disk>"

static void
expect_open(struct fixture *test, const char *name, bool is_open, const char *users)
{
    g_autoptr(storage_volume_t) volume = storage_service_get(test->service, "images", name, NULL);

    g_assert_nonnull(volume);
    g_assert_cmpint(volume->is_open, ==, is_open);
    g_assert_cmpstr(volume->users, ==, users);
    g_assert_cmpint(g_file_test(volume->path, G_FILE_TEST_EXISTS), ==, is_open);
}

static void
expect_closed_soon(struct fixture *test, const char *name)
{
    for (int waited = 0; waited < CLOSE_BOUND_MS; waited += STEP_MS) {
        g_autoptr(storage_volume_t) volume =
            storage_service_get(test->service, "images", name, NULL);

        if (!volume->is_open && !g_file_test(volume->path, G_FILE_TEST_EXISTS))
            break;
        g_usleep(STEP_MS * 1000);
    }
    expect_open(test, name, false, NULL);
}

static int
open_device(struct fixture *test, const char *name)
{
    g_autoptr(storage_volume_t) volume = storage_service_get(test->service, "images", name, NULL);
    int fd = open(volume->path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void
test_guest_opens_at_its_start_and_closes_at_its_end(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", DM_CRYPT);

    g_assert_cmpint(volume->kind, ==, VOLUME_KIND_DM_CRYPT);
    expect_open(test, "disk", false, NULL);
    prepare(test, "web", WEB, DISK("disk", ""));
    expect_open(test, "disk", true, "guest 'web'");
    prepare(test, "web", WEB, DISK("disk", ""));
    expect_open(test, "disk", true, "guest 'web'");
    release(test, WEB);
    expect_open(test, "disk", false, NULL);
    release(test, WEB);
    delete_volume(test, "disk");
    expect_nothing(test);
}

static void
test_shared_volume_closes_with_its_last_guest(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);

    prepare(test, "web", WEB, DISK("disk", ""));
    prepare(test, "mail", MAIL, DISK("disk", ""));
    expect_open(test, "disk", true, "guest 'web' and guest 'mail'");
    release(test, WEB);
    expect_open(test, "disk", true, "guest 'mail'");
    release(test, MAIL);
    expect_open(test, "disk", false, NULL);
}

static void
test_open_volume_is_neither_deleted_nor_wiped(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);
    g_autoptr(GError) error = NULL;

    prepare(test, "web", WEB, DISK("disk", ""));
    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, &error));
    expect_error(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                 "volume 'disk' is in use by guest 'web' and can't be deleted");
    g_clear_error(&error);
    g_assert_false(storage_service_wipe(test->service, "images", "disk", 0, NULL, &error));
    expect_error(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                 "volume 'disk' is in use by guest 'web' and can't be wiped");
    release(test, WEB);
    storage_service_wipe(test->service, "images", "disk", 0, NULL, NULL);
    prepare(test, "web", WEB, DISK("disk", ""));
    release(test, WEB);
}

static void
test_start_that_fails_leaves_nothing_open(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) first G_GNUC_UNUSED = create(test, "first", DM_CRYPT);
    g_autoptr(storage_volume_t) second = create(test, "second", DM_CRYPT);
    g_autoptr(GError) error = NULL;

    g_assert_true(key_files_remove(&test->keys, &second->secret, "volume 'x' went", NULL));
    g_assert_false(try_prepare(test, "web", WEB, DISK("first", "") DISK("second", ""), &error));
    expect_error_part(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, "volume 'second'");
    expect_open(test, "first", false, NULL);
    expect_open(test, "second", false, NULL);
}

static void
test_mapping_that_is_busy_is_closed_later(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);
    int fd;

    prepare(test, "web", WEB, DISK("disk", ""));
    fd = open_device(test, "disk");
    release(test, WEB);
    expect_open(test, "disk", true, NULL);
    close(fd);
    expect_closed_soon(test, "disk");
}

static void
test_manual_close_of_a_busy_volume_is_refused(struct fixture *test, gconstpointer unused)
{
    const struct storage_user manual = {.kind = STORAGE_USER_MANUAL};
    g_autoptr(storage_volume_t) volume = create(test, "disk", DM_CRYPT);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = storage_service_open(test->service, "images", "disk", &manual, &error);
    int fd;

    g_assert_no_error(error);
    g_assert_cmpstr(path, ==, volume->path);
    fd = open_device(test, "disk");
    g_assert_false(storage_service_close(test->service, "images", "disk", &manual, &error));
    g_assert_true(error_is(error, ERROR_RESOURCE_BUSY));
    expect_open(test, "disk", true, "virtcrypt vol-open");
    close(fd);
    g_clear_error(&error);
    storage_service_close(test->service, "images", "disk", &manual, &error);
    g_assert_no_error(error);
    expect_open(test, "disk", false, NULL);
}

static void
test_reader_is_followed_by_a_writer(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);
    g_autoptr(GError) error = NULL;

    prepare(test, "web", WEB, DISK("disk", "<readonly/>"));
    g_assert_false(try_prepare(test, "mail", MAIL, DISK("disk", ""), &error));
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                      "is open for reading only, for guest 'web'");
    expect_open(test, "disk", true, "guest 'web'");
    release(test, WEB);
    prepare(test, "mail", MAIL, DISK("disk", ""));
    expect_open(test, "disk", true, "guest 'mail'");
    release(test, MAIL);
}

static void
put_running(struct fixture *test, const char *name, const char *uuid, const char *disks)
{
    g_autofree char *domain = domain_xml(name, uuid, disks);
    g_autofree char *xml = g_strdup_printf("<domstatus state='running'>%s</domstatus>", domain);
    g_autofree char *file = g_strconcat(name, ".xml", NULL);

    folder_put_text(&test->guests, file, xml);
}

static void
test_restart_keeps_what_running_guests_use(struct fixture *test, gconstpointer unused)
{
    const struct storage_user manual = {.kind = STORAGE_USER_MANUAL};
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);
    g_autofree char *path G_GNUC_UNUSED =
        storage_service_open(test->service, "images", "disk", &manual, NULL);

    /* Attached by stock virsh after vol-open: its use is found in libvirt's file alone. */
    put_running(test, "web", WEB, DISK("disk", ""));
    fixture_stop(test);
    fixture_start(test);
    expect_open(test, "disk", true, "virtcrypt vol-open and guest 'web'");
    g_assert_cmpint(unlinkat(test->guests.fd, "web.xml", 0), ==, 0);
    release(test, WEB);
    expect_open(test, "disk", true, "virtcrypt vol-open");
    g_assert_true(storage_service_close(test->service, "images", "disk", &manual, NULL));
    expect_open(test, "disk", false, NULL);
}

static void
test_restart_closes_what_nobody_uses(struct fixture *test, gconstpointer unused)
{
    struct storage_user stream = {.kind = STORAGE_USER_STREAM};
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);
    g_autofree char *path = NULL;

    g_assert_true(uuid_parse(MAIL, &stream.guest));
    path = storage_service_open(test->service, "images", "disk", &stream, NULL);
    g_assert_nonnull(path);
    expect_open(test, "disk", true, "an upload or download");
    fixture_stop(test);
    fixture_start(test);
    expect_open(test, "disk", false, NULL);
}

static void
test_open_volume_needs_no_key(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);

    prepare(test, "web", WEB, DISK("disk", ""));
    test->keys.is_away = true;
    prepare(test, "mail", MAIL, DISK("disk", ""));
    release(test, WEB);
    release(test, MAIL);
    test->keys.is_away = false;
}

static void
test_clone_has_the_contents_and_a_key_of_its_own(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) source = create(test, "source", DM_CRYPT);
    g_autofree char *xml = volume_xml("clone", "");
    const struct storage_create_request request = {
        .pool = "images", .xml = xml, .source_pool = "images", .source_volume = "source"};
    g_autoptr(storage_volume_t) clone = NULL;
    g_autoptr(GError) error = NULL;
    char text[8] = "";
    int fd;

    prepare(test, "web", WEB, DISK("source", ""));
    fd = open_device(test, "source");
    g_assert_cmpint(pwrite(fd, "written", 7, 4096), ==, 7);
    g_assert_cmpint(fsync(fd), ==, 0);
    close(fd);
    release(test, WEB);
    clone = storage_service_create(test->service, &request, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(clone->kind, ==, VOLUME_KIND_DM_CRYPT);
    g_assert_false(uuid_equal(&clone->secret, &source->secret));
    expect_open(test, "source", false, NULL);
    expect_open(test, "clone", false, NULL);
    prepare(test, "web", WEB, DISK("clone", ""));
    fd = open_device(test, "clone");
    g_assert_cmpint(pread(fd, text, 7, 4096), ==, 7);
    g_assert_cmpstr(text, ==, "written");
    close(fd);
    release(test, WEB);
}

static void
test_rekeyed_volume_stays_open_and_opens_again(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", DM_CRYPT);
    g_autoptr(storage_volume_t) rekeyed = NULL;
    g_autoptr(GError) error = NULL;

    prepare(test, "web", WEB, DISK("disk", ""));
    rekeyed = storage_service_rekey(test->service, "images", "disk", &error);
    g_assert_no_error(error);
    g_assert_null(rekeyed->warnings);
    expect_open(test, "disk", true, "guest 'web'");
    release(test, WEB);
    prepare(test, "web", WEB, DISK("disk", ""));
    release(test, WEB);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
}

static void
test_pool_policy_puts_the_opened_device_at_the_predicted_path(struct fixture *test,
                                                              gconstpointer unused)
{
    g_autofree char *predicted = folder_path(&test->images, "disk");
    g_autofree char *disk = g_strdup_printf(
        "<disk type='block'><source dev='%s'/><target dev='vda'/></disk>", predicted);
    g_autoptr(storage_volume_t) volume = NULL;

    g_assert_true(storage_pools_set_policy(storage_service_pools(test->service), "images",
                                           POOL_POLICY_DM_CRYPT, NULL));
    volume = create(test, "disk", "");
    g_assert_cmpstr(volume->path, ==, predicted);
    prepare(test, "web", WEB, disk);
    expect_open(test, "disk", true, "guest 'web'");
    release(test, WEB);
    expect_open(test, "disk", false, NULL);
    delete_volume(test, "disk");
    expect_nothing(test);
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/service_open/" path, struct fixture, NULL, fixture_set_up, function,      \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("guest", test_guest_opens_at_its_start_and_closes_at_its_end);
    ADD("shared", test_shared_volume_closes_with_its_last_guest);
    ADD("in-use", test_open_volume_is_neither_deleted_nor_wiped);
    ADD("rollback", test_start_that_fails_leaves_nothing_open);
    ADD("busy", test_mapping_that_is_busy_is_closed_later);
    ADD("manual-busy", test_manual_close_of_a_busy_volume_is_refused);
    ADD("reader-writer", test_reader_is_followed_by_a_writer);
    ADD("restart", test_restart_keeps_what_running_guests_use);
    ADD("restart-unused", test_restart_closes_what_nobody_uses);
    ADD("no-key", test_open_volume_needs_no_key);
    ADD("clone", test_clone_has_the_contents_and_a_key_of_its_own);
    ADD("rekey", test_rekeyed_volume_stays_open_and_opens_again);
    ADD("policy", test_pool_policy_puts_the_opened_device_at_the_predicted_path);
    return g_test_run();
}
