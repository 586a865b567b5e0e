/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * <encryption>: what libvirt takes and writes, what is ours, and that nothing is overlooked.
 */
#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "expect.h"

#define UUID "d9a3c9a0-1111-4222-8333-444455556666"

static struct encryption *
parse_text(const char *xml, GError **error)
{
    g_autoptr(xml_document_t) doc =
        xml_document_parse("t", "encryption", xml, strlen(xml), ERROR_FROM_STORAGE, error);

    return doc ? encryption_parse(xmlDocGetRootElement(doc), error) : NULL;
}

static struct encryption *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct encryption *encryption = parse_text(xml, &error);

    g_assert_no_error(error);
    return encryption;
}

static char *
format(const struct encryption *encryption)
{
    GString *text = g_string_new(NULL);

    encryption_format(encryption, 0, text);
    return g_string_free(text, FALSE);
}

/* `xml` is written as it is read. */
static void
expect_same(const char *xml)
{
    g_autoptr(encryption_t) encryption = parse(xml);
    g_autoptr(encryption_t) copy = encryption_copy(encryption);
    g_autofree char *text = format(copy);

    g_assert_cmpstr(text, ==, xml);
}

static void
expect_formatted(const char *xml, const char *expected)
{
    g_autoptr(encryption_t) encryption = parse(xml);
    g_autofree char *text = format(encryption);

    g_assert_cmpstr(text, ==, expected);
}

static void
expect_refused(const char *xml, enum error_code code, const char *detail)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(encryption_t) encryption = parse_text(xml, &error);

    g_assert_null(encryption);
    expect_error(error, code, ERROR_FROM_STORAGE, detail);
}

static void
expect_xml_error(const char *xml, const char *detail)
{
    expect_refused(xml, ERROR_XML, detail);
}

static void
expect_unsupported(const char *xml, const char *detail)
{
    expect_refused(xml, ERROR_CONFIG_UNSUPPORTED, detail);
}

static void
test_what_libvirt_writes_is_read_and_written_alike(void)
{
    expect_same("<encryption format='default'>\n</encryption>\n");
    expect_same("<encryption format='qcow'>\n</encryption>\n");
    expect_same("<encryption format='luks' engine='qemu'>\n"
                "  <secret type='passphrase' uuid='" UUID "'/>\n"
                "</encryption>\n");
    expect_same("<encryption format='luks2' engine='librbd'>\n"
                "  <secret type='passphrase' usage='/a&amp;&apos;&quot;&lt;'/>\n"
                "</encryption>\n");
    expect_same("<encryption format='luks-any' engine='librbd'>\n</encryption>\n");
    expect_same("<encryption format='luks'>\n"
                "  <secret type='passphrase' uuid='" UUID "'/>\n"
                "  <cipher name='aes' size='256' mode='cbc' hash='sha256'/>\n"
                "  <ivgen name='plain64' hash='sha256'/>\n"
                "</encryption>\n");
    expect_same("<encryption format='luks'>\n"
                "  <cipher name='serpent' size='128'/>\n"
                "</encryption>\n");
}

static void
test_dm_crypt_options_are_read_and_written_alike(void)
{
    expect_same("<encryption format='luks2' engine='dm-crypt'>\n"
                "  <secret type='passphrase' uuid='" UUID "'/>\n"
                "  <cipher name='aes' size='256' mode='xts' hash='sha256'/>\n"
                "  <ivgen name='plain64'/>\n"
                "  <dmcrypt sector_size='4096' discard='yes' no_read_workqueue='yes' "
                "no_write_workqueue='yes' same_cpu_crypt='yes' submit_from_crypt_cpus='yes'>\n"
                "    <header path='/etc/h'/>\n"
                "  </dmcrypt>\n"
                "</encryption>\n");
    expect_same("<encryption format='luks2' engine='dm-crypt'>\n"
                "  <dmcrypt>\n"
                "    <integrity mode='hmac'/>\n"
                "  </dmcrypt>\n"
                "</encryption>\n");
    expect_same("<encryption format='luks2' engine='dm-crypt'>\n"
                "  <cipher name='aes' size='256' mode='gcm'/>\n"
                "  <ivgen name='random'/>\n"
                "  <dmcrypt>\n"
                "    <integrity mode='aead'/>\n"
                "  </dmcrypt>\n"
                "</encryption>\n");
    expect_same("<encryption format='plain' engine='dm-crypt'>\n"
                "  <dmcrypt sector_size='512'/>\n"
                "</encryption>\n");
    expect_same("<encryption format='luks' engine='dm-crypt'>\n"
                "  <dmcrypt discard='yes'/>\n"
                "</encryption>\n");
}

