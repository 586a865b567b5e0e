/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Taking over what libvirt 12.1 and later encrypted, UUID.aes256cbc: as with clear values none is
 * lost that is nowhere else, and none is made up by a wrong key. And imports that are asked for.
 */
#include "custodian.h"
#include "libvirt_files.h"
#include "secret/sealed.h"
#include "secret/service_import.h"

static void
put_key(struct custodian *test, const char *hex)
{
    g_autoptr(GByteArray) bytes = unhex(hex);
    g_autofree char *path = folder_path(&test->folder, "libvirt.key");
    g_autofree char *conf = g_strdup_printf("secrets_encryption_key = \"%s\"\n", path);

    folder_put(&test->folder, "libvirt.key", bytes->data, bytes->len);
    folder_put_text(&test->folder, "secret.conf", conf);
}

static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    put_key(test, KEY_HEX);
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

static char *
name_of(const char *uuid, const char *suffix)
{
    return g_strdup_printf("%s.%s", uuid, suffix);
}

static void
put_encrypted_bytes(struct custodian *test, const char *uuid, const void *value, size_t len)
{
    g_autofree char *name = name_of(uuid, "aes256cbc");
    g_autofree char *text = encrypt_as_libvirt(&test->folder, KEY_HEX, value, len);

    folder_put_text(&test->secrets, name, text);
}

static void
put_encrypted(struct custodian *test, const char *uuid, const char *value)
{
    put_encrypted_bytes(test, uuid, value, strlen(value));
}

static void
put_base64(struct custodian *test, const char *uuid, const char *value)
{
    g_autofree char *name = name_of(uuid, "base64");
    g_autofree char *text = g_base64_encode((const guchar *)value, strlen(value));

    folder_put_text(&test->secrets, name, text);
}

/* So much younger (older if negative) than now. */
static void
shift(struct custodian *test, const char *uuid, const char *suffix, int seconds)
{
    g_autofree char *name = name_of(uuid, suffix);
    gint64 when = g_get_real_time() / G_USEC_PER_SEC + seconds;
    const struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};

    g_assert_cmpint(utimensat(test->secrets.fd, name, times, 0), ==, 0);
}

static bool
has_file(struct custodian *test, const char *uuid, const char *suffix)
{
    g_autofree char *name = name_of(uuid, suffix);

    return faccessat(test->secrets.fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Nothing was sealed, the file is as it was, and reading the value says why. */
static void
expect_left(struct custodian *test, const char *uuid, const char *part)
{
    expect_no_value(test, uuid, ERROR_INVALID_SECRET, part);
    g_assert_true(has_file(test, uuid, "aes256cbc"));
    g_assert_false(has_file(test, uuid, "key"));
}

static void
test_encrypted_value_is_sealed_and_wiped(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a private");
    put_encrypted(test, UUID_1, "secret");
    put_xml(test, UUID_2 " volume /b");
    put_encrypted(test, UUID_2, "0123456789abcdef");
    custodian_open(test);
    expect_value(test, UUID_1, "secret");
    expect_value(test, UUID_2, "0123456789abcdef");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 4);
    g_assert_false(has_file(test, UUID_1, "aes256cbc"));
    expect_logged(test, "2 values that libvirt kept are sealed now");
    expect_events(test, "");
    custodian_reopen(test);
    expect_value(test, UUID_1, "secret");
}

static void
test_the_longest_value_is_taken_over(struct custodian *test, gconstpointer unused)
{
    g_autoptr(secret_buf_t) wanted = secret_buf_new_random(65536, NULL);
    g_autoptr(secret_buf_t) value = NULL;

    put_xml(test, UUID_1 " volume /a");
    put_encrypted_bytes(test, UUID_1, secret_buf_bytes(wanted), 65536);
    custodian_open(test);
    value = get_value(test, UUID_1, &libvirtd_reader, NULL);
    g_assert_true(value && secret_buf_equal(value, wanted));
    g_assert_false(has_file(test, UUID_1, "aes256cbc"));
}

static void
test_without_the_key_it_is_left_until_the_key_is_there(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_encrypted(test, UUID_1, "secret");
    unlinkat(test->folder.fd, "secret.conf", 0);
    custodian_open(test);
    expect_left(test, UUID_1, "libvirt's key is not known: name its file by");
    expect_logged(test, UUID_1 ".aes256cbc cannot be read (libvirt's key is not known");
    put_key(test, KEY_HEX);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "secret");
    g_assert_false(has_file(test, UUID_1, "aes256cbc"));
}

static void
test_with_another_key_it_is_left(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_encrypted(test, UUID_1, "secret");
    put_key(test, OTHER_KEY_HEX);
    custodian_open(test);
    expect_left(test, UUID_1, "it is another key, or the file is damaged");
    set_value(test, UUID_1, "new");
    g_assert_false(has_file(test, UUID_1, "aes256cbc"));
}

