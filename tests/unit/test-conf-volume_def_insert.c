/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Putting <encryption> into a volume's XML: it goes where libvirt writes it, and every other byte
 * stays.
 */
#include <string.h>

#include "conf/volume_def.h"
#include "expect.h"

#define UUID "d9a3c9a0-1111-4222-8333-444455556666"

#define HEAD                                                                                       \
    "<?xml version='1.0'?>\n<!-- <target> --><volume type='file'>\n"                               \
    "  <name>a<![CDATA[</name><target><encryption>]]></name>\n"                                    \
    "  <key>&lt;target></key>\n"
#define PATH "    <path>/p/&quot;a</path>\n    <format type='qcow2'/>\n"
#define TAIL "  </target>\n"
#define COMPAT                                                                                     \
    "    <compat>1.1</compat>\n    <features>\n      <lazy_refcounts/>\n    </features>\n"
#define BACKING                                                                                    \
    "  <backingStore>\n    <path>/b</path>\n    <encryption format='luks'>\n    </encryption>\n"   \
    "  </backingStore>\n"
#define END "</volume>\n\n"
#define ELEMENT                                                                                    \
    "    <encryption format='luks'>\n"                                                             \
    "      <secret type='passphrase' uuid='" UUID "'/>\n"                                          \
    "    </encryption>\n"

static char *
put(const char *xml, GError **error)
{
    struct encryption encryption = {.format = ENCRYPTION_FORMAT_LUKS,
                                    .secret_by = ENCRYPTION_SECRET_UUID};

    g_assert_true(uuid_parse(UUID, &encryption.secret_uuid));
    return volume_def_put_encryption(xml, &encryption, error);
}

static void
expect_put(const char *xml, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *result = put(xml, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(result, ==, expected);
}

static void
expect_refused(const char *xml, enum error_domain domain, const char *detail)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(put(xml, &error));
    expect_error(error, ERROR_XML, domain, detail);
}

static void
test_it_is_added_at_the_end_of_target(void)
{
    expect_put(HEAD "  <target>\n" PATH TAIL END, HEAD "  <target>\n" PATH ELEMENT TAIL END);
}

static void
test_it_is_added_before_what_libvirt_writes_after_it(void)
{
    expect_put(HEAD "  <target>\n" PATH COMPAT TAIL END,
               HEAD "  <target>\n" PATH ELEMENT COMPAT TAIL END);
}

static void
test_it_replaces_the_one_that_is_there(void)
{
    expect_put(HEAD "  <target>\n" PATH
                    "    <encryption format='luks'>\n    </encryption>\n" COMPAT TAIL END,
               HEAD "  <target>\n" PATH ELEMENT COMPAT TAIL END);
    expect_put(HEAD "  <target>\n" PATH
                    "    <encryption format='qcow'><secret type='>' usage=\"&lt;/encryption>\"/>"
                    "<!-- </encryption> --></encryption>\n" TAIL END,
               HEAD "  <target>\n" PATH ELEMENT TAIL END);
    expect_put(HEAD "  <target>\n    <encryption format='qcow' />\n" TAIL END,
               HEAD "  <target>\n" ELEMENT TAIL END);
}

static void
test_that_of_the_backing_store_stays(void)
{
    expect_put(HEAD "  <target>\n" PATH TAIL BACKING END,
               HEAD "  <target>\n" PATH ELEMENT TAIL BACKING END);
    expect_put(HEAD BACKING "  <target>\n" PATH TAIL END,
               HEAD BACKING "  <target>\n" PATH ELEMENT TAIL END);
}

static void
test_a_target_within_another_element_stays(void)
{
    expect_put("<volume><x><target><encryption/></target></x>\n  <target>\n  </target></volume>",
               "<volume><x><target><encryption/></target></x>\n  <target>\n" ELEMENT
               "  </target></volume>");
}

static void
test_an_empty_target_is_opened(void)
{
    expect_put("<volume>\n  <target/>\n</volume>\n",
               "<volume>\n  <target>\n" ELEMENT "  </target>\n</volume>\n");
}

static void
test_text_on_one_line_stays_well_formed(void)
{
    expect_put("<volume><name>a</name><target><path>/a</path></target></volume>",
               "<volume><name>a</name><target><path>/a</path>" ELEMENT "</target></volume>");
}

static void
test_what_is_put_is_read_back(void)
{
    g_autofree char *xml = put(HEAD "  <target>\n" PATH TAIL BACKING END, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) named = g_string_new(xml);
    g_autoptr(volume_def_t) def = NULL;
    char uuid[UUID_TEXT_SIZE];

    g_string_replace(named, "<![CDATA[</name><target><encryption>]]>", "", 1);
    def = volume_def_parse(named->str, named->len, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(uuid_format(&def->encryption->secret_uuid, uuid), ==, UUID);
    g_assert_cmpint(def->backing_encryption->secret_by, ==, ENCRYPTION_SECRET_NONE);
}

static void
test_what_is_no_volume_is_refused(void)
{
    expect_refused("<pool/>", ERROR_FROM_XML, "expecting root element of 'volume', not 'pool'");
    expect_refused("<volume/>", ERROR_FROM_STORAGE, "the volume's XML has no element <target>");
    expect_refused("<volume><target><encryption/><encryption/></target></volume>",
                   ERROR_FROM_STORAGE,
                   "element 'target' holds 'encryption' more than once; leave one");
}

#define ADD(name) g_test_add_func("/conf/volume_def_insert/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(it_is_added_at_the_end_of_target);
    ADD(it_is_added_before_what_libvirt_writes_after_it);
    ADD(it_replaces_the_one_that_is_there);
    ADD(that_of_the_backing_store_stays);
    ADD(a_target_within_another_element_stays);
    ADD(an_empty_target_is_opened);
    ADD(text_on_one_line_stays_well_formed);
    ADD(what_is_put_is_read_back);
    ADD(what_is_no_volume_is_refused);
    return g_test_run();
}
