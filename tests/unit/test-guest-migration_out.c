/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Guests that leave with their keys: these stay until the guest is not here any more, and then they
 * are where it is.
 */
#include "migration_fixture.h"
#include "storage/records.h"

static const struct uuid none;

/* A running guest with a volume of ours. */
static struct uuid
put_guest(struct guest_fixture *test)
{
    g_autoptr(storage_volume_t) volume = create(&test->base, "disk", TARGET("raw", LUKS));
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *source =
        g_strdup_printf("file='%s'><encryption format='luks'><secret type='passphrase' "
                        "uuid='%s'/></encryption></source>",
                        volume->path, uuid_format(&volume->secret, uuid));
    g_autofree char *xml = guest_fixture_xml("raw", source);

    fake_libvirt_put(xml, ".xml");
    fake_libvirt_put(xml, ".run");
    return volume->secret;
}

static void
take_guest_away(struct guest_fixture *test)
{
    fake_libvirt_remove(&test->guest, ".xml");
    fake_libvirt_remove(&test->guest, ".run");
}

static struct guest_migration *
begin(struct guest_fixture *test)
{
    g_autoptr(GError) error = NULL;
    struct guest_migration *migration;

    guest_fixture_look(test);
    migration = guest_service_migrate_begin(test->service, &test->guest, PEER, &error);
    g_assert_no_error(error);
    return migration;
}

static void
test_its_keys_are_sent_and_stay_until_it_has_left(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = put_guest(test);
    struct guest_migration *migration = begin(test);
    g_autoptr(secret_buf_t) value = key_files_get(&test->base.keys, &secret, NULL);
    const struct guest_packet *packet = migration->packets->pdata[0];
    g_autoptr(secret_def_t) def = secret_def_parse(packet->xml, strlen(packet->xml), false, NULL);
    g_autofree char *path = folder_path(&test->base.images, "disk");
    struct guest_migrate_end end;

    g_assert_cmpuint(migration->packets->len, ==, 1);
    g_assert_true(uuid_equal(&def->uuid, &secret));
    g_assert_true(secret_buf_equal(packet->key, value));
    g_assert_cmpstr(packet->volume, ==, path);
    g_assert_cmpint(packet->origin, ==, GUEST_KEY_GENERATED);
    g_assert_nonnull(strstr(packet->record, "disk"));
    guest_fixture_expect_state(test, GUEST_STATE_LEAVING, 1);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_LEAVING, 1);
    take_guest_away(test);
    migration_end_well(test, &migration->migration, true, &end);
    g_assert_cmpstr(end.state, ==, "migrated");
    g_assert_cmpuint(end.erased, ==, 1);
    g_assert_cmpuint(end.orphaned, ==, 0);
    guest_fixture_expect_nothing(test);
    /* The volume is on the other host's now. */
    g_assert_cmpuint(storage_service_count(test->base.service), ==, 0);
    g_assert_cmpuint(folder_count(&test->base.images), ==, 1);
    migration_end_well(test, &migration->migration, true, &end);
    guest_migration_free(migration);
}

static void
test_one_that_stayed_keeps_its_keys(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = put_guest(test);
    struct guest_migration *migration = begin(test);
    struct guest_migrate_end end;

    migration_end_refused(test, &migration->migration, true, "runs here");
    migration_end_refused(test, &test->secret, false, "is in another migration");
    migration_end_well(test, &migration->migration, false, &end);
    g_assert_cmpstr(end.state, ==, "running");
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    migration_end_well(test, &migration->migration, false, &end);
    migration_end_refused(test, &migration->migration, true, "was not migrated with its keys");
    g_assert_true(owner_files_is_owner(&test->owners, &secret, &test->guest));
    guest_migration_free(migration);
}

/* Who was to migrate it has given up, and libvirt has not: it may still leave. */
static void
test_one_that_is_still_on_its_way_has_not_stayed(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migration *migration;
    struct guest_migrate_end end;

    put_guest(test);
    migration = begin(test);
    fake_libvirt.is_migrating = true;
    migration_end_well(test, &migration->migration, false, &end);
    guest_fixture_expect_state(test, GUEST_STATE_LEAVING, 1);
    fake_libvirt.is_migrating = false;
    take_guest_away(test);
    migration_end_well(test, &migration->migration, true, &end);
    g_assert_cmpstr(end.state, ==, "migrated");
    guest_migration_free(migration);
}

static void
test_one_that_is_gone_did_not_stay(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migration *migration;

    put_guest(test);
    migration = begin(test);
    take_guest_away(test);
    migration_end_refused(test, &migration->migration, false, "is not here");
    guest_fixture_expect_state(test, GUEST_STATE_LEAVING, 1);
    guest_migration_free(migration);
}

