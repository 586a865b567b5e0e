/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The secret service's rules for values: set-value and get-value with libvirt's errors in libvirt's
 * order of checks, and who may read what.
 */
#include "custodian.h"
#include "secret/sealed.h"

static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    custodian_open(test);
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

static void
test_value_is_sealed_on_disk(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = NULL;

    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "a secret value");
    expect_value(test, UUID_1, "a secret value");
    key = folder_get(&test->secrets, UUID_1 ".key");
    g_assert_null(memmem(g_bytes_get_data(key, NULL), g_bytes_get_size(key), "secret", 6));
    custodian_reopen(test);
    expect_value(test, UUID_1, "a secret value");
}

static void
test_each_value_is_of_the_next_generation(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    for (uint64_t expected = 1; expected <= 4; expected++) {
        g_autoptr(GBytes) key = NULL;
        uint64_t generation = 0;

        set_value(test, UUID_1, "v");
        if (expected == 2)
            custodian_reopen(test);
        key = folder_get(&test->secrets, UUID_1 ".key");
        g_assert_true(sealed_parse_generation(g_bytes_get_data(key, NULL), g_bytes_get_size(key),
                                              &generation));
        g_assert_cmpuint(generation, ==, expected);
    }
}

static void
test_empty_value_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    define(test, UUID_1 " volume /a");
    error = try_set_value(test, UUID_1, "");
    text = error_describe(error);
    g_assert_cmpint(error_get_code(error), ==, ERROR_INVALID_ARG);
    g_assert_cmpint(error_get_domain(error), ==, ERROR_FROM_SECRET);
    g_assert_cmpstr(text, ==, "value in virSecretSetValue must not be NULL");
}

static void
test_longest_value_is_64_kib(struct custodian *test, gconstpointer unused)
{
    g_autofree char *value = g_strnfill(65536, 'v');
    g_autofree char *longer = g_strnfill(65537, 'w');
    g_autoptr(GError) error = NULL;

    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, value);
    error = try_set_value(test, UUID_1, longer);
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                 "the value has 65537 bytes, more than the maximum of 65536");
    expect_value(test, UUID_1, value);
    custodian_reopen(test);
    expect_value(test, UUID_1, value);
}

static void
test_value_of_an_unknown_secret_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = try_set_value(test, UUID_1, "v");

    expect_error(error, ERROR_NO_SECRET, ERROR_FROM_SECRET,
                 "no secret with matching uuid '" UUID_1 "'");
    expect_no_value(test, UUID_1, ERROR_NO_SECRET, "no secret with matching uuid '" UUID_1 "'");
    expect_events(test, "");
}

static void
test_has_value_tells(struct custodian *test, gconstpointer unused)
{
    struct uuid uuid = uuid_of(UUID_1);

    g_assert_false(secret_service_has_value(test->service, &uuid));
    define(test, UUID_1 " volume /a");
    g_assert_false(secret_service_has_value(test->service, &uuid));
    set_value(test, UUID_1, "v");
    g_assert_true(secret_service_has_value(test->service, &uuid));
}

/* What each reader is told with each setting; "" stands for the value. */
static const struct {
    enum secret_readback readback;
    struct secret_reader reader;
    bool is_private;
    const char *refusal;
    enum error_code code;
} readings[] = {
    {SECRET_READBACK_ANY, {false, false}, false, ""},
    {SECRET_READBACK_ANY, {false, true}, false, ""},
    {SECRET_READBACK_ANY, {true, false}, false, ""},
    {SECRET_READBACK_ANY, {false, false}, true, "secret is private", ERROR_INVALID_SECRET},
    {SECRET_READBACK_ANY, {false, true}, true, "secret is private", ERROR_INVALID_SECRET},
    {SECRET_READBACK_ANY, {true, false}, true, ""},
    {SECRET_READBACK_LOCAL_ROOT,
     {false, false},
     false,
     "values are given to guests, and to root by 'virtcrypt secret-get-value' (the setting "
     "value_readback is \"local-root\")",
     ERROR_OPERATION_DENIED},
    {SECRET_READBACK_LOCAL_ROOT, {false, true}, false, ""},
    {SECRET_READBACK_LOCAL_ROOT, {false, true}, true, "secret is private", ERROR_INVALID_SECRET},
    {SECRET_READBACK_LOCAL_ROOT, {true, false}, true, ""},
    {SECRET_READBACK_NEVER,
     {false, true},
     false,
     "values are given to guests only (the setting value_readback is \"never\")",
     ERROR_OPERATION_DENIED},
    {SECRET_READBACK_NEVER, {false, true}, true, "secret is private", ERROR_INVALID_SECRET},
    {SECRET_READBACK_NEVER, {true, true}, true, ""},
    {SECRET_READBACK_NEVER, {true, false}, false, ""},
};

static void
test_readers_get_what_the_setting_allows(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    define(test, UUID_2 " volume /b private");
    set_value(test, UUID_1, "v");
    set_value(test, UUID_2, "v");
    for (size_t i = 0; i < G_N_ELEMENTS(readings); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(secret_buf_t) value = NULL;

        test->readback = readings[i].readback;
        custodian_reopen(test);
        value =
            get_value(test, readings[i].is_private ? UUID_2 : UUID_1, &readings[i].reader, &error);
        if (readings[i].refusal[0] == '\0')
            g_assert_cmpuint(secret_buf_len(value), ==, 1);
        else
            expect_error(error, readings[i].code, ERROR_FROM_SECRET, readings[i].refusal);
    }
}

/* As libvirt: what the reader may not know comes before what is there. */
static void
test_refusals_come_before_a_missing_value(struct custodian *test, gconstpointer unused)
{
    static const struct secret_reader nobody = {false, false};
    g_autoptr(GError) is_private = NULL;
    g_autoptr(GError) is_denied = NULL;

    define(test, UUID_1 " volume /a private");
    define(test, UUID_2 " volume /b");
    test->readback = SECRET_READBACK_NEVER;
    custodian_reopen(test);
    g_assert_null(get_value(test, UUID_1, &nobody, &is_private));
    expect_error(is_private, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, "secret is private");
    g_assert_null(get_value(test, UUID_2, &nobody, &is_denied));
    expect_error_part(is_denied, ERROR_OPERATION_DENIED, ERROR_FROM_SECRET, "value_readback");
    expect_no_value(test, UUID_2, ERROR_NO_SECRET, "secret '" UUID_2 "' does not have a value");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_value/" #name, struct custodian, NULL, set_up, test_##name,        \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(value_is_sealed_on_disk);
    ADD(each_value_is_of_the_next_generation);
    ADD(empty_value_is_refused);
    ADD(longest_value_is_64_kib);
    ADD(value_of_an_unknown_secret_is_refused);
    ADD(has_value_tells);
    ADD(readers_get_what_the_setting_allows);
    ADD(refusals_come_before_a_missing_value);
    return g_test_run();
}
