/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The master key: made once and never over another, read only from a file that is its owner's
 * alone, and the keys derived from it, beside an independent computation.
 */
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "master/master_key.h"

struct fixture {
    struct folder folder;
    char *path;
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->path = folder_path(&test->folder, "master.key");
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    g_free(test->path);
    folder_clear(&test->folder);
}

static void
put_key(const struct fixture *test, const char *name)
{
    folder_put_text(&test->folder, name, "0123456789abcdefghijklmnopqrstuv");
}

static struct master_key *
open_key(const struct fixture *test, bool may_create, GError **error)
{
    return master_key_open(&master_key_source_file, test->path, may_create, error);
}

static void
expect_refusal(const struct fixture *test, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) key = open_key(test, true, &error);

    g_assert_null(key);
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    g_assert_nonnull(strstr(error->message, test->path));
}

static void
test_key_is_made_private_when_there_is_none(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) key = open_key(test, true, &error);
    struct stat info;

    g_assert_no_error(error);
    g_assert_nonnull(key);
    g_assert_cmpint(stat(test->path, &info), ==, 0);
    g_assert_cmpint(info.st_size, ==, MASTER_KEY_SIZE);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpint(info.st_nlink, ==, 1);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

static void
test_key_is_the_same_when_opened_again(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) made = open_key(test, true, NULL);
    g_autoptr(master_key_t) again = open_key(test, false, NULL);

    g_assert_cmpmem(master_key_id(made), MASTER_KEY_ID_SIZE, master_key_id(again),
                    MASTER_KEY_ID_SIZE);
}

static void
test_two_made_keys_differ(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) first = open_key(test, true, NULL);
    g_autoptr(master_key_t) second = NULL;

    g_unlink(test->path);
    second = open_key(test, true, NULL);
    g_assert_cmpint(memcmp(master_key_id(first), master_key_id(second), MASTER_KEY_ID_SIZE), !=, 0);
}

static void
test_no_key_is_made_when_that_is_forbidden(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) key = open_key(test, false, &error);

    g_assert_null(key);
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "there is no master key (key-file: ");
    folder_expect_none(&test->folder, "master.key");
}

static void
test_create_leaves_an_existing_key_alone(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) before = NULL;
    g_autoptr(secret_buf_t) bytes = NULL;

    put_key(test, "master.key");
    before = folder_get(&test->folder, "master.key");
    bytes = master_key_source_file.create(test->path, &error);
    g_assert_null(bytes);
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_SECRET, "cannot make the master key file ");
    folder_expect(&test->folder, "master.key", before);
    folder_expect_none(&test->folder, "master.key.new");
}

static void
test_create_replaces_what_an_interrupted_one_left(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) key = NULL;

    folder_put_text(&test->folder, "master.key.new", "torn");
    key = open_key(test, true, &error);
    g_assert_no_error(error);
    g_assert_nonnull(key);
    folder_expect_none(&test->folder, "master.key.new");
}

static void
test_unlock_removes_a_second_name_of_the_key(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) key = NULL;

    put_key(test, "master.key");
    g_assert_cmpint(linkat(test->folder.fd, "master.key", test->folder.fd, "master.key.new", 0), ==,
                    0);
    key = open_key(test, false, NULL);
    g_assert_nonnull(key);
    folder_expect_none(&test->folder, "master.key.new");
}

static void
test_short_key_file_is_refused(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "master.key", "0123456789abcdefghijklmnopqrstu");
    expect_refusal(test, ERROR_OPERATION_INVALID, " has 31 bytes instead of 32");
}

static void
test_long_key_file_is_refused(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "master.key", "0123456789abcdefghijklmnopqrstuv\n");
    expect_refusal(test, ERROR_OPERATION_INVALID, " has 33 bytes instead of 32");
}

static void
test_empty_key_file_is_refused_and_kept(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);

    folder_put_text(&test->folder, "master.key", "");
    expect_refusal(test, ERROR_OPERATION_INVALID, " has 0 bytes instead of 32");
    folder_expect(&test->folder, "master.key", nothing);
}

static void
test_key_file_open_to_others_is_refused(struct fixture *test, gconstpointer unused)
{
    static const mode_t modes[] = {0640, 0604, 0610, 0602};

    put_key(test, "master.key");
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        g_assert_cmpint(g_chmod(test->path, (int)modes[i]), ==, 0);
        expect_refusal(test, ERROR_OPERATION_INVALID, "is open to others (mode 06");
    }
}

static void
test_key_file_of_another_user_is_refused(struct fixture *test, gconstpointer unused)
{
    put_key(test, "master.key");
    if (chown(test->path, 12345, (gid_t)-1) < 0) {
        g_test_skip("needs root");
        return;
    }
    expect_refusal(test, ERROR_OPERATION_INVALID, "belongs to user 12345");
}

