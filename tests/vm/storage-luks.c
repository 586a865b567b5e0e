/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Containers opened as mappings, where the kernel has device-mapper. Judged by cryptsetup and
 * dmsetup.
 */
#include "dm_crypt_fixture.h"
#include "storage/luks.h"
#include "storage/mapping.h"

static const char mapping[] = "virtcrypt-test";
static const char device_path[] = "/dev/mapper/virtcrypt-test";

static void
open_file(struct luks_fixture *fixture, const struct encryption *encryption, bool readonly,
          const struct secret_buf *key, GError **error)
{
    mapping_open_container(encryption, fixture->path, mapping, readonly, key, error);
}

static void
format_file(struct luks_fixture *fixture, const struct encryption *encryption)
{
    const struct luks_format_params params = {.type = mapping_luks_type(encryption),
                                              .encryption = encryption,
                                              .kdf = LUKS_KDF_FULL_ENTROPY};
    g_autoptr(GError) error = NULL;

    if (params.type == LUKS_PLAIN)
        return;
    luks_format(&fixture->place, &params, fixture->key, &error);
    g_assert_no_error(error);
}

static void
close_mapping(void)
{
    g_autoptr(GError) error = NULL;

    luks_close(mapping, &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(device_path, G_FILE_TEST_EXISTS));
}

static void
test_this_kernel_has_what_is_needed(void)
{
    g_autoptr(GError) error = NULL;

    luks_check_kernel(&error);
    g_assert_no_error(error);
}

static void
test_cryptsetup_reads_what_was_written_through_ours(struct luks_fixture *fixture,
                                                    gconstpointer encryption)
{
    const struct encryption *how = encryption;
    g_autoptr(GError) error = NULL;

    format_file(fixture, how);
    open_file(fixture, how, false, fixture->key, &error);
    g_assert_no_error(error);
    put_text(device_path, "written through ours");
    close_mapping();
    expect_no_loop(fixture->path);
    g_assert_true(
        luks_fixture_run(NULL, "cryptsetup open %s %s theirs <%s", fixture->path,
                         how->format == ENCRYPTION_FORMAT_PLAIN
                             ? "--type plain --cipher aes-xts-plain64 --key-size 512 --hash sha512"
                             : "--type luks --key-file -",
                         fixture->key_path));
    expect_text("/dev/mapper/theirs", "written through ours");
    g_assert_true(luks_fixture_run(NULL, "cryptsetup close theirs"));
}

static void
test_a_wrong_key_opens_nothing(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    format_file(fixture, &luks2);
    open_file(fixture, &luks2, false, fixture->other, &error);
    g_assert_true(error_is(error, ERROR_AUTH_FAILED));
    g_assert_nonnull(strstr(error->message, fixture->path));
    expect_no_loop(fixture->path);
}

static void
test_what_is_open_is_described(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(luks_mapping_t) none = {0};
    g_auto(luks_mapping_t) present = {0};
    g_autofree char *loop = NULL;
    g_autoptr(GError) error = NULL;

    luks_find_mapping(mapping, &none, &error);
    g_assert_false(none.is_open);
    format_file(fixture, &luks2);
    open_file(fixture, &luks2, true, fixture->key, &error);
    g_assert_no_error(error);
    luks_find_mapping(mapping, &present, &error);
    g_assert_no_error(error);
    loop = loop_device_find(fixture->path);
    g_assert_true(present.is_open);
    g_assert_true(present.is_readonly);
    g_assert_cmpuint(present.size, ==, 48 * MIB);
    g_assert_nonnull(loop);
    g_assert_cmpstr(present.device, ==, loop);
    close_mapping();
}

