/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Guests that are defined with their keys: both are there afterwards, or neither is.
 */
#include "guest_service_fixture.h"

#define KEY "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"

struct define_case {
    const char *xml;
    const char *volume;
    const char *text; /* of the key; NULL: generated */
    unsigned int flags;
    bool is_create;
};

static struct guest_defined *
define(struct guest_fixture *test, const struct define_case *tried, GError **error)
{
    g_autoptr(secret_buf_t) key =
        tried->text ? secret_buf_new_from(tried->text, strlen(tried->text), NULL) : NULL;
    const struct guest_given_key given = {
        .volume = tried->volume,
        .mechanism = key ? GUEST_MECHANISM_PASSPHRASE : GUEST_MECHANISM_GENERATE,
        .key = key,
    };
    const struct guest_define_request request = {
        .xml = tried->xml,
        .keys = &given,
        .key_count = tried->volume ? 1 : 0,
        .flags = tried->flags,
        .is_create = tried->is_create,
    };

    return guest_service_define(test->service, &request, error);
}

/* What became of its only key. */
static struct uuid
define_well(struct guest_fixture *test, const struct define_case *tried)
{
    g_autoptr(GError) error = NULL;
    struct guest_defined *defined = define(test, tried, &error);
    struct uuid secret;

    g_assert_no_error(error);
    g_assert_cmpstr(defined->name, ==, "web");
    g_assert_true(uuid_equal(&defined->uuid, &test->guest));
    g_assert_cmpuint(defined->keys->len, ==, 1);
    secret = ((struct guest_stored_key *)defined->keys->pdata[0])->secret;
    guest_defined_free(defined);
    return secret;
}

static void
expect_refused(struct guest_fixture *test, const struct define_case *tried, enum error_code code,
               const char *part)
{
    guint secrets = guest_fixture_count_secrets(test);
    g_autoptr(GError) error = NULL;

    g_assert_null(define(test, tried, &error));
    expect_error_part(error, code, ERROR_FROM_DOMAIN, part);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, secrets);
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
    g_assert_cmpuint(folder_count(&test->domains), ==, 0);
}

static void
expect_owned(struct guest_fixture *test, const struct uuid *secret, enum guest_key_origin origin)
{
    g_autoptr(guest_record_t) record = guest_fixture_record(test);
    const struct guest_key *key = record ? guest_record_find(record, secret) : NULL;

    g_assert_nonnull(key);
    g_assert_cmpint(record->state, ==, GUEST_STATE_PRESENT);
    g_assert_cmpint(key->state, ==, GUEST_KEY_BOUND);
    g_assert_cmpint(key->origin, ==, origin);
    g_assert_true(owner_files_is_owner(&test->owners, secret, &test->guest));
}

/* ---- as it should be ---- */

static void
test_the_key_belongs_to_the_guest_and_is_in_its_xml(struct guest_fixture *test,
                                                    gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    const struct define_case tried = {.xml = xml, .volume = "vda", .text = KEY, .flags = 1};
    g_autoptr(secret_buf_t) value = NULL;
    char text[UUID_TEXT_SIZE];
    struct uuid secret;

    guest_fixture_make_foreign(test, "disk", KEY);
    secret = define_well(test, &tried);
    expect_owned(test, &secret, GUEST_KEY_SENT);
    value = key_files_get(&test->base.keys, &secret, NULL);
    g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), KEY, strlen(KEY));
    g_assert_nonnull(strstr(fake_libvirt.defined, uuid_format(&secret, text)));
    g_assert_null(strstr(fake_libvirt.defined, KEY));
    g_assert_cmpuint(fake_libvirt.flags, ==, 1);
    guest_fixture_look(test);
    expect_owned(test, &secret, GUEST_KEY_SENT);
}

static void
test_a_transient_guest_is_started(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    const struct define_case tried = {.xml = xml, .volume = "vda", .text = KEY, .is_create = true};
    struct uuid secret;

    guest_fixture_make_foreign(test, "disk", KEY);
    secret = define_well(test, &tried);
    expect_owned(test, &secret, GUEST_KEY_SENT);
    folder_expect_none(&test->domains, GUEST_UUID ".xml");
}

