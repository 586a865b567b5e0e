/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Secret definitions: what is read, what is refused and with which words, what is written. The
 * expected answers are those of libvirtd 9.0.0 (test-conf-secret-xml-libvirtd.py asks it again).
 */
#include <string.h>

#include "conf/secret_def.h"
#include "conf/secret_def_xml.h"
#include "expect.h"
#include "patience.h"

#define UUID              "<uuid>d9a3c9a0-1111-4222-8333-444455556666</uuid>"
#define CANON             "<secret ephemeral='no' private='no'>\n  " UUID "\n"
#define USAGE(type, body) "<usage type='" type "'>" body "</usage>"

static struct secret_def *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct secret_def *def = secret_def_parse(xml, strlen(xml), false, &error);

    g_assert_no_error(error);
    return def;
}

static void
expect_canonical(const char *xml, const char *canonical)
{
    g_autoptr(secret_def_t) def = parse(xml);
    g_autofree char *text = secret_def_format_dumpxml(def);

    g_assert_cmpstr(text, ==, canonical);
}

static void
expect_refused(const char *xml, enum error_code code, enum error_domain domain, const char *detail)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(secret_def_parse(xml, strlen(xml), false, &error));
    expect_error(error, code, domain, detail);
}

static void
test_all_fields_are_read(void)
{
    g_autoptr(secret_def_t) def = parse("<secret ephemeral='yes' private='yes'>" UUID
                                        "<description>a key</description>" USAGE(
                                            "iscsi", "<target>iqn.2026-11:x</target>") "</secret>");
    char uuid[UUID_TEXT_SIZE];

    g_assert_cmpstr(uuid_format(&def->uuid, uuid), ==, "d9a3c9a0-1111-4222-8333-444455556666");
    g_assert_true(def->is_ephemeral);
    g_assert_true(def->is_private);
    g_assert_cmpstr(def->description, ==, "a key");
    g_assert_cmpint(def->usage_type, ==, SECRET_USAGE_ISCSI);
    g_assert_cmpstr(def->usage_id, ==, "iqn.2026-11:x");
}

static void
test_absent_fields_take_their_defaults(void)
{
    g_autoptr(secret_def_t) def = parse("<secret>" UUID "</secret>");

    g_assert_false(def->is_ephemeral);
    g_assert_false(def->is_private);
    g_assert_null(def->description);
    g_assert_cmpint(def->usage_type, ==, SECRET_USAGE_NONE);
    g_assert_null(def->usage_id);
}

static void
test_a_uuid_is_generated_when_there_is_none(void)
{
    g_autoptr(secret_def_t) first = parse("<secret/>");
    g_autoptr(secret_def_t) second = parse("<secret><uuid/></secret>");

    g_assert_false(uuid_equal(&first->uuid, &second->uuid));
    g_assert_cmpint(first->uuid.bytes[6] >> 4, ==, 4);
}

static void
test_a_uuid_may_have_libvirts_loose_forms(void)
{
    static const char *const forms[] = {
        "d9a3c9a0111142228333444455556666",
        " D9A3C9A0-1111-4222-8333-444455556666\n",
        "-d9a3c9a0--1111-4222-8333-444455556666",
        "d9 a3 c9 a0 1111 4222 8333 4444 5555 6666",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autofree char *xml = g_strdup_printf("<secret><uuid>%s</uuid></secret>", forms[i]);

        expect_canonical(xml, CANON "</secret>\n");
    }
}

static void
test_a_malformed_uuid_is_refused(void)
{
    static const char *const forms[] = {
        "zz",
        "d9a3c9a0-1111-4222-8333-44445555666",
        "d9a3c9a0-1111-4222-8333-4444555566667",
        "d9a3c9a0-1111-4222-8333-444455556666-",
        "d9a3c9a0-1111-4222-8333-44445555666g",
        " ",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autofree char *xml = g_strdup_printf("<secret><uuid>%s</uuid></secret>", forms[i]);

        expect_refused(xml, ERROR_INTERNAL, ERROR_FROM_SECRET, "malformed uuid element");
    }
}

