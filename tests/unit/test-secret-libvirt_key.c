/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where libvirt's key is found, what is no key, and when it is believed.
 */
#include <string.h>
#include <sys/stat.h>

#include "expect.h"
#include "libvirt_files.h"
#include "secret/libvirt_key.h"

struct test {
    struct folder folder;
    char *conf;
    char *key;
};

static void
set_up(struct test *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->conf = folder_path(&test->folder, "secret.conf");
    test->key = folder_path(&test->folder, "key");
    folder_put_text(&test->folder, "key", "01234567890123456789012345678901");
}

static void
tear_down(struct test *test, gconstpointer unused)
{
    folder_clear(&test->folder);
    g_free(test->conf);
    g_free(test->key);
}

static void
put_conf(struct test *test, const char *text)
{
    folder_put_text(&test->folder, "secret.conf", text);
}

static void
put_conf_with_key(struct test *test, const char *before)
{
    g_autofree char *text =
        g_strdup_printf("# of libvirt\n%ssecrets_encryption_key = \"%s\"\n", before, test->key);

    put_conf(test, text);
}

static void
expect_key(struct test *test, const char *credentials, const char *expected)
{
    g_autoptr(libvirt_key_t) key = libvirt_key_find(test->conf, credentials);

    g_assert_cmpstr(key->problem, ==, NULL);
    g_assert_cmpmem(secret_buf_bytes(key->bytes), secret_buf_len(key->bytes), expected, 32);
}

static void
expect_problem(struct test *test, const char *credentials, const char *part)
{
    g_autoptr(libvirt_key_t) key = libvirt_key_find(test->conf, credentials);

    g_assert_null(key->bytes);
    if (!strstr(key->problem, part))
        g_error("'%s' is not in '%s'", part, key->problem);
}

static void
test_the_file_that_secret_conf_names_is_the_key(struct test *test, gconstpointer unused)
{
    put_conf_with_key(test, "");
    expect_key(test, NULL, "01234567890123456789012345678901");
    put_conf_with_key(test, "encrypt_data = 0\n");
    expect_key(test, NULL, "01234567890123456789012345678901");
}

static void
test_the_file_may_be_behind_a_link(struct test *test, gconstpointer unused)
{
    g_assert_cmpint(symlinkat("key", test->folder.fd, "link"), ==, 0);
    g_free(test->key);
    test->key = folder_path(&test->folder, "link");
    put_conf_with_key(test, "");
    expect_key(test, NULL, "01234567890123456789012345678901");
}

static void
test_the_credential_is_the_key_where_no_file_is_named(struct test *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "secrets-encryption-key", "credential.credential.credential");
    expect_key(test, test->folder.path, "credential.credential.credential");
    put_conf_with_key(test, "");
    expect_key(test, test->folder.path, "01234567890123456789012345678901");
}

static void
test_without_a_key_it_is_said_where_one_can_be(struct test *test, gconstpointer unused)
{
    expect_problem(test, NULL, "name its file by secrets_encryption_key");
    expect_problem(test, test->folder.path, "the credential secrets-encryption-key");
    put_conf(test, "encrypt_data = 1\n");
    expect_problem(test, NULL, "libvirt/secrets/encryption-key");
}

static void
test_a_file_that_is_no_key_is_refused(struct test *test, gconstpointer unused)
{
    put_conf_with_key(test, "");
    folder_put_text(&test->folder, "key", "0123456789012345678901234567890");
    expect_problem(test, NULL, "has 31 bytes, and libvirt's key has 32");
    folder_put_text(&test->folder, "key", "01234567890123456789012345678901\n");
    expect_problem(test, NULL, "has 33 bytes, and libvirt's key has 32");
    unlinkat(test->folder.fd, "key", 0);
    expect_problem(test, NULL, "No such file or directory");
    g_assert_cmpint(mkfifo(test->key, 0600), ==, 0);
    expect_problem(test, NULL, "is not a regular file");
}

