/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What people are shown of a line of the audit.
 */
#include "expect.h"
#include "tools/audit_text.h"

static const char line[] =
    "{\"seq\":7,\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"erase\","
    "\"reason\":\"guest '\\\"secret\\\":\\u0041\\u00e9\\\\,\\\"guest\\\":\\\"x\\\"' gone\\n\","
    "\"generation\":12,\"prev\":\"00\",\"hash\":\"11\"}";

static void
expect_member(const char *text, const char *name, const char *wanted)
{
    g_autofree char *value = audit_text_get(text, name);

    g_assert_cmpstr(value, ==, wanted);
}

static void
test_members_are_found_by_name(void)
{
    expect_member(line, "seq", "7");
    expect_member(line, "time", "2026-01-02T03:04:05Z");
    expect_member(line, "generation", "12");
    expect_member(line, "hash", "11");
}

static void
test_a_text_is_given_as_it_was(void)
{
    expect_member(line, "reason", "guest '\"secret\":A\303\251\\,\"guest\":\"x\"' gone\n");
}

static void
test_what_stands_in_a_text_is_no_member(void)
{
    expect_member(line, "secret", NULL);
    expect_member(line, "guest", NULL);
}

static void
test_a_damaged_line_has_no_members_that_are_cut(void)
{
    static const char *const damaged[] = {
        "",
        "{",
        "\"reason\":\"x\"",
        "{\"reason\":",
        "{\"reason\":\"",
        "{\"reason\":\"x",
        "{\"reason\":\"x\\",
        "{\"reason\":\"\\u00",
        "{\"reason\":\"\\u00zz\"}",
        "{\"reason\":null}",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(damaged); i++)
        expect_member(damaged[i], "reason", NULL);
}

static void
test_texts_of_an_array_have_commas_between_them(void)
{
    expect_member("{\"guest\":null,\"guests\":[\"a\",\"b\"],\"x\":1}", "guests", "a,b");
    expect_member("{\"guest\":null,\"guests\":[\"a\",\"b\"],\"x\":1}", "guest", NULL);
    expect_member("{\"guests\":[]}", "guests", "");
    expect_member("{\"guests\":[\"a\"", "guests", NULL);
    expect_member("{\"guests\":[\"a", "guests", NULL);
    expect_member("{\"guests\":[1]}", "guests", NULL);
}

static void
test_half_of_a_pair_is_replaced(void)
{
    expect_member("{\"reason\":\"a\\ud800b\\u0000\"}", "reason", "a\357\277\275b\357\277\275");
}

#define ADD(name) g_test_add_func("/tools/audit_text/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_members_are_found_by_name);
    ADD(test_a_text_is_given_as_it_was);
    ADD(test_what_stands_in_a_text_is_no_member);
    ADD(test_a_damaged_line_has_no_members_that_are_cut);
    ADD(test_texts_of_an_array_have_commas_between_them);
    ADD(test_half_of_a_pair_is_replaced);
    return g_test_run();
}
