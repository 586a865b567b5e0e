/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Volumes' XML: libvirt's rules for it, and that no <encryption> is overlooked. What real libvirt
 * answers is compared in test-conf-volume_def-libvirtd.py.
 */
#include <string.h>

#include "conf/volume_def.h"
#include "expect.h"

#define UUID           "d9a3c9a0-1111-4222-8333-444455556666"
#define VOLUME(inside) "<volume><name>a</name>" inside "</volume>"
#define TARGET(inside) VOLUME("<target>" inside "</target>")

static struct volume_def *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct volume_def *def = volume_def_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return def;
}

static void
expect_refused(const char *xml, enum error_code code, const char *detail)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(volume_def_parse(xml, strlen(xml), &error));
    expect_error(error, code, ERROR_FROM_STORAGE, detail);
}

static void
expect_capacity(const char *element, uint64_t bytes)
{
    g_autofree char *xml = g_strdup_printf(VOLUME("%s"), element);
    g_autoptr(volume_def_t) def = parse(xml);

    g_assert_true(def->has_capacity);
    g_assert_cmpuint(def->capacity, ==, bytes);
}

static void
expect_no_capacity(const char *element, enum error_code code, const char *detail)
{
    g_autofree char *xml = g_strdup_printf(VOLUME("%s"), element);

    expect_refused(xml, code, detail);
}

static const char full_volume[] = "<volume type='block'>\n"
                                  "  <name>a &amp; b</name>\n"
                                  "  <key>/p/a</key>\n"
                                  "  <capacity unit='bytes'>1073741824</capacity>\n"
                                  "  <allocation unit='bytes'>0</allocation>\n"
                                  "  <target>\n"
                                  "    <path>/p/a</path>\n"
                                  "    <format type='qcow2'/>\n"
                                  "    <permissions>\n"
                                  "      <mode>0644</mode>\n"
                                  "      <owner>0</owner>\n"
                                  "      <group>4294967294</group>\n"
                                  "      <label>x&apos;</label>\n"
                                  "    </permissions>\n"
                                  "    <encryption format='luks'>\n"
                                  "      <secret type='passphrase' uuid='" UUID "'/>\n"
                                  "    </encryption>\n"
                                  "    <compat>1.1</compat>\n"
                                  "    <clusterSize unit='B'>65536</clusterSize>\n"
                                  "    <features>\n"
                                  "      <lazy_refcounts/>\n"
                                  "      <extended_l2/>\n"
                                  "    </features>\n"
                                  "  </target>\n"
                                  "  <backingStore>\n"
                                  "    <path>/b</path>\n"
                                  "    <format type='raw'/>\n"
                                  "    <encryption format='luks'>\n"
                                  "    </encryption>\n"
                                  "  </backingStore>\n"
                                  "</volume>\n";

static void
test_everything_is_read_into_its_field(void)
{
    g_autoptr(volume_def_t) def = parse(full_volume);

    g_assert_cmpstr(def->name, ==, "a & b");
    g_assert_cmpint(def->type, ==, VOLUME_TYPE_BLOCK);
    g_assert_true(def->has_capacity && def->has_allocation);
    g_assert_cmpuint(def->capacity, ==, 1073741824);
    g_assert_cmpuint(def->allocation, ==, 0);
    g_assert_cmpstr(def->path, ==, "/p/a");
    g_assert_cmpstr(def->format, ==, "qcow2");
    g_assert_true(def->permissions.has_mode && def->permissions.has_owner);
    g_assert_cmpuint(def->permissions.mode, ==, 0644);
    g_assert_cmpuint(def->permissions.owner, ==, 0);
    g_assert_cmpuint(def->permissions.group, ==, (gid_t)-2);
    g_assert_cmpstr(def->permissions.label, ==, "x'");
    g_assert_cmpint(def->encryption->secret_by, ==, ENCRYPTION_SECRET_UUID);
    g_assert_cmpstr(def->compat, ==, "1.1");
    g_assert_cmpuint(def->cluster_size, ==, 65536);
    g_assert_true(def->lazy_refcounts && def->extended_l2);
    g_assert_cmpstr(def->backing_path, ==, "/b");
    g_assert_cmpstr(def->backing_format, ==, "raw");
    g_assert_cmpint(def->backing_encryption->secret_by, ==, ENCRYPTION_SECRET_NONE);
}

