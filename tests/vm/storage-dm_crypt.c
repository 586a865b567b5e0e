/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Mappings and dm-crypt volumes, where the kernel has device-mapper: in the machine of
 * test-dm-crypt.py, which gives it a volume group "vg". Judged by cryptsetup and dmsetup.
 */
#include <sys/stat.h>

#include "../unit/luks_fixture.h"
#include "storage/backend.h"
#include "storage/loop_device.h"
#include "storage/luks.h"
#include "storage/mapping.h"

enum { MIB = 1024 * 1024 };
static const char mapping[] = "virtcrypt-test";
static const char device_path[] = "/dev/mapper/virtcrypt-test";

/* ---- luks.h ---- */

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
put_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, text, strlen(text), MIB), ==, (ssize_t)strlen(text));
    g_assert_cmpint(fsync(fd), ==, 0);
    close(fd);
}

static void
expect_text(const char *path, const char *text)
{
    char present[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, present, strlen(text), MIB), ==, (ssize_t)strlen(text));
    g_assert_cmpstr(present, ==, text);
    close(fd);
}

static void
expect_no_loop(const char *path)
{
    for (int i = 0; i < 100; i++) {
        g_autofree char *device = loop_device_find(path);

        if (!device)
            return;
        g_usleep(100 * 1000);
    }
    g_assert_not_reached();
}

static void
test_this_kernel_has_what_is_needed(void)
{
    g_autoptr(GError) error = NULL;

    luks_check_kernel(&error);
    g_assert_no_error(error);
}

static const struct encryption luks1 = {.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                        .format = ENCRYPTION_FORMAT_LUKS};
static const struct encryption luks2 = {.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                        .format = ENCRYPTION_FORMAT_LUKS2};
static const struct encryption plain = {.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                        .format = ENCRYPTION_FORMAT_PLAIN};

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

/* ---- backend_dm_crypt.c and mapping.h ---- */

struct volume {
    struct luks_fixture *fixture;
    struct pool_def pool;
    struct volume_def def;
    struct volume_record record;
    struct encryption encryption;
    char *alias;
    char *device_dir;
    struct mapping_params mapping;
    struct backend_create_params params;
};

static void
volume_init(struct volume *volume, struct luks_fixture *fixture,
            const struct encryption *encryption)
{
    memset(volume, 0, sizeof(*volume));
    volume->fixture = fixture;
    volume->encryption = *encryption;
    uuid_generate_random(&volume->encryption.secret_uuid, NULL);
    volume->pool.name = (char *)"my-pool";
    volume->pool.type = POOL_TYPE_DIR;
    volume->pool.target_path = fixture->folder.path;
    volume->def.name = (char *)"disk 1";
    volume->def.has_capacity = true;
    volume->def.capacity = 8 * MIB;
    volume->device_dir = folder_path(&fixture->folder, "dev");
    volume->alias = folder_path(&fixture->folder, "disk 1");
    volume->record.pool = volume->pool.name;
    volume->record.name = volume->def.name;
    volume->record.kind = VOLUME_KIND_DM_CRYPT;
    volume->record.path = volume->alias;
    volume->record.device = folder_path(&fixture->folder, "disk 1.crypt");
    volume->record.temporary = folder_path(&fixture->folder, ".disk 1.crypt.virtcrypt-new");
    volume->record.is_made = true;
    volume->record.capacity = volume->def.capacity;
    volume->record.encryption = &volume->encryption;
    volume->mapping.device_dir = volume->device_dir;
    volume->mapping.record = &volume->record;
    volume->mapping.alias = volume->alias;
    volume->params.pool = &volume->pool;
    volume->params.def = &volume->def;
    volume->params.record = &volume->record;
    volume->params.key = fixture->key;
    volume->params.key_is_generated = true;
}

static void
volume_clear(struct volume *volume)
{
    g_free(volume->device_dir);
    g_free(volume->alias);
    g_free(volume->record.device);
    g_free(volume->record.temporary);
}
typedef struct volume volume_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(volume_t, volume_clear)

/* As the service does: the record is ready with the creation. */
static void
volume_create(struct volume *volume, const struct backend_source *source)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(backend_dm_crypt.check(&volume->params, &error));
    backend_dm_crypt.create(&volume->params, source, NULL, &error);
    g_assert_no_error(error);
    volume->record.state = VOLUME_STATE_READY;
    g_clear_pointer(&volume->record.temporary, g_free);
}