static void
test_a_key_is_generated_for_a_volume_to_come(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "to-come");
    const struct define_case tried = {.xml = xml, .volume = "vda"};
    struct uuid secret = define_well(test, &tried);
    g_autoptr(secret_buf_t) value = key_files_get(&test->base.keys, &secret, NULL);

    g_assert_cmpuint(secret_buf_len(value), ==, 43);
    expect_owned(test, &secret, GUEST_KEY_SENT);
}

static void
test_without_keys_it_is_a_plain_definition(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    const struct define_case tried = {.xml = xml};
    struct guest_defined *defined = define(test, &tried, NULL);

    g_assert_cmpuint(defined->keys->len, ==, 0);
    g_assert_cmpstr(fake_libvirt.defined, ==, xml);
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
    guest_defined_free(defined);
}

static char *
disk_with_secret(struct guest_fixture *test, const char *name, const char *secret)
{
    g_autofree char *path = folder_path(&test->base.images, name);
    g_autofree char *source =
        g_strdup_printf("file='%s'><encryption format='luks'><secret type='passphrase' "
                        "%s/></encryption></source>",
                        path, secret);

    return guest_fixture_xml("raw", source);
}

static void
test_a_secret_that_the_xml_names_is_made(struct guest_fixture *test, gconstpointer unused)
{
    static const char *const names[] = {"uuid='" SECRET_UUID "'", "usage='disk of web'"};

    guest_fixture_make_foreign(test, "disk", KEY);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *xml = disk_with_secret(test, "disk", names[i]);
        const struct define_case tried = {.xml = xml, .volume = "vda", .text = KEY};
        struct uuid secret = define_well(test, &tried);
        struct uuid found;

        expect_owned(test, &secret, GUEST_KEY_SENT);
        g_assert_cmpstr(fake_libvirt.defined, ==, xml);
        g_assert_true(i == 0 ? uuid_equal(&secret, &test->secret)
                             : key_files_find(&test->base.keys, "disk of web", &found, NULL) &&
                                   uuid_equal(&secret, &found));
    }
}

/* A secret that was there before, with KEY and no owner. */
static void
put_secret(struct guest_fixture *test, const char *usage)
{
    const struct secret_def def = {.uuid = test->secret, .usage_id = (char *)usage};
    g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);

    g_assert_true(owner_files_put(&test->owners, &def, key, NULL, 0, NULL));
}

static void
test_a_secret_with_the_same_value_is_only_bound(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = disk_with_secret(test, "disk", "uuid='" SECRET_UUID "'");
    const struct define_case tried = {.xml = xml, .volume = "vda", .text = KEY};
    struct uuid secret;

    guest_fixture_make_foreign(test, "disk", KEY);
    put_secret(test, "mine");
    secret = define_well(test, &tried);
    g_assert_true(uuid_equal(&secret, &test->secret));
    expect_owned(test, &secret, GUEST_KEY_SENT);
}

static void
test_a_path_that_is_the_usage_of_another_secret_is_no_hindrance(struct guest_fixture *test,
                                                                gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->base.images, "disk");
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    const struct define_case tried = {.xml = xml, .volume = path, .text = "another"};
    struct uuid secret;

    guest_fixture_make_foreign(test, "disk", "another");
    put_secret(test, path);
    secret = define_well(test, &tried);
    g_assert_false(uuid_equal(&secret, &test->secret));
    expect_owned(test, &secret, GUEST_KEY_SENT);
}

static void
test_a_definition_once_more_makes_no_second_key(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    const struct define_case tried = {.xml = xml, .volume = "vda", .text = KEY};
    struct uuid first, second;

    guest_fixture_make_foreign(test, "disk", KEY);
    first = define_well(test, &tried);
    second = define_well(test, &tried);
    g_assert_true(uuid_equal(&first, &second));
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    expect_owned(test, &first, GUEST_KEY_SENT);
}

/* ---- refusals ---- */

