/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Errors with libvirt's numbers and texts, which libvirt's own header confirms.
 */
#include <errno.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "expect.h"

#define SAME(ours, theirs)                                                                         \
    {                                                                                              \
#ours, (int)(ours), (int)(theirs)                                                          \
    }

static void
test_numbers_are_libvirts(void)
{
    static const struct {
        const char *name;
        int ours;
        int theirs;
    } numbers[] = {
        SAME(ERROR_INTERNAL, VIR_ERR_INTERNAL_ERROR),
        SAME(ERROR_NO_MEMORY, VIR_ERR_NO_MEMORY),
        SAME(ERROR_NO_SUPPORT, VIR_ERR_NO_SUPPORT),
        SAME(ERROR_NO_CONNECT, VIR_ERR_NO_CONNECT),
        SAME(ERROR_INVALID_CONN, VIR_ERR_INVALID_CONN),
        SAME(ERROR_INVALID_ARG, VIR_ERR_INVALID_ARG),
        SAME(ERROR_OPERATION_FAILED, VIR_ERR_OPERATION_FAILED),
        SAME(ERROR_XML, VIR_ERR_XML_ERROR),
        SAME(ERROR_OPERATION_DENIED, VIR_ERR_OPERATION_DENIED),
        SAME(ERROR_CONF_SYNTAX, VIR_ERR_CONF_SYNTAX),
        SAME(ERROR_XML_DETAIL, VIR_ERR_XML_DETAIL),
        SAME(ERROR_SYSTEM, VIR_ERR_SYSTEM_ERROR),
        SAME(ERROR_RPC, VIR_ERR_RPC),
        SAME(ERROR_AUTH_FAILED, VIR_ERR_AUTH_FAILED),
        SAME(ERROR_OPERATION_INVALID, VIR_ERR_OPERATION_INVALID),
        SAME(ERROR_INVALID_SECRET, VIR_ERR_INVALID_SECRET),
        SAME(ERROR_NO_SECRET, VIR_ERR_NO_SECRET),
        SAME(ERROR_CONFIG_UNSUPPORTED, VIR_ERR_CONFIG_UNSUPPORTED),
        SAME(ERROR_OPERATION_TIMEOUT, VIR_ERR_OPERATION_TIMEOUT),
        SAME(ERROR_ARGUMENT_UNSUPPORTED, VIR_ERR_ARGUMENT_UNSUPPORTED),
        SAME(ERROR_AUTH_CANCELLED, VIR_ERR_AUTH_CANCELLED),
        SAME(ERROR_OVERFLOW, VIR_ERR_OVERFLOW),
        SAME(ERROR_OPERATION_UNSUPPORTED, VIR_ERR_OPERATION_UNSUPPORTED),
        SAME(ERROR_RESOURCE_BUSY, VIR_ERR_RESOURCE_BUSY),
        SAME(ERROR_ACCESS_DENIED, VIR_ERR_ACCESS_DENIED),
        SAME(ERROR_XML_INVALID_SCHEMA, VIR_ERR_XML_INVALID_SCHEMA),
        SAME(ERROR_AUTH_UNAVAILABLE, VIR_ERR_AUTH_UNAVAILABLE),
        SAME(ERROR_FROM_NONE, VIR_FROM_NONE),
        SAME(ERROR_FROM_XML, VIR_FROM_XML),
        SAME(ERROR_FROM_RPC, VIR_FROM_RPC),
        SAME(ERROR_FROM_CONF, VIR_FROM_CONF),
        SAME(ERROR_FROM_REMOTE, VIR_FROM_REMOTE),
        SAME(ERROR_FROM_DOMAIN, VIR_FROM_DOMAIN),
        SAME(ERROR_FROM_SECRET, VIR_FROM_SECRET),
        SAME(ERROR_FROM_AUTH, VIR_FROM_AUTH),
        SAME(ERROR_FROM_IDENTITY, VIR_FROM_IDENTITY),
        SAME(ERROR_FROM_ACCESS, VIR_FROM_ACCESS),
        SAME(ERROR_FROM_POLKIT, VIR_FROM_POLKIT),
    };

    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (numbers[i].ours != numbers[i].theirs)
            g_error("%s is %d, libvirt has %d", numbers[i].name, numbers[i].ours,
                    numbers[i].theirs);
    }
}

