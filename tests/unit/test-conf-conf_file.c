/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The syntax of configuration files, as libvirtd 9.0.0 takes and refuses it.
 */
#include <string.h>

#include "conf/conf_file.h"
#include "expect.h"

static struct conf_file *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct conf_file *conf = conf_file_parse("a.conf", text, strlen(text), &error);

    g_assert_no_error(error);
    return conf;
}

static void
expect_refused(const char *text, const char *detail)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(conf_file_parse("a.conf", text, strlen(text), &error));
    expect_error(error, ERROR_CONF_SYNTAX, ERROR_FROM_CONF, detail);
}

static void
expect_string(const char *text, const char *string)
{
    g_autoptr(conf_file_t) conf = parse(text);

    g_assert_cmpuint(conf_file_count(conf), ==, 1);
    g_assert_cmpint(conf_file_value(conf, 0)->type, ==, CONF_STRING);
    g_assert_cmpstr(conf_file_value(conf, 0)->text, ==, string);
}

static void
expect_number(const char *text, int64_t number)
{
    g_autoptr(conf_file_t) conf = parse(text);

    g_assert_cmpuint(conf_file_count(conf), ==, 1);
    g_assert_cmpint(conf_file_value(conf, 0)->type, ==, CONF_INT);
    g_assert_cmpint(conf_file_value(conf, 0)->number, ==, number);
}

static void
expect_list(const char *text, const char *joined)
{
    g_autoptr(conf_file_t) conf = parse(text);
    g_autofree char *items = NULL;

    g_assert_cmpuint(conf_file_count(conf), ==, 1);
    g_assert_cmpint(conf_file_value(conf, 0)->type, ==, CONF_LIST);
    items = g_strjoinv("|", (char **)conf_file_value(conf, 0)->texts);
    g_assert_cmpstr(items, ==, joined);
}

static void
test_an_empty_file_holds_nothing(void)
{
    static const char *const texts[] = {"", "\n\n", "# comment", " \t\r\n # comment\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(conf_file_t) conf = parse(texts[i]);

        g_assert_cmpuint(conf_file_count(conf), ==, 0);
        g_assert_cmpstr(conf_file_name(conf), ==, "a.conf");
    }
}

static void
test_settings_keep_key_order_and_line(void)
{
    g_autoptr(conf_file_t) conf =
        parse("# first\na = 1 # one\r\n\n  B_2=\"x\"; c=[\n\"y\"\n]\nd=2");

    g_assert_cmpuint(conf_file_count(conf), ==, 4);
    g_assert_cmpstr(conf_file_value(conf, 0)->key, ==, "a");
    g_assert_cmpuint(conf_file_value(conf, 0)->line, ==, 2);
    g_assert_cmpstr(conf_file_value(conf, 1)->key, ==, "B_2");
    g_assert_cmpuint(conf_file_value(conf, 1)->line, ==, 4);
    g_assert_cmpuint(conf_file_value(conf, 2)->line, ==, 4);
    g_assert_cmpstr(conf_file_value(conf, 3)->key, ==, "d");
    g_assert_cmpuint(conf_file_value(conf, 3)->line, ==, 7);
}

static void
test_numbers_are_decimal_with_or_without_sign(void)
{
    expect_number("a=5", 5);
    expect_number("a = -5 ", -5);
    expect_number("a\t=\t+5\t#c", 5);
    expect_number("a=007", 7);
    expect_number("a=9223372036854775807", G_MAXINT64);
    expect_number("a=-9223372036854775808", G_MININT64);
}

static void
test_a_malformed_number_is_refused(void)
{
    expect_refused("a=-", "a.conf:1: unterminated number");
    expect_refused("a=9223372036854775808", "a.conf:1: the number is too large");
    expect_refused("a=0x10", "a.conf:1: expecting a separator");
    expect_refused("a=5.5", "a.conf:1: expecting a separator");
    expect_refused("a=true", "a.conf:1: expecting a value: a number, a \"string\" or a [\"list\"]");
}

