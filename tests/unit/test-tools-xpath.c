/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Parts of XML documents.
 */
#include "expect.h"
#include "tools/xpath.h"

static const char document[] = "<secret private='no'>\n  <uuid>u</uuid>\n  <usage type='volume'>\n"
                               "    <volume>/v</volume>\n  </usage>\n</secret>\n";

static void
expect_picked(const char *expression, bool wrap, const char *wanted)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *picked = xpath_pick(document, expression, wrap, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(picked, ==, wanted);
}

static void
test_nodes_are_picked(void)
{
    expect_picked("//uuid", false, "<uuid>u</uuid>\n");
    expect_picked("//usage", false, "<usage type=\"volume\">\n  <volume>/v</volume>\n</usage>\n");
    expect_picked("//uuid/text()", false, "u\n");
    expect_picked("//usage/@type", false, " type=\"volume\"\n");
    expect_picked("//uuid | //volume", false, "<uuid>u</uuid>\n<volume>/v</volume>\n");
}

static void
test_nothing_is_picked_where_nothing_is(void)
{
    expect_picked("//door", false, "");
    expect_picked("//door", true, "<nodes/>\n");
}

static void
test_nodes_can_be_wrapped(void)
{
    expect_picked("//uuid | //volume", true,
                  "<nodes>\n  <uuid>u</uuid>\n  <volume>/v</volume>\n</nodes>\n");
}

static void
test_what_picks_no_nodes_is_refused(void)
{
    static const char *const bad[] = {"((", "count(//uuid)", "'x'", "nosuch()"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *why = g_strdup_printf("Incorrect xpath '%s'", bad[i]);
        g_autoptr(GError) error = NULL;

        g_assert_null(xpath_pick(document, bad[i], false, &error));
        expect_error(error, ERROR_INTERNAL, ERROR_FROM_XML, why);
    }
}

static void
test_malformed_xml_is_refused(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(xpath_pick("<secret", "//uuid", false, &error));
    expect_error_part(error, ERROR_XML_DETAIL, ERROR_FROM_XML, "malformed");
}

#define ADD(name) g_test_add_func("/tools/xpath/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_nodes_are_picked);
    ADD(test_nothing_is_picked_where_nothing_is);
    ADD(test_nodes_can_be_wrapped);
    ADD(test_what_picks_no_nodes_is_refused);
    ADD(test_malformed_xml_is_refused);
    return g_test_run();
}