static void
test_an_attribute_other_than_yes_or_no_is_refused(void)
{
    expect_refused("<secret ephemeral='maybe'/>", ERROR_XML, ERROR_FROM_SECRET,
                   "invalid value of 'ephemeral'");
    expect_refused("<secret private='1'/>", ERROR_XML, ERROR_FROM_SECRET,
                   "invalid value of 'private'");
    expect_refused("<secret private=' yes'/>", ERROR_XML, ERROR_FROM_SECRET,
                   "invalid value of 'private'");
    expect_canonical("<secret ephemeral='' private=''>" UUID "</secret>", CANON "</secret>\n");
}

static void
test_every_usage_type_is_read_and_written(void)
{
    static const struct {
        const char *type;
        const char *element;
        enum secret_usage_type number;
    } types[] = {
        {"volume", "volume", SECRET_USAGE_VOLUME}, {"ceph", "name", SECRET_USAGE_CEPH},
        {"iscsi", "target", SECRET_USAGE_ISCSI},   {"tls", "name", SECRET_USAGE_TLS},
        {"vtpm", "name", SECRET_USAGE_VTPM},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autofree char *xml =
            g_strdup_printf(CANON "  <usage type='%s'>\n    <%s>/a b</%s>\n  </usage>\n</secret>\n",
                            types[i].type, types[i].element, types[i].element);
        g_autoptr(secret_def_t) def = parse(xml);

        g_assert_cmpint(def->usage_type, ==, types[i].number);
        g_assert_cmpstr(def->usage_id, ==, "/a b");
        g_assert_cmpstr(secret_usage_type_name(types[i].number), ==, types[i].type);
        expect_canonical(xml, xml);
    }
}

static void
test_usage_none_is_no_usage(void)
{
    expect_canonical("<secret>" UUID USAGE("none", "<name>x</name>") "</secret>",
                     CANON "</secret>\n");
}

static void
test_a_usage_without_its_id_is_refused(void)
{
    expect_refused("<secret>" USAGE("volume", "<name>x</name>") "</secret>", ERROR_INTERNAL,
                   ERROR_FROM_SECRET, "volume usage specified, but volume path is missing");
    expect_refused("<secret>" USAGE("ceph", "<name/>") "</secret>", ERROR_INTERNAL,
                   ERROR_FROM_SECRET, "Ceph usage specified, but name is missing");
    expect_refused("<secret>" USAGE("iscsi", "") "</secret>", ERROR_INTERNAL, ERROR_FROM_SECRET,
                   "iSCSI usage specified, but target is missing");
    expect_refused("<secret>" USAGE("tls", "<target>x</target>") "</secret>", ERROR_INTERNAL,
                   ERROR_FROM_SECRET, "TLS usage specified, but name is missing");
    expect_refused("<secret>" USAGE("vtpm", "<x><name>y</name></x>") "</secret>", ERROR_INTERNAL,
                   ERROR_FROM_SECRET, "vTPM usage specified, but name is missing");
}

static void
test_an_unknown_usage_type_is_refused(void)
{
    expect_refused("<secret>" USAGE("Volume", "<volume>/x</volume>") "</secret>",
                   ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_SECRET, "unknown secret usage type Volume");
    expect_refused("<secret><usage><volume>/x</volume></usage></secret>", ERROR_XML,
                   ERROR_FROM_SECRET, "unknown secret usage type");
    expect_refused("<secret>" USAGE("", "<volume>/x</volume>") "</secret>", ERROR_XML,
                   ERROR_FROM_SECRET, "unknown secret usage type");
}

static void
test_the_first_of_several_elements_counts(void)
{
    expect_canonical(
        "<secret>" UUID "<uuid>zz</uuid><description/><description>b</description>" USAGE(
            "ceph", "<name>n</name><name>m</name>") USAGE("tls", "<name>o</name>") "</secret>",
        CANON "  <usage type='ceph'>\n    <name>n</name>\n  </usage>\n</secret>\n");
    expect_canonical("<secret>" UUID "<usage/>" USAGE("tls", "<name>o</name>") "</secret>",
                     CANON "  <usage type='tls'>\n    <name>o</name>\n  </usage>\n</secret>\n");
}

