/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Records of volumes: what is written is read back exactly, and nothing unknown is acted on.
 */
#include <string.h>

#include "conf/volume_record.h"
#include "expect.h"

#define UUID     "d9a3c9a0-1111-4222-8333-444455556666"
#define NEW_UUID "d9a3c9a0-1111-4222-8333-777788889999"

static const char dm_crypt_record[] = "<volumeRecord version='1'>\n"
                                      "  <pool>vg0</pool>\n"
                                      "  <name>disk1</name>\n"
                                      "  <kind>dm-crypt</kind>\n"
                                      "  <state>ready</state>\n"
                                      "  <path>/dev/virtcrypt/vg0/disk1</path>\n"
                                      "  <device>/dev/vg0/disk1.crypt</device>\n"
                                      "  <made>yes</made>\n"
                                      "  <capacity>10737418240</capacity>\n"
                                      "  <encryption format='luks2' engine='dm-crypt'>\n"
                                      "    <secret type='passphrase' uuid='" UUID "'/>\n"
                                      "    <dmcrypt sector_size='4096' discard='yes'/>\n"
                                      "  </encryption>\n"
                                      "  <generated>yes</generated>\n"
                                      "  <stored>no</stored>\n"
                                      "</volumeRecord>\n";

static const char image_record[] = "<volumeRecord version='1'>\n"
                                   "  <pool>a &amp; b</pool>\n"
                                   "  <name> d&apos;1&lt;2&gt; </name>\n"
                                   "  <kind>qcow2</kind>\n"
                                   "  <state>rekeying</state>\n"
                                   "  <path>/p/a\tb\nc&#13;d</path>\n"
                                   "  <device>/p/\u20ac</device>\n"
                                   "  <temporary>/p/.t</temporary>\n"
                                   "  <made>no</made>\n"
                                   "  <capacity>18446744073709551615</capacity>\n"
                                   "  <encryption format='luks'>\n"
                                   "    <secret type='passphrase' uuid='" UUID "'/>\n"
                                   "  </encryption>\n"
                                   "  <generated>no</generated>\n"
                                   "  <stored>yes</stored>\n"
                                   "  <otherSecret>" NEW_UUID "</otherSecret>\n"
                                   "  <otherMade>yes</otherMade>\n"
                                   "</volumeRecord>\n";

static struct volume_record *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct volume_record *record = volume_record_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return record;
}

/* dm_crypt_record with `from` replaced by `to` is refused. */
static void
expect_refused(const char *from, const char *to, enum error_code code, const char *detail)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) xml = g_string_new(dm_crypt_record);
    g_autoptr(volume_record_t) record = NULL;

    g_assert_cmpuint(g_string_replace(xml, from, to, 1), ==, 1);
    record = volume_record_parse(xml->str, xml->len, &error);
    g_assert_null(record);
    expect_error(error, code, ERROR_FROM_STORAGE, detail);
}

static void
test_a_record_is_read_into_its_fields(void)
{
    g_autoptr(volume_record_t) record = parse(dm_crypt_record);
    char uuid[UUID_TEXT_SIZE];

    g_assert_cmpstr(record->pool, ==, "vg0");
    g_assert_cmpstr(record->name, ==, "disk1");
    g_assert_cmpint(record->kind, ==, VOLUME_KIND_DM_CRYPT);
    g_assert_cmpint(record->state, ==, VOLUME_STATE_READY);
    g_assert_cmpstr(record->path, ==, "/dev/virtcrypt/vg0/disk1");
    g_assert_cmpstr(record->device, ==, "/dev/vg0/disk1.crypt");
    g_assert_null(record->temporary);
    g_assert_true(record->is_made);
    g_assert_cmpuint(record->capacity, ==, G_GUINT64_CONSTANT(10737418240));
    g_assert_cmpuint(record->encryption->dmcrypt.sector_size, ==, 4096);
    g_assert_cmpstr(uuid_format(&record->encryption->secret_uuid, uuid), ==, UUID);
    g_assert_true(record->secret_is_generated);
    g_assert_false(record->has_other_secret);
}

static void
test_a_record_is_written_as_it_was_read(void)
{
    static const char *const records[] = {dm_crypt_record, image_record};

    for (size_t i = 0; i < G_N_ELEMENTS(records); i++) {
        g_autoptr(volume_record_t) record = parse(records[i]);
        g_autoptr(volume_record_t) copy = volume_record_copy(record);
        g_autofree char *text = volume_record_format(copy);

        g_assert_cmpstr(text, ==, records[i]);
    }
}

static void
test_awkward_names_survive(void)
{
    g_autoptr(volume_record_t) record = parse(image_record);

    g_assert_cmpstr(record->name, ==, " d'1<2> ");
    g_assert_cmpstr(record->path, ==, "/p/a\tb\nc\rd");
    g_assert_true(record->secret_is_stored);
    g_assert_true(record->has_other_secret);
    g_assert_true(record->other_secret_is_made);
}

static void
test_another_version_is_refused(void)
{
    expect_refused("version='1'", "version='2'", ERROR_CONFIG_UNSUPPORTED,
                   "the record has version '2', and this virtcryptd knows version 1 only; use the "
                   "virtcryptd that wrote it, or a newer one");
    expect_refused(" version='1'", "", ERROR_CONFIG_UNSUPPORTED,
                   "the record has version '', and this virtcryptd knows version 1 only; use the "
                   "virtcryptd that wrote it, or a newer one");
}