static void
test_every_option_is_read_into_its_field(void)
{
    g_autoptr(encryption_t) encryption =
        parse("<encryption engine='dm-crypt'><secret type='passphrase' uuid='" UUID "'/>"
              "<cipher name='aes' size='512' mode='xts' hash='sha512'/>"
              "<ivgen name='essiv' hash='sha1'/>"
              "<dmcrypt sector_size='2048' discard='no' no_write_workqueue='yes'>"
              "<integrity mode='hmac'/><header path='/h'/></dmcrypt></encryption>");
    char uuid[UUID_TEXT_SIZE];

    g_assert_cmpint(encryption->engine, ==, ENCRYPTION_ENGINE_DM_CRYPT);
    g_assert_cmpint(encryption->format, ==, ENCRYPTION_FORMAT_LUKS2);
    g_assert_cmpint(encryption->secret_by, ==, ENCRYPTION_SECRET_UUID);
    g_assert_cmpstr(uuid_format(&encryption->secret_uuid, uuid), ==, UUID);
    g_assert_cmpstr(encryption->cipher_name, ==, "aes");
    g_assert_cmpuint(encryption->cipher_size, ==, 512);
    g_assert_cmpstr(encryption->cipher_mode, ==, "xts");
    g_assert_cmpstr(encryption->cipher_hash, ==, "sha512");
    g_assert_cmpstr(encryption->ivgen_name, ==, "essiv");
    g_assert_cmpstr(encryption->ivgen_hash, ==, "sha1");
    g_assert_cmpuint(encryption->dmcrypt.sector_size, ==, 2048);
    g_assert_false(encryption->dmcrypt.discard);
    g_assert_false(encryption->dmcrypt.no_read_workqueue);
    g_assert_true(encryption->dmcrypt.no_write_workqueue);
    g_assert_cmpint(encryption->dmcrypt.integrity, ==, ENCRYPTION_INTEGRITY_HMAC);
    g_assert_cmpstr(encryption->dmcrypt.header_path, ==, "/h");
}

static void
test_dm_crypt_without_a_format_is_luks2(void)
{
    static const char luks2[] = "<encryption format='luks2' engine='dm-crypt'>\n</encryption>\n";

    expect_formatted("<encryption engine='dm-crypt'/>", luks2);
    expect_formatted("<encryption engine='dm-crypt' format='default'/>", luks2);
}

static void
test_what_an_attribute_cannot_hold_raw_is_read_back(void)
{
    g_autoptr(encryption_t) encryption =
        parse("<encryption format='luks'><secret type='passphrase' usage='a&#9;b&#10;c&#13;d'/>"
              "</encryption>");

    g_assert_cmpstr(encryption->secret_usage, ==, "a\tb\nc\rd");
    expect_same("<encryption format='luks'>\n"
                "  <secret type='passphrase' usage='a&#9;b&#10;c&#13;d'/>\n"
                "</encryption>\n");
}

static void
test_a_missing_or_unknown_format_is_refused(void)
{
    expect_xml_error("<encryption/>",
                     "unknown volume encryption format: name one, as in format='luks'");
    expect_xml_error("<encryption format='' engine='dm-crypt'/>",
                     "unknown volume encryption format: name one, as in format='luks'");
    expect_unsupported("<encryption format='luks3'/>",
                       "unknown volume encryption format type luks3; it is 'default', 'qcow', "
                       "'luks', 'luks2', 'luks-any', or with engine='dm-crypt' 'plain'");
}

static void
test_an_unknown_engine_is_refused(void)
{
    expect_xml_error("<encryption format='luks' engine='foo'/>",
                     "Invalid value for attribute 'engine' in element 'encryption': 'foo'; it is "
                     "'qemu', 'librbd' or 'dm-crypt'");
    expect_xml_error("<encryption format='luks' engine='default'/>",
                     "Invalid value for attribute 'engine' in element 'encryption': 'default'; it "
                     "is 'qemu', 'librbd' or 'dm-crypt'");
    expect_xml_error("<encryption format='luks' engine=''/>",
                     "Invalid value for attribute 'engine' in element 'encryption': ''; it is "
                     "'qemu', 'librbd' or 'dm-crypt'");
}