static void
test_a_volume_is_written_as_it_was_read(void)
{
    g_autoptr(volume_def_t) def = parse(full_volume);
    g_autofree char *text = volume_def_format(def);

    g_assert_cmpstr(text, ==, full_volume);
}

static void
test_what_is_not_said_is_absent(void)
{
    g_autoptr(volume_def_t) def = parse(VOLUME("<capacity/><allocation/><target><path/><format/>"
                                               "<permissions><mode/><owner>-1</owner><label/>"
                                               "</permissions></target><backingStore/>"));
    g_autofree char *text = volume_def_format(def);

    g_assert_false(def->has_capacity || def->has_allocation);
    g_assert_null(def->path);
    g_assert_null(def->format);
    g_assert_null(def->encryption);
    g_assert_null(def->backing_path);
    g_assert_false(def->permissions.has_mode || def->permissions.has_owner);
    g_assert_cmpstr(text, ==,
                    "<volume type='file'>\n  <name>a</name>\n  <target>\n  </target>\n"
                    "</volume>\n");
}

static void
test_sizes_have_libvirts_units(void)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {
        {"", 1},
        {"b", 1},
        {"B", 1},
        {"byte", 1},
        {"bytes", 1},
        {"Bytes", 1},
        {"k", 1024},
        {"K", 1024},
        {"KB", 1000},
        {"kb", 1000},
        {"KiB", 1024},
        {"kIb", 1024},
        {"M", 1 << 20},
        {"MB", 1000000},
        {"MiB", 1 << 20},
        {"G", 1 << 30},
        {"GB", 1000000000},
        {"T", (uint64_t)1 << 40},
        {"TB", G_GUINT64_CONSTANT(1000000000000)},
        {"P", (uint64_t)1 << 50},
        {"EB", G_GUINT64_CONSTANT(1000000000000000000)},
        {"EiB", (uint64_t)1 << 60},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
        g_autofree char *xml = g_strdup_printf("<capacity unit='%s'>3</capacity>", units[i].unit);

        expect_capacity(xml, 3 * units[i].bytes);
    }
    expect_capacity("<capacity>+7</capacity>", 7);
    expect_capacity("<capacity>010</capacity>", 10);
}

static void
test_an_unknown_unit_is_refused(void)
{
    static const char *const units[] = {"Z", "ZB", "KBi", "x", " k", "ki", "kbb", "bit", "iB"};

    for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
        g_autofree char *xml = g_strdup_printf("<capacity unit='%s'>1</capacity>", units[i]);
        g_autofree char *detail = g_strdup_printf(
            "unknown suffix '%s' as the unit of capacity; it is 'bytes', or one of K, M, G, T, P, "
            "E, each alone or with 'iB' (1024) or 'B' (1000)",
            units[i]);

        expect_no_capacity(xml, ERROR_XML, detail);
    }
}

static void
test_a_size_that_is_no_number_is_refused(void)
{
    static const char *const texts[] = {
        "-1", " 5 ", "5k", "0x10", "1.5", "5 6", " ", "++1", "18446744073709551616"};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *xml = g_strdup_printf("<capacity>%s</capacity>", texts[i]);
        g_autofree char *detail = g_strdup_printf(
            "malformed capacity element: '%s' is not a number of bytes, or of the unit in "
            "unit='...'",
            texts[i]);

        expect_no_capacity(xml, ERROR_XML, detail);
    }
}

