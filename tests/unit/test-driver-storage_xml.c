/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the storage connector reads in XML as text, and the one element that it copies.
 */
#include <glib.h>

#include "driver/storage_xml.h"

#define ENCRYPTION                                                                                 \
    "<encryption format='luks'>\n"                                                                 \
    "      <secret type='passphrase' uuid='6f0b6f3c-51b6-4e2e-8f5b-27e3f9b4a5d1'/>\n"              \
    "    </encryption>"

static void
test_an_encryption_element_is_seen_however_it_is_written(void)
{
    g_assert_true(storage_xml_may_encrypt("<volume><target><encryption format='luks'/></target>"));
    g_assert_true(storage_xml_may_encrypt("<volume><target><encryption\n\tformat='luks'/>"));
    g_assert_true(storage_xml_may_encrypt("<volume><!-- <encryption/> --></volume>"));
}

static void
test_xml_that_may_hide_an_element_is_doubted(void)
{
    g_assert_true(storage_xml_may_encrypt(
        "<!DOCTYPE volume [<!ENTITY e '&#60;encryption/>'>]><volume>&e;</volume>"));
    g_assert_true(storage_xml_may_encrypt("<?xml version='1.0' encoding='UTF-7'?>"
                                          "+ADw-volume+AD4APA-encryption/+AD4-"));
    g_assert_true(storage_xml_may_encrypt("<v:volume xmlns:v='x'><v:encryption/></v:volume>"));
}

static void
test_xml_without_the_element_is_not_doubted(void)
{
    g_assert_false(storage_xml_may_encrypt("<volume><name>encryption</name></volume>"));
    g_assert_false(storage_xml_may_encrypt("<volume><name>&lt;encryption</name></volume>"));
    g_assert_false(storage_xml_may_encrypt("<?xml version='1.0' encoding='UTF-8'?><volume/>"));
    g_assert_false(storage_xml_may_encrypt("<?xml version=\"1.0\" encoding=\"iso-8859-1\" ?><v/>"));
    g_assert_false(storage_xml_may_encrypt("<?xml version='1.0'?><volume>encoding</volume>"));
    g_assert_false(storage_xml_may_encrypt(""));
}

static void
test_names_and_formats_are_found(void)
{
    g_autofree char *name = storage_xml_get_name("<volume>\n<name>a b</name><name>c</name>");
    g_autofree char *format = storage_xml_get_format("<target>\n  <format type='qcow2'/>");

    g_assert_cmpstr(name, ==, "a b");
    g_assert_cmpstr(format, ==, "qcow2");
    g_assert_null(storage_xml_get_name("<volume/>"));
    g_assert_null(storage_xml_get_name("<name>never ends"));
    g_assert_null(storage_xml_get_format("<target/>"));
}

static void
test_pools_of_other_types_are_not_ours(void)
{
    g_assert_true(storage_xml_is_pool_of_ours("<pool type='dir'>"));
    g_assert_true(storage_xml_is_pool_of_ours("<pool type='logical'>"));
    g_assert_false(storage_xml_is_pool_of_ours("<pool type='rbd'>"));
    g_assert_false(storage_xml_is_pool_of_ours("<pool type='dirt'>"));
    /* In doubt virtcryptd is asked. */
    g_assert_true(storage_xml_is_pool_of_ours("<pool>"));
}

static void
expect_put(const char *theirs, const char *ours, const char *wanted)
{
    g_autofree char *xml = storage_xml_put_encryption(theirs, ours);

    g_assert_cmpstr(xml, ==, wanted);
}

static void
test_the_element_of_libvirt_is_replaced(void)
{
    expect_put("<target>\n    <encryption format='luks'>\n    </encryption>\n  </target>\n",
               "<volume>" ENCRYPTION "</volume>", "<target>\n    " ENCRYPTION "\n  </target>\n");
    expect_put("<target>\n    <encryption format='luks'/>\n  </target>\n", ENCRYPTION,
               "<target>\n    " ENCRYPTION "\n  </target>\n");
    expect_put("<target>\n    " ENCRYPTION "\n  </target>\n", "<encryption format='luks'/>",
               "<target>\n    <encryption format='luks'/>\n  </target>\n");
}

static void
test_the_element_is_added_where_libvirt_has_it(void)
{
    expect_put("  <target>\n    <timestamps>\n    </timestamps>\n    <compat>1.1</compat>\n"
               "  </target>\n",
               ENCRYPTION,
               "  <target>\n    <timestamps>\n    </timestamps>\n    " ENCRYPTION
               "\n    <compat>1.1</compat>\n  </target>\n");
    expect_put("  <target>\n  </target>\n  <backingStore>\n    <timestamps>\n    </timestamps>\n"
               "  </backingStore>\n",
               ENCRYPTION,
               "  <target>\n    " ENCRYPTION
               "\n  </target>\n  <backingStore>\n    <timestamps>\n    </timestamps>\n"
               "  </backingStore>\n");
}

static void
test_without_an_element_of_ours_nothing_changes(void)
{
    expect_put("<target>\n  </target>\n", "<volume/>", "<target>\n  </target>\n");
    expect_put("<target>\n  </target>\n", "<encryption never ends", "<target>\n  </target>\n");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/driver/storage_xml/element_is_seen",
                    test_an_encryption_element_is_seen_however_it_is_written);
    g_test_add_func("/driver/storage_xml/hidden_element_is_doubted",
                    test_xml_that_may_hide_an_element_is_doubted);
    g_test_add_func("/driver/storage_xml/no_element_is_not_doubted",
                    test_xml_without_the_element_is_not_doubted);
    g_test_add_func("/driver/storage_xml/names_and_formats", test_names_and_formats_are_found);
    g_test_add_func("/driver/storage_xml/other_pools", test_pools_of_other_types_are_not_ours);
    g_test_add_func("/driver/storage_xml/replaced", test_the_element_of_libvirt_is_replaced);
    g_test_add_func("/driver/storage_xml/added", test_the_element_is_added_where_libvirt_has_it);
    g_test_add_func("/driver/storage_xml/nothing", test_without_an_element_of_ours_nothing_changes);
    return g_test_run();
}