static void
test_a_name_in_use_is_refused(struct luks_fixture *fixture, gconstpointer unused)
{
    const struct luks_open_params params = {.type = LUKS_2};
    g_autofree char *second = folder_path(&fixture->folder, "second");
    const struct luks_place place = {.device = second};
    g_autoptr(GError) error = NULL;

    format_file(fixture, &luks2);
    g_assert_true(luks_fixture_run(NULL, "cp --sparse=always %s %s", fixture->path, second));
    open_file(fixture, &luks2, false, fixture->key, &error);
    g_assert_no_error(error);
    g_assert_false(luks_open(&place, mapping, &params, fixture->key, &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                 "/dev/mapper/virtcrypt-test is open already");
    close_mapping();
}

static void
test_a_mapping_in_use_stays_open(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    int fd;

    format_file(fixture, &luks1);
    open_file(fixture, &luks1, false, fixture->key, &error);
    g_assert_no_error(error);
    fd = open(device_path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_assert_false(luks_close(mapping, &error));
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE,
                      "/dev/mapper/virtcrypt-test is in use");
    close(fd);
    close_mapping();
    close_mapping();
}

static void
test_options_reach_the_kernel_and_keys_stay_in_its_keyring(struct luks_fixture *fixture,
                                                           gconstpointer unused)
{
    struct encryption encryption = luks2;
    g_autofree char *table = NULL;
    g_autofree char *keys = NULL;
    g_autoptr(GError) error = NULL;

    encryption.dmcrypt = (struct encryption_dmcrypt){.sector_size = 4096,
                                                     .discard = true,
                                                     .no_read_workqueue = true,
                                                     .no_write_workqueue = true,
                                                     .same_cpu_crypt = true,
                                                     .submit_from_crypt_cpus = true};
    format_file(fixture, &encryption);
    open_file(fixture, &encryption, false, fixture->key, &error);
    g_assert_no_error(error);
    g_assert_true(luks_fixture_run(&table, "dmsetup table %s", mapping));
    g_assert_nonnull(strstr(table, "aes-xts-plain64 :64:logon:cryptsetup:"));
    g_assert_nonnull(strstr(table, "allow_discards"));
    g_assert_nonnull(strstr(table, "no_read_workqueue"));
    g_assert_nonnull(strstr(table, "no_write_workqueue"));
    g_assert_nonnull(strstr(table, "same_cpu_crypt"));
    g_assert_nonnull(strstr(table, "submit_from_crypt_cpus"));
    g_assert_nonnull(strstr(table, "sector_size:4096"));
    /* And none in this thread's, which lives longer than the call. */
    g_assert_true(g_file_get_contents("/proc/keys", &keys, NULL, NULL));
    g_assert_null(strstr(keys, "cryptsetup:"));
    close_mapping();
}

static void
test_what_a_killed_process_left_is_no_hindrance(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(luks_mapping_t) unfinished = {0};

    format_file(fixture, &luks2);
    g_assert_true(luks_fixture_run(NULL, "dmsetup create --notable %s", mapping));
    luks_find_mapping(mapping, &unfinished, NULL);
    g_assert_false(unfinished.is_open);
    open_file(fixture, &luks2, false, fixture->key, &error);
    g_assert_no_error(error);
    put_text(device_path, "works");
    close_mapping();
    g_assert_true(luks_fixture_run(NULL, "dmsetup create --notable %s", mapping));
    close_mapping();
    g_assert_false(luks_fixture_run(NULL, "dmsetup info %s", mapping));
}

static void
test_an_open_mapping_follows_its_container(struct luks_fixture *fixture, gconstpointer encryption)
{
    const struct encryption *how = encryption;
    g_auto(luks_mapping_t) larger = {0};
    g_auto(luks_mapping_t) smaller = {0};
    g_autoptr(GError) error = NULL;
    uint64_t header = luks_header_size(mapping_luks_type(how));

    format_file(fixture, how);
    open_file(fixture, how, false, fixture->key, &error);
    g_assert_no_error(error);
    put_text(device_path, "stays");
    g_assert_cmpint(truncate(fixture->path, 96 * MIB), ==, 0);
    loop_device_update_size(fixture->path, &error);
    luks_resize(&fixture->place, mapping, 0, fixture->key, &error);
    g_assert_no_error(error);
    luks_find_mapping(mapping, &larger, NULL);
    g_assert_cmpuint(larger.size, ==, 96 * MIB - header);
    luks_resize(&fixture->place, mapping, 8 * MIB, fixture->key, &error);
    g_assert_no_error(error);
    luks_find_mapping(mapping, &smaller, NULL);
    g_assert_cmpuint(smaller.size, ==, 8 * MIB);
    expect_text(device_path, "stays");
    close_mapping();
}

struct opener {
    struct luks_fixture *fixture;
    char *name;
    char *path;
};

static gpointer
open_and_close(gpointer opaque)
{
    const struct opener *opener = opaque;

    for (int i = 0; i < 3; i++) {
        g_autoptr(GError) error = NULL;

        mapping_open_container(&luks2, opener->path, opener->name, false, opener->fixture->key,
                               &error);
        g_assert_no_error(error);
        luks_close(opener->name, &error);
        g_assert_no_error(error);
    }
    return NULL;
}

static void
test_threads_open_and_close_at_a_time(struct luks_fixture *fixture, gconstpointer unused)
{
    GThread *threads[3];
    struct opener openers[3];

    format_file(fixture, &luks2);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        openers[i].fixture = fixture;
        openers[i].name = g_strdup_printf("virtcrypt-thread%zu", i);
        openers[i].path = g_strdup_printf("%s%zu", fixture->path, i);
        g_assert_true(
            luks_fixture_run(NULL, "cp --sparse=always %s %s", fixture->path, openers[i].path));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("open", open_and_close, &openers[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
        expect_no_loop(openers[i].path);
        g_free(openers[i].name);
        g_free(openers[i].path);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kernel", test_this_kernel_has_what_is_needed);
#define ADD(path, opaque, func)                                                                    \
    g_test_add(path, struct luks_fixture, opaque, luks_fixture_init, func, luks_fixture_clear)
    ADD("/luks/theirs/luks1", &luks1, test_cryptsetup_reads_what_was_written_through_ours);
    ADD("/luks/theirs/luks2", &luks2, test_cryptsetup_reads_what_was_written_through_ours);
    ADD("/luks/theirs/plain", &plain, test_cryptsetup_reads_what_was_written_through_ours);
    ADD("/luks/wrong-key", NULL, test_a_wrong_key_opens_nothing);
    ADD("/luks/described", NULL, test_what_is_open_is_described);
    ADD("/luks/name-in-use", NULL, test_a_name_in_use_is_refused);
    ADD("/luks/busy", NULL, test_a_mapping_in_use_stays_open);
    ADD("/luks/options", NULL, test_options_reach_the_kernel_and_keys_stay_in_its_keyring);
    ADD("/luks/unfinished", NULL, test_what_a_killed_process_left_is_no_hindrance);
    ADD("/luks/resize/luks1", &luks1, test_an_open_mapping_follows_its_container);
    ADD("/luks/resize/luks2", &luks2, test_an_open_mapping_follows_its_container);
    ADD("/luks/resize/plain", &plain, test_an_open_mapping_follows_its_container);
    ADD("/luks/threads", NULL, test_threads_open_and_close_at_a_time);
    return g_test_run();
}
