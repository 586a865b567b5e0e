/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What clients of libvirt do to secrets and the audit has a line of, and what needs none.
 */
#include "conf/audit_line.h"
#include "custodian.h"

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

/* Its lines, which have to be in an unbroken chain. */
static char **
read_audit(const struct custodian *test)
{
    struct audit_line_chain chain;
    g_autofree char *text = NULL;
    char **lines;

    g_file_get_contents(test->audit, &text, NULL, NULL);
    lines = g_strsplit(text ? g_strchomp(text) : "", "\n", -1);
    audit_line_chain_init(&chain);
    for (char **line = lines; *line; line++)
        g_assert_true(audit_line_verify(&chain, *line, strlen(*line), NULL));
    return lines;
}

static void
test_an_undefined_value_has_a_line(struct custodian *test, gconstpointer unused)
{
    g_auto(GStrv) lines = NULL;

    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "first value");
    set_value(test, UUID_1, "second value");
    undefine(test, UUID_1);
    lines = read_audit(test);
    g_assert_cmpuint(g_strv_length(lines), ==, 1);
    g_assert_nonnull(strstr(lines[0], "\"event\":\"undefine\",\"secret\":\"" UUID_1
                                      "\",\"guest\":null,\"reason\":\"undefined by a client\","
                                      "\"generation\":2,\"id\":\""));
}

static void
test_each_has_one_over_restarts(struct custodian *test, gconstpointer unused)
{
    g_auto(GStrv) lines = NULL;

    define(test, UUID_1 " volume /a");
    define(test, UUID_2 " volume /b");
    set_value(test, UUID_1, "value");
    set_value(test, UUID_2, "value");
    undefine(test, UUID_2);
    custodian_reopen(test);
    undefine(test, UUID_1);
    custodian_reopen(test);
    lines = read_audit(test);
    g_assert_cmpuint(g_strv_length(lines), ==, 2);
    g_assert_nonnull(strstr(lines[0], UUID_2));
    g_assert_nonnull(strstr(lines[1], UUID_1));
}

static void
test_where_no_value_is_on_disk_there_is_no_line(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_1 " volume /a");
    undefine(test, UUID_1);
    define(test, UUID_2 " ephemeral volume /b");
    set_value(test, UUID_2, "value");
    undefine(test, UUID_2);
    g_assert_false(g_file_test(test->audit, G_FILE_TEST_EXISTS));
}

static void
test_without_a_line_no_value_is_erased(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_path_get_dirname(test->audit);

    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "value");
    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert_cmpint(symlink("/dev/null", test->audit), ==, 0);
    error = try_undefine(test, UUID_1);
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "/lib/audit.log is not a regular file of root's; move it away");
    expect_value(test, UUID_1, "value");
    g_assert_cmpint(g_remove(test->audit), ==, 0);
    undefine(test, UUID_1);
    g_assert_true(g_file_test(test->audit, G_FILE_TEST_IS_REGULAR));
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_audit/" #name, struct custodian, NULL, set_up, test_##name,        \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(an_undefined_value_has_a_line);
    ADD(each_has_one_over_restarts);
    ADD(where_no_value_is_on_disk_there_is_no_line);
    ADD(without_a_line_no_value_is_erased);
    return g_test_run();
}
