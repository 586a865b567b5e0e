/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the secret service makes of the files it finds at start and on a reload: each kind of damage
 * costs one secret or one value and is kept, and the daemon is locked rather than given another
 * master key.
 */
#include "custodian_slots.h"

static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

/* Two secrets with values, and the service closed. */
static void
prepare_two(struct custodian *test)
{
    custodian_open(test);
    define(test, UUID_1 " volume /a private");
    set_value(test, UUID_1, "first");
    define(test, UUID_2 " volume /b");
    set_value(test, UUID_2, "second");
    custodian_close(test);
}

static void
expect_kept(struct custodian *test, const char *name, const void *bytes, size_t len)
{
    g_autoptr(GBytes) expected = g_bytes_new(bytes, len);

    folder_expect(&test->secrets, name, expected);
}

/* ---- definitions ---- */

static const struct {
    const char *text;
    const char *logged;
} bad_definitions[] = {
    {"", UUID_1 ".xml: "},
    {"<secret ephemeral='no' priv", UUID_1 ".xml: "},
    {"not xml at all", UUID_1 ".xml: "},
    {"<secret><uuid>" UUID_3 "</uuid></secret>",
     UUID_1 ".xml: <uuid> does not match the name of the file; this definition is not loaded, and "
            "the file is kept"},
    {"<secret><usage type='volume'><volume>/x</volume></usage></secret>",
     UUID_1 ".xml: <uuid> does not match the name of the file"},
    {"<secret ephemeral='yes'><uuid>" UUID_1 "</uuid></secret>",
     UUID_1 ".xml: it says ephemeral='yes', and such a secret is never kept on disk"},
    {"<secret><uuid>" UUID_1 "</uuid><usage type='door'/></secret>",
     UUID_1 ".xml: unknown secret usage type door"},
};

static void
test_bad_definition_costs_one_secret(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    for (size_t i = 0; i < G_N_ELEMENTS(bad_definitions); i++) {
        const char *text = bad_definitions[i].text;

        folder_put_text(&test->secrets, UUID_1 ".xml", text);
        custodian_open(test);
        expect_undefined(test, UUID_1);
        expect_value(test, UUID_2, "second");
        expect_logged(test, bad_definitions[i].logged);
        custodian_close(test);
        expect_kept(test, UUID_1 ".xml", text, strlen(text));
    }
}

static void
test_value_comes_back_with_its_definition(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    folder_put_text(&test->secrets, UUID_1 ".xml", "torn");
    custodian_open(test);
    define(test, UUID_1 " volume /a private");
    expect_value(test, UUID_1, "first");
}

/* Nobody gets at a value by defining its secret anew without `private`. */
static void
test_value_does_not_come_back_with_another_definition(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    folder_put_text(&test->secrets, UUID_1 ".xml", "torn");
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed for another definition");
}

static void
test_second_definition_of_a_usage_is_skipped(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_xml(test, UUID_2 " volume /a");
    custodian_open(test);
    expect_defined(test, UUID_1 " volume /a");
    expect_undefined(test, UUID_2);
    expect_logged(test, UUID_2 ".xml: a secret with UUID " UUID_1
                               " already defined for use with /a; this definition is not loaded, "
                               "and the file is kept");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2);
}

static void
test_values_without_definition_are_kept(struct custodian *test, gconstpointer unused)
{
    folder_put_text(&test->secrets, UUID_1 ".key", "whatever");
    folder_put_text(&test->secrets, UUID_2 ".base64", "d2hhdGV2ZXI=");
    custodian_open(test);
    g_assert_cmpuint(secret_service_count(test->service), ==, 0);
    expect_logged(test, UUID_1 ".key is there without " UUID_1 ".xml; it is left alone");
    expect_logged(test, UUID_2 ".base64 is there without " UUID_2 ".xml; it is left alone");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2);
}

