/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Guests that leave with their keys, and guests that come: at any end the keys are where the guest
 * is, and nothing else has changed.
 */
#include "guest_service_fixture.h"
#include "storage/records.h"

#define KEY "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"

static const struct uuid none;

/* ---- a guest that leaves ---- */

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
end_well(struct guest_fixture *test, const struct uuid *migration, bool has_moved,
         struct guest_migrate_end *ret_end)
{
    g_autoptr(GError) error = NULL;

    fake_libvirt_emit(GUEST_LIBVIRT_CONNECTED, NULL);
    guest_service_migrate_end(test->service, &test->guest, migration, has_moved, ret_end, &error);
    g_assert_no_error(error);
}

static void
expect_end_refused(struct guest_fixture *test, const struct uuid *migration, bool has_moved,
                   const char *part)
{
    struct guest_migrate_end end;
    g_autoptr(GError) error = NULL;

    g_assert_false(
        guest_service_migrate_end(test->service, &test->guest, migration, has_moved, &end, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_DOMAIN, part);
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
    end_well(test, &migration->migration, true, &end);
    g_assert_cmpstr(end.state, ==, "migrated");
    g_assert_cmpuint(end.erased, ==, 1);
    g_assert_cmpuint(end.orphaned, ==, 0);
    guest_fixture_expect_nothing(test);
    /* The volume is on the other host's now. */
    g_assert_cmpuint(storage_service_count(test->base.service), ==, 0);
    g_assert_cmpuint(folder_count(&test->base.images), ==, 1);
    end_well(test, &migration->migration, true, &end);
    guest_migration_free(migration);
}

static void
test_one_that_stayed_keeps_its_keys(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = put_guest(test);
    struct guest_migration *migration = begin(test);
    struct guest_migrate_end end;

    expect_end_refused(test, &migration->migration, true, "runs here");
    expect_end_refused(test, &test->secret, false, "is in another migration");
    end_well(test, &migration->migration, false, &end);
    g_assert_cmpstr(end.state, ==, "running");
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    end_well(test, &migration->migration, false, &end);
    expect_end_refused(test, &migration->migration, true, "was not migrated with its keys");
    g_assert_true(owner_files_is_owner(&test->owners, &secret, &test->guest));
    guest_migration_free(migration);
}

static void
test_one_that_is_gone_did_not_stay(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migration *migration;

    put_guest(test);
    migration = begin(test);
    take_guest_away(test);
    expect_end_refused(test, &migration->migration, false, "is not here");
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
    end_well(test, &migration->migration, true, &end);
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
    end_well(test, &none, true, &end);
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

/* As if that time had gone by. */
static void
make_older(struct guest_fixture *test, int64_t seconds)
{
    g_autoptr(guest_record_t) record = guest_fixture_record(test);
    g_autofree char *text = NULL;

    record->since -= seconds;
    text = guest_record_format(record);
    guest_fixture_stop(test);
    folder_put_text(&test->records, GUEST_UUID ".xml", text);
    guest_fixture_start(test);
}

static void
test_one_that_nobody_migrates_any_more_is_as_before(struct guest_fixture *test,
                                                    gconstpointer unused)
{
    struct guest_migration *migration;

    put_guest(test);
    migration = begin(test);
    make_older(test, 400);
    fake_libvirt.is_migrating = true;
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_LEAVING, 1);
    fake_libvirt.is_migrating = false;
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    expect_end_refused(test, &migration->migration, true, "was not migrated with its keys");
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

/* ---- a guest that comes ---- */

struct coming {
    struct guest_packet packet;
    struct guest_migration migration;
};

static void
coming_init(struct guest_fixture *test, struct coming *coming, const char *text)
{
    const struct secret_def def = {
        .uuid = test->secret,
        .usage_type = SECRET_USAGE_VOLUME,
        .usage_id = (char *)"disk of web",
        .is_private = true,
    };

    coming->packet = (struct guest_packet){
        .xml = secret_def_format(&def),
        .volume = folder_path(&test->base.images, "disk"),
        .origin = GUEST_KEY_GENERATED,
        .key = secret_buf_new_from(text, strlen(text), NULL),
    };
    coming->migration = (struct guest_migration){
        .uuid = test->guest,
        .name = (char *)"web",
        .packets = g_ptr_array_new(),
    };
    g_assert_true(uuid_generate_random(&coming->migration.migration, NULL));
    g_ptr_array_add(coming->migration.packets, &coming->packet);
}

static void
coming_clear(struct coming *coming)
{
    g_free(coming->packet.xml);
    g_free(coming->packet.volume);
    g_free(coming->packet.record);
    secret_buf_free(coming->packet.key);
    g_ptr_array_unref(coming->migration.packets);
}

static void
receive(struct guest_fixture *test, const struct coming *coming)
{
    g_autoptr(GError) error = NULL;

    guest_service_migrate_receive(test->service, &coming->migration, "a.example", &error);
    g_assert_no_error(error);
}

static void
expect_receive_refused(struct guest_fixture *test, const struct coming *coming,
                       enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(
        guest_service_migrate_receive(test->service, &coming->migration, "a.example", &error));
    g_assert_nonnull(strstr(error->message, part));
    g_assert_cmpint(error_get_code(error), ==, code);
}

static void
bring_guest(struct guest_fixture *test)
{
    g_autofree char *path = folder_path(&test->base.images, "disk");
    g_autofree char *source =
        g_strdup_printf("file='%s'><encryption format='luks'><secret type='passphrase' "
                        "uuid='" SECRET_UUID "'/></encryption></source>",
                        path);
    g_autofree char *xml = guest_fixture_xml("raw", source);

    fake_libvirt_put(xml, ".run");
}

static void
test_the_keys_of_one_that_comes_are_its_own(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migrate_end end;
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    guest_fixture_expect_state(test, GUEST_STATE_ARRIVING, 1);
    g_assert_true(owner_files_is_owner(&test->owners, &test->secret, &test->guest));
    expect_end_refused(test, &coming.migration.migration, true, "is not here");
    bring_guest(test);
    end_well(test, &coming.migration.migration, true, &end);
    g_assert_cmpstr(end.state, ==, "running");
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    end_well(test, &coming.migration.migration, true, &end);
    expect_end_refused(test, &coming.migration.migration, false, "other than it is said");
    guest_fixture_look(test);
    g_assert_true(owner_files_is_owner(&test->owners, &test->secret, &test->guest));
    coming_clear(&coming);
}

static void
test_the_keys_of_one_that_did_not_come_are_erased(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migrate_end end;
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    end_well(test, &coming.migration.migration, false, &end);
    guest_fixture_expect_nothing(test);
    g_assert_cmpstr(test->owners.reason, ==, "its guest did not arrive");
    end_well(test, &coming.migration.migration, false, &end);
    coming_clear(&coming);
}

static void
test_one_that_runs_here_has_come(struct guest_fixture *test, gconstpointer unused)
{
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    bring_guest(test);
    expect_end_refused(test, &coming.migration.migration, false, "runs here");
    guest_fixture_expect_state(test, GUEST_STATE_ARRIVING, 1);
    coming_clear(&coming);
}

static void
test_one_of_which_nothing_is_heard_is_given_up(struct guest_fixture *test, gconstpointer unused)
{
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_ARRIVING, 1);
    make_older(test, 400);
    guest_fixture_look(test);
    guest_fixture_expect_nothing(test);
    coming_clear(&coming);
}

static void
test_one_that_is_still_coming_is_waited_for(struct guest_fixture *test, gconstpointer unused)
{
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    bring_guest(test);
    fake_libvirt.is_migrating = true;
    make_older(test, 400);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_ARRIVING, 1);
    fake_libvirt.is_migrating = false;
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    g_assert_true(owner_files_is_owner(&test->owners, &test->secret, &test->guest));
    coming_clear(&coming);
}

