/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The unlock method "credential": names, sizes, and what is said when systemd gave none.
 */
#include <sys/stat.h>

#include "folder.h"
#include "slots_fixture.h"

struct fixture {
    struct folder folder;
    struct unlock_context context;
    struct master_key *master;
    struct slots *slots;
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->context = (struct unlock_context){.credentials_dir = test->folder.path};
    test->master = slots_fixture_master();
    test->slots = slots_new(test->master);
    folder_put_text(&test->folder, "virtcrypt-master-key", "0123456789abcdefghijklmnopqrstuv");
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    slots_free(test->slots);
    master_key_free(test->master);
    folder_clear(&test->folder);
}

/* `name` NULL: none is asked for. */
static bool
add(struct fixture *test, const char *name, GError **error)
{
    struct slot *slot = slot_new(SLOT_CREDENTIAL, NULL, NULL);

    if (name)
        g_assert_true(fields_set(slot->fields, "name", name, NULL));
    return unlock_add_slot(&test->context, test->slots, slot, NULL, test->master, error);
}

static void
refuse(struct fixture *test, const char *name, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(add(test, name, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    g_assert_cmpuint(test->slots->slots->len, ==, 0);
}

static void
test_a_slot_opens_by_its_credential(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) opened = NULL;

    add(test, "virtcrypt-master-key", &error);
    g_assert_no_error(error);
    opened = unlock_any(&test->context, test->slots, NULL, NULL, &error);
    g_assert_no_error(error);
    slots_fixture_expect_key(opened, test->master);
}

static void
test_the_known_names_are_found_without_asking(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    const struct slot *slot;

    g_assert_cmpstr(unlock_find_credential(&test->context), ==, "virtcrypt-master-key");
    g_assert_cmpint(renameat(test->folder.fd, "virtcrypt-master-key", test->folder.fd,
                             "secrets-encryption-key"),
                    ==, 0);
    g_assert_cmpstr(unlock_find_credential(&test->context), ==, "secrets-encryption-key");
    add(test, NULL, &error);
    g_assert_no_error(error);
    slot = test->slots->slots->pdata[0];
    g_assert_cmpstr(fields_get(slot->fields, "name"), ==, "secrets-encryption-key");
    g_assert_cmpint(unlinkat(test->folder.fd, "secrets-encryption-key", 0), ==, 0);
    g_assert_null(unlock_find_credential(&test->context));
}

static void
test_other_sizes_are_refused(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "short", "0123456789abcdefghijklmnopqrstu");
    folder_put_text(&test->folder, "long", "0123456789abcdefghijklmnopqrstuv\n");
    folder_put_text(&test->folder, "empty", "");
    refuse(test, "short", ERROR_OPERATION_INVALID,
           "the credential 'short' has 31 bytes instead of 32; make it anew by");
    refuse(test, "long", ERROR_OPERATION_INVALID, "the credential 'long' has 33 bytes");
    refuse(test, "empty", ERROR_OPERATION_INVALID, "the credential 'empty' has 0 bytes");
}

static void
test_names_that_lead_elsewhere_are_refused(struct fixture *test, gconstpointer unused)
{
    static const char *const bad[] = {"", ".", "..", "../x", "a/b", ".hidden", "a b", "a\xc3\xa4"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        refuse(test, bad[i], ERROR_INVALID_ARG, "the name of a credential has letters");
}

static void
test_a_missing_credential_names_the_unit_option(struct fixture *test, gconstpointer unused)
{
    refuse(test, "other", ERROR_OPERATION_INVALID,
           "this service was not given the credential 'other'; see LoadCredentialEncrypted=");
    g_assert_cmpint(unlinkat(test->folder.fd, "virtcrypt-master-key", 0), ==, 0);
    refuse(test, NULL, ERROR_OPERATION_INVALID, "this service was given neither the credential");
}

static void
test_a_service_without_credentials_says_so(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    test->context.credentials_dir = NULL;
    g_assert_null(unlock_find_credential(&test->context));
    refuse(test, "virtcrypt-master-key", ERROR_OPERATION_INVALID,
           "this service was started without credentials");
    test->context.credentials_dir = "/nonexistent/credentials";
    g_assert_false(add(test, "virtcrypt-master-key", &error));
    g_assert_nonnull(strstr(error->message, "/nonexistent/credentials"));
}

static void
test_credentials_that_could_not_be_had_are_not_taken_for_none(struct fixture *test,
                                                              gconstpointer unused)
{
    test->context.credentials_dir = "/nonexistent/credentials";
    g_assert_cmpstr(unlock_find_credential(&test->context), ==, "virtcrypt-master-key");
    refuse(test, "virtcrypt-master-key", ERROR_OPERATION_INVALID,
           "systemd could give this service no credentials, so 'virtcrypt-master-key' is not there "
           "(/nonexistent/credentials is missing): see 'systemctl status virtcrypt-credentials'");
}

static void
test_a_link_is_not_followed(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(symlinkat("virtcrypt-master-key", test->folder.fd, "link"), ==, 0);
    g_assert_false(add(test, "link", &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_NONE, "the credential 'link': cannot open");
}

static void
test_another_credential_of_that_name_does_not_open(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(add(test, NULL, NULL));
    folder_put_text(&test->folder, "virtcrypt-master-key", "another 32 bytes another 32 byte");
    g_assert_null(unlock_any(&test->context, test->slots, NULL, NULL, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "does not unlock the credential slot ");
}

#define ADD(name)                                                                                  \
    g_test_add("/master/unlock_credential/" #name, struct fixture, NULL, set_up, test_##name,      \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_slot_opens_by_its_credential);
    ADD(the_known_names_are_found_without_asking);
    ADD(other_sizes_are_refused);
    ADD(names_that_lead_elsewhere_are_refused);
    ADD(a_missing_credential_names_the_unit_option);
    ADD(a_service_without_credentials_says_so);
    ADD(credentials_that_could_not_be_had_are_not_taken_for_none);
    ADD(a_link_is_not_followed);
    ADD(another_credential_of_that_name_does_not_open);
    return g_test_run();
}