static void
test_what_does_not_fit_is_refused_before_anything_is_done(struct guest_fixture *test,
                                                          gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    g_autofree char *clear = guest_fixture_disk(test, "clear");
    g_autofree char *named = disk_with_secret(test, "disk", "uuid='" SECRET_UUID "'");
    g_autofree char *qcow = guest_fixture_xml("vmdk", "file='/none'/>");

    guest_fixture_make_foreign(test, "disk", KEY);
    folder_put_text(&test->base.images, "clear", "nothing of interest");
    expect_refused(test, &(struct define_case){.xml = xml, .volume = "vdb", .text = KEY},
                   ERROR_INVALID_ARG, "guest 'web' has no disk 'vdb'");
    expect_refused(test, &(struct define_case){.xml = xml, .volume = "vda"},
                   ERROR_OPERATION_INVALID, "has a key already");
    expect_refused(test, &(struct define_case){.xml = clear, .volume = "vda"},
                   ERROR_OPERATION_INVALID, "is not encrypted");
    expect_refused(test, &(struct define_case){.xml = qcow, .volume = "vda", .text = KEY},
                   ERROR_CONFIG_UNSUPPORTED, "format 'vmdk' can't be encrypted");
    put_secret(test, "mine");
    guest_fixture_make_foreign(test, "disk", "another");
    expect_refused(test, &(struct define_case){.xml = named, .volume = "vda", .text = "another"},
                   ERROR_OPERATION_INVALID, "has another value already");
}

static void
test_a_wrong_key_is_refused(struct guest_fixture *test, gconstpointer unused)
{
    static const char *const texts[] = {"wrong", KEY};
    static const char *const names[] = {"disk", "clear"};
    static const enum error_code codes[] = {ERROR_AUTH_FAILED, ERROR_CONFIG_UNSUPPORTED};

    guest_fixture_make_foreign(test, "disk", KEY);
    folder_put_text(&test->base.images, "clear", "nothing of interest");
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *xml = guest_fixture_disk(test, names[i]);
        const struct define_case tried = {.xml = xml, .volume = "vda", .text = texts[i]};
        g_autoptr(GError) error = NULL;

        g_assert_null(define(test, &tried, &error));
        expect_error_part(error, codes[i], ERROR_FROM_STORAGE, "disk 'vda' of guest 'web'");
        guest_fixture_expect_nothing(test);
    }
}

static void
test_two_keys_for_one_disk_are_refused(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    g_autofree char *path = folder_path(&test->base.images, "disk");
    g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);
    const struct guest_given_key given[] = {{.volume = "vda", .key = key},
                                            {.volume = path, .key = key}};
    const struct guest_define_request request = {.xml = xml, .keys = given, .key_count = 2};
    g_autoptr(GError) error = NULL;

    guest_fixture_make_foreign(test, "disk", KEY);
    g_assert_null(guest_service_define(test->service, &request, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_DOMAIN, "two keys are sent for it");
    guest_fixture_expect_nothing(test);
}

/* ---- failures ---- */

static void
try_and_fail(struct guest_fixture *test, enum error_code code, const char *part)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    const struct define_case tried = {.xml = xml, .volume = "vda", .text = KEY};
    g_autoptr(GError) error = NULL;

    guest_fixture_make_foreign(test, "disk", KEY);
    g_assert_null(define(test, &tried, &error));
    g_assert_nonnull(strstr(error->message, part));
    g_assert_cmpint(error_get_code(error), ==, code);
}

static void
test_libvirts_refusal_leaves_nothing(struct guest_fixture *test, gconstpointer unused)
{
    fake_libvirt.answer = FAKE_REFUSES;
    try_and_fail(test, ERROR_XML, "libvirt refuses it");
    guest_fixture_expect_nothing(test);
    g_assert_cmpstr(test->owners.reason, ==, "its guest could not be defined");
}

static void
test_a_key_that_can_not_be_stored_leaves_nothing(struct guest_fixture *test, gconstpointer unused)
{
    test->owners.refuses_put = true;
    try_and_fail(test, ERROR_OPERATION_FAILED, "can't store the key of disk 'vda'");
    guest_fixture_expect_nothing(test);
}

