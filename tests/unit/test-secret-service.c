/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The secret service's rules for definitions: define, redefine, undefine, look up, list, with
 * libvirt's errors; changes at the same time; and what listeners hear of it. Values are in
 * test-secret-service_value.c.
 */
#include "custodian.h"

static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    custodian_open(test);
}

static void
set_up_without_disk(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    test->without_disk = true;
    custodian_open(test);
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

/* ---- define ---- */

static void
test_defined_secret_is_there_and_on_disk(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) xml = NULL;

    define(test, UUID_1 " volume /a private about:mine");
    expect_defined(test, UUID_1 " volume /a private about:mine");
    expect_events(test, "defined " UUID_1 "\n");
    xml = folder_get(&test->secrets, UUID_1 ".xml");
    g_assert_nonnull(xml);
    folder_expect_none(&test->secrets, UUID_1 ".key");
    custodian_reopen(test);
    expect_defined(test, UUID_1 " volume /a private about:mine");
    expect_events(test, "");
}

static void
test_usage_in_use_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    define(test, UUID_1 " volume /a");
    expect_events(test, "defined " UUID_1 "\n");
    error = try_define(test, UUID_2 " volume /a");
    expect_error(error, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "a secret with UUID " UUID_1 " already defined for use with /a");
    expect_events(test, "");
    expect_undefined(test, UUID_2);
    folder_expect_none(&test->secrets, UUID_2 ".xml");
}

static void
test_same_id_of_another_usage_type_is_free(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " ceph a");
    define(test, UUID_2 " iscsi a");
    define(test, UUID_3 " tls a");
    g_assert_cmpuint(secret_service_count(test->service), ==, 3);
}

static void
test_secrets_without_usage_do_not_exclude_each_other(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1);
    define(test, UUID_2);
    g_assert_cmpuint(secret_service_count(test->service), ==, 2);
}

static void
test_redefinition_with_another_usage_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) other = NULL;
    g_autoptr(GError) none = NULL;

    define(test, UUID_1 " volume /a");
    other = try_define(test, UUID_1 " volume /b");
    expect_error(other, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "a secret with UUID " UUID_1 " is already defined for use with /a");
    none = try_define(test, UUID_1);
    expect_error(none, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "a secret with UUID " UUID_1 " is already defined for use with /a");
    expect_defined(test, UUID_1 " volume /a");
}

static void
test_redefinition_of_no_usage_with_one_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    define(test, UUID_1);
    error = try_define(test, UUID_1 " volume /a");
    expect_error(error, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "a secret with UUID " UUID_1 " is already defined for use with (null)");
}

static void
test_private_can_not_be_dropped(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    define(test, UUID_1 " volume /a private");
    error = try_define(test, UUID_1 " volume /a");
    expect_error(error, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "cannot change private flag on existing secret");
    expect_defined(test, UUID_1 " volume /a private");
}

static void
test_other_usage_is_told_before_the_private_flag(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    define(test, UUID_1 " volume /a private");
    error = try_define(test, UUID_1 " volume /b");
    expect_error(error, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "a secret with UUID " UUID_1 " is already defined for use with /a");
}

static void
test_redefinition_keeps_the_value(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "kept");
    define(test, UUID_1 " volume /a about:new");
    expect_value(test, UUID_1, "kept");
    expect_events(test, "defined " UUID_1 "\nvalue " UUID_1 "\ndefined " UUID_1 "\n");
    custodian_reopen(test);
    expect_defined(test, UUID_1 " volume /a about:new");
    expect_value(test, UUID_1, "kept");
}

/* The value is bound to the flag: it has to be sealed again. */
static void
test_redefinition_as_private_seals_the_value_again(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) after = NULL;

    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "kept");
    before = folder_get(&test->secrets, UUID_1 ".key");
    define(test, UUID_1 " volume /a private");
    expect_value(test, UUID_1, "kept");
    after = folder_get(&test->secrets, UUID_1 ".key");
    g_assert_false(g_bytes_equal(before, after));
    custodian_reopen(test);
    expect_value(test, UUID_1, "kept");
    /* The file of before, under the definition of now, is not taken. */
    custodian_close(test);
    folder_put(&test->secrets, UUID_1 ".key", g_bytes_get_data(before, NULL),
               g_bytes_get_size(before));
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed for another definition");
}