static void
test_symbolic_link_is_refused(struct fixture *test, gconstpointer unused)
{
    put_key(test, "other");
    g_assert_cmpint(symlinkat("other", test->folder.fd, "master.key"), ==, 0);
    expect_refusal(test, ERROR_OPERATION_INVALID, "is a symbolic link");
}

static void
test_dangling_link_is_not_taken_for_a_missing_key(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(symlinkat("nowhere", test->folder.fd, "master.key"), ==, 0);
    expect_refusal(test, ERROR_OPERATION_INVALID, "is a symbolic link");
}

static void
test_pipe_in_the_place_of_the_key_does_not_hang(struct fixture *test, gconstpointer unused)
{
    g_assert_cmpint(mkfifoat(test->folder.fd, "master.key", 0600), ==, 0);
    expect_refusal(test, ERROR_OPERATION_INVALID, "is not a regular file");
}

static void
test_folder_of_the_key_is_made_private(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = folder_path(&test->folder, "a/b");
    g_autofree char *path = g_build_filename(folder, "master.key", NULL);
    g_autoptr(master_key_t) key = master_key_open(&master_key_source_file, path, true, &error);
    struct stat info;

    g_assert_no_error(error);
    g_assert_nonnull(key);
    g_assert_cmpint(stat(folder, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
}

static struct master_key *
counting_key(void)
{
    uint8_t raw[MASTER_KEY_SIZE];
    struct secret_buf *bytes;

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)i;
    bytes = secret_buf_take_bytes(raw, sizeof(raw), NULL);
    return master_key_new(bytes, NULL);
}

static void
expect_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < len; i++)
        g_string_append_printf(text, "%02x", bytes[i]);
    g_assert_cmpstr(text->str, ==, expected);
}

/* The expected bytes were computed by Python's hmac module as docs/sealed-format.md says. */
static void
test_id_is_that_of_the_format(void)
{
    g_autoptr(master_key_t) key = counting_key();

    expect_hex(master_key_id(key), MASTER_KEY_ID_SIZE, "7be082a037bcf7ee1f4df688ab6932d8");
}

static void
test_derived_key_is_that_of_the_format(void)
{
    g_autoptr(master_key_t) key = counting_key();
    g_autoptr(secret_buf_t) derived = NULL;
    struct uuid uuid;

    g_assert_true(uuid_parse("00112233-4455-6677-8899-aabbccddeeff", &uuid));
    derived = master_key_derive(key, &uuid, NULL);
    expect_hex(secret_buf_bytes(derived), secret_buf_len(derived),
               "72ba0648558aa2d118285b41f19f1d7069d39cc85fe4dedc45f5d1ab38d65146");
}

static void
test_derived_keys_of_two_secrets_differ(void)
{
    g_autoptr(master_key_t) key = counting_key();
    struct uuid one = {{1}};
    struct uuid two = {{2}};
    g_autoptr(secret_buf_t) first = master_key_derive(key, &one, NULL);
    g_autoptr(secret_buf_t) second = master_key_derive(key, &two, NULL);

    g_assert_false(secret_buf_equal(first, second));
}

static void
test_key_of_wrong_length_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    struct secret_buf *bytes = secret_buf_new(16, NULL);
    g_autoptr(master_key_t) key = master_key_new(bytes, &error);

    g_assert_null(key);
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "a master key has 32 bytes, not 16");
}

#define ADD(name)                                                                                  \
    g_test_add("/master/master_key/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(key_is_made_private_when_there_is_none);
    ADD(key_is_the_same_when_opened_again);
    ADD(two_made_keys_differ);
    ADD(no_key_is_made_when_that_is_forbidden);
    ADD(create_leaves_an_existing_key_alone);
    ADD(create_replaces_what_an_interrupted_one_left);
    ADD(unlock_removes_a_second_name_of_the_key);
    ADD(short_key_file_is_refused);
    ADD(long_key_file_is_refused);
    ADD(empty_key_file_is_refused_and_kept);
    ADD(key_file_open_to_others_is_refused);
    ADD(key_file_of_another_user_is_refused);
    ADD(symbolic_link_is_refused);
    ADD(dangling_link_is_not_taken_for_a_missing_key);
    ADD(pipe_in_the_place_of_the_key_does_not_hang);
    ADD(folder_of_the_key_is_made_private);
    g_test_add_func("/master/master_key/id_is_that_of_the_format", test_id_is_that_of_the_format);
    g_test_add_func("/master/master_key/derived_key_is_that_of_the_format",
                    test_derived_key_is_that_of_the_format);
    g_test_add_func("/master/master_key/derived_keys_of_two_secrets_differ",
                    test_derived_keys_of_two_secrets_differ);
    g_test_add_func("/master/master_key/key_of_wrong_length_is_refused",
                    test_key_of_wrong_length_is_refused);
    return g_test_run();
}