static void
test_a_size_beyond_63_bits_is_an_overflow(void)
{
    expect_capacity("<capacity>9223372036854775807</capacity>", INT64_MAX);
    expect_no_capacity("<capacity>9223372036854775808</capacity>", ERROR_OVERFLOW,
                       "value too large: 9223372036854775808");
    expect_capacity("<capacity unit='E'>7</capacity>", (uint64_t)7 << 60);
    expect_no_capacity("<capacity unit='E'>8</capacity>", ERROR_OVERFLOW, "value too large: 8E");
    expect_capacity("<capacity unit='K'>9007199254740991</capacity>",
                    G_GUINT64_CONSTANT(9007199254740991) * 1024);
    expect_no_capacity("<capacity unit='K'>9007199254740992</capacity>", ERROR_OVERFLOW,
                       "value too large: 9007199254740992K");
    expect_refused(TARGET("<clusterSize unit='E'>16</clusterSize>"), ERROR_OVERFLOW,
                   "value too large: 16E");
}

static void
test_names_that_could_leave_the_pool_are_refused(void)
{
    expect_refused("<volume/>", ERROR_XML, "missing volume name element");
    expect_refused("<volume><name/></volume>", ERROR_XML, "missing volume name element");
    expect_refused("<volume><name>a/b</name></volume>", ERROR_XML,
                   "the volume name 'a/b' cannot contain '/'; choose another one");
    expect_refused("<volume><name>.</name></volume>", ERROR_XML,
                   "the volume name '.' is that of a folder; choose another one");
    expect_refused("<volume><name>..</name></volume>", ERROR_XML,
                   "the volume name '..' is that of a folder; choose another one");
    expect_refused("<volume><name>a\nb</name></volume>", ERROR_XML,
                   "the volume name 'a\nb' contains a control character; choose another one");
}