static void
test_redefinition_with_another_usage_type_moves_the_secret(struct custodian *test,
                                                           gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "kept");
    define(test, UUID_1 " ceph /a");
    g_assert_null(secret_service_find_usage(test->service, SECRET_USAGE_VOLUME, "/a", NULL));
    g_assert_nonnull(secret_service_find_usage(test->service, SECRET_USAGE_CEPH, "/a", NULL));
    custodian_reopen(test);
    expect_value(test, UUID_1, "kept");
}

static void
test_redefinition_with_a_usage_type_that_is_taken_is_refused(struct custodian *test,
                                                             gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    define(test, UUID_1 " volume a");
    define(test, UUID_2 " ceph a");
    error = try_define(test, UUID_2 " volume a");
    expect_error(error, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "a secret with UUID " UUID_1 " already defined for use with a");
}

static void
test_value_moves_between_disk_and_memory_with_its_secret(struct custodian *test,
                                                         gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "moved");
    define(test, UUID_1 " volume /a ephemeral");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
    g_assert_cmpuint(secret_service_count_ephemeral(test->service), ==, 1);
    expect_value(test, UUID_1, "moved");
    define(test, UUID_1 " volume /a");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2);
    g_assert_cmpuint(secret_service_count_ephemeral(test->service), ==, 0);
    expect_value(test, UUID_1, "moved");
    custodian_reopen(test);
    expect_value(test, UUID_1, "moved");
}

static void
test_ephemeral_secret_is_nowhere_on_disk(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a ephemeral");
    set_value(test, UUID_1, "in memory");
    set_value(test, UUID_1, "replaced");
    expect_value(test, UUID_1, "replaced");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
    expect_events(test, "defined " UUID_1 "\nvalue " UUID_1 "\nvalue " UUID_1 "\n");
    custodian_reopen(test);
    expect_undefined(test, UUID_1);
}

static void
test_ephemeral_secret_without_value_becomes_persistent(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a ephemeral");
    define(test, UUID_1 " volume /a");
    custodian_reopen(test);
    expect_defined(test, UUID_1 " volume /a");
    expect_no_value(test, UUID_1, ERROR_NO_SECRET, "secret '" UUID_1 "' does not have a value");
}

/* ---- undefine ---- */

static void
test_undefined_secret_leaves_nothing(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "v");
    expect_events(test, "defined " UUID_1 "\nvalue " UUID_1 "\n");
    undefine(test, UUID_1);
    expect_events(test, "undefined " UUID_1 "\n");
    expect_undefined(test, UUID_1);
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
    error = try_undefine(test, UUID_1);
    expect_error(error, ERROR_NO_SECRET, ERROR_FROM_SECRET,
                 "no secret with matching uuid '" UUID_1 "'");
    expect_events(test, "");
}

static void
test_usage_of_an_undefined_secret_is_free(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    undefine(test, UUID_1);
    define(test, UUID_2 " volume /a");
    expect_defined(test, UUID_2 " volume /a");
}

static void
test_secret_that_is_defined_again_has_no_value(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "v");
    undefine(test, UUID_1);
    define(test, UUID_1 " volume /a");
    expect_no_value(test, UUID_1, ERROR_NO_SECRET, "does not have a value");
}

/* ---- look up and list ---- */

static void
test_unknown_usages_are_not_found(struct custodian *test, gconstpointer unused)
{
    static const int types[] = {SECRET_USAGE_NONE, SECRET_USAGE_VOLUME, SECRET_USAGE_VTPM, 6, -1};

    define(test, UUID_1 " ceph /a");
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(secret_service_find_usage(test->service, types[i], "/a", &error));
        expect_error(error, ERROR_NO_SECRET, ERROR_FROM_SECRET,
                     "no secret with matching usage '/a'");
    }
}

static void
define_one_of_each_kind(struct custodian *test)
{
    define(test, UUID_1 " volume /a");
    define(test, UUID_2 " volume /b private");
    define(test, UUID_3 " volume /c ephemeral");
    define(test, "44444444-4444-4444-8444-444444444444 volume /d ephemeral private");
}

static void
test_list_is_filtered_as_asked(struct custodian *test, gconstpointer unused)
{
    define_one_of_each_kind(test);
    for (unsigned int flags = 0; flags < 16; flags++) {
        g_autoptr(GPtrArray) defs = secret_service_list(test->service, flags);
        unsigned int of_ephemeral = (flags & 3) == 1 || (flags & 3) == 2 ? 1 : 2;
        unsigned int of_private = (flags & 12) == 4 || (flags & 12) == 8 ? 1 : 2;

        g_assert_cmpuint(defs->len, ==, of_ephemeral * of_private);
        for (guint i = 0; i < defs->len; i++) {
            const struct secret_def *def = g_ptr_array_index(defs, i);

            g_assert_true((flags & 3) == 0 || (flags & (def->is_ephemeral ? 1 : 2)));
            g_assert_true((flags & 12) == 0 || (flags & (def->is_private ? 4 : 8)));
        }
    }
}

