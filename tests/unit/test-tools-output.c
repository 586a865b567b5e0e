/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * JSON strings. Tables and errors are compared with real virsh's in tests/e2e/test-virtcrypt.py.
 */
#include "expect.h"
#include "tools/output.h"

static void
expect_json(const char *text, const char *wanted)
{
    g_autoptr(GString) json = g_string_new(NULL);

    output_append_json(json, text);
    g_assert_cmpstr(json->str, ==, wanted);
}

static void
test_plain_text_is_quoted(void)
{
    expect_json("/v/1", "\"/v/1\"");
    expect_json("", "\"\"");
    expect_json("\303\251", "\"\303\251\"");
}

static void
test_no_text_is_null(void)
{
    expect_json(NULL, "null");
}

static void
test_what_would_end_a_string_is_escaped(void)
{
    expect_json("a\"b\\c", "\"a\\\"b\\\\c\"");
    expect_json("\n\t\001\037", "\"\\u000a\\u0009\\u0001\\u001f\"");
}

static void
test_what_is_not_utf8_is_replaced(void)
{
    expect_json("a\377b", "\"a\357\277\275b\"");
}

#define ADD(name) g_test_add_func("/tools/output/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_plain_text_is_quoted);
    ADD(test_no_text_is_null);
    ADD(test_what_would_end_a_string_is_escaped);
    ADD(test_what_is_not_utf8_is_replaced);
    return g_test_run();
}