static void
test_a_key_that_was_stored_though_the_answer_was_lost_is_erased(struct guest_fixture *test,
                                                                gconstpointer unused)
{
    test->owners.loses_answer = true;
    try_and_fail(test, ERROR_RPC, "the answer was lost");
    guest_fixture_expect_nothing(test);
}

static void
test_a_late_definition_keeps_its_keys(struct guest_fixture *test, gconstpointer unused)
{
    fake_libvirt.answer = FAKE_IS_LATE;
    try_and_fail(test, ERROR_OPERATION_TIMEOUT, "libvirt does not answer");
    guest_fixture_expect_state(test, GUEST_STATE_DEFINING, 1);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
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
test_a_definition_that_never_came_is_undone_after_a_while(struct guest_fixture *test,
                                                          gconstpointer unused)
{
    fake_libvirt.answer = FAKE_DOES_NOT_ANSWER;
    try_and_fail(test, ERROR_OPERATION_TIMEOUT, "libvirt does not answer");
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_DEFINING, 1);
    make_older(test, 200);
    guest_fixture_look(test);
    guest_fixture_expect_nothing(test);
}

/* libvirt has it on disk and did not load it: that it knows no such guest decides nothing. */
static void
test_a_definition_that_is_on_disk_is_not_undone(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    g_autofree char *file = folder_path(&test->definitions, "web.xml");

    fake_libvirt.answer = FAKE_DOES_NOT_ANSWER;
    try_and_fail(test, ERROR_OPERATION_TIMEOUT, "libvirt does not answer");
    folder_put_text(&test->definitions, "web.xml", xml);
    make_older(test, 200);
    guest_fixture_look(test);
    guest_fixture_expect_state(test, GUEST_STATE_DEFINING, 1);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    g_assert_cmpint(unlink(file), ==, 0);
    guest_fixture_look(test);
    guest_fixture_expect_nothing(test);
}

static void
test_a_failed_redefinition_leaves_the_old_keys(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    g_autofree char *other = guest_fixture_disk(test, "other");
    const struct define_case first = {.xml = xml, .volume = "vda", .text = KEY};
    const struct define_case second = {.xml = other, .volume = "vda", .text = KEY};
    struct uuid secret;

    guest_fixture_make_foreign(test, "disk", KEY);
    guest_fixture_make_foreign(test, "other", KEY);
    secret = define_well(test, &first);
    fake_libvirt.answer = FAKE_REFUSES;
    g_assert_null(define(test, &second, NULL));
    expect_owned(test, &secret, GUEST_KEY_SENT);
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 1);
    guest_fixture_expect_state(test, GUEST_STATE_PRESENT, 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name)                                                                                 \
    g_test_add("/guest/service_define/" #name, struct guest_fixture, NULL, guest_fixture_set_up,   \
               test_##name, guest_fixture_tear_down)
    TEST(the_key_belongs_to_the_guest_and_is_in_its_xml);
    TEST(a_transient_guest_is_started);
    TEST(a_key_is_generated_for_a_volume_to_come);
    TEST(without_keys_it_is_a_plain_definition);
    TEST(a_secret_that_the_xml_names_is_made);
    TEST(a_secret_with_the_same_value_is_only_bound);
    TEST(a_path_that_is_the_usage_of_another_secret_is_no_hindrance);
    TEST(a_definition_once_more_makes_no_second_key);
    TEST(what_does_not_fit_is_refused_before_anything_is_done);
    TEST(a_wrong_key_is_refused);
    TEST(two_keys_for_one_disk_are_refused);
    TEST(libvirts_refusal_leaves_nothing);
    TEST(a_key_that_can_not_be_stored_leaves_nothing);
    TEST(a_key_that_was_stored_though_the_answer_was_lost_is_erased);
    TEST(a_late_definition_keeps_its_keys);
    TEST(a_definition_that_never_came_is_undone_after_a_while);
    TEST(a_definition_that_is_on_disk_is_not_undone);
    TEST(a_failed_redefinition_leaves_the_old_keys);
    return g_test_run();
}
