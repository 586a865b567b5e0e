/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Taking over the values that libvirt kept in clear: sealed, read back, wiped; and whatever stands
 * in the way, no value is lost that is nowhere else.
 */
#include "custodian.h"
#include "patience.h"
#include "secret/sealed.h"

static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

static void
put_clear(struct custodian *test, const char *uuid, const char *text)
{
    g_autofree char *name = g_strconcat(uuid, ".base64", NULL);

    folder_put_text(&test->secrets, name, text);
}

/* Makes the clear file this much younger (older if negative) than now. */
static void
shift_clear(struct custodian *test, const char *uuid, int seconds)
{
    g_autofree char *name = g_strconcat(uuid, ".base64", NULL);
    gint64 when = g_get_real_time() / G_USEC_PER_SEC + seconds;
    const struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};

    g_assert_cmpint(utimensat(test->secrets.fd, name, times, 0), ==, 0);
}

static void
expect_clear(struct custodian *test, const char *uuid, const char *text)
{
    g_autofree char *name = g_strconcat(uuid, ".base64", NULL);
    g_autoptr(GBytes) expected = g_bytes_new_static(text, strlen(text));

    folder_expect(&test->secrets, name, expected);
}

static void
expect_no_clear(struct custodian *test, const char *uuid)
{
    g_autofree char *name = g_strconcat(uuid, ".base64", NULL);

    folder_expect_none(&test->secrets, name);
}

/* A secret with this sealed value, and the service closed. */
static void
prepare_sealed(struct custodian *test, const char *value)
{
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, value);
    custodian_close(test);
}

static void
test_clear_value_is_sealed_and_wiped(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a private");
    put_clear(test, UUID_1, "c2VjcmV0");
    put_xml(test, UUID_2 " volume /b");
    put_clear(test, UUID_2, "AAH/\n");
    put_xml(test, UUID_3 " volume /c");
    custodian_open(test);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    expect_no_clear(test, UUID_2);
    expect_no_value(test, UUID_3, ERROR_NO_SECRET, "does not have a value");
    expect_logged(test, "2 values that libvirt kept are sealed now");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 5);
    custodian_reopen(test);
    expect_value(test, UUID_1, "secret");
    expect_events(test, "");
}

static void
test_binary_and_long_values_are_taken_over(struct custodian *test, gconstpointer unused)
{
    static const struct secret_reader root = {.is_local_root = true};
    g_autofree guchar *bytes = g_malloc(65536);
    g_autofree char *text = NULL;
    g_autoptr(secret_buf_t) value = NULL;

    for (size_t i = 0; i < 65536; i++)
        bytes[i] = (guchar)(i * 31);
    text = g_base64_encode(bytes, 65536);
    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_1, text);
    custodian_open(test);
    value = get_value(test, UUID_1, &root, NULL);
    g_assert_nonnull(value);
    g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), bytes, 65536);
    expect_no_clear(test, UUID_1);
}

static void
test_many_values_are_taken_over(struct custodian *test, gconstpointer unused)
{
    const unsigned int many = fewer_under_memcheck(1500);

    for (unsigned int i = 0; i < many; i++) {
        g_autofree char *words =
            g_strdup_printf("%08x-0000-4000-8000-000000000000 volume /v/%u", i, i);
        g_autofree char *value = g_strdup_printf("value %u", i);
        g_autofree char *text = g_base64_encode((const guchar *)value, strlen(value));
        g_autofree char *uuid = g_strndup(words, UUID_TEXT_SIZE - 1);

        put_xml(test, words);
        put_clear(test, uuid, text);
    }
    custodian_open(test);
    for (unsigned int i = 0; i < many; i++) {
        g_autofree char *uuid = g_strdup_printf("%08x-0000-4000-8000-000000000000", i);
        g_autofree char *value = g_strdup_printf("value %u", i);

        expect_value(test, uuid, value);
        expect_no_clear(test, uuid);
    }
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2 * many);
}

/* ---- what is no value ---- */

static void
test_empty_file_is_no_value(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_1, "");
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_NO_SECRET, "does not have a value");
    expect_clear(test, UUID_1, "");
    set_value(test, UUID_1, "new");
    expect_no_clear(test, UUID_1);
}