static void
test_damaged_files_are_left(struct custodian *test, gconstpointer unused)
{
    static const struct {
        const char *text;
        const char *reason;
    } damaged[] = {
        {"!!!!", "the value is not valid base64"},
        {"c2VjcmV0", "it has 6 bytes, which no encrypted value has"},
        {"oKGio6SlpqeoqaqrrK2urw==", "it has 16 bytes, which no encrypted value has"},
    };

    put_xml(test, UUID_1 " volume /a");
    for (size_t i = 0; i < G_N_ELEMENTS(damaged); i++) {
        folder_put_text(&test->secrets, UUID_1 ".aes256cbc", damaged[i].text);
        custodian_open(test);
        expect_left(test, UUID_1, damaged[i].reason);
        custodian_close(test);
    }
}

/* One of 256 files opens with any key: those of 300 that do are not taken for values. */
static void
test_a_wrong_key_takes_nothing_of_many(struct custodian *test, gconstpointer unused)
{
    enum { MANY = 300 };
    g_autoptr(GByteArray) file = unhex(IV_HEX);

    for (unsigned int i = 0; i < MANY; i++) {
        g_autofree char *words =
            g_strdup_printf("%08x-0000-4000-8000-000000000000 volume /v/%u", i, i);
        g_autofree char *name = g_strdup_printf("%.36s.aes256cbc", words);
        g_autoptr(secret_buf_t) noise = secret_buf_new_random(16, NULL);
        g_autofree char *text = NULL;

        g_byte_array_set_size(file, IV_SIZE);
        g_byte_array_append(file, secret_buf_bytes(noise), 16);
        text = g_base64_encode(file->data, file->len);
        put_xml(test, words);
        folder_put_text(&test->secrets, name, text);
    }
    custodian_open(test);
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2 * MANY);
    g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, MANY);
}

static void
test_a_value_that_another_key_might_make_is_left_alone(struct custodian *test, gconstpointer unused)
{
    static const char binary[] = "\xff\x01zzzzzzzzzzzzz";

    put_xml(test, UUID_1 " volume /a");
    put_encrypted_bytes(test, UUID_1, binary, 15);
    custodian_open(test);
    expect_left(test, UUID_1, "another key would do so once in 256 times");
    custodian_close(test);
    put_xml(test, UUID_2 " volume /b");
    put_encrypted(test, UUID_2, "second");
    put_xml(test, UUID_3 " volume /c");
    put_encrypted(test, UUID_3, "third");
    put_xml(test, UUID_4 " volume /d");
    put_encrypted(test, UUID_4, "fourth");
    custodian_open(test);
    expect_value(test, UUID_1, binary);
    expect_value(test, UUID_3, "third");
}

/* As one of 65 536 wrong keys makes it of a single file. */
static void
test_two_bytes_of_padding_take_nothing(struct custodian *test, gconstpointer unused)
{
    static const char binary[] = "\xff\x01zzzzzzzzzzzz";

    put_xml(test, UUID_1 " volume /a");
    put_encrypted_bytes(test, UUID_1, binary, 14);
    custodian_open(test);
    expect_left(test, UUID_1, "another key would do so once in 65536 times");
    secret_service_reload(test->service);
    expect_left(test, UUID_1, "'virtcrypt store import --trust-key'");
}

/* ---- with other files of the secret ---- */

static void
test_newer_encrypted_value_counts(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "old");
    put_encrypted(test, UUID_1, "new");
    shift(test, UUID_1, "aes256cbc", 100);
    custodian_open(test);
    expect_value(test, UUID_1, "new");
    g_assert_false(has_file(test, UUID_1, "aes256cbc"));
    g_assert_true(has_file(test, UUID_1, "key.replaced-1"));
}

static void
test_older_encrypted_value_is_left(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "newer");
    put_encrypted(test, UUID_1, "old");
    shift(test, UUID_1, "aes256cbc", -100);
    custodian_open(test);
    expect_value(test, UUID_1, "newer");
    g_assert_true(has_file(test, UUID_1, "aes256cbc"));
    expect_logged(test, UUID_1 ".aes256cbc has another value than the sealed one");
}

static void
test_encrypted_value_that_is_sealed_already_is_wiped(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "same");
    put_encrypted(test, UUID_1, "same");
    custodian_open(test);
    expect_value(test, UUID_1, "same");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2);
}