static void
test_definition_as_libvirt_writes_it_is_loaded(struct custodian *test, gconstpointer unused)
{
    folder_put_text(&test->secrets, UUID_1 ".xml",
                    "<secret ephemeral='no' private='yes'>\n  <uuid>" UUID_1
                    "</uuid>\n  <usage type='ceph'>\n    <name>client.admin</name>\n"
                    "  </usage>\n</secret>\n");
    folder_put_text(&test->secrets, UUID_2 ".xml",
                    "<?xml version='1.0'?><secret><!-- by hand --><uuid>" UUID_2
                    "</uuid></secret>");
    custodian_open(test);
    expect_defined(test, UUID_1 " ceph client.admin private");
    expect_defined(test, UUID_2);
}

/* ---- sealed values ---- */

/* The first secret's file with `change` made to it. */
static void
spoil_key(struct custodian *test, void (*change)(GByteArray *bytes))
{
    g_autoptr(GBytes) key = folder_get(&test->secrets, UUID_1 ".key");
    g_autoptr(GByteArray) bytes = g_bytes_unref_to_array(g_steal_pointer(&key));

    change(bytes);
    folder_put(&test->secrets, UUID_1 ".key", bytes->data, bytes->len);
}

static void
empty(GByteArray *bytes)
{
    g_byte_array_set_size(bytes, 0);
}

static void
tear(GByteArray *bytes)
{
    g_byte_array_set_size(bytes, 100);
}

static void
zero(GByteArray *bytes)
{
    memset(bytes->data, 0, bytes->len);
}

static void
replace(GByteArray *bytes)
{
    memset(bytes->data, 'x', bytes->len);
}

static void
flip_last_bit(GByteArray *bytes)
{
    bytes->data[bytes->len - 1] ^= 1;
}

static void
lengthen_beyond_all_bounds(GByteArray *bytes)
{
    static const guint8 more[1024 * 1024];

    g_byte_array_append(bytes, more, sizeof(more));
}

static const struct {
    void (*change)(GByteArray *bytes);
    const char *reason;
} damages[] = {
    {empty, "the sealed value of secret " UUID_1 " is empty"},
    {tear, "the sealed value of secret " UUID_1 " is cut off after 100 bytes"},
    {zero, "the sealed value of secret " UUID_1 " holds nothing but zeros"},
    {replace, "the sealed value of secret " UUID_1 " is not in virtcrypt's format"},
    {flip_last_bit, "the sealed value of secret " UUID_1 " is damaged or was tampered with"},
    {lengthen_beyond_all_bounds, "the file " UUID_1 ".key has more than the maximum of"},
};

static void
test_damaged_value_costs_one_value(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) good = NULL;

    prepare_two(test);
    good = folder_get(&test->secrets, UUID_1 ".key");
    for (size_t i = 0; i < G_N_ELEMENTS(damages); i++) {
        g_autofree char *logged = g_strconcat(UUID_1 ".key: ", damages[i].reason, NULL);
        g_autoptr(GBytes) before = NULL;

        folder_put(&test->secrets, UUID_1 ".key", g_bytes_get_data(good, NULL),
                   g_bytes_get_size(good));
        spoil_key(test, damages[i].change);
        before = folder_get(&test->secrets, UUID_1 ".key");
        custodian_open(test);
        g_assert_null(secret_service_locked_reason(test->service));
        expect_defined(test, UUID_1 " volume /a private");
        expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, damages[i].reason);
        g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 1);
        expect_logged(test, logged);
        expect_logged(test, "; the value is unavailable, and the file is kept");
        expect_value(test, UUID_2, "second");
        custodian_close(test);
        folder_expect(&test->secrets, UUID_1 ".key", before);
    }
}

static void
test_unavailable_value_is_mended_by_setting_it(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    spoil_key(test, flip_last_bit);
    custodian_open(test);
    set_value(test, UUID_1, "new");
    expect_value(test, UUID_1, "new");
    g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 0);
    custodian_reopen(test);
    expect_value(test, UUID_1, "new");
}