static const struct {
    const char *text;
    const char *reason;
} undecodable[] = {
    {"!!!!", "the value is not valid base64"},
    {"c2VjcmV", "the value is not valid base64"},
    {"c2Vj cmV0", "the value is not valid base64"},
};

static void
test_file_that_is_no_base64_is_left(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    for (size_t i = 0; i < G_N_ELEMENTS(undecodable); i++) {
        put_clear(test, UUID_1, undecodable[i].text);
        custodian_open(test);
        expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, undecodable[i].reason);
        expect_no_value(test, UUID_1, ERROR_INVALID_SECRET,
                        "put a good copy back and reload the daemon, or set the value again");
        expect_logged(test, UUID_1 ".base64 cannot be read (");
        g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 1);
        expect_clear(test, UUID_1, undecodable[i].text);
        folder_expect_none(&test->secrets, UUID_1 ".key");
        custodian_close(test);
    }
}

static void
test_file_that_is_too_long_is_left(struct custodian *test, gconstpointer unused)
{
    g_autofree char *longer = g_strnfill(87384 + 4, 'A');

    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_1, longer);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "longer than the maximum");
    expect_clear(test, UUID_1, longer);
}

static void
test_link_is_left(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_2, "c2VjcmV0");
    g_assert_cmpint(symlinkat(UUID_2 ".base64", test->secrets.fd, UUID_1 ".base64"), ==, 0);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, UUID_1 ".base64");
    expect_clear(test, UUID_2, "c2VjcmV0");
}

static void
test_file_put_right_is_taken_on_a_reload(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_1, "!!!!");
    custodian_open(test);
    put_clear(test, UUID_1, "c2VjcmV0");
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
}

static void
test_set_value_makes_the_clear_file_void(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_1, "!!!!");
    custodian_open(test);
    set_value(test, UUID_1, "new");
    expect_value(test, UUID_1, "new");
    expect_no_clear(test, UUID_1);
}

static void
test_undefine_wipes_the_clear_file(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_1, "!!!!");
    custodian_open(test);
    undefine(test, UUID_1);
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
}

/* ---- locked ---- */

static void
test_locked_daemon_leaves_clear_values_until_it_is_unlocked(struct custodian *test,
                                                            gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    prepare_sealed(test, "sealed");
    put_xml(test, UUID_2 " volume /b");
    put_clear(test, UUID_2, "c2VjcmV0");
    g_assert_cmpint(chmod(test->master_key, 0604), ==, 0);
    custodian_open(test);
    expect_no_value(test, UUID_2, ERROR_OPERATION_INVALID, "the daemon is locked");
    error = try_set_value(test, UUID_2, "new");
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, "the daemon is locked");
    expect_clear(test, UUID_2, "c2VjcmV0");
    g_assert_cmpint(chmod(test->master_key, 0600), ==, 0);
    secret_service_reload(test->service);
    expect_value(test, UUID_2, "secret");
    expect_value(test, UUID_1, "sealed");
    expect_no_clear(test, UUID_2);
}

static void
test_locked_daemon_undefines_with_the_clear_file(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "sealed");
    put_xml(test, UUID_2 " volume /b");
    put_clear(test, UUID_2, "c2VjcmV0");
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    custodian_open(test);
    undefine(test, UUID_2);
    expect_no_clear(test, UUID_2);
}

/* ---- both files ---- */

/* Killed between the commit and the wipe. */
static void
test_import_that_was_interrupted_is_finished(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;

    prepare_sealed(test, "secret");
    before = folder_get(&test->secrets, UUID_1 ".key");
    put_clear(test, UUID_1, "c2VjcmV0");
    shift_clear(test, UUID_1, 100);
    custodian_open(test);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    folder_expect(&test->secrets, UUID_1 ".key", before);
    g_assert_cmpuint(folder_count(&test->secrets), ==, 2);
}

/* Killed within the wipe. */
static void
test_wipe_that_was_interrupted_is_finished(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "secret");
    folder_put(&test->secrets, UUID_1 ".base64", "\0\0\0\0cmV0", 8);
    custodian_open(test);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
}

static void
test_zeros_without_a_sealed_value_are_left(struct custodian *test, gconstpointer unused)
{
    static const char zeros[8];
    g_autoptr(GBytes) expected = g_bytes_new_static(zeros, sizeof(zeros));

    put_xml(test, UUID_1 " volume /a");
    folder_put(&test->secrets, UUID_1 ".base64", zeros, sizeof(zeros));
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "holds zeros instead of base64");
    folder_expect(&test->secrets, UUID_1 ".base64", expected);
}