static void
test_the_newer_of_two_files_counts(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_base64(test, UUID_1, "clear");
    shift(test, UUID_1, "base64", -100);
    put_encrypted(test, UUID_1, "encrypted");
    shift(test, UUID_1, "aes256cbc", -50);
    put_xml(test, UUID_2 " volume /b");
    put_base64(test, UUID_2, "clear");
    shift(test, UUID_2, "base64", -50);
    put_encrypted(test, UUID_2, "encrypted");
    shift(test, UUID_2, "aes256cbc", -100);
    custodian_open(test);
    expect_value(test, UUID_1, "encrypted");
    g_assert_true(has_file(test, UUID_1, "base64"));
    g_assert_false(has_file(test, UUID_1, "aes256cbc"));
    expect_logged(test, UUID_1 ".base64 has another value than the sealed one");
    expect_value(test, UUID_2, "clear");
    g_assert_true(has_file(test, UUID_2, "aes256cbc"));
    g_assert_false(has_file(test, UUID_2, "base64"));
}

/* As a crash of libvirt leaves them when it begins to encrypt. */
static void
test_two_files_with_the_same_value_are_wiped(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_base64(test, UUID_1, "same");
    put_encrypted(test, UUID_1, "same");
    custodian_open(test);
    expect_value(test, UUID_1, "same");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2);
}

/* The newest value may be in it. */
static void
test_a_clear_file_behind_one_that_does_not_open_is_left(struct custodian *test,
                                                        gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_base64(test, UUID_1, "clear");
    shift(test, UUID_1, "base64", -100);
    put_encrypted(test, UUID_1, "encrypted");
    put_key(test, OTHER_KEY_HEX);
    custodian_open(test);
    expect_left(test, UUID_1, "it is another key, or the file is damaged");
    g_assert_true(has_file(test, UUID_1, "base64"));
    expect_logged(test, UUID_1 ".base64 is older than the file that libvirt encrypted");
    /* As the log says. */
    shift(test, UUID_1, "base64", 100);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "clear");
    g_assert_true(has_file(test, UUID_1, "aes256cbc"));
}

static void
test_a_clear_file_behind_a_damaged_one_counts(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_base64(test, UUID_1, "clear");
    shift(test, UUID_1, "base64", -100);
    folder_put_text(&test->secrets, UUID_1 ".aes256cbc", "!!!!");
    custodian_open(test);
    expect_value(test, UUID_1, "clear");
    g_assert_false(has_file(test, UUID_1, "base64"));
    g_assert_true(has_file(test, UUID_1, "aes256cbc"));
}

static void
test_undefine_wipes_both(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_base64(test, UUID_1, "clear");
    shift(test, UUID_1, "base64", -100);
    put_encrypted(test, UUID_1, "encrypted");
    put_key(test, OTHER_KEY_HEX);
    custodian_open(test);
    undefine(test, UUID_1);
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
}

static void
test_a_secret_defined_over_an_encrypted_file_waits_for_an_import(struct custodian *test,
                                                                 gconstpointer unused)
{
    custodian_open(test);
    put_encrypted(test, UUID_1, "secret");
    define(test, UUID_1 " volume /a");
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "run 'virtcrypt store import'");
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "secret");
}

/* ---- imports that are asked for ---- */

static char *
import(struct custodian *test, struct secret_import *request)
{
    static const char *const actions[] = {"import", "wipe", "keep"};
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) reports = secret_service_import(test->service, request, &error);
    GString *text = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < reports->len; i++) {
        const struct secret_import_report *report =
            &g_array_index(reports, struct secret_import_report, i);

        g_assert_true((report->problem != NULL) == (report->action == SECRET_IMPORT_KEEP));
        g_string_append_printf(text, "%s %.1s %s\n", actions[report->action], report->file,
                               strrchr(report->file, '.') + 1);
    }
    return g_string_free(text, FALSE);
}

static void
put_one_of_each(struct custodian *test)
{
    prepare_sealed(test, "same");
    custodian_open(test);
    put_base64(test, UUID_1, "same");
    put_xml(test, UUID_2 " volume /b");
    put_encrypted(test, UUID_2, "secret");
    put_base64(test, UUID_2, "other");
    shift(test, UUID_2, "base64", -100);
    put_base64(test, UUID_3, "no definition");
}

static void
test_a_dry_run_changes_nothing(struct custodian *test, gconstpointer unused)
{
    struct secret_import request = {.is_dry = true, .max = 10};
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    guint count;

    put_one_of_each(test);
    before = import(test, &request);
    g_assert_cmpstr(before, ==, "wipe 1 base64\nkeep 2 base64\nkeep 2 aes256cbc\nkeep 3 base64\n");
    count = folder_count(&test->secrets);
    /* Now the definition is known. */
    g_assert_cmpuint(count, ==, 7);
    define(test, UUID_2 " volume /b");
    after = import(test, &request);
    g_assert_cmpstr(after, ==, "wipe 1 base64\nimport 2 aes256cbc\nkeep 2 base64\nkeep 3 base64\n");
    g_assert_cmpuint(folder_count(&test->secrets), ==, count);
    expect_no_value(test, UUID_2, ERROR_INVALID_SECRET, "virtcrypt store import");
}