static void
test_an_error_carries_code_domain_and_detail(void)
{
    g_autoptr(GError) error = NULL;

    error_set(&error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no secret with uuid '%s'", "x");
    expect_error(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, "no secret with uuid 'x'");
    g_assert_true(error_is(error, ERROR_NO_SECRET));
    g_assert_false(error_is(error, ERROR_XML));
    g_assert_cmpint(error_get_errno(error), ==, 0);
}

static void
test_a_description_adds_the_class_text(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    error_set(&error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "100%% of it");
    text = error_describe(error);
    g_assert_cmpstr(text, ==, "Secret not found: 100% of it");
}

static void
test_every_class_text_has_one_place_for_the_detail(void)
{
    for (int code = -1; code < 120; code++) {
        const char *format = error_class_format(code);
        const char *mark = strchr(format, '%');

        g_assert_nonnull(mark);
        g_assert_true(mark[1] == 's');
        g_assert_null(strchr(mark + 1, '%'));
    }
}

static void
test_a_code_without_class_text_is_described_by_its_detail(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    error_set(&error, ERROR_FROM_RPC, ERROR_RPC, "bad");
    text = error_describe(error);
    g_assert_cmpstr(text, ==, "bad");
}

static void
test_a_system_error_carries_errno_and_its_text(void)
{
    g_autoptr(GError) error = NULL;

    error_set_errno(&error, ERROR_FROM_NONE, ENOENT, "cannot open %s", "x");
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_NONE, "cannot open x: No such file or directory");
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_a_remote_error_is_complete_already(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    error_set_remote(&error, 30, 66, "Secret not found: x %s");
    text = error_describe(error);
    g_assert_cmpstr(text, ==, "Secret not found: x %s");
    g_assert_cmpint(error_get_code(error), ==, 66);
    g_assert_cmpint(error_get_domain(error), ==, 30);
}

static void
test_fields_survive_copy_prefix_and_propagation(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) copy = NULL;
    GError *inner = NULL;

    error_set_errno(&inner, ERROR_FROM_SECRET, EIO, "read");
    g_propagate_prefixed_error(&error, inner, "file: ");
    copy = g_error_copy(error);
    expect_error(copy, ERROR_SYSTEM, ERROR_FROM_SECRET, "file: read: Input/output error");
    g_assert_cmpint(error_get_errno(copy), ==, EIO);
}

static void
test_a_foreign_error_is_internal(void)
{
    g_autoptr(GError) error = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_IO, "x");
    g_autofree char *text = error_describe(error);

    g_assert_cmpint(error_get_code(error), ==, ERROR_INTERNAL);
    g_assert_cmpint(error_get_domain(error), ==, ERROR_FROM_NONE);
    g_assert_cmpint(error_get_errno(error), ==, 0);
    g_assert_cmpstr(text, ==, "internal error: x");
}

static void
test_nobody_has_to_want_the_error(void)
{
    error_set(NULL, ERROR_FROM_SECRET, ERROR_XML, "x");
    error_set_errno(NULL, ERROR_FROM_SECRET, EIO, "x");
    error_set_remote(NULL, 1, 1, "x");
}

#define ADD(name) g_test_add_func("/util/error/" #name, test_##name)

static void
test_a_refused_argument_names_function_and_parameter(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) copy = NULL;
    g_autofree char *text = NULL;

    error_set_argument(&error, ERROR_FROM_SECRET, "secretGetValue", "flags",
                       "unsupported flags (0x%x) in function %s", 4, "secretGetValue");
    copy = g_error_copy(error);
    expect_error(copy, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                 "unsupported flags (0x4) in function secretGetValue");
    g_assert_cmpstr(error_get_function(copy), ==, "secretGetValue");
    g_assert_cmpstr(error_get_parameter(copy), ==, "flags");
    text = error_describe(copy);
    g_assert_cmpstr(text, ==, "unsupported flags (0x4) in function secretGetValue");
}

static void
test_other_errors_name_no_function(void)
{
    g_autoptr(GError) error = NULL;

    error_set(&error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "x");
    g_assert_null(error_get_function(error));
    g_assert_null(error_get_parameter(error));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(numbers_are_libvirts);
    ADD(an_error_carries_code_domain_and_detail);
    ADD(a_description_adds_the_class_text);
    ADD(every_class_text_has_one_place_for_the_detail);
    ADD(a_code_without_class_text_is_described_by_its_detail);
    ADD(a_system_error_carries_errno_and_its_text);
    ADD(a_remote_error_is_complete_already);
    ADD(fields_survive_copy_prefix_and_propagation);
    ADD(a_foreign_error_is_internal);
    ADD(nobody_has_to_want_the_error);
    ADD(a_refused_argument_names_function_and_parameter);
    ADD(other_errors_name_no_function);
    return g_test_run();
}