static void
test_strings_have_three_kinds_of_quotes_and_no_escapes(void)
{
    expect_string("a=\"x y\"", "x y");
    expect_string("a='x \"y\"'", "x \"y\"");
    expect_string("a=\"\"", "");
    expect_string("a=\"x\\\"", "x\\");
    expect_string("a=\"\"\"x\n\"y\"\" z\"\"\"", "x\n\"y\"\" z");
    expect_string("a=\"#\" # comment", "#");
}

static void
test_an_unterminated_string_is_refused(void)
{
    expect_refused("\na=\"x", "a.conf:2: unterminated string");
    expect_refused("a=\"x\n\"", "a.conf:1: unterminated string");
    expect_refused("a='", "a.conf:1: unterminated string");
    expect_refused("a=\"\"\"xyz\"\"", "a.conf:1: unterminated string");
}

static void
test_lists_hold_strings_and_may_span_lines(void)
{
    expect_list("a=[]", "");
    expect_list("a = [ ] # c", "");
    expect_list("a=[\"x\"]", "x");
    expect_list("a=[ \"x\" , 'y', ]", "x|y");
    expect_list("a=[\n \"x\",\r\n\n\t\"y\"\n]", "x|y");
}

static void
test_a_malformed_list_is_refused(void)
{
    expect_refused("a=[", "a.conf:1: list is not closed with ]");
    expect_refused("a=[\"x\"\n", "a.conf:2: list is not closed with ]");
    expect_refused("a=[\"x\" \"y\"]", "a.conf:1: expecting a separator in list");
    expect_refused("a=[ , ]", "a.conf:1: expecting a value: a \"string\" of the list");
    expect_refused("a=[1]", "a.conf:1: expecting a value: a \"string\" of the list");
    expect_refused("a=[[\"x\"]]", "a.conf:1: expecting a value: a \"string\" of the list");
    expect_refused("a=[\n\"x\",\n# c\n]", "a.conf:3: expecting a value: a \"string\" of the list");
}

static void
test_what_is_no_setting_is_refused(void)
{
    expect_refused("1a = 2", "a.conf:1: expecting a name");
    expect_refused("_a = 2", "a.conf:1: expecting a name");
    expect_refused("\n\n=5", "a.conf:3: expecting a name");
    expect_refused("; x", "a.conf:1: expecting a name");
    expect_refused("\xef\xbb\xbf"
                   "a=1",
                   "a.conf:1: expecting a name");
    expect_refused("a", "a.conf:1: expecting an assignment");
    expect_refused("a-b = 2", "a.conf:1: expecting an assignment");
    expect_refused("a\n= 5", "a.conf:1: expecting an assignment");
    expect_refused("a=\n5", "a.conf:1: expecting a value: a number, a \"string\" or a [\"list\"]");
    expect_refused("a=1 b=2", "a.conf:1: expecting a separator");
    expect_refused("a=\"x\" \"y\"", "a.conf:1: expecting a separator");
}

static void
test_a_key_given_twice_is_refused(void)
{
    expect_refused("a=1\nb=2\n\na=1", "a.conf:4: a is set in line 1 already; remove one of them");
}

static void
test_a_zero_byte_is_refused(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(conf_file_parse("a.conf", "a=\"x\0y\"", 7, &error));
    expect_error(error, ERROR_CONF_SYNTAX, ERROR_FROM_CONF, "a.conf: the file holds a zero byte");
}

static void
test_text_need_not_end_with_a_zero_byte(void)
{
    g_autoptr(conf_file_t) conf = conf_file_parse("a.conf", "a=12", 3, NULL);

    g_assert_nonnull(conf);
    g_assert_cmpint(conf_file_value(conf, 0)->number, ==, 1);
}

#define ADD(name) g_test_add_func("/conf/conf_file/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(an_empty_file_holds_nothing);
    ADD(settings_keep_key_order_and_line);
    ADD(numbers_are_decimal_with_or_without_sign);
    ADD(a_malformed_number_is_refused);
    ADD(strings_have_three_kinds_of_quotes_and_no_escapes);
    ADD(an_unterminated_string_is_refused);
    ADD(lists_hold_strings_and_may_span_lines);
    ADD(a_malformed_list_is_refused);
    ADD(what_is_no_setting_is_refused);
    ADD(a_key_given_twice_is_refused);
    ADD(a_zero_byte_is_refused);
    ADD(text_need_not_end_with_a_zero_byte);
    return g_test_run();
}
