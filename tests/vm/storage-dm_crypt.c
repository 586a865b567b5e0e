/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * dm-crypt volumes, where the kernel has device-mapper, and there is a volume group "vg".
 */
#include <sys/stat.h>

#include "dm_crypt_fixture.h"
#include "storage/backend.h"
#include "storage/container.h"
#include "storage/luks.h"
#include "storage/mapping.h"
#include "util/file.h"

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
expect_size(const char *path, uint64_t bytes)
{
    g_auto(file_fd) fd = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, (off_t)bytes);
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
    /* Checksums leave more than was asked for. */
    if (volume.encryption.dmcrypt.integrity == ENCRYPTION_INTEGRITY_NONE)
        g_assert_cmpuint(info.capacity, ==, 8 * MIB);
    g_assert_cmpuint(info.capacity, >=, 8 * MIB);
    def = backend_dm_crypt.describe(&volume.record, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(def->path, ==, volume.record.path);
    g_assert_cmpuint(def->capacity, ==, info.capacity);
    g_assert_true(backend_dm_crypt.check_key(&volume.record, fixture->key, NULL));

    volume_open(&volume);
    expect_size(volume.alias, info.capacity);
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

/* Its file was removed by hand, its record with it, and another volume has its name now. */
static void
test_a_mapping_of_another_container_is_not_given_out(struct luks_fixture *fixture,
                                                     gconstpointer unused)
{
    g_auto(volume_t) old;
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;

    volume_init(&old, fixture, &luks2);
    volume_create(&old, NULL);
    volume_open(&old);
    put_text(old.alias, "another guest's");
    g_assert_cmpint(unlink(old.record.device), ==, 0);
    volume_init(&volume, fixture, &luks2);
    volume_create(&volume, NULL);
    g_assert_false(mapping_open(&volume.mapping, false, fixture->key, &error));
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE, "is open on ");
    volume_close(&volume);
    volume_open(&volume);
    volume_close(&volume);
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

/* What the undoing of an unfinished creation may remove. */
static void
expect_ours(const struct volume *volume, bool is_ours)
{
    g_autoptr(GError) error = NULL;
    bool found = !is_ours;

    g_assert_true(container_is_ours(&volume->pool, volume->record.device, &found, &error));
    g_assert_no_error(error);
    g_assert_cmpint(found, ==, is_ours);
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
    expect_ours(&volume, true);
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

/* One that is not active has no name in /dev: LVM alone knows of it. */
static void
test_the_logical_volume_of_somebody_stays(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(volume_t) volume;
    g_autoptr(GError) error = NULL;

    volume_init(&volume, fixture, &luks2);
    volume.pool.type = POOL_TYPE_LOGICAL;
    volume.pool.source_name = (char *)"vg";
    volume.pool.target_path = (char *)"/dev/vg";
    g_free(volume.record.device);
    volume.record.device = g_strdup("/dev/vg/theirs.crypt");
    g_clear_pointer(&volume.record.temporary, g_free);
    g_assert_true(luks_fixture_run(NULL, "lvcreate -q -an -Zn -n theirs.crypt -L 16m vg"));
    g_assert_false(backend_dm_crypt.create(&volume.params, NULL, NULL, &error));
    g_assert_true(error_is(error, ERROR_STORAGE_VOL_EXIST));
    expect_ours(&volume, false);
    g_assert_true(luks_fixture_run(NULL, "lvremove -q -y vg/theirs.crypt"));
    expect_ours(&volume, true);
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
#define ADD(path, opaque, func)                                                                    \
    g_test_add(path, struct luks_fixture, opaque, luks_fixture_init, func, luks_fixture_clear)
    ADD("/volume/life/luks1", &luks1, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/luks2", &luks2, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/plain", &plain, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/hmac", &hmac, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/life/aead", &aead, test_a_volume_lives_from_its_creation_to_its_removal);
    ADD("/volume/busy", NULL, test_a_volume_in_use_is_neither_closed_nor_removed);
    ADD("/volume/stale", NULL, test_a_mapping_of_another_container_is_not_given_out);
    ADD("/volume/lvm/theirs", NULL, test_the_logical_volume_of_somebody_stays);
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