static void
test_unknown_and_foreign_markup_is_ignored(void)
{
    expect_canonical("<?xml version='1.0' encoding='ISO-8859-1'?><!-- c --><secret x='1' "
                     "xmlns:q='urn:q' q:private='yes'>text<q:uuid>zz</q:uuid><other/><?pi?>" UUID
                     "</secret>\n<!-- d -->",
                     CANON "</secret>\n");
}

static void
test_text_is_kept_as_it_is_without_its_markup(void)
{
    expect_canonical("<secret>" UUID
                     "<description> a<b>c</b>\n d<!--x--><![CDATA[<&>]]></description>"
                     "</secret>",
                     CANON "  <description> ac\n d&lt;&amp;&gt;</description>\n</secret>\n");
}

static void
test_five_characters_are_escaped(void)
{
    expect_canonical(
        "<secret>" UUID "<description>&lt;&gt;&amp;\"'\t\n\xc3\xa9\x7f</description></secret>",
        CANON "  <description>&lt;&gt;&amp;&quot;&apos;\t\n\xc3\xa9\x7f</description>\n"
              "</secret>\n");
}

static void
test_control_characters_are_left_out_of_xml(void)
{
    struct secret_def def = {.description = (char *)"a\001b\033c\td"};
    g_autofree char *text = secret_def_format_dumpxml(&def);

    g_assert_nonnull(strstr(text, "<description>abc\td</description>"));
}

static void
test_a_carriage_return_survives_a_file_only_as_a_reference(void)
{
    g_autoptr(secret_def_t) def =
        parse("<secret>" UUID USAGE("ceph", "<name>a&#13;b</name>") "</secret>");
    g_autofree char *dumped = secret_def_format_dumpxml(def);
    g_autofree char *filed = secret_def_format(def);
    g_autoptr(secret_def_t) again = parse(filed);

    g_assert_nonnull(strstr(dumped, "<name>a\rb</name>"));
    g_assert_nonnull(strstr(filed, "<name>a&#13;b</name>"));
    g_assert_cmpstr(again->usage_id, ==, "a\rb");
}

static void
test_another_root_element_is_refused(void)
{
    expect_refused("<pool/>", ERROR_XML, ERROR_FROM_XML,
                   "expecting root element of 'secret', not 'pool'");
}

static void
test_malformed_xml_is_refused_with_line_and_mark(void)
{
    expect_refused("<secret>\n <uuid>x</uuidd>\n</secret>", ERROR_XML_DETAIL, ERROR_FROM_SECRET,
                   "(definition_of_secret):2: Opening and ending tag mismatch: uuid line 2 and "
                   "uuidd\n <uuid>x</uuidd>\n----------------^");
    expect_refused("", ERROR_XML_DETAIL, ERROR_FROM_SECRET,
                   "(definition_of_secret):1: Document is empty\n\n^");
    expect_refused("<secret>", ERROR_XML_DETAIL, ERROR_FROM_SECRET,
                   "(definition_of_secret):1: Premature end of data in tag secret line "
                   "1\n<secret>\n--------^");
    expect_refused("<secret>&foo;</secret>", ERROR_XML_DETAIL, ERROR_FROM_SECRET,
                   "(definition_of_secret):1: Entity 'foo' not defined\n<secret>&foo;</secret>\n"
                   "-------------^");
}

static void
test_the_snippet_of_a_long_line_is_cut(void)
{
    g_autofree char *filler = g_strnfill(100000, 'x');
    g_autofree char *xml = g_strdup_printf("<secret>%s</secre>%s", filler, filler);
    g_autoptr(GError) error = NULL;

    g_assert_null(secret_def_parse(xml, strlen(xml), false, &error));
    expect_error_part(error, ERROR_XML_DETAIL, ERROR_FROM_SECRET, "xxx</secre>xxx");
    g_assert_cmpuint(strlen(error->message), <, 4096);
}

static void
test_a_document_type_declaration_is_refused(void)
{
    static const char *const documents[] = {
        "<!DOCTYPE secret><secret/>",
        "<!DOCTYPE secret SYSTEM '/etc/passwd'><secret/>",
        "<!DOCTYPE secret [<!ENTITY a 'xxxx'><!ENTITY b '&a;&a;&a;'>]><secret>&b;</secret>",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(documents); i++)
        expect_refused(documents[i], ERROR_XML, ERROR_FROM_SECRET,
                       "(definition_of_secret) has a document type declaration (<!DOCTYPE ...>), "
                       "which is not allowed; remove it");
}