static void
test_a_secret_is_named_in_one_way(void)
{
#define SECRET(attributes) "<encryption format='luks'><secret " attributes "/></encryption>"
    expect_xml_error(SECRET("type='passphrase' uuid='" UUID "' usage='u'"),
                     "either secret uuid or usage expected");
    expect_xml_error(SECRET("type='passphrase'"), "missing secret uuid or usage attribute");
    expect_xml_error(SECRET("type='passphrase' uuid='zz'"), "invalid secret uuid 'zz'");
    expect_xml_error(SECRET("type='passphrase' uuid=''"), "invalid secret uuid ''");
    expect_xml_error(SECRET("type='passphrase' usage=''"),
                     "the usage of the secret is empty; no secret has that");
    expect_xml_error(SECRET("uuid='" UUID "'"),
                     "unknown volume encryption secret type: write type='passphrase'");
    expect_unsupported(SECRET("type='foo' uuid='" UUID "'"),
                       "unknown volume encryption secret type foo; it is 'passphrase'");
    expect_xml_error("<encryption format='luks'><secret type='passphrase' usage='a'/>"
                     "<secret type='passphrase' usage='b'/></encryption>",
                     "element 'encryption' holds 'secret' more than once; leave one");
}

static void
test_a_cipher_needs_its_name_and_size(void)
{
#define CIPHER(text) "<encryption format='luks'>" text "</encryption>"
    expect_xml_error(CIPHER("<cipher size='256'/>"), "cipher info missing 'name' attribute");
    expect_xml_error(CIPHER("<cipher name='aes'/>"),
                     "Missing required attribute 'size' in element 'cipher'");
    expect_xml_error(CIPHER("<cipher name='aes' size='-1'/>"),
                     "Invalid value for attribute 'size' in element 'cipher': '-1'. Expected "
                     "non-negative integer value");
    expect_xml_error(CIPHER("<cipher name='aes' size='4294967296'/>"),
                     "Invalid value for attribute 'size' in element 'cipher': '4294967296'. "
                     "Expected non-negative integer value");
    expect_unsupported(CIPHER("<cipher name='aes' size='0'/>"),
                       "cipher 'aes' has no key of 0 bits; name its size, as in size='256'");
    expect_xml_error(CIPHER("<ivgen name='plain64'/>"),
                     "ivgen element found, but cipher is missing");
    expect_xml_error(CIPHER("<cipher name='aes' size='256'/><ivgen hash='x'/>"),
                     "missing ivgen info name string");
}

static void
test_a_cipher_that_libvirt_would_overlook_is_refused(void)
{
    expect_unsupported("<encryption format='qcow'><cipher name='aes' size='256'/></encryption>",
                       "encryption format 'qcow' has no choice of <cipher>; remove it, or use "
                       "format 'luks'");
    expect_unsupported("<encryption format='luks2'><cipher name='aes' size='256'/></encryption>",
                       "encryption format 'luks2' has no choice of <cipher>; remove it, or use "
                       "format 'luks'");
}

static void
test_what_is_unknown_is_refused_by_name(void)
{
    expect_xml_error("<encryption format='luks' foo='1'/>",
                     "unknown attribute 'foo' in element 'encryption'; possible is 'format' or "
                     "'engine'");
    expect_xml_error("<encryption format='luks'><foo/></encryption>",
                     "unknown element 'foo' in element 'encryption'; possible is 'secret', "
                     "'cipher', 'ivgen' or 'dmcrypt'");
    expect_xml_error("<encryption format='luks'>text</encryption>",
                     "element 'encryption' holds text, which has no meaning there; remove it");
    expect_xml_error("<encryption format='luks'><x:secret xmlns:x='urn:x'/></encryption>",
                     "unknown element 'secret' in element 'encryption'; possible is 'secret', "
                     "'cipher', 'ivgen' or 'dmcrypt'");
    expect_xml_error("<encryption format='luks'><secret type='passphrase' usage='u' size='1'/>"
                     "</encryption>",
                     "unknown attribute 'size' in element 'secret'; possible is 'type', 'uuid' or "
                     "'usage'");
    expect_xml_error("<encryption engine='dm-crypt'><dmcrypt sectorsize='512'/></encryption>",
                     "unknown attribute 'sectorsize' in element 'dmcrypt'; possible is "
                     "'sector_size', 'discard', 'no_read_workqueue', 'no_write_workqueue', "
                     "'same_cpu_crypt' or 'submit_from_crypt_cpus'");
    expect_xml_error("<encryption engine='dm-crypt'><dmcrypt><x/></dmcrypt></encryption>",
                     "unknown element 'x' in element 'dmcrypt'; possible is 'integrity' or "
                     "'header'");
    expect_xml_error("<encryption format='luks'><secret type='passphrase' usage='u'><x/></secret>"
                     "</encryption>",
                     "unknown element 'x' in element 'secret'; none is possible");
}