static void
test_a_broken_secret_conf_is_named(struct test *test, gconstpointer unused)
{
    put_conf(test, "secrets_encryption_key = ");
    expect_problem(test, NULL, "secret.conf:1");
}

/* ---- whether it is believed ---- */

static bool
believes(struct libvirt_key *key, const void *bytes, size_t len, unsigned int padding)
{
    g_autoptr(secret_buf_t) value = secret_buf_new_from(bytes, len, NULL);

    return libvirt_key_is_believed(key, value, padding);
}

static void
test_few_bytes_of_padding_prove_nothing(void)
{
    static const char binary[] = "\xff\x01zzzzzzzzzzzzz";
    struct libvirt_key key = {0};

    libvirt_key_weigh(&key, 1, 0);
    g_assert_false(believes(&key, binary, 15, 1));
    g_assert_false(believes(&key, binary, 14, 2));
    g_assert_false(believes(&key, binary, 13, 3));
    g_assert_true(believes(&key, binary, 12, 4));
    g_assert_true(believes(&key, "correct horse b", 15, 1));
    g_assert_true(believes(&key, "gr\xc3\xbc\xc3\x9f gott allen", 15, 1));
    g_assert_false(believes(&key, "gr\xc3\xbc\xc3 gott allen!", 15, 1));
}

static void
test_several_values_prove_a_key(void)
{
    static const char binary[] = "\xff\x01zzzzzzzzzzzzz";
    struct libvirt_key key = {0};

    libvirt_key_weigh(&key, 4, 1);
    g_assert_true(believes(&key, binary, 15, 1));
    libvirt_key_weigh(&key, 3, 0);
    g_assert_false(believes(&key, binary, 15, 1));
    libvirt_key_weigh(&key, 4, 2);
    g_assert_false(believes(&key, binary, 15, 1));
}

static void
test_who_says_that_it_is_right_is_believed_unless_files_say_otherwise(void)
{
    static const char binary[] = "\xff\x01zzzzzzzzzzzzz";
    struct libvirt_key key = {0};

    libvirt_key_weigh(&key, 1, 0);
    libvirt_key_vouch(&key);
    g_assert_true(believes(&key, binary, 15, 1));
    libvirt_key_weigh(&key, 1, 2);
    libvirt_key_vouch(&key);
    g_assert_cmpint(key.trust, ==, LIBVIRT_KEY_DOUBTED);
}

static void
test_a_key_that_opens_few_of_many_is_doubted(void)
{
    struct libvirt_key key = {0};

    libvirt_key_weigh(&key, 4, 1000);
    g_assert_cmpint(key.trust, ==, LIBVIRT_KEY_DOUBTED);
    libvirt_key_weigh(&key, 0, 1000);
    g_assert_cmpint(key.trust, ==, LIBVIRT_KEY_ALONE);
    libvirt_key_weigh(&key, 1000, 4);
    g_assert_cmpint(key.trust, ==, LIBVIRT_KEY_PROVEN);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/libvirt_key/" #name, struct test, NULL, set_up, test_##name, tear_down)
#define ADD_PLAIN(name) g_test_add_func("/secret/libvirt_key/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_file_that_secret_conf_names_is_the_key);
    ADD(the_file_may_be_behind_a_link);
    ADD(the_credential_is_the_key_where_no_file_is_named);
    ADD(without_a_key_it_is_said_where_one_can_be);
    ADD(a_file_that_is_no_key_is_refused);
    ADD(a_broken_secret_conf_is_named);
    ADD_PLAIN(few_bytes_of_padding_prove_nothing);
    ADD_PLAIN(several_values_prove_a_key);
    ADD_PLAIN(who_says_that_it_is_right_is_believed_unless_files_say_otherwise);
    ADD_PLAIN(a_key_that_opens_few_of_many_is_doubted);
    return g_test_run();
}