/* libvirt's own driver ran in between, and somebody set a value. */
static void
test_newer_clear_value_counts(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) after = NULL;
    uint64_t generation = 0;

    prepare_sealed(test, "old");
    before = folder_get(&test->secrets, UUID_1 ".key");
    put_clear(test, UUID_1, "c2VjcmV0");
    shift_clear(test, UUID_1, 100);
    custodian_open(test);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    after = folder_get(&test->secrets, UUID_1 ".key");
    g_assert_true(sealed_parse_generation(g_bytes_get_data(after, NULL), g_bytes_get_size(after),
                                          &generation));
    g_assert_cmpuint(generation, ==, 2);
    folder_expect(&test->secrets, UUID_1 ".key.replaced-1", before);
    expect_logged(test, "it is kept as " UUID_1 ".key.replaced-1");
    custodian_reopen(test);
    expect_value(test, UUID_1, "secret");
}

static void
test_older_clear_value_is_left(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "newer");
    put_clear(test, UUID_1, "c2VjcmV0");
    shift_clear(test, UUID_1, -100);
    custodian_open(test);
    expect_value(test, UUID_1, "newer");
    expect_clear(test, UUID_1, "c2VjcmV0");
    expect_logged(test, UUID_1 ".base64 has another value than the sealed one, which is newer");
    /* As the log says. */
    shift_clear(test, UUID_1, 100);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "secret");
}

static void
test_clear_value_beside_a_damaged_one_is_taken(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) damaged = g_bytes_new_static("damaged", 7);

    prepare_sealed(test, "old");
    folder_put(&test->secrets, UUID_1 ".key", "damaged", 7);
    put_clear(test, UUID_1, "c2VjcmV0");
    shift_clear(test, UUID_1, -100);
    custodian_open(test);
    expect_value(test, UUID_1, "secret");
    folder_expect(&test->secrets, UUID_1 ".key.replaced-1", damaged);
    g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 0);
}

/* It may be the newer one, and good again when its definition is put right. */
static void
test_older_clear_value_beside_one_that_can_not_be_opened_is_left(struct custodian *test,
                                                                 gconstpointer unused)
{
    prepare_sealed(test, "newer");
    put_xml(test, UUID_1 " volume /a private");
    put_clear(test, UUID_1, "c2VjcmV0");
    shift_clear(test, UUID_1, -100);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed for another definition");
    expect_clear(test, UUID_1, "c2VjcmV0");
    expect_logged(test, UUID_1 ".base64 is older than the sealed value, which can't be opened now");
    custodian_close(test);
    put_xml(test, UUID_1 " volume /a");
    custodian_open(test);
    expect_value(test, UUID_1, "newer");
}

static void
test_newer_clear_value_beside_one_that_can_not_be_opened_counts(struct custodian *test,
                                                                gconstpointer unused)
{
    prepare_sealed(test, "older");
    put_xml(test, UUID_1 " volume /a private");
    put_clear(test, UUID_1, "c2VjcmV0");
    shift_clear(test, UUID_1, 100);
    custodian_open(test);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    expect_logged(test, "it is kept as " UUID_1 ".key.replaced-1");
}

static void
test_good_value_beside_a_bad_clear_file_counts(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "good");
    put_clear(test, UUID_1, "!!!!");
    custodian_open(test);
    expect_value(test, UUID_1, "good");
    expect_clear(test, UUID_1, "!!!!");
    expect_logged(test, UUID_1 ".base64 cannot be read (");
}

static void
test_value_that_can_not_be_sealed_is_left(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a");
    put_clear(test, UUID_1, "c2VjcmV0");
    /* No file can take the place of a folder. */
    g_assert_cmpint(mkdirat(test->secrets.fd, UUID_1 ".key", 0700), ==, 0);
    folder_put_text(&test->folder, "master.key", "0123456789abcdefghijklmnopqrstuv");
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, UUID_1 ".key");
    expect_clear(test, UUID_1, "c2VjcmV0");
    expect_logged(test, UUID_1 ".base64 could not be sealed (");
}

/* ---- a clear value without its definition ---- */