static void
test_size_and_depth_are_bounded(void)
{
    g_autofree char *large = g_strnfill(SECRET_DEF_XML_MAX + 1, ' ');
    g_autoptr(GString) deep = g_string_new("<secret>");
    g_autoptr(GError) error = NULL;

    expect_refused(large, ERROR_XML, ERROR_FROM_SECRET,
                   "the definition of the secret has 1048577 bytes; shorten it to at most 1048576");
    for (int i = 0; i < 300; i++)
        g_string_append(deep, "<a>");
    g_assert_null(secret_def_parse(deep->str, deep->len, false, &error));
    expect_error_part(error, ERROR_XML_DETAIL, ERROR_FROM_SECRET, "Excessive depth in document");
}

static void
test_a_zero_byte_is_refused(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(secret_def_parse("<secret/>\0<x/>", 14, false, &error));
    expect_error(error, ERROR_XML, ERROR_FROM_SECRET, "(definition_of_secret) holds a zero byte");
}

static void
test_text_need_not_end_with_a_zero_byte(void)
{
    static const char xml[] = "<secret>" UUID "</secret>rest";
    g_autoptr(secret_def_t) def = secret_def_parse(xml, strlen(xml) - 4, false, NULL);

    g_assert_nonnull(def);
}

static void
test_validation_takes_what_the_schema_takes(void)
{
    static const char *const documents[] = {
        "<secret/>",
        "<secret private='yes' ephemeral='no'>\n " UUID "\n<description/></secret>",
        "<secret><!-- c -->" USAGE("volume", "<volume>/dev/x y</volume>") UUID "</secret>",
        "<secret>" USAGE("volume", "<volume>C:\\x</volume>") "</secret>",
        "<secret>" USAGE("ceph", " <name>a b&#13;</name> ") "<description>d</description></secret>",
        "<secret>" USAGE("iscsi", "<target>iqn:x</target>") "</secret>",
        "<secret>" USAGE("tls", "<name> </name>") "</secret>",
        "<secret><uuid>D9A3C9A0111142228333444455556666</uuid></secret>",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(documents); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(secret_def_t) def =
            secret_def_parse(documents[i], strlen(documents[i]), true, &error);

        g_assert_no_error(error);
        g_assert_nonnull(def);
    }
}

