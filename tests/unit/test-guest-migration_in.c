/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Guests that come: their keys are here before them, and are erased if they do not come.
 */
#include "migration_fixture.h"

#define KEY "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"

static const struct uuid none;

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
    migration_end_refused(test, &coming.migration.migration, true, "is not here");
    bring_guest(test);
    migration_end_well(test, &coming.migration.migration, true, &end);
    g_assert_cmpstr(end.state, ==, "running");
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    migration_end_well(test, &coming.migration.migration, true, &end);
    migration_end_refused(test, &coming.migration.migration, false, "other than it is said");
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
    migration_end_well(test, &coming.migration.migration, false, &end);
    guest_fixture_expect_nothing(test);
    g_assert_cmpstr(test->owners.reason, ==, "its guest did not arrive");
    migration_end_well(test, &coming.migration.migration, false, &end);
    coming_clear(&coming);
}

static void
test_one_that_runs_here_has_come(struct guest_fixture *test, gconstpointer unused)
{
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    bring_guest(test);
    migration_end_refused(test, &coming.migration.migration, false, "runs here");
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
    migration_make_older(test, 400);
    guest_fixture_look(test);
    guest_fixture_expect_nothing(test);
    coming_clear(&coming);
}

/* Its definition arrived, and libvirt did not load it. */
static void
test_one_whose_definition_is_here_is_not_given_up(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    g_autofree char *file = folder_path(&test->definitions, "web.xml");
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    folder_put_text(&test->definitions, "web.xml", xml);
    migration_make_older(test, 400);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_ARRIVING, 1);
    g_assert_true(owner_files_is_owner(&test->owners, &test->secret, &test->guest));
    g_assert_cmpint(unlink(file), ==, 0);
    guest_fixture_look(test);
    guest_fixture_expect_nothing(test);
    coming_clear(&coming);
}

/* It came after all, and not all of its keys are here. */
static void
test_one_that_was_given_up_is_not_confirmed(struct guest_fixture *test, gconstpointer unused)
{
    g_autoptr(guest_record_t) record = guest_record_new(&test->guest, "web", "test:///fake");
    struct uuid other = test->guest;
    const struct secret_def def = {.uuid = other, .usage_id = (char *)"another disk of web"};
    g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);
    g_autofree char *text = NULL;
    struct coming coming;

    g_assert_true(owner_files_put(&test->owners, &def, key, &test->guest, 1, NULL));
    guest_record_take(record, &other, GUEST_KEY_MANUAL);
    text = guest_record_format(record);
    guest_fixture_stop(test);
    folder_put_text(&test->records, GUEST_UUID ".xml", text);
    guest_fixture_start(test);
    coming_init(test, &coming, KEY);
    receive(test, &coming);
    guest_fixture_expect_state(test, GUEST_STATE_ARRIVING, 2);
    migration_make_older(test, 400);
    guest_fixture_look(test);
    g_assert_false(owner_files_is_owner(&test->owners, &test->secret, &test->guest));
    bring_guest(test);
    migration_end_refused(test, &coming.migration.migration, true, "was not migrated");
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
    migration_make_older(test, 400);
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
    migration_end_well(test, &coming.migration.migration, false, &end);
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    receive(test, &coming);
    bring_guest(test);
    migration_end_well(test, &coming.migration.migration, true, &end);
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
    migration_end_refused(test, &first.migration.migration, false, "is in another migration");
    migration_end_well(test, &second.migration.migration, false, &end);
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
    owner_files_erase(&test->owners, &volume->secret, NULL, "it went", NULL);
    receive(test, &coming);
    g_assert_cmpuint(storage_service_count(test->base.service), ==, 1);
    migration_end_well(test, &coming.migration.migration, false, &end);
    g_assert_cmpuint(storage_service_count(test->base.service), ==, 0);
    guest_fixture_expect_nothing(test);
    g_assert_cmpuint(folder_count(&test->base.images), ==, 1);
    coming_clear(&coming);
}

static void
test_keys_that_did_not_come_are_not_confirmed(struct guest_fixture *test, gconstpointer unused)
{
    bring_guest(test);
    migration_end_refused(test, &none, true, "no keys came to this host");
}

/* The other host would erase the last copy. */
static void
test_a_key_that_came_and_is_gone_again_is_not_confirmed(struct guest_fixture *test,
                                                        gconstpointer unused)
{
    struct guest_migrate_end end;
    struct coming coming;

    coming_init(test, &coming, KEY);
    receive(test, &coming);
    g_assert_true(owner_files_erase(&test->owners, &test->secret, NULL, "undefined", NULL));
    bring_guest(test);
    for (unsigned int i = 0; i < 2; i++)
        migration_end_refused(test, &coming.migration.migration, true,
                              "has no key " SECRET_UUID
                              " here any more: the other host has to keep it");
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    put_secret(test, KEY);
    guest_fixture_look(test);
    migration_end_well(test, &coming.migration.migration, true, &end);
    g_assert_true(owner_files_erase(&test->owners, &test->secret, NULL, "undefined", NULL));
    migration_end_refused(test, &coming.migration.migration, true, "has no key " SECRET_UUID);
    coming_clear(&coming);
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
    g_test_add("/guest/migration_in/" #name, struct guest_fixture, NULL, guest_fixture_set_up,     \
               test_##name, guest_fixture_tear_down)
    TEST(the_keys_of_one_that_comes_are_its_own);
    TEST(the_keys_of_one_that_did_not_come_are_erased);
    TEST(one_that_runs_here_has_come);
    TEST(one_of_which_nothing_is_heard_is_given_up);
    TEST(one_whose_definition_is_here_is_not_given_up);
    TEST(one_that_was_given_up_is_not_confirmed);
    TEST(one_that_is_still_coming_is_waited_for);
    TEST(a_key_that_is_here_is_bound_only_when_the_guest_is);
    TEST(another_value_is_refused_by_name);
    TEST(a_usage_of_another_secret_is_refused);
    TEST(what_can_not_be_stored_leaves_nothing);
    TEST(it_may_be_sent_again);
    TEST(the_record_of_its_volume_comes_along);
    TEST(keys_that_did_not_come_are_not_confirmed);
    TEST(a_key_that_came_and_is_gone_again_is_not_confirmed);
    TEST(packets_that_contradict_themselves_are_refused);
    return g_test_run();
}