static void
test_unavailable_value_is_mended_by_a_good_copy(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) good = NULL;

    prepare_two(test);
    good = folder_get(&test->secrets, UUID_1 ".key");
    spoil_key(test, tear);
    custodian_open(test);
    folder_put(&test->secrets, UUID_1 ".key", g_bytes_get_data(good, NULL), g_bytes_get_size(good));
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
    g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 0);
    expect_events(test,
                  "defined " UUID_1 "\nvalue " UUID_1 "\ndefined " UUID_2 "\nvalue " UUID_2 "\n");
}

static void
test_unavailable_value_is_not_lost_by_a_redefinition(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GError) error = NULL;

    prepare_two(test);
    spoil_key(test, flip_last_bit);
    before = folder_get(&test->secrets, UUID_1 ".key");
    custodian_open(test);
    define(test, UUID_1 " volume /a private about:new");
    error = try_define(test, UUID_1 " ceph /a private");
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "the value of secret " UUID_1 " would be lost by this redefinition");
    g_clear_error(&error);
    error = try_define(test, UUID_1 " volume /a private ephemeral");
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, "would be lost");
    expect_defined(test, UUID_1 " volume /a private about:new");
    folder_expect(&test->secrets, UUID_1 ".key", before);
    undefine(test, UUID_1);
    folder_expect_none(&test->secrets, UUID_1 ".key");
}

static void
test_values_of_two_secrets_are_not_exchanged(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    g_assert_cmpint(renameat2(test->secrets.fd, UUID_1 ".key", test->secrets.fd, UUID_2 ".key",
                              RENAME_EXCHANGE),
                    ==, 0);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "is that of secret " UUID_2);
    expect_no_value(test, UUID_2, ERROR_INVALID_SECRET, "is that of secret " UUID_1);
}