static void
test_clear_value_comes_back_with_its_definition(struct custodian *test, gconstpointer unused)
{
    put_clear(test, UUID_1, "c2VjcmV0");
    custodian_open(test);
    expect_clear(test, UUID_1, "c2VjcmV0");
    define(test, UUID_1 " volume /a");
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    custodian_reopen(test);
    expect_value(test, UUID_1, "secret");
}

static void
test_clear_value_that_comes_back_replaces_nothing_for_good(struct custodian *test,
                                                           gconstpointer unused)
{
    g_autoptr(GBytes) damaged = g_bytes_new_static("damaged", 7);

    folder_put_text(&test->folder, "master.key", "0123456789abcdefghijklmnopqrstuv");
    folder_put(&test->secrets, UUID_1 ".key", "damaged", 7);
    put_clear(test, UUID_1, "c2VjcmV0");
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    folder_expect(&test->secrets, UUID_1 ".key.replaced-1", damaged);
}

static void
test_bad_clear_value_does_not_hinder_a_definition(struct custodian *test, gconstpointer unused)
{
    put_clear(test, UUID_1, "!!!!");
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "the value is not valid base64");
    expect_clear(test, UUID_1, "!!!!");
}

static void
test_becoming_ephemeral_wipes_the_clear_file(struct custodian *test, gconstpointer unused)
{
    prepare_sealed(test, "good");
    put_clear(test, UUID_1, "!!!!");
    custodian_open(test);
    define(test, UUID_1 " volume /a ephemeral");
    expect_value(test, UUID_1, "good");
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
}

/* What the daemon has in memory is not on disk any more: the clear file is all there is. */
static void
test_clear_value_is_sealed_again_if_the_sealed_file_is_gone(struct custodian *test,
                                                            gconstpointer unused)
{
    prepare_sealed(test, "secret");
    custodian_open(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".key", 0), ==, 0);
    put_clear(test, UUID_1, "c2VjcmV0");
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    custodian_reopen(test);
    expect_value(test, UUID_1, "secret");
}

static void
test_clear_value_is_sealed_again_if_the_sealed_file_is_bad(struct custodian *test,
                                                           gconstpointer unused)
{
    prepare_sealed(test, "secret");
    custodian_open(test);
    folder_put(&test->secrets, UUID_1 ".key", "damaged", 7);
    put_clear(test, UUID_1, "c2VjcmV0");
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "secret");
    expect_no_clear(test, UUID_1);
    custodian_reopen(test);
    expect_value(test, UUID_1, "secret");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_import/" #name, struct custodian, NULL, set_up, test_##name,       \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(clear_value_is_sealed_and_wiped);
    ADD(binary_and_long_values_are_taken_over);
    ADD(many_values_are_taken_over);
    ADD(empty_file_is_no_value);
    ADD(file_that_is_no_base64_is_left);
    ADD(file_that_is_too_long_is_left);
    ADD(link_is_left);
    ADD(file_put_right_is_taken_on_a_reload);
    ADD(set_value_makes_the_clear_file_void);
    ADD(undefine_wipes_the_clear_file);
    ADD(locked_daemon_leaves_clear_values_until_it_is_unlocked);
    ADD(locked_daemon_undefines_with_the_clear_file);
    ADD(import_that_was_interrupted_is_finished);
    ADD(wipe_that_was_interrupted_is_finished);
    ADD(zeros_without_a_sealed_value_are_left);
    ADD(newer_clear_value_counts);
    ADD(older_clear_value_is_left);
    ADD(clear_value_beside_a_damaged_one_is_taken);
    ADD(older_clear_value_beside_one_that_can_not_be_opened_is_left);
    ADD(newer_clear_value_beside_one_that_can_not_be_opened_counts);
    ADD(good_value_beside_a_bad_clear_file_counts);
    ADD(value_that_can_not_be_sealed_is_left);
    ADD(clear_value_comes_back_with_its_definition);
    ADD(clear_value_that_comes_back_replaces_nothing_for_good);
    ADD(bad_clear_value_does_not_hinder_a_definition);
    ADD(becoming_ephemeral_wipes_the_clear_file);
    ADD(clear_value_is_sealed_again_if_the_sealed_file_is_gone);
    ADD(clear_value_is_sealed_again_if_the_sealed_file_is_bad);
    return g_test_run();
}