static bool
volume_resize(const struct volume *volume, uint64_t capacity, bool shrink, GError **error)
{
    const struct backend_resize_params params = {
        .pool = &volume->pool,
        .record = &volume->record,
        .capacity = capacity,
        .shrink = shrink,
        .key = volume->fixture->key,
    };

    return backend_dm_crypt.resize(&params, NULL, error);
}

static void
volume_open(struct volume *volume)
{
    g_autoptr(GError) error = NULL;

    mapping_open(&volume->mapping, false, volume->fixture->key, &error);
    g_assert_no_error(error);
    g_assert_true(mapping_is_open(&volume->record));
}

static void
volume_close(struct volume *volume)
{
    g_autoptr(GError) error = NULL;

    mapping_close(&volume->mapping, &error);
    g_assert_no_error(error);
    g_assert_false(mapping_is_open(&volume->record));
}

static void
volume_remove(struct volume *volume)
{
    g_autoptr(GError) error = NULL;

    backend_dm_crypt.remove(&volume->pool, &volume->record, &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(volume->record.device, G_FILE_TEST_EXISTS));
    backend_dm_crypt.remove(&volume->pool, &volume->record, &error);
    g_assert_no_error(error);
}

static void
test_a_volume_lives_from_its_creation_to_its_removal(struct luks_fixture *fixture,
                                                     gconstpointer encryption)
{
    g_auto(volume_t) volume;
    g_autofree char *link = NULL;
    struct backend_info info;
    g_autoptr(volume_def_t) def = NULL;
    g_autoptr(GError) error = NULL;

    volume_init(&volume, fixture, encryption);
    link = mapping_path(volume.device_dir, volume.record.pool, volume.record.name);
    volume_create(&volume, NULL);
    backend_dm_crypt.get_info(&volume.record, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpint(info.type, ==, VOLUME_TYPE_BLOCK);
    g_assert_cmpuint(info.capacity, ==, 8 * MIB);
    def = backend_dm_crypt.describe(&volume.record, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(def->path, ==, volume.record.path);
    g_assert_cmpuint(def->capacity, ==, 8 * MIB);
    g_assert_true(backend_dm_crypt.check_key(&volume.record, fixture->key, NULL));

    volume_open(&volume);
    put_text(link, "by the link");
    expect_text(volume.alias, "by the link");
    volume_open(&volume);
    volume_close(&volume);
    folder_expect_none(&fixture->folder, "disk 1");
    g_assert_false(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
    volume_open(&volume);
    expect_text(link, "by the link");
    volume_close(&volume);
    volume_remove(&volume);
}

static void
test_a_volume_in_use_is_neither_closed_nor_removed(struct luks_fixture *fixture,
                                                   gconstpointer unused)
{
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) removal = NULL;
    int fd;

    volume_init(&volume, fixture, &luks2);
    volume_create(&volume, NULL);
    volume_open(&volume);
    fd = open(volume.alias, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_assert_false(mapping_close(&volume.mapping, &error));
    g_assert_true(error_is(error, ERROR_RESOURCE_BUSY));
    g_assert_true(g_file_test(volume.alias, G_FILE_TEST_IS_SYMLINK));
    g_assert_false(backend_dm_crypt.remove(&volume.pool, &volume.record, &removal));
    g_assert_true(error_is(removal, ERROR_RESOURCE_BUSY));
    close(fd);
    volume_remove(&volume);
}

static void
test_what_has_the_place_of_the_alias_stays(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;

    volume_init(&volume, fixture, &luks2);
    volume_create(&volume, NULL);
    folder_put_text(&fixture->folder, "disk 1", "somebody's");
    g_assert_false(mapping_open(&volume.mapping, false, fixture->key, &error));
    expect_error_part(error, ERROR_STORAGE_VOL_EXIST, ERROR_FROM_STORAGE, "is there already");
    g_assert_false(mapping_is_open(&volume.record));
    g_assert_true(g_file_test(volume.alias, G_FILE_TEST_IS_REGULAR));
    volume_remove(&volume);
}

static void
test_a_source_is_copied_in(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autofree char *path = folder_path(&fixture->folder, "source");
    const struct backend_source source = {.path = path, .format = "raw"};
    g_auto(volume_t) volume;

    luks_fixture_make_file(fixture, "source", 4 * MIB);
    put_text(path, "from the source");
    volume_init(&volume, fixture, &luks2);
    volume_create(&volume, &source);
    g_assert_false(mapping_is_open(&volume.record));
    volume_open(&volume);
    expect_text(volume.alias, "from the source");
    volume_close(&volume);
    g_assert_false(luks_fixture_run(NULL, "grep -q 'from the source' '%s'", volume.record.device));
    volume_remove(&volume);
}

static void
test_a_failed_creation_leaves_nothing(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autofree char *path = folder_path(&fixture->folder, "source");
    const struct backend_source source = {.path = path, .format = "qcow2"};
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;
    guint count;

    luks_fixture_make_file(fixture, "source", 4 * MIB);
    volume_init(&volume, fixture, &luks2);
    count = folder_count(&fixture->folder);
    g_assert_false(backend_dm_crypt.create(&volume.params, &source, NULL, &error));
    g_assert_nonnull(error);
    g_assert_cmpuint(folder_count(&fixture->folder), ==, count);
    g_assert_false(mapping_is_open(&volume.record));
}

static void
test_resizing_reaches_an_open_volume(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(volume_t) volume;
    g_auto(luks_mapping_t) present = {0};
    g_autofree char *name = NULL;
    g_autoptr(GError) error = NULL;
    struct backend_info info;

    volume_init(&volume, fixture, &luks2);
    volume_create(&volume, NULL);
    volume_open(&volume);
    put_text(volume.alias, "kept");
    volume_resize(&volume, 16 * MIB, false, &error);
    g_assert_no_error(error);
    name = mapping_name(volume.record.pool, volume.record.name);
    luks_find_mapping(name, &present, NULL);
    g_assert_cmpuint(present.size, ==, 16 * MIB);
    expect_text(volume.alias, "kept");
    g_assert_false(volume_resize(&volume, 8 * MIB, false, &error));
    g_assert_true(error_is(error, ERROR_INVALID_ARG));
    g_clear_error(&error);
    volume_resize(&volume, 4 * MIB, true, &error);
    g_assert_no_error(error);
    backend_dm_crypt.get_info(&volume.record, &info, NULL);
    g_assert_cmpuint(info.capacity, ==, 4 * MIB);
    volume_close(&volume);
    volume_remove(&volume);
}

static void
test_wiping_loses_the_data_and_keeps_the_volume(struct luks_fixture *fixture,
                                                gconstpointer encryption)
{
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;
    char text[5] = "";
    int fd;

    volume_init(&volume, fixture, encryption);
    volume_create(&volume, NULL);
    volume_open(&volume);
    put_text(volume.alias, "lost");
    volume_close(&volume);
    backend_dm_crypt.wipe(&volume.record, 0, fixture->key, true, NULL, &error);
    g_assert_no_error(error);
    volume_open(&volume);
    fd = open(volume.alias, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, text, 4, MIB), ==, 4);
    close(fd);
    g_assert_cmpstr(text, !=, "lost");
    volume_close(&volume);
    volume_remove(&volume);
}

static void
test_another_key_takes_the_place_of_the_first(struct luks_fixture *fixture, gconstpointer unused)
{
    struct luks_place place;
    g_auto(volume_t) volume;
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    volume_init(&volume, fixture, &luks2);
    volume_create(&volume, NULL);
    place = (struct luks_place){.device = volume.record.device};
    backend_dm_crypt.add_key(&volume.record, fixture->key, fixture->other, true, &error);
    g_assert_no_error(error);
    uuid_generate_random(&volume.encryption.secret_uuid, NULL);
    backend_dm_crypt.remove_key(&volume.record, fixture->key, &error);
    g_assert_no_error(error);
    luks_probe(&place, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(info.keyslots, ==, 1);
    g_assert_true(uuid_equal(&info.token.secret, &volume.encryption.secret_uuid));
    g_assert_cmpstr(info.token.volume, ==, "disk 1");
    g_assert_true(backend_dm_crypt.check_key(&volume.record, fixture->other, NULL));
    volume_remove(&volume);
}

static void
test_a_logical_volume_is_made_and_removed(struct luks_fixture *fixture, gconstpointer encryption)
{
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;

    volume_init(&volume, fixture, encryption);
    volume.pool.type = POOL_TYPE_LOGICAL;
    volume.pool.source_name = (char *)"vg";
    volume.pool.target_path = (char *)"/dev/vg";
    g_free(volume.record.device);
    volume.record.device = g_strdup("/dev/vg/disk1.crypt");
    g_clear_pointer(&volume.record.temporary, g_free);
    volume_create(&volume, NULL);
    volume_open(&volume);
    put_text(volume.alias, "on LVM");
    volume_resize(&volume, 16 * MIB, false, &error);
    g_assert_no_error(error);
    expect_text(volume.alias, "on LVM");
    volume_close(&volume);
    g_assert_true(luks_fixture_run(NULL, "lvchange -an vg/disk1.crypt"));
    volume_open(&volume);
    expect_text(volume.alias, "on LVM");
    volume_close(&volume);
    volume_remove(&volume);
}

static void
test_a_device_with_data_is_overwritten_only_if_asked(struct luks_fixture *fixture,
                                                     gconstpointer unused)
{
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;

    g_assert_true(luks_fixture_run(NULL, "mkfs.ext4 -q %s", fixture->path));
    loop_device_attach(fixture->path, false, &loop, &error);
    g_assert_no_error(error);
    volume_init(&volume, fixture, &luks2);
    volume.record.is_made = false;
    g_free(volume.record.device);
    volume.record.device = g_strdup(loop.path);
    g_clear_pointer(&volume.record.temporary, g_free);
    g_assert_false(backend_dm_crypt.check(&volume.params, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "file system 'ext4'");
    volume.params.overwrites = true;
    volume_create(&volume, NULL);
    volume_open(&volume);
    volume_close(&volume);
    g_clear_error(&error);
    backend_dm_crypt.remove(&volume.pool, &volume.record, &error);
    g_assert_no_error(error);
    g_assert_true(g_file_test(loop.path, G_FILE_TEST_EXISTS));
    g_assert_false(luks_fixture_run(NULL, "cryptsetup isLuks %s", loop.path));
}

static void
test_a_detached_header_is_made_and_removed(struct luks_fixture *fixture, gconstpointer unused)
{
    struct encryption encryption = luks2;
    g_autofree char *header = folder_path(&fixture->folder, "header");
    g_autoptr(GError) error = NULL;
    g_auto(volume_t) volume;

    encryption.dmcrypt.header_path = header;
    volume_init(&volume, fixture, &encryption);
    volume_create(&volume, NULL);
    g_assert_false(luks_fixture_run(NULL, "cryptsetup isLuks '%s'", volume.record.device));
    g_assert_false(backend_dm_crypt.check(&volume.params, &error));
    expect_error_part(error, ERROR_STORAGE_VOL_EXIST, ERROR_FROM_STORAGE, "the detached header");
    volume_open(&volume);
    put_text(volume.alias, "below");
    g_clear_error(&error);
    volume_resize(&volume, 12 * MIB, false, &error);
    g_assert_no_error(error);
    expect_text(volume.alias, "below");
    volume_remove(&volume);
    folder_expect_none(&fixture->folder, "header");
}

int
main(int argc, char **argv)
{
    static struct encryption hmac, aead;

    g_test_init(&argc, &argv, NULL);
    hmac = aead = luks2;
    hmac.dmcrypt.integrity = ENCRYPTION_INTEGRITY_HMAC;
    aead.dmcrypt.integrity = ENCRYPTION_INTEGRITY_AEAD;
    aead.dmcrypt.sector_size = 4096;
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
    ADD("/volume/life/luks1", &luks1, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/luks2", &luks2, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/plain", &plain, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/hmac", &hmac, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/aead", &aead, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/busy", NULL, test_a_volume_in_use_is_neither_closed_nor_removed);
    ADD("/volume/alias", NULL, test_what_has_the_place_of_the_alias_stays);
    ADD("/volume/source", NULL, test_a_source_is_copied_in);
    ADD("/volume/failed", NULL, test_a_failed_creation_leaves_nothing);
    ADD("/volume/resize", NULL, test_resizing_reaches_an_open_volume);
    ADD("/volume/wipe/luks2", &luks2, test_wiping_loses_the_data_and_keeps_the_volume);
    ADD("/volume/wipe/plain", &plain, test_wiping_loses_the_data_and_keeps_the_volume);
    ADD("/volume/rekey", NULL, test_another_key_takes_the_place_of_the_first);
    ADD("/volume/lvm/luks2", &luks2, test_a_logical_volume_is_made_and_removed);
    ADD("/volume/lvm/plain", &plain, test_a_logical_volume_is_made_and_removed);
    ADD("/volume/device", NULL, test_a_device_with_data_is_overwritten_only_if_asked);
    ADD("/volume/detached", NULL, test_a_detached_header_is_made_and_removed);
    return g_test_run();
}