static void
test_private_flag_can_not_be_dropped_on_disk(struct custodian *test, gconstpointer unused)
{
    static const struct secret_reader root = {.is_local_root = true};
    g_autoptr(GError) error = NULL;

    prepare_two(test);
    put_xml(test, UUID_1 " volume /a");
    custodian_open(test);
    g_assert_null(get_value(test, UUID_1, &root, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "was sealed for another definition");
    /* Put right by a definition as it was. */
    define(test, UUID_1 " volume /a private");
    expect_value(test, UUID_1, "first");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

/* ---- the master key ---- */

static void
expect_locked(struct custodian *test, const char *reason)
{
    const char *given = secret_service_locked_reason(test->service);
    g_autoptr(GError) set_error = NULL;

    g_assert_nonnull(given);
    g_assert_nonnull(strstr(given, reason));
    expect_logged(test, "the daemon is locked, and values can be neither read nor set: ");
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID, reason);
    set_error = try_set_value(test, UUID_1, "new");
    expect_error_part(set_error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, reason);
}

static void
test_master_key_is_made_at_the_first_start(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    custodian_open(test);
    g_assert_null(secret_service_locked_reason(test->service));
    g_assert_true(g_file_test(test->master_key, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(test->slots, G_FILE_TEST_EXISTS));
}

static void
test_missing_key_file_locks_and_is_not_made(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    custodian_open(test);
    expect_locked(test, "cannot open the key file");
    expect_locked(test, "run 'virtcrypt master unlock'");
    g_assert_false(g_file_test(test->master_key, G_FILE_TEST_EXISTS));
    secret_service_reload(test->service);
    expect_locked(test, "cannot open the key file");
    g_assert_false(g_file_test(test->master_key, G_FILE_TEST_EXISTS));
}

/* Not even an empty file of a value is given up. */
static void
test_master_key_is_not_made_beside_any_value(struct custodian *test, gconstpointer unused)
{
    folder_put_text(&test->secrets, UUID_3 ".key", "");
    custodian_open(test);
    g_assert_nonnull(secret_service_locked_reason(test->service));
    g_assert_false(g_file_test(test->master_key, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(test->slots, G_FILE_TEST_EXISTS));
}

static void
test_locked_daemon_changes_definitions(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    expect_events(test,
                  "defined " UUID_1 "\nvalue " UUID_1 "\ndefined " UUID_2 "\nvalue " UUID_2 "\n");
    g_assert_cmpint(chmod(test->master_key, 0644), ==, 0);
    custodian_open(test);
    expect_locked(test, "is open to others");
    define(test, UUID_1 " volume /a private about:new");
    define(test, UUID_3 " volume /c");
    undefine(test, UUID_2);
    expect_no_value(test, UUID_3, ERROR_NO_SECRET, "does not have a value");
    expect_events(test, "defined " UUID_1 "\ndefined " UUID_3 "\nundefined " UUID_2 "\n");
    g_assert_cmpint(chmod(test->master_key, 0600), ==, 0);
    secret_service_reload(test->service);
    g_assert_null(secret_service_locked_reason(test->service));
    expect_value(test, UUID_1, "first");
    expect_undefined(test, UUID_2);
}

static void
test_locked_daemon_loses_no_value_by_a_redefinition(struct custodian *test, gconstpointer unused)
{
    g_autofree char *away = folder_path(&test->folder, "away");
    g_autoptr(GError) as_private = NULL;
    g_autoptr(GError) as_ephemeral = NULL;

    prepare_two(test);
    g_assert_cmpint(g_rename(test->master_key, away), ==, 0);
    custodian_open(test);
    as_private = try_define(test, UUID_2 " volume /b private");
    expect_error_part(as_private, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "the daemon is locked");
    as_ephemeral = try_define(test, UUID_2 " volume /b ephemeral");
    expect_error_part(as_ephemeral, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "the daemon is locked");
    g_assert_cmpint(g_rename(away, test->master_key), ==, 0);
    secret_service_reload(test->service);
    expect_value(test, UUID_2, "second");
}

static void
test_locked_daemon_has_ephemeral_values(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    custodian_open(test);
    define(test, UUID_3 " volume /c ephemeral");
    set_value(test, UUID_3, "in memory");
    expect_value(test, UUID_3, "in memory");
}

static void
test_another_master_key_locks(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) slots = NULL;

    prepare_two(test);
    slots = replace_slots(test);
    custodian_open(test);
    expect_locked(test, "were made with another master key than the present one; put that master "
                        "key back, or the file that goes with this one");
    g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 0);
    put_back_slots(test, slots);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "second");
}

/* One that opens is enough: then it is the other file that is foreign. */
static void
test_one_value_of_another_host_costs_one_value(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) foreign = NULL;

    prepare_two(test);
    foreign = folder_get(&test->secrets, UUID_1 ".key");
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".key", 0), ==, 0);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_2 ".key", 0), ==, 0);
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
    custodian_open(test);
    set_value(test, UUID_2, "of this host");
    custodian_close(test);
    folder_put(&test->secrets, UUID_1 ".key", g_bytes_get_data(foreign, NULL),
               g_bytes_get_size(foreign));
    custodian_open(test);
    g_assert_null(secret_service_locked_reason(test->service));
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed under a key that is not here");
    expect_value(test, UUID_2, "of this host");
}

/* ---- reload ---- */

static void
test_reload_takes_new_definitions(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    custodian_open(test);
    put_xml(test, UUID_3 " volume /c");
    secret_service_reload(test->service);
    expect_defined(test, UUID_3 " volume /c");
    expect_value(test, UUID_1, "first");
}

static void
test_reload_takes_changed_definitions(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    custodian_open(test);
    put_xml(test, UUID_1 " volume /a private about:changed");
    secret_service_reload(test->service);
    expect_defined(test, UUID_1 " volume /a private about:changed");
    expect_value(test, UUID_1, "first");
}

static void
test_reload_removes_nothing(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    custodian_open(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    folder_put_text(&test->secrets, UUID_2 ".xml", "torn");
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "second");
}