static void
test_names_of_pools_follow_the_same_rules(void)
{
    g_autofree char *longest = g_strnfill(VOLUME_NAME_MAX, 'x');
    g_autofree char *longer = g_strnfill(VOLUME_NAME_MAX + 1, 'x');
    static const char *const wrong[] = {"", "\xff", "a\x7f", "\xc2\x85", "\xef\xbf\xbf", "/"};

    g_assert_true(volume_def_check_name("pool", "p\u20ac -.", NULL));
    g_assert_true(volume_def_check_name("pool", longest, NULL));
    g_assert_false(volume_def_check_name("pool", longer, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(volume_def_check_name("pool", wrong[i], &error));
        expect_error_part(error, ERROR_XML, ERROR_FROM_STORAGE, "the pool name '");
    }
}

static void
test_types_other_than_file_and_block_are_refused(void)
{
    expect_refused("<volume type='dir'><name>a</name></volume>", ERROR_CONFIG_UNSUPPORTED,
                   "unknown volume type 'dir'; it is 'file' or 'block'");
}

static void
test_an_unknown_format_is_refused(void)
{
    expect_refused(TARGET("<format type='foo'/>"), ERROR_CONFIG_UNSUPPORTED,
                   "unknown volume format type foo");
    expect_refused(TARGET("<format type='luks'/>"), ERROR_CONFIG_UNSUPPORTED,
                   "unknown volume format type luks");
    expect_refused(VOLUME("<backingStore><path>/b</path><format type='foo'/></backingStore>"),
                   ERROR_CONFIG_UNSUPPORTED, "unknown volume format type foo");
}

static void
test_malformed_permissions_are_refused(void)
{
#define PERMISSIONS(inside) TARGET("<permissions>" inside "</permissions>")
    expect_refused(PERMISSIONS("<mode>0999</mode>"), ERROR_XML, "malformed octal mode");
    expect_refused(PERMISSIONS("<mode>07777</mode>"), ERROR_XML, "malformed octal mode");
    expect_refused(PERMISSIONS("<mode>-1</mode>"), ERROR_XML, "malformed octal mode");
    expect_refused(PERMISSIONS("<owner/>"), ERROR_XML, "malformed owner element");
    expect_refused(PERMISSIONS("<owner>-2</owner>"), ERROR_XML, "malformed owner element");
    expect_refused(PERMISSIONS("<group>4294967296</group>"), ERROR_XML, "malformed group element");
}

static void
test_features_mean_compat_1_1(void)
{
    g_autoptr(volume_def_t) implied = parse(TARGET("<features><lazy_refcounts/></features>"));
    g_autoptr(volume_def_t) given =
        parse(TARGET("<compat>0.10</compat><features><extended_l2/></features>"));

    g_assert_cmpstr(implied->compat, ==, "1.1");
    g_assert_cmpstr(given->compat, ==, "0.10");
    expect_refused(TARGET("<features><foo/></features>"), ERROR_CONFIG_UNSUPPORTED,
                   "unsupported feature foo; it is 'lazy_refcounts' or 'extended_l2'");
    expect_refused(TARGET("<compat>3</compat>"), ERROR_XML,
                   "forbidden characters in 'compat' attribute: '3'; it is \"0.10\" or \"1.1\"");
}

static void
test_an_encryption_that_libvirt_would_overlook_is_refused(void)
{
    expect_refused(VOLUME("<encryption format='luks'/>"), ERROR_XML,
                   "<encryption> stands outside of <target>, where it would be overlooked; move "
                   "it into <target>");
    expect_refused(TARGET("<encryption format='luks'/><encryption format='qcow'/>"), ERROR_XML,
                   "element 'target' holds 'encryption' more than once; leave one");
    expect_refused(VOLUME("<target/><target><encryption format='luks'/></target>"), ERROR_XML,
                   "element 'volume' holds 'target' more than once; leave one");
    expect_refused(TARGET("<encryption/>"), ERROR_XML,
                   "unknown volume encryption format: name one, as in format='luks'");
}

static void
test_what_says_how_a_volume_is_and_unknown_elements_are_ignored(void)
{
    g_autoptr(volume_def_t) def =
        parse(VOLUME("<physical>x</physical><key>k</key><source/><foo/><target><foo/><nocow/>"
                     "<timestamps><atime>1</atime></timestamps></target>"));

    g_assert_true(def->nocow);
    g_assert_null(def->path);
}

static void
test_another_document_is_refused(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(volume_def_parse("<pool/>", 7, &error));
    expect_error(error, ERROR_XML, ERROR_FROM_XML,
                 "expecting root element of 'volume', not 'pool'");
}

static void
test_entities_are_refused_before_they_expand(void)
{
    static const char bomb[] = "<!DOCTYPE volume [<!ENTITY a 'aaaaaaaaaa'>"
                               "<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
                               "<volume><name>&b;</name></volume>";

    expect_refused(bomb, ERROR_XML,
                   "(storage_volume_definition) has a document type declaration (<!DOCTYPE ...>), "
                   "which is not allowed; remove it");
}

static void
test_a_definition_that_is_too_long_is_refused(void)
{
    g_autofree char *xml = g_strnfill(VOLUME_DEF_XML_MAX + 1, ' ');

    expect_refused(xml, ERROR_XML,
                   "the definition of the volume has 1048577 bytes; shorten it to at most 1048576");
}

#define ADD(name) g_test_add_func("/conf/volume_def/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(everything_is_read_into_its_field);
    ADD(a_volume_is_written_as_it_was_read);
    ADD(what_is_not_said_is_absent);
    ADD(sizes_have_libvirts_units);
    ADD(an_unknown_unit_is_refused);
    ADD(a_size_that_is_no_number_is_refused);
    ADD(a_size_beyond_63_bits_is_an_overflow);
    ADD(names_that_could_leave_the_pool_are_refused);
    ADD(names_of_pools_follow_the_same_rules);
    ADD(types_other_than_file_and_block_are_refused);
    ADD(an_unknown_format_is_refused);
    ADD(malformed_permissions_are_refused);
    ADD(features_mean_compat_1_1);
    ADD(an_encryption_that_libvirt_would_overlook_is_refused);
    ADD(what_says_how_a_volume_is_and_unknown_elements_are_ignored);
    ADD(another_document_is_refused);
    ADD(entities_are_refused_before_they_expand);
    ADD(a_definition_that_is_too_long_is_refused);
    return g_test_run();
}
