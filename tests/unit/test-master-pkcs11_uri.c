/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "master/pkcs11_uri.h"

#include "expect.h"
#include "util/error.h"

#define PIN "82736451"

static void
take(const char *uri)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *shown = pkcs11_uri_show(uri);

    g_assert_true(pkcs11_uri_check(uri, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(shown, ==, uri);
}

static void
test_what_names_a_key_a_module_or_a_pin_file_is_taken_and_shown(void)
{
    take("pkcs11:token=lab;object=wrapping?pin-source=/etc/libvirt/virtcrypt/pin");
    take("pkcs11:token=lab;id=%01%ff;type=secret-key?module-name=softhsm2&pin-source=file:/p");
    take("pkcs11:token=lab?pin-source=file:///p");
    take("pkcs11:token=lab?pin-source=%2Fetc%2Fpin");
    take("pkcs11:token=a=b;serial=;slot-id=3;slot-description=x;slot-manufacturer=y;");
    take("pkcs11:library-description=a;library-manufacturer=b;library-version=2.6");
    take("pkcs11:manufacturer=m;model=SoftHSM%20v2;object-type=secret-key");
    take("pkcs11:");
}

static void
refuse(const char *uri, const char *part, const char *shown)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = pkcs11_uri_show(uri);

    g_assert_false(pkcs11_uri_check(uri, &error));
    g_assert_null(strstr(error->message, PIN));
    g_assert_cmpstr(text, ==, shown);
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, part);
}

static void
test_a_pin_in_it_is_refused_and_shown_nowhere(void)
{
    refuse("pkcs11:token=lab?pin-value=" PIN, "name that by pin-source", "pkcs11:token=lab?...");
    refuse("pkcs11:token=lab?pin-vaule=" PIN, "attribute 'pin-vaule' that is not known",
           "pkcs11:token=lab?...");
    refuse("pkcs11:token=lab;pin-vaule=" PIN "?module-name=m", "attribute 'pin-vaule'",
           "pkcs11:token=lab;...?module-name=m");
    refuse("pkcs11:token=lab;pin=" PIN, "attribute 'pin'", "pkcs11:token=lab;...");
    refuse("pkcs11:token=lab?pin-source=" PIN, "is the absolute path", "pkcs11:token=lab?...");
    refuse("pkcs11:token=lab;pin-source=" PIN, "is the absolute path", "pkcs11:token=lab;...");
    refuse("pkcs11:token=lab?pin-source", "is the absolute path", "pkcs11:token=lab?...");
    refuse("pkcs11:token=lab?PIN-VALUE=" PIN, "attribute 'PIN-VALUE'", "pkcs11:token=lab?...");
}

static void
test_a_pin_behind_the_wrong_character_is_found(void)
{
    refuse("pkcs11:token=lab&pin-value=" PIN, "by pin-source", "pkcs11:token=lab&...");
    refuse("pkcs11:token=lab?pin-source=/p;pin=" PIN, "attribute 'pin'",
           "pkcs11:token=lab?pin-source=/p;...");
    refuse("pkcs11:token=lab?pin-source=/p?pin=" PIN, "attribute 'pin'",
           "pkcs11:token=lab?pin-source=/p?...");
}

static void
test_a_pin_where_a_name_should_be_is_not_repeated(void)
{
    refuse("pkcs11:token=lab?" PIN, "an attribute that is not known", "pkcs11:token=lab?...");
    refuse("pkcs11:token=lab?" PIN "=", "an attribute that is not known", "pkcs11:token=lab?...");
    refuse("pkcs11:token=lab?swordfish", "an attribute that is not known", "pkcs11:token=lab?...");
    refuse("pkcs11:token=lab?=" PIN, "an attribute that is not known", "pkcs11:token=lab?...");
}

static void
test_what_is_no_such_uri_is_refused_as_a_whole(void)
{
    g_autofree char *many = g_strnfill(3000, 'x');
    g_autofree char *longest = g_strconcat("pkcs11:token=", many, NULL);
    g_autoptr(GError) error = NULL;

    refuse("token=lab?pin=" PIN, "is needed: an AES key on a token", "...");
    refuse("pkcs11:token=lab?module-path=/tmp/evil.so", "with module-path is not taken",
           "pkcs11:token=lab?...");
    g_assert_false(pkcs11_uri_check(longest, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "is needed: an AES key");
    g_clear_error(&error);
    g_assert_false(pkcs11_uri_check(NULL, &error));
}

#define ADD(name) g_test_add_func("/master/pkcs11_uri/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(what_names_a_key_a_module_or_a_pin_file_is_taken_and_shown);
    ADD(a_pin_in_it_is_refused_and_shown_nowhere);
    ADD(a_pin_behind_the_wrong_character_is_found);
    ADD(a_pin_where_a_name_should_be_is_not_repeated);
    ADD(what_is_no_such_uri_is_refused_as_a_whole);
    return g_test_run();
}
