/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Text as XML: what is written is read back as it was.
 */
#include <string.h>

#include "conf/xml_document.h"
#include "conf/xml_text.h"
#include "expect.h"

static const char awkward[] = " a<b>&\"'\t\n\r\u20ac]]> ";

static xmlDoc *
parse(const GString *xml)
{
    g_autoptr(GError) error = NULL;
    xmlDoc *doc = xml_document_parse("t", "x", xml->str, xml->len, ERROR_FROM_STORAGE, &error);

    g_assert_no_error(error);
    return doc;
}

static void
test_text_of_an_element_is_read_back(void)
{
    g_autoptr(GString) xml = g_string_new(NULL);
    g_autoptr(xml_document_t) doc = NULL;
    g_autofree char *text = NULL;

    xml_append_element(xml, 2, "x", awkward);
    doc = parse(xml);
    text = xml_get_text(xmlDocGetRootElement(doc));
    g_assert_cmpstr(text, ==, awkward);
    g_assert_true(g_str_has_prefix(xml->str, "  <x>"));
    g_assert_true(g_str_has_suffix(xml->str, "</x>\n"));
}

static void
test_the_value_of_an_attribute_is_read_back(void)
{
    g_autoptr(GString) xml = g_string_new("<x");
    g_autoptr(xml_document_t) doc = NULL;
    g_autofree char *text = NULL;

    xml_append_attribute(xml, "a", awkward);
    g_string_append(xml, "/>");
    doc = parse(xml);
    text = xml_get_attribute(xmlDocGetRootElement(doc), "a");
    g_assert_cmpstr(text, ==, awkward);
}

static void
test_control_characters_are_left_out(void)
{
    g_autoptr(GString) xml = g_string_new(NULL);

    xml_append_text(xml, "a\x01"
                         "b\x1f");
    g_assert_cmpstr(xml->str, ==, "ab");
}

static void
test_null_appends_nothing(void)
{
    g_autoptr(GString) xml = g_string_new(NULL);

    xml_append_element(xml, 2, "x", NULL);
    xml_append_attribute(xml, "a", NULL);
    g_assert_cmpstr(xml->str, ==, "");
}

#define ADD(name) g_test_add_func("/conf/xml_text/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(text_of_an_element_is_read_back);
    ADD(the_value_of_an_attribute_is_read_back);
    ADD(control_characters_are_left_out);
    ADD(null_appends_nothing);
    return g_test_run();
}