static void
test_pages_follow_each_other(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GPtrArray) first = NULL;
    g_autoptr(GPtrArray) second = NULL;
    g_autoptr(GPtrArray) third = NULL;
    const struct secret_def *last;

    define_one_of_each_kind(test);
    first = secret_service_list_page(test->service, NULL, 3);
    g_assert_cmpuint(first->len, ==, 3);
    last = g_ptr_array_index(first, 2);
    second = secret_service_list_page(test->service, &last->uuid, 3);
    g_assert_cmpuint(second->len, ==, 1);
    last = g_ptr_array_index(second, 0);
    g_assert_cmpstr(last->usage_id, ==, "/d");
    third = secret_service_list_page(test->service, &last->uuid, 3);
    g_assert_cmpuint(third->len, ==, 0);
}

/* ---- several changes at once ---- */

static void
test_changes_of_one_secret_end_in_their_order(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GString) order = g_string_new(NULL);
    struct outcome outcomes[6];

    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++)
        outcomes[i] = (struct outcome){.order = order};
    outcomes[0].name = "define";
    start_define(test, UUID_1 " volume /a", &outcomes[0]);
    outcomes[1].name = "first";
    start_set_value(test, UUID_1, "first", &outcomes[1]);
    outcomes[2].name = "second";
    start_set_value(test, UUID_1, "second", &outcomes[2]);
    outcomes[3].name = "private";
    start_define(test, UUID_1 " volume /a private", &outcomes[3]);
    outcomes[4].name = "undefine";
    start_undefine(test, UUID_1, &outcomes[4]);
    outcomes[5].name = "again";
    start_define(test, UUID_1 " volume /b", &outcomes[5]);
    secret_service_drain(test->service);
    for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++)
        g_assert_no_error(outcomes[i].error);
    g_assert_cmpstr(order->str, ==, "define first second private undefine again ");
    expect_events(test, "defined " UUID_1 "\nvalue " UUID_1 "\nvalue " UUID_1 "\ndefined " UUID_1
                        "\nundefined " UUID_1 "\ndefined " UUID_1 "\n");
    expect_defined(test, UUID_1 " volume /b");
    custodian_reopen(test);
    expect_defined(test, UUID_1 " volume /b");
    expect_no_value(test, UUID_1, ERROR_NO_SECRET, "does not have a value");
}

static void
test_nothing_is_visible_before_it_is_durable(struct custodian *test, gconstpointer unused)
{
    g_auto(outcome_t) define_outcome = {0};
    g_auto(outcome_t) value_outcome = {0};

    start_define(test, UUID_1 " volume /a", &define_outcome);
    expect_undefined(test, UUID_1);
    g_assert_null(secret_service_find_usage(test->service, SECRET_USAGE_VOLUME, "/a", NULL));
    expect_events(test, "");
    secret_service_drain(test->service);
    set_value(test, UUID_1, "old");
    start_set_value(test, UUID_1, "new", &value_outcome);
    expect_value(test, UUID_1, "old");
    secret_service_drain(test->service);
    expect_value(test, UUID_1, "new");
}

static void
test_usage_of_a_definition_under_way_is_taken(struct custodian *test, gconstpointer unused)
{
    g_auto(outcome_t) first = {0};
    g_auto(outcome_t) second = {0};

    start_define(test, UUID_1 " volume /a", &first);
    start_define(test, UUID_2 " volume /a", &second);
    secret_service_drain(test->service);
    g_assert_no_error(first.error);
    expect_error(second.error, ERROR_INTERNAL, ERROR_FROM_SECRET,
                 "a secret with UUID " UUID_1 " already defined for use with /a");
    undefine(test, UUID_1);
    define(test, UUID_2 " volume /a");
}

struct chain {
    struct custodian *test;
    struct outcome outcome;
};

static void
undefine_when_defined(void *opaque, const struct secret_def *def, const GError *error)
{
    struct chain *chain = opaque;

    g_assert_no_error(error);
    secret_service_undefine(chain->test->service, &def->uuid, outcome_note, &chain->outcome);
}