static void
test_an_import_does_what_the_dry_run_said(struct custodian *test, gconstpointer unused)
{
    struct secret_import request = {.max = 10};
    g_autofree char *done = NULL;
    g_autofree char *again = NULL;

    put_one_of_each(test);
    done = import(test, &request);
    g_assert_cmpstr(done, ==, "wipe 1 base64\nimport 2 aes256cbc\nkeep 2 base64\nkeep 3 base64\n");
    g_assert_false(request.has_more);
    expect_value(test, UUID_1, "same");
    expect_value(test, UUID_2, "secret");
    g_assert_false(has_file(test, UUID_1, "base64"));
    again = import(test, &request);
    g_assert_cmpstr(again, ==, "keep 2 base64\nkeep 3 base64\n");
}

static void
test_imports_go_on_page_by_page(struct custodian *test, gconstpointer unused)
{
    struct secret_import request = {.max = 1};
    struct uuid last;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    g_autofree char *third = NULL;

    put_one_of_each(test);
    first = import(test, &request);
    g_assert_cmpstr(first, ==, "wipe 1 base64\n");
    g_assert_true(request.has_more && request.has_last);
    /* Loaded by the first page, and taken over by its own. */
    expect_no_value(test, UUID_2, ERROR_INVALID_SECRET, "virtcrypt store import");
    last = request.last;
    request = (struct secret_import){.max = 1, .after = &last};
    second = import(test, &request);
    g_assert_cmpstr(second, ==, "import 2 aes256cbc\nkeep 2 base64\n");
    g_assert_true(request.has_more);
    last = request.last;
    request = (struct secret_import){.max = 1, .after = &last};
    third = import(test, &request);
    g_assert_cmpstr(third, ==, "keep 3 base64\n");
    g_assert_false(request.has_more);
}

static void
test_a_key_that_somebody_vouches_for_is_believed(struct custodian *test, gconstpointer unused)
{
    static const char binary[] = "\xff\x01zzzzzzzzzzzz";
    struct secret_import request = {.is_dry = true, .trusts_key = true, .max = 10};
    g_autofree char *told = NULL;
    g_autofree char *doubted = NULL;
    g_autofree char *done = NULL;

    put_xml(test, UUID_1 " volume /a");
    put_encrypted_bytes(test, UUID_1, binary, 14);
    custodian_open(test);
    told = import(test, &request);
    g_assert_cmpstr(told, ==, "import 1 aes256cbc\n");
    put_key(test, OTHER_KEY_HEX);
    request.is_dry = false;
    doubted = import(test, &request);
    g_assert_cmpstr(doubted, ==, "keep 1 aes256cbc\n");
    put_key(test, KEY_HEX);
    done = import(test, &request);
    g_assert_cmpstr(done, ==, "import 1 aes256cbc\n");
    expect_value(test, UUID_1, binary);
    g_assert_false(has_file(test, UUID_1, "aes256cbc"));
}

static void
test_a_locked_daemon_imports_nothing(struct custodian *test, gconstpointer unused)
{
    struct secret_import request = {.max = 10};
    g_autoptr(GError) error = NULL;

    prepare_sealed(test, "sealed");
    put_base64(test, UUID_1, "new");
    g_assert_cmpint(chmod(test->master_key, 0604), ==, 0);
    custodian_open(test);
    g_assert_null(secret_service_import(test->service, &request, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "values can't be sealed while the daemon is locked");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_import_key/" #name, struct custodian, NULL, set_up, test_##name,   \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(encrypted_value_is_sealed_and_wiped);
    ADD(the_longest_value_is_taken_over);
    ADD(without_the_key_it_is_left_until_the_key_is_there);
    ADD(with_another_key_it_is_left);
    ADD(damaged_files_are_left);
    ADD(a_wrong_key_takes_nothing_of_many);
    ADD(two_bytes_of_padding_take_nothing);
    ADD(a_value_that_another_key_might_make_is_left_alone);
    ADD(newer_encrypted_value_counts);
    ADD(older_encrypted_value_is_left);
    ADD(encrypted_value_that_is_sealed_already_is_wiped);
    ADD(the_newer_of_two_files_counts);
    ADD(two_files_with_the_same_value_are_wiped);
    ADD(a_clear_file_behind_one_that_does_not_open_is_left);
    ADD(a_clear_file_behind_a_damaged_one_counts);
    ADD(undefine_wipes_both);
    ADD(a_secret_defined_over_an_encrypted_file_waits_for_an_import);
    ADD(a_dry_run_changes_nothing);
    ADD(an_import_does_what_the_dry_run_said);
    ADD(imports_go_on_page_by_page);
    ADD(a_key_that_somebody_vouches_for_is_believed);
    ADD(a_locked_daemon_imports_nothing);
    return g_test_run();
}
