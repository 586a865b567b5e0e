/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Policies of pools: what is written is read back, and nothing unknown passes for no policy.
 */
#include <string.h>

#include "conf/pool_policy.h"
#include "expect.h"

static void
expect_refused(const char *xml, enum error_code code, const char *detail)
{
    enum pool_policy policy = POOL_POLICY_LAST;
    g_autoptr(GError) error = NULL;

    g_assert_false(pool_policy_parse("p", xml, strlen(xml), &policy, &error));
    expect_error(error, code, ERROR_FROM_STORAGE, detail);
    g_assert_cmpint(policy, ==, POOL_POLICY_LAST);
}

static void
test_a_policy_is_read_as_it_was_written(void)
{
    static const char pool[] = " a<b>&'\"\u20ac";

    for (int i = 0; i < POOL_POLICY_LAST; i++) {
        g_autofree char *xml = pool_policy_format(pool, (enum pool_policy)i);
        enum pool_policy policy = POOL_POLICY_LAST;
        g_autoptr(GError) error = NULL;

        pool_policy_parse(pool, xml, strlen(xml), &policy, &error);
        g_assert_no_error(error);
        g_assert_cmpint(policy, ==, i);
    }
}

static void
test_the_form_of_a_policy(void)
{
    g_autofree char *xml = pool_policy_format("p", POOL_POLICY_DM_CRYPT);

    g_assert_cmpstr(xml, ==, "<pool>\n  <name>p</name>\n  <encrypt policy='dm-crypt'/>\n</pool>\n");
}

static void
test_policies_are_found_by_their_names(void)
{
    enum pool_policy policy = POOL_POLICY_NONE;
    g_autoptr(GError) error = NULL;

    g_assert_true(pool_policy_find("luks", &policy, NULL));
    g_assert_cmpint(policy, ==, POOL_POLICY_LUKS);
    g_assert_false(pool_policy_find("LUKS", &policy, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_STORAGE,
                 "unknown pool policy 'LUKS': it can be 'none', 'luks' or 'dm-crypt'");
}

static void
test_a_policy_that_says_nothing_is_refused(void)
{
    static const char detail[] = "this is no policy of pool 'p': <name> or <encrypt policy=''> is "
                                 "missing or another's";

    expect_refused("<pool/>", ERROR_XML, detail);
    expect_refused("<pool><name>p</name></pool>", ERROR_XML, detail);
    expect_refused("<pool><name>p</name><encrypt/></pool>", ERROR_XML, detail);
    expect_refused("<pool><name>q</name><encrypt policy='luks'/></pool>", ERROR_XML, detail);
    expect_refused("<pool><encrypt policy='luks'/></pool>", ERROR_XML, detail);
}

static void
test_what_is_unknown_is_refused_by_name(void)
{
    expect_refused("<pool><name>p</name><encrypt policy='soon'/></pool>", ERROR_INVALID_ARG,
                   "unknown pool policy 'soon': it can be 'none', 'luks' or 'dm-crypt'");
    expect_refused("<pool><name>p</name><encrypt policy='luks' key='x'/></pool>", ERROR_XML,
                   "unknown attribute 'key' in element 'encrypt'; possible is 'policy'");
    expect_refused("<pool><name>p</name><encrypt policy='none'/><encrypt policy='luks'/></pool>",
                   ERROR_XML, "element 'pool' holds 'encrypt' more than once; leave one");
    expect_refused("<pool version='2'><name>p</name><encrypt policy='luks'/></pool>", ERROR_XML,
                   "unknown attribute 'version' in element 'pool'; none is possible");
}

static void
test_a_policy_that_is_too_long_is_refused(void)
{
    g_autofree char *xml = g_strnfill(POOL_POLICY_XML_MAX + 1, ' ');

    expect_refused(xml, ERROR_XML,
                   "the policy of pool 'p' has 65537 bytes, which is more than 65536");
}

#define ADD(name) g_test_add_func("/conf/pool_policy/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_policy_is_read_as_it_was_written);
    ADD(the_form_of_a_policy);
    ADD(policies_are_found_by_their_names);
    ADD(a_policy_that_says_nothing_is_refused);
    ADD(what_is_unknown_is_refused_by_name);
    ADD(a_policy_that_is_too_long_is_refused);
    return g_test_run();
}