static void
test_a_definition_that_stayed_keeps_its_keys(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migration *migration;
    struct guest_migrate_end end;

    put_guest(test);
    migration = begin(test);
    fake_libvirt_remove(&test->guest, ".run");
    migration_end_well(test, &migration->migration, true, &end);
    g_assert_cmpstr(end.state, ==, "shut off");
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    guest_migration_free(migration);
}

/* The look that saw it gone came first. */
static void
test_a_word_that_comes_late_still_counts(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migration *migration;
    struct guest_migrate_end end;

    put_guest(test);
    migration = begin(test);
    take_guest_away(test);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_MIGRATED, 1);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    migration_end_well(test, &none, true, &end);
    g_assert_cmpuint(end.erased, ==, 1);
    guest_fixture_expect_nothing(test);
    guest_migration_free(migration);
}

static void
test_without_a_word_its_keys_are_held(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migration *migration;

    test->conf->erase_delay_undefine = 0;
    put_guest(test);
    migration = begin(test);
    take_guest_away(test);
    guest_fixture_look(test);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_MIGRATED, 1);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    guest_migration_free(migration);
}

static void
test_one_that_nobody_migrates_any_more_is_as_before(struct guest_fixture *test,
                                                    gconstpointer unused)
{
    struct guest_migration *migration;

    put_guest(test);
    migration = begin(test);
    migration_make_older(test, 400);
    fake_libvirt.is_migrating = true;
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_LEAVING, 1);
    fake_libvirt.is_migrating = false;
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    migration_end_refused(test, &migration->migration, true, "was not migrated with its keys");
    guest_migration_free(migration);
}

static void
test_a_migration_may_begin_again(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migration *first, *second, *other;

    put_guest(test);
    first = begin(test);
    second = begin(test);
    other = guest_service_migrate_begin(test->service, &test->guest, "elsewhere", NULL);
    g_assert_true(uuid_equal(&first->migration, &second->migration));
    g_assert_false(uuid_equal(&first->migration, &other->migration));
    g_assert_cmpuint(other->packets->len, ==, 1);
    guest_migration_free(first);
    guest_migration_free(second);
    guest_migration_free(other);
}

static void
expect_begin_refused(struct guest_fixture *test, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(guest_service_migrate_begin(test->service, &test->guest, PEER, &error));
    expect_error_part(error, code, ERROR_FROM_DOMAIN, part);
}

static void
test_one_that_is_not_here_can_not_leave(struct guest_fixture *test, gconstpointer unused)
{
    expect_begin_refused(test, ERROR_NO_DOMAIN, GUEST_UUID);
}

static void
test_one_with_a_dm_crypt_volume_can_not_leave(struct guest_fixture *test, gconstpointer unused)
{
    struct volume_record record = {
        .pool = (char *)"images",
        .name = (char *)"mapped",
        .kind = VOLUME_KIND_DM_CRYPT,
        .state = VOLUME_STATE_READY,
        .path = (char *)"/dev/virtcrypt/images/mapped",
        .device = (char *)"/nowhere/mapped",
        .capacity = 1024 * 1024,
        .encryption = &(struct encryption){.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                           .format = ENCRYPTION_FORMAT_LUKS2,
                                           .secret_by = ENCRYPTION_SECRET_UUID,
                                           .secret_uuid = test->secret},
    };
    struct storage_records *records =
        storage_records_new(test->base.volumes.path, "/dev/virtcrypt", NULL);
    g_autofree char *xml = guest_fixture_xml("raw", "pool='images' volume='mapped'/>");
    g_autofree char *volume = NULL;
    g_auto(GStrv) parts = NULL;

    guest_fixture_stop(test);
    fixture_stop(&test->base);
    g_assert_true(storage_records_put(records, &record, NULL));
    storage_records_free(records);
    fixture_start(&test->base);
    guest_fixture_start(test);
    parts = g_strsplit(xml, "type='file'", -1);
    volume = g_strjoinv("type='volume'", parts);
    fake_libvirt_put(volume, ".xml");
    expect_begin_refused(test, ERROR_OPERATION_UNSUPPORTED,
                         "'mapped' of pool 'images', which is "
                         "dm-crypt");
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name)                                                                                 \
    g_test_add("/guest/migration_out/" #name, struct guest_fixture, NULL, guest_fixture_set_up,    \
               test_##name, guest_fixture_tear_down)
    TEST(its_keys_are_sent_and_stay_until_it_has_left);
    TEST(one_that_stayed_keeps_its_keys);
    TEST(one_that_is_still_on_its_way_has_not_stayed);
    TEST(one_that_is_gone_did_not_stay);
    TEST(a_definition_that_stayed_keeps_its_keys);
    TEST(a_word_that_comes_late_still_counts);
    TEST(without_a_word_its_keys_are_held);
    TEST(one_that_nobody_migrates_any_more_is_as_before);
    TEST(a_migration_may_begin_again);
    TEST(one_that_is_not_here_can_not_leave);
    TEST(one_with_a_dm_crypt_volume_can_not_leave);
    return g_test_run();
}
