/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is refused before a dm-crypt volume is made, and the names of mappings. The rest needs
 * device-mapper: tests/vm.
 */
#include "luks_fixture.h"
#include "storage/backend.h"
#include "storage/loop_device.h"
#include "storage/mapping.h"

struct volume {
    struct pool_def pool;
    struct volume_def def;
    struct volume_record record;
    struct encryption encryption;
    struct backend_create_params params;
};

static void
volume_init(struct volume *volume, const struct luks_fixture *fixture)
{
    memset(volume, 0, sizeof(*volume));
    volume->encryption.engine = ENCRYPTION_ENGINE_DM_CRYPT;
    volume->encryption.format = ENCRYPTION_FORMAT_LUKS2;
    volume->pool.name = (char *)"pool";
    volume->pool.type = POOL_TYPE_DIR;
    volume->pool.target_path = fixture->folder.path;
    volume->def.name = (char *)"disk";
    volume->def.has_capacity = true;
    volume->def.capacity = 8 * 1024 * 1024;
    volume->record.pool = volume->pool.name;
    volume->record.name = volume->def.name;
    volume->record.kind = VOLUME_KIND_DM_CRYPT;
    volume->record.device = fixture->path;
    volume->record.path = fixture->path;
    volume->record.is_made = true;
    volume->record.encryption = &volume->encryption;
    volume->params.pool = &volume->pool;
    volume->params.def = &volume->def;
    volume->params.record = &volume->record;
    volume->params.key = fixture->key;
}

static void
expect_refusal(const struct volume *volume, enum error_code code, const char *text)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(backend_dm_crypt.check(&volume->params, &error));
    expect_error_part(error, code, ERROR_FROM_STORAGE, text);
}

static void
test_what_can_not_be_is_refused(struct luks_fixture *fixture, gconstpointer unused)
{
    struct volume volume;

    volume_init(&volume, fixture);
    volume.def.format = (char *)"qcow2";
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "leave <format> out");
    volume_init(&volume, fixture);
    volume.def.backing_path = (char *)"/base";
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "can't have a backing file");
    volume_init(&volume, fixture);
    volume.pool.type = POOL_TYPE_OTHER;
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "neither a folder nor a volume group");
    volume_init(&volume, fixture);
    volume.params.preallocate_metadata = true;
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "belong to qcow2 alone");
    volume_init(&volume, fixture);
    volume.params.key = NULL;
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "its key is empty");
    volume_init(&volume, fixture);
    volume.def.capacity = 4096;
    expect_refusal(&volume, ERROR_INVALID_ARG, "is too small");
    volume_init(&volume, fixture);
    volume.encryption.cipher_name = (char *)"rot13";
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "unknown cipher 'rot13'");
}

static void
test_impossible_headers_are_refused(struct luks_fixture *fixture, gconstpointer unused)
{
    struct volume volume;

    volume_init(&volume, fixture);
    volume.encryption.format = ENCRYPTION_FORMAT_LUKS_ANY;
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "its format must be named");
    volume_init(&volume, fixture);
    volume.encryption.dmcrypt.header_path = fixture->path;
    expect_refusal(&volume, ERROR_STORAGE_VOL_EXIST, "is there already");
    volume.encryption.format = ENCRYPTION_FORMAT_PLAIN;
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "plain mode has no header");
    volume_init(&volume, fixture);
    volume.encryption.dmcrypt.header_path = (char *)"relative";
    expect_refusal(&volume, ERROR_CONFIG_UNSUPPORTED, "must begin with /");
}

static void
test_a_device_with_data_is_refused_unless_asked(struct luks_fixture *fixture, gconstpointer unused)
{
    struct volume volume;

    volume_init(&volume, fixture);
    volume.record.is_made = false;
    luks_fixture_format(fixture, LUKS_1);
    expect_refusal(&volume, ERROR_OPERATION_FAILED, "encrypted container 'crypto_LUKS'");
    volume.record.device = (char *)"/dev/none";
    expect_refusal(&volume, ERROR_NO_STORAGE_VOL, "/dev/none");
}

static void
test_a_readonly_device_is_refused_though_it_may_be_overwritten(struct luks_fixture *fixture,
                                                               gconstpointer unused)
{
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    g_autoptr(GError) error = NULL;
    struct volume volume;

    if (access("/dev/loop-control", R_OK | W_OK) < 0) {
        g_test_skip("there are no loop devices");
        return;
    }
    loop_device_attach(fixture->path, true, &loop, &error);
    g_assert_no_error(error);
    volume_init(&volume, fixture);
    volume.record.is_made = false;
    volume.record.device = loop.path;
    volume.params.overwrites = true;
    expect_refusal(&volume, ERROR_OPERATION_INVALID, "is read-only");
}

static void
test_plain_mode_has_no_keyslots(struct luks_fixture *fixture, gconstpointer unused)
{
    struct volume volume;
    g_autoptr(GError) error = NULL;

    volume_init(&volume, fixture);
    volume.encryption.format = ENCRYPTION_FORMAT_PLAIN;
    g_assert_false(
        backend_dm_crypt.add_key(&volume.record, fixture->key, fixture->other, true, &error));
    expect_error_part(error, ERROR_OPERATION_UNSUPPORTED, ERROR_FROM_STORAGE,
                      "whose key can't be changed");
}

static void
test_names_are_of_one_volume_alone(void)
{
    static const char *const places[][2] = {
        {"pool", "disk"},  {"po-ol", "disk"}, {"po", "ol-disk"}, {"po-", "ol"},
        {"po", "-ol"},     {"po=2d", "ol"},   {"a b", "c"},      {"a", "b c"},
        {"\xc3\xa4", "x"}, {"=", "="},        {"..", "."},
    };
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *long_name = g_strnfill(200, 'x');
    g_autofree char *longer_name = g_strnfill(199, 'x');

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
        g_assert_true(g_hash_table_add(names, mapping_name(places[i][0], places[i][1])));
    g_assert_true(g_hash_table_add(names, mapping_name("pool", long_name)));
    g_assert_true(g_hash_table_add(names, mapping_name("pool", longer_name)));
    g_assert_true(g_hash_table_contains(names, "virtcrypt-pool-disk"));
    g_assert_true(g_hash_table_contains(names, "virtcrypt-po=2dol-disk"));
    g_assert_true(g_hash_table_contains(names, "virtcrypt-po-ol-disk"));
    g_autoptr(GList) keys = g_hash_table_get_keys(names);
    for (GList *key = keys; key; key = key->next) {
        g_assert_cmpuint(strlen(key->data), <=, 110);
        g_assert_cmpuint(strspn(key->data, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-=._+@"), ==,
                         strlen(key->data));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func)                                                                            \
    g_test_add("/storage/backend_dm_crypt/" path, struct luks_fixture, NULL, luks_fixture_init,    \
               func, luks_fixture_clear)
    ADD("refused", test_what_can_not_be_is_refused);
    ADD("headers", test_impossible_headers_are_refused);
    ADD("data", test_a_device_with_data_is_refused_unless_asked);
    ADD("readonly", test_a_readonly_device_is_refused_though_it_may_be_overwritten);
    ADD("plain", test_plain_mode_has_no_keyslots);
    g_test_add_func("/storage/mapping/name", test_names_are_of_one_volume_alone);
    return g_test_run();
}