/* A secret that was here before, with that value and no owner. */
static void
put_secret(struct guest_fixture *test, const char *text)
{
    const struct secret_def def = {.uuid = test->secret, .usage_id = (char *)"disk of web"};
    g_autoptr(secret_buf_t) key = secret_buf_new_from(text, strlen(text), NULL);

    g_assert_true(owner_files_put(&test->owners, &def, key, NULL, 0, NULL));
}

static void
test_a_key_that_is_here_is_bound_only_when_the_guest_is(struct guest_fixture *test,
                                                        gconstpointer unused)
{
    struct guest_migrate_end end;
    struct coming coming;

    put_secret(test, KEY);
    coming_init(test, &coming, KEY);
    receive(test, &coming);
    end_well(test, &coming.migration.migration, false, &end);
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    receive(test, &coming);
    bring_guest(test);
    end_well(test, &coming.migration.migration, true, &end);
    g_assert_true(owner_files_is_owner(&test->owners, &test->secret, &test->guest));
    coming_clear(&coming);
}

static void
test_another_value_is_refused_by_name(struct guest_fixture *test, gconstpointer unused)
{
    struct coming coming;

    put_secret(test, "another");
    coming_init(test, &coming, KEY);
    expect_receive_refused(test, &coming, ERROR_OPERATION_INVALID,
                           "with another value: undefine that one");
    expect_receive_refused(test, &coming, ERROR_OPERATION_INVALID, SECRET_UUID);
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    coming_clear(&coming);
}

static void
test_a_usage_of_another_secret_is_refused(struct guest_fixture *test, gconstpointer unused)
{
    const struct secret_def def = {.uuid = test->guest, .usage_id = (char *)"disk of web"};
    g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);
    struct coming coming;

    g_assert_true(owner_files_put(&test->owners, &def, key, NULL, 0, NULL));
    coming_init(test, &coming, KEY);
    expect_receive_refused(test, &coming, ERROR_OPERATION_INVALID, "has its usage 'disk of web'");
    coming_clear(&coming);
}