static void
test_change_may_follow_from_the_end_of_another(struct custodian *test, gconstpointer unused)
{
    g_autofree char *xml = xml_of(UUID_1 " volume /a");
    struct chain chain = {.test = test};

    secret_service_define(test->service, def_of(xml), undefine_when_defined, &chain);
    secret_service_drain(test->service);
    g_assert_cmpuint(chain.outcome.calls, ==, 1);
    g_assert_no_error(chain.outcome.error);
    expect_undefined(test, UUID_1);
    expect_events(test, "defined " UUID_1 "\nundefined " UUID_1 "\n");
}

static void
test_change_under_way_survives_the_services_end(struct custodian *test, gconstpointer unused)
{
    g_auto(outcome_t) outcome = {0};

    start_define(test, UUID_1 " volume /a", &outcome);
    custodian_reopen(test);
    g_assert_cmpuint(outcome.calls, ==, 0);
    expect_defined(test, UUID_1 " volume /a");
}

static void
test_failed_commit_leaves_the_old_state(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) define_error = NULL;

    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "old");
    expect_events(test, "defined " UUID_1 "\nvalue " UUID_1 "\n");
    /* No file can take the place of a folder. */
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".key", 0), ==, 0);
    g_assert_cmpint(mkdirat(test->secrets.fd, UUID_1 ".key", 0700), ==, 0);
    error = try_set_value(test, UUID_1, "new");
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, UUID_1 ".key");
    expect_value(test, UUID_1, "old");
    g_assert_cmpint(mkdirat(test->secrets.fd, UUID_2 ".xml", 0700), ==, 0);
    define_error = try_define(test, UUID_2 " volume /b");
    expect_error_part(define_error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, UUID_2 ".xml");
    expect_undefined(test, UUID_2);
    expect_events(test, "");
    /* The usage is free again. */
    define(test, UUID_3 " volume /b");
}

/* ---- without a folder ---- */

static void
test_without_disk_all_is_kept_in_memory(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "v");
    define(test, UUID_1 " volume /a private");
    expect_value(test, UUID_1, "v");
    define(test, UUID_1 " volume /a private ephemeral");
    expect_value(test, UUID_1, "v");
    secret_service_reload(test->service);
    g_assert_null(secret_service_locked_reason(test->service));
    undefine(test, UUID_1);
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
    g_assert_false(g_file_test(test->master_key, G_FILE_TEST_EXISTS));
    expect_events(test, "defined " UUID_1 "\nvalue " UUID_1 "\ndefined " UUID_1 "\ndefined " UUID_1
                        "\nundefined " UUID_1 "\n");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service/" #name, struct custodian, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(defined_secret_is_there_and_on_disk);
    ADD(usage_in_use_is_refused);
    ADD(same_id_of_another_usage_type_is_free);
    ADD(secrets_without_usage_do_not_exclude_each_other);
    ADD(redefinition_with_another_usage_is_refused);
    ADD(redefinition_of_no_usage_with_one_is_refused);
    ADD(private_can_not_be_dropped);
    ADD(other_usage_is_told_before_the_private_flag);
    ADD(redefinition_keeps_the_value);
    ADD(redefinition_as_private_seals_the_value_again);
    ADD(redefinition_with_another_usage_type_moves_the_secret);
    ADD(redefinition_with_a_usage_type_that_is_taken_is_refused);
    ADD(value_moves_between_disk_and_memory_with_its_secret);
    ADD(ephemeral_secret_is_nowhere_on_disk);
    ADD(ephemeral_secret_without_value_becomes_persistent);
    ADD(undefined_secret_leaves_nothing);
    ADD(usage_of_an_undefined_secret_is_free);
    ADD(secret_that_is_defined_again_has_no_value);
    ADD(unknown_usages_are_not_found);
    ADD(list_is_filtered_as_asked);
    ADD(pages_follow_each_other);
    ADD(changes_of_one_secret_end_in_their_order);
    ADD(nothing_is_visible_before_it_is_durable);
    ADD(usage_of_a_definition_under_way_is_taken);
    ADD(change_may_follow_from_the_end_of_another);
    ADD(change_under_way_survives_the_services_end);
    ADD(failed_commit_leaves_the_old_state);
    g_test_add("/secret/service/without_disk_all_is_kept_in_memory", struct custodian, NULL,
               set_up_without_disk, test_without_disk_all_is_kept_in_memory, tear_down);
    return g_test_run();
}