static void
test_comments_are_no_content(void)
{
    expect_formatted("<encryption format='luks'> <!-- c --><?p i?>\n</encryption>",
                     "<encryption format='luks'>\n</encryption>\n");
}

static void
test_values_of_dm_crypt_options_are_checked(void)
{
#define DMCRYPT(text) "<encryption engine='dm-crypt'>" text "</encryption>"
    expect_xml_error(DMCRYPT("<dmcrypt sector_size='513'/>"),
                     "Invalid value for attribute 'sector_size' in element 'dmcrypt': '513'; it is "
                     "512, 1024, 2048 or 4096");
    expect_xml_error(DMCRYPT("<dmcrypt sector_size=''/>"),
                     "Invalid value for attribute 'sector_size' in element 'dmcrypt': ''; it is "
                     "512, 1024, 2048 or 4096");
    expect_xml_error(DMCRYPT("<dmcrypt discard='on'/>"),
                     "Invalid value for attribute 'discard' in element 'dmcrypt': 'on'; it is "
                     "'yes' or 'no'");
    expect_xml_error(DMCRYPT("<dmcrypt><integrity/></dmcrypt>"),
                     "Invalid value for attribute 'mode' in element 'integrity': ''; it is 'aead' "
                     "or 'hmac'");
    expect_xml_error(DMCRYPT("<dmcrypt><integrity mode='none'/></dmcrypt>"),
                     "Invalid value for attribute 'mode' in element 'integrity': 'none'; it is "
                     "'aead' or 'hmac'");
    expect_xml_error(DMCRYPT("<dmcrypt><header/></dmcrypt>"),
                     "Missing required attribute 'path' in element 'header'");
    expect_unsupported(DMCRYPT("<dmcrypt><header path='h'/></dmcrypt>"),
                       "the path 'h' of the detached header is not absolute");
}

static void
test_options_of_dm_crypt_need_its_engine(void)
{
    expect_unsupported("<encryption format='luks'><dmcrypt/></encryption>",
                       "<dmcrypt> is for engine='dm-crypt' alone; name that engine, or remove "
                       "<dmcrypt>");
    expect_unsupported("<encryption format='luks' engine='qemu'><dmcrypt discard='yes'/>"
                       "</encryption>",
                       "<dmcrypt> is for engine='dm-crypt' alone; name that engine, or remove "
                       "<dmcrypt>");
    expect_unsupported("<encryption format='plain'/>",
                       "encryption format 'plain' is for engine='dm-crypt' alone; name that "
                       "engine, or use format 'luks'");
}

static void
test_dm_crypt_has_three_formats(void)
{
    expect_unsupported("<encryption format='qcow' engine='dm-crypt'/>",
                       "engine 'dm-crypt' has no encryption format 'qcow'; use 'luks2', 'luks' or "
                       "'plain'");
    expect_unsupported("<encryption format='luks-any' engine='dm-crypt'/>",
                       "engine 'dm-crypt' has no encryption format 'luks-any'; use 'luks2', "
                       "'luks' or 'plain'");
}