static void
test_validation_refuses_what_the_schema_refuses(void)
{
    static const struct {
        const char *xml;
        const char *reason;
    } cases[] = {
        {"<secret xmlns='urn:x'/>", "Expecting no namespace for element secret"},
        {"<secret foo='1'/>", "Invalid attribute foo for element secret"},
        {"<secret private=''/>", "Invalid attribute private for element secret"},
        {"<secret ephemeral='Yes'/>", "Invalid attribute ephemeral for element secret"},
        {"<secret><foo/></secret>", "Unknown content foo for element secret"},
        {"<secret>text</secret>", "Unknown content text for element secret"},
        {"<secret>" UUID UUID "</secret>", "More than one uuid for element secret"},
        {"<secret><uuid/></secret>", "Invalid text for element uuid"},
        {"<secret><uuid> d9a3c9a0-1111-4222-8333-444455556666</uuid></secret>",
         "Invalid text for element uuid"},
        {"<secret><description a='1'>x</description></secret>",
         "Invalid attribute a for element description"},
        {"<secret><description>x<b/></description></secret>",
         "Invalid child element b for element description"},
        {"<secret><usage/></secret>", "Invalid attribute type for element usage"},
        {"<secret>" USAGE("none", "") "</secret>", "Invalid attribute type for element usage"},
        {"<secret><usage type='ceph' x='1'><name>a</name></usage></secret>",
         "Invalid attribute x for element usage"},
        {"<secret>" USAGE("ceph", "") "</secret>", "Missing child element name for element usage"},
        {"<secret>" USAGE("ceph", "<volume>/a</volume>") "</secret>",
         "Invalid content volume for element usage"},
        {"<secret>" USAGE("ceph", "<name>a</name>x") "</secret>",
         "Invalid content text for element usage"},
        {"<secret>" USAGE("ceph", "<name>a/b</name>") "</secret>", "Invalid text for element name"},
        {"<secret>" USAGE("tls", "<name>a\nb</name>") "</secret>", "Invalid text for element name"},
        {"<secret>" USAGE("volume", "<volume>x</volume>") "</secret>",
         "Invalid text for element volume"},
        {"<secret>" USAGE("volume", "<volume>/</volume>") "</secret>",
         "Invalid text for element volume"},
        {"<secret>" USAGE("volume", "<volume>/a&#10;b</volume>") "</secret>",
         "Invalid text for element volume"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *detail =
            g_strdup_printf("Unable to validate doc against secret.rng\n%s", cases[i].reason);

        g_assert_null(secret_def_parse(cases[i].xml, strlen(cases[i].xml), true, &error));
        expect_error(error, ERROR_XML_INVALID_SCHEMA, ERROR_FROM_XML, detail);
    }
}

static void
test_a_copy_is_equal_and_independent(void)
{
    g_autoptr(secret_def_t) def =
        parse("<secret private='yes'>" UUID
              "<description>d</description>" USAGE("ceph", "<name>n</name>") "</secret>");
    g_autofree char *before = secret_def_format_dumpxml(def);
    g_autoptr(secret_def_t) copy = secret_def_copy(def);
    g_autofree char *after = NULL;

    g_clear_pointer(&def, secret_def_free);
    after = secret_def_format_dumpxml(copy);
    g_assert_cmpstr(after, ==, before);
}

static void
test_canonical_text_does_not_need_the_xml_parser(void)
{
    static const char xml[] = CANON "  <description>a &amp; b</description>\n"
                                    "  <usage type='ceph'>\n    <name>x</name>\n  </usage>\n"
                                    "</secret>\n";
    g_autoptr(secret_def_t) def = secret_def_parse_canonical(xml, strlen(xml));

    g_assert_nonnull(def);
    g_assert_cmpstr(def->description, ==, "a & b");
}

/* Text in which everything that matters to a parser is likely. */
static char *
random_text(GRand *random)
{
    static const char *const pieces[] = {
        "a",
        "/",
        "\n",
        "\r",
        "\t",
        " ",
        "&amp;",
        "&lt;",
        "&gt;",
        "&quot;",
        "&apos;",
        "&#13;",
        "&#x41;",
        "&",
        "<",
        ">",
        "\"",
        "'",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "\xff",
        "\xef\xbf\xbe",
        "\xed\xa0\x80",
        "]]>",
        "\x01",
        "\x7f",
        "<!-- -->",
        "<b/>",
    };
    GString *text = g_string_new(NULL);
    int count = g_rand_int_range(random, 0, 6);

    for (int i = 0; i < count; i++)
        g_string_append(text, pieces[g_rand_int_range(random, 0, G_N_ELEMENTS(pieces))]);
    return g_string_free(text, FALSE);
}

/* A document near to the canonical form, then damaged in a byte now and then. */
static char *
random_document(GRand *random)
{
    static const char *const types[] = {"volume", "ceph", "iscsi", "tls", "vtpm", "none", "x"};
    static const char *const ids[] = {"volume", "name", "target"};
    g_autofree char *description = random_text(random);
    g_autofree char *id = random_text(random);
    const char *element = ids[g_rand_int_range(random, 0, 3)];
    GString *xml = g_string_new(NULL);

    g_string_append_printf(xml, "<secret ephemeral='%s' private='%s'>\n  " UUID "\n",
                           g_rand_boolean(random) ? "yes" : "no",
                           g_rand_boolean(random) ? "yes" : "no");
    if (g_rand_boolean(random))
        g_string_append_printf(xml, "  <description>%s</description>\n", description);
    if (g_rand_boolean(random))
        g_string_append_printf(xml, "  <usage type='%s'>\n    <%s>%s</%s>\n  </usage>\n",
                               types[g_rand_int_range(random, 0, G_N_ELEMENTS(types))], element, id,
                               element);
    g_string_append(xml, "</secret>\n");
    if (g_rand_int_range(random, 0, 4) == 0)
        xml->str[g_rand_int_range(random, 0, (gint32)xml->len)] =
            "<>/'\"& \nx"[g_rand_int_range(random, 0, 9)];
    if (g_rand_int_range(random, 0, 10) == 0)
        g_string_truncate(xml, (gsize)g_rand_int_range(random, 0, (gint32)xml->len));
    return g_string_free(xml, FALSE);
}

/* What the short cut reads, the XML parser reads as the same definition. */
static void
test_both_ways_of_reading_agree(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(20261124);
    unsigned int quick = 0;

    for (unsigned int i = 0; i < fewer_under_memcheck(60000); i++) {
        g_autofree char *xml = random_document(random);
        g_autoptr(secret_def_t) a = secret_def_parse_canonical(xml, strlen(xml));
        g_autoptr(secret_def_t) b = NULL;

        if (!a)
            continue;
        quick++;
        b = secret_def_parse_document(xml, strlen(xml), false, NULL);
        if (!b || !uuid_equal(&a->uuid, &b->uuid) || a->is_ephemeral != b->is_ephemeral ||
            a->is_private != b->is_private || a->usage_type != b->usage_type ||
            g_strcmp0(a->description, b->description) != 0 ||
            g_strcmp0(a->usage_id, b->usage_id) != 0)
            g_error("read in two ways: %s", xml);
    }
    g_assert_cmpuint(quick, >, fewer_under_memcheck(6000));
}

/* And it reads whatever is written, which makes it worth having. */
static void
test_everything_written_is_read_back_quickly_and_equal(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    unsigned int count = 0;

    for (unsigned int i = 0; i < fewer_under_memcheck(20000); i++) {
        g_autofree char *xml = random_document(random);
        g_autoptr(secret_def_t) def = secret_def_parse(xml, strlen(xml), false, NULL);
        g_autofree char *filed = def ? secret_def_format(def) : NULL;
        g_autoptr(secret_def_t) again =
            def ? secret_def_parse_canonical(filed, strlen(filed)) : NULL;
        g_autofree char *twice = again ? secret_def_format(again) : NULL;

        if (!def)
            continue;
        count++;
        if (!again)
            g_error("not read back: %s", filed);
        g_assert_cmpstr(twice, ==, filed);
        g_assert_cmpstr(again->description, ==, def->description);
        g_assert_cmpstr(again->usage_id, ==, def->usage_id);
    }
    g_assert_cmpuint(count, >, fewer_under_memcheck(4000));
}

#define ADD(name) g_test_add_func("/conf/secret_def/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(all_fields_are_read);
    ADD(absent_fields_take_their_defaults);
    ADD(a_uuid_is_generated_when_there_is_none);
    ADD(a_uuid_may_have_libvirts_loose_forms);
    ADD(a_malformed_uuid_is_refused);
    ADD(an_attribute_other_than_yes_or_no_is_refused);
    ADD(every_usage_type_is_read_and_written);
    ADD(usage_none_is_no_usage);
    ADD(a_usage_without_its_id_is_refused);
    ADD(an_unknown_usage_type_is_refused);
    ADD(the_first_of_several_elements_counts);
    ADD(unknown_and_foreign_markup_is_ignored);
    ADD(text_is_kept_as_it_is_without_its_markup);
    ADD(five_characters_are_escaped);
    ADD(control_characters_are_left_out_of_xml);
    ADD(a_carriage_return_survives_a_file_only_as_a_reference);
    ADD(another_root_element_is_refused);
    ADD(malformed_xml_is_refused_with_line_and_mark);
    ADD(the_snippet_of_a_long_line_is_cut);
    ADD(a_document_type_declaration_is_refused);
    ADD(size_and_depth_are_bounded);
    ADD(a_zero_byte_is_refused);
    ADD(text_need_not_end_with_a_zero_byte);
    ADD(validation_takes_what_the_schema_takes);
    ADD(validation_refuses_what_the_schema_refuses);
    ADD(a_copy_is_equal_and_independent);
    ADD(canonical_text_does_not_need_the_xml_parser);
    ADD(both_ways_of_reading_agree);
    ADD(everything_written_is_read_back_quickly_and_equal);
    return g_test_run();
}