static void
test_reload_refuses_what_a_client_may_not_define(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    custodian_open(test);
    put_xml(test, UUID_1 " volume /a");
    put_xml(test, UUID_2 " volume /other");
    put_xml(test, UUID_3 " volume /b");
    secret_service_reload(test->service);
    expect_defined(test, UUID_1 " volume /a private");
    expect_defined(test, UUID_2 " volume /b");
    expect_undefined(test, UUID_3);
    expect_logged(test, UUID_1 ".xml: cannot change private flag on existing secret");
    expect_logged(test, UUID_2 ".xml: a secret with UUID " UUID_2 " is already defined");
    expect_logged(test, UUID_3 ".xml: a secret with UUID " UUID_2 " already defined");
}

static void
test_reload_leaves_ephemeral_secrets(struct custodian *test, gconstpointer unused)
{
    custodian_open(test);
    define(test, UUID_1 " volume /a ephemeral");
    set_value(test, UUID_1, "in memory");
    put_xml(test, UUID_1 " volume /a");
    secret_service_reload(test->service);
    expect_defined(test, UUID_1 " volume /a ephemeral");
    expect_value(test, UUID_1, "in memory");
    expect_logged(test, UUID_1 ".xml: there is an ephemeral secret of this uuid");
}

static void
test_reload_waits_for_changes_under_way(struct custodian *test, gconstpointer unused)
{
    g_auto(outcome_t) first = {0};
    g_auto(outcome_t) second = {0};

    custodian_open(test);
    start_define(test, UUID_1 " volume /a", &first);
    start_set_value(test, UUID_1, "v", &second);
    secret_service_reload(test->service);
    g_assert_cmpuint(first.calls + second.calls, ==, 2);
    expect_value(test, UUID_1, "v");
}

/* ---- many ---- */

static void
test_many_secrets_are_loaded(struct custodian *test, gconstpointer unused)
{
    enum { MANY = 500 };

    for (unsigned int i = 0; i < MANY; i++) {
        g_autofree char *words =
            g_strdup_printf("%08x-0000-4000-8000-000000000000 volume /v/%u", i * 7919, i);

        put_xml(test, words);
    }
    custodian_open(test);
    g_assert_cmpuint(secret_service_count(test->service), ==, MANY);
    for (unsigned int i = 0; i < MANY; i++) {
        g_autofree char *usage_id = g_strdup_printf("/v/%u", i);

        g_assert_nonnull(
            secret_service_find_usage(test->service, SECRET_USAGE_VOLUME, usage_id, NULL));
    }
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_load/" #name, struct custodian, NULL, set_up, test_##name,         \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(bad_definition_costs_one_secret);
    ADD(value_comes_back_with_its_definition);
    ADD(value_does_not_come_back_with_another_definition);
    ADD(second_definition_of_a_usage_is_skipped);
    ADD(values_without_definition_are_kept);
    ADD(definition_as_libvirt_writes_it_is_loaded);
    ADD(damaged_value_costs_one_value);
    ADD(unavailable_value_is_mended_by_setting_it);
    ADD(unavailable_value_is_mended_by_a_good_copy);
    ADD(unavailable_value_is_not_lost_by_a_redefinition);
    ADD(values_of_two_secrets_are_not_exchanged);
    ADD(private_flag_can_not_be_dropped_on_disk);
    ADD(master_key_is_made_at_the_first_start);
    ADD(missing_key_file_locks_and_is_not_made);
    ADD(master_key_is_not_made_beside_any_value);
    ADD(locked_daemon_changes_definitions);
    ADD(locked_daemon_loses_no_value_by_a_redefinition);
    ADD(locked_daemon_has_ephemeral_values);
    ADD(another_master_key_locks);
    ADD(one_value_of_another_host_costs_one_value);
    ADD(reload_takes_new_definitions);
    ADD(reload_takes_changed_definitions);
    ADD(reload_removes_nothing);
    ADD(reload_refuses_what_a_client_may_not_define);
    ADD(reload_leaves_ephemeral_secrets);
    ADD(reload_waits_for_changes_under_way);
    ADD(many_secrets_are_loaded);
    return g_test_run();
}