static void
test_what_is_unknown_is_refused_by_name(void)
{
    expect_refused("<made>", "<foo/><made>", ERROR_XML,
                   "unknown element 'foo' in element 'volumeRecord'; possible is 'pool', 'name', "
                   "'kind', 'state', 'path', 'device', 'temporary', 'made', 'capacity', "
                   "'encryption', 'generated', 'stored', 'otherSecret' or 'otherMade'");
    expect_refused("version=", "foo='1' version=", ERROR_XML,
                   "unknown attribute 'foo' in element 'volumeRecord'; possible is 'version'");
    expect_refused("<pool>", "<pool foo='1'>", ERROR_XML,
                   "unknown attribute 'foo' in element 'pool'; none is possible");
    expect_refused("<pool>vg0", "<pool>v<b/>g0", ERROR_XML,
                   "unknown element 'b' in element 'pool'");
    expect_refused("ready", "asleep", ERROR_XML,
                   "<state> of the record is 'asleep' and not 'creating', 'ready', 'rekeying', "
                   "'deleting', 'wiping' or 'adopting'");
    expect_refused("<kind>dm-crypt", "<kind>qed", ERROR_XML,
                   "<kind> of the record is 'qed' and not 'qcow2', 'raw' or 'dm-crypt'");
    expect_refused("<made>yes", "<made>true", ERROR_XML,
                   "<made> of the record is 'true' and not 'no' or 'yes'");
}

static void
test_what_is_missing_is_refused_by_name(void)
{
    expect_refused("  <device>/dev/vg0/disk1.crypt</device>\n", "", ERROR_XML,
                   "the record has no <device>");
    expect_refused("<name>disk1</name>", "<name/>", ERROR_XML, "the record has no <name>");
    expect_refused("<name>disk1</name>", "<name><!-- --></name>", ERROR_XML,
                   "the record has no text in <name>");
    expect_refused("<made>", "<made>yes</made><made>", ERROR_XML,
                   "element 'volumeRecord' holds 'made' more than once; leave one");
}

static void
test_impossible_values_are_refused(void)
{
    expect_refused("<pool>vg0", "<pool>v/g0", ERROR_XML,
                   "the pool name 'v/g0' cannot contain '/'; choose another one");
    expect_refused("<name>disk1", "<name>..", ERROR_XML,
                   "the volume name '..' is that of a folder; choose another one");
    expect_refused("/dev/vg0/disk1.crypt", "disk1", ERROR_XML,
                   "<device> of the record is 'disk1', which is not an absolute path");
    expect_refused("10737418240", "-1", ERROR_XML,
                   "<capacity> of the record is '-1', which is not a number of bytes");
    expect_refused("</generated>", "</generated><otherSecret>x</otherSecret>", ERROR_XML,
                   "<otherSecret> of the record is 'x', and no UUID");
    expect_refused("</generated>", "</generated><otherMade>yes</otherMade>", ERROR_XML,
                   "the record has <otherMade> without <otherSecret>");
}

static void
test_parts_that_do_not_fit_together_are_refused(void)
{
    expect_refused("<kind>dm-crypt", "<kind>raw", ERROR_XML,
                   "the record has an engine that is not that of its kind");
    expect_refused("uuid='" UUID "'", "usage='u'", ERROR_XML,
                   "the record names no secret by its uuid");
    expect_refused("ready", "rekeying", ERROR_XML,
                   "the record is of a volume being re-keyed and has no <otherSecret>");
}

static void
test_a_torn_record_is_refused(void)
{
    for (size_t len = 0; len + 1 < strlen(dm_crypt_record); len++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(volume_record_t) record = volume_record_parse(dm_crypt_record, len, &error);

        g_assert_null(record);
        g_assert_nonnull(error);
    }
}

static void
test_a_document_type_is_refused(void)
{
    static const char xml[] = "<!DOCTYPE volumeRecord [<!ENTITY a 'b'>]><volumeRecord/>";
    g_autoptr(GError) error = NULL;

    g_assert_null(volume_record_parse(xml, strlen(xml), &error));
    expect_error_part(error, ERROR_XML, ERROR_FROM_STORAGE, "document type declaration");
}

static void
test_a_record_that_is_too_long_is_refused(void)
{
    g_autofree char *xml = g_strnfill(VOLUME_RECORD_XML_MAX + 1, ' ');
    g_autoptr(GError) error = NULL;

    g_assert_null(volume_record_parse(xml, VOLUME_RECORD_XML_MAX + 1, &error));
    expect_error(error, ERROR_XML, ERROR_FROM_STORAGE,
                 "the record has 262145 bytes, which is more than 262144");
}

static void
test_kinds_have_the_names_of_the_command_line(void)
{
    g_assert_cmpstr(volume_kind_name(VOLUME_KIND_QCOW2), ==, "qcow2");
    g_assert_cmpstr(volume_kind_name(VOLUME_KIND_RAW), ==, "raw");
    g_assert_cmpstr(volume_kind_name(VOLUME_KIND_DM_CRYPT), ==, "dm-crypt");
}

#define ADD(name) g_test_add_func("/conf/volume_record/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_record_is_read_into_its_fields);
    ADD(a_record_is_written_as_it_was_read);
    ADD(awkward_names_survive);
    ADD(another_version_is_refused);
    ADD(what_is_unknown_is_refused_by_name);
    ADD(what_is_missing_is_refused_by_name);
    ADD(impossible_values_are_refused);
    ADD(parts_that_do_not_fit_together_are_refused);
    ADD(a_torn_record_is_refused);
    ADD(a_document_type_is_refused);
    ADD(a_record_that_is_too_long_is_refused);
    ADD(kinds_have_the_names_of_the_command_line);
    return g_test_run();
}