static void
test_contradictions_of_dm_crypt_are_refused(void)
{
#define OPTIONS(format, text)                                                                      \
    "<encryption engine='dm-crypt' format='" format "'>" text "</encryption>"
    expect_unsupported(OPTIONS("luks", "<dmcrypt><integrity mode='hmac'/></dmcrypt>"),
                       "encryption format 'luks' has no <integrity>; use format 'luks2'");
    expect_unsupported(OPTIONS("plain", "<dmcrypt><integrity mode='aead'/></dmcrypt>"),
                       "encryption format 'plain' has no <integrity>; use format 'luks2'");
    expect_unsupported(OPTIONS("plain", "<dmcrypt><header path='/h'/></dmcrypt>"),
                       "encryption format 'plain' has no header that could be detached; remove "
                       "<header>, or use format 'luks2'");
    expect_unsupported(OPTIONS("luks", "<dmcrypt sector_size='4096'/>"),
                       "encryption format 'luks' always has sectors of 512 bytes; remove "
                       "sector_size, or use format 'luks2'");
    expect_unsupported(
        OPTIONS("luks2", "<dmcrypt discard='yes'><integrity mode='hmac'/></dmcrypt>"),
        "discard='yes' and <integrity mode='hmac'/> exclude each other: a discarded "
        "sector has no valid tag; remove one");
    expect_unsupported(OPTIONS("luks2", "<cipher name='aes' size='256' mode='xts'/>"
                                        "<dmcrypt><integrity mode='aead'/></dmcrypt>"),
                       "cipher mode 'xts' does not authenticate sectors; for <integrity "
                       "mode='aead'/> use mode 'gcm', or use <integrity mode='hmac'/>");
    expect_unsupported(OPTIONS("luks2", "<cipher name='aes' size='256' mode='gcm'/>"),
                       "cipher mode 'gcm' needs <integrity mode='aead'/>; add it, or use mode "
                       "'xts'");
}

static void
test_an_encryption_made_otherwise_is_checked_alike(void)
{
    struct encryption encryption = {.format = ENCRYPTION_FORMAT_LUKS,
                                    .dmcrypt = {.sector_size = 4096}};
    g_autoptr(GError) error = NULL;

    g_assert_false(encryption_validate(&encryption, &error));
    expect_error(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE,
                 "<dmcrypt> is for engine='dm-crypt' alone; name that engine, or remove <dmcrypt>");
    encryption.engine = ENCRYPTION_ENGINE_DM_CRYPT;
    encryption.format = ENCRYPTION_FORMAT_PLAIN;
    g_assert_true(encryption_validate(&encryption, NULL));
}

static void
test_text_that_xml_cannot_hold_is_refused(void)
{
    static const char *const texts[] = {"/h\x01", "/\xff", "/\xef\xbf\xbf"};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        struct encryption encryption = {.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                        .format = ENCRYPTION_FORMAT_LUKS2,
                                        .dmcrypt = {.header_path = (char *)texts[i]}};
        g_autoptr(GError) error = NULL;

        g_assert_false(encryption_validate(&encryption, &error));
        expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE,
                          "holds what XML cannot: control characters, or bytes that are not UTF-8");
    }
}

static void
test_only_dm_crypt_is_dm_crypt(void)
{
    g_autoptr(encryption_t) ours = parse("<encryption engine='dm-crypt'/>");
    g_autoptr(encryption_t) qemus = parse("<encryption format='luks'/>");

    g_assert_true(encryption_is_dm_crypt(ours));
    g_assert_false(encryption_is_dm_crypt(qemus));
    g_assert_false(encryption_is_dm_crypt(NULL));
}

#define ADD(name) g_test_add_func("/conf/encryption/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(what_libvirt_writes_is_read_and_written_alike);
    ADD(dm_crypt_options_are_read_and_written_alike);
    ADD(every_option_is_read_into_its_field);
    ADD(dm_crypt_without_a_format_is_luks2);
    ADD(what_an_attribute_cannot_hold_raw_is_read_back);
    ADD(a_missing_or_unknown_format_is_refused);
    ADD(an_unknown_engine_is_refused);
    ADD(a_secret_is_named_in_one_way);
    ADD(a_cipher_needs_its_name_and_size);
    ADD(a_cipher_that_libvirt_would_overlook_is_refused);
    ADD(what_is_unknown_is_refused_by_name);
    ADD(comments_are_no_content);
    ADD(values_of_dm_crypt_options_are_checked);
    ADD(options_of_dm_crypt_need_its_engine);
    ADD(dm_crypt_has_three_formats);
    ADD(contradictions_of_dm_crypt_are_refused);
    ADD(an_encryption_made_otherwise_is_checked_alike);
    ADD(text_that_xml_cannot_hold_is_refused);
    ADD(only_dm_crypt_is_dm_crypt);
    return g_test_run();
}