static void
test_what_can_not_be_stored_leaves_nothing(struct guest_fixture *test, gconstpointer unused)
{
    struct coming coming;

    coming_init(test, &coming, KEY);
    test->owners.refuses_put = true;
    expect_receive_refused(test, &coming, ERROR_OPERATION_FAILED, "guest 'web' can't come");
    guest_fixture_expect_nothing(test);
    test->owners.refuses_put = false;
    test->owners.loses_answer = true;
    expect_receive_refused(test, &coming, ERROR_RPC, "guest 'web' can't come");
    guest_fixture_expect_nothing(test);
    coming_clear(&coming);
}

static void
test_it_may_be_sent_again(struct guest_fixture *test, gconstpointer unused)
{
    struct guest_migrate_end end;
    struct coming first, second;

    coming_init(test, &first, KEY);
    coming_init(test, &second, KEY);
    receive(test, &first);
    receive(test, &second);
    expect_end_refused(test, &first.migration.migration, false, "is in another migration");
    end_well(test, &second.migration.migration, false, &end);
    guest_fixture_expect_nothing(test);
    coming_clear(&first);
    coming_clear(&second);
}

/* The volume is on shared storage: its record was this host's, and went. */
static void
test_the_record_of_its_volume_comes_along(struct guest_fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(&test->base, "disk", TARGET("raw", LUKS));
    g_autoptr(secret_buf_t) key = key_files_get(&test->base.keys, &volume->secret, NULL);
    struct guest_migrate_end end;
    struct coming coming;

    test->secret = volume->secret;
    coming_init(test, &coming, KEY);
    secret_buf_free(coming.packet.key);
    coming.packet.key = g_steal_pointer(&key);
    coming.packet.record = storage_service_give_record(test->base.service, volume->path, NULL);
    storage_service_forget(test->base.service, volume->path, &volume->secret, NULL);
    key_files_remove(&test->base.keys, &volume->secret, "volume deleted", NULL);
    receive(test, &coming);
    g_assert_cmpuint(storage_service_count(test->base.service), ==, 1);
    end_well(test, &coming.migration.migration, false, &end);
    g_assert_cmpuint(storage_service_count(test->base.service), ==, 0);
    guest_fixture_expect_nothing(test);
    g_assert_cmpuint(folder_count(&test->base.images), ==, 1);
    coming_clear(&coming);
}

static void
test_keys_that_did_not_come_are_not_confirmed(struct guest_fixture *test, gconstpointer unused)
{
    bring_guest(test);
    expect_end_refused(test, &none, true, "no keys came to this host");
}

static void
test_packets_that_contradict_themselves_are_refused(struct guest_fixture *test,
                                                    gconstpointer unused)
{
    struct coming coming;

    coming_init(test, &coming, KEY);
    g_ptr_array_add(coming.migration.packets, &coming.packet);
    expect_receive_refused(test, &coming, ERROR_INVALID_ARG, "it is sent twice");
    g_ptr_array_set_size(coming.migration.packets, 1);
    g_free(coming.packet.volume);
    coming.packet.volume = g_strdup("relative");
    expect_receive_refused(test, &coming, ERROR_INVALID_ARG, "begins with '/'");
    guest_fixture_expect_nothing(test);
    coming_clear(&coming);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name)                                                                                 \
    g_test_add("/guest/service_migrate/" #name, struct guest_fixture, NULL, guest_fixture_set_up,  \
               test_##name, guest_fixture_tear_down)
    TEST(its_keys_are_sent_and_stay_until_it_has_left);
    TEST(one_that_stayed_keeps_its_keys);
    TEST(one_that_is_gone_did_not_stay);
    TEST(a_definition_that_stayed_keeps_its_keys);
    TEST(a_word_that_comes_late_still_counts);
    TEST(without_a_word_its_keys_are_held);
    TEST(one_that_nobody_migrates_any_more_is_as_before);
    TEST(a_migration_may_begin_again);
    TEST(one_that_is_not_here_can_not_leave);
    TEST(one_with_a_dm_crypt_volume_can_not_leave);
    TEST(the_keys_of_one_that_comes_are_its_own);
    TEST(the_keys_of_one_that_did_not_come_are_erased);
    TEST(one_that_runs_here_has_come);
    TEST(one_of_which_nothing_is_heard_is_given_up);
    TEST(one_that_is_still_coming_is_waited_for);
    TEST(a_key_that_is_here_is_bound_only_when_the_guest_is);
    TEST(another_value_is_refused_by_name);
    TEST(a_usage_of_another_secret_is_refused);
    TEST(what_can_not_be_stored_leaves_nothing);
    TEST(it_may_be_sent_again);
    TEST(the_record_of_its_volume_comes_along);
    TEST(keys_that_did_not_come_are_not_confirmed);
    TEST(packets_that_contradict_themselves_are_refused);
    return g_test_run();
}
