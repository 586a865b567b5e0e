/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is read of a backup is what was put into it; any other bytes are refused before they are
 * taken for the whole.
 */
#include "backup_fixture.h"

/* Counts what it is told. */
struct told {
    guint generations;
    guint secrets;
    guint lost;
    struct backup_secret last;
    gsize last_value_len;
};

static bool
tell_generations(void *opaque, GBytes *generations, GError **error)
{
    struct told *told = opaque;

    told->generations++;
    return true;
}

static bool
tell_secret(void *opaque, const struct backup_secret *secret, GError **error)
{
    struct told *told = opaque;

    told->secrets++;
    told->last = *secret;
    told->last_value_len = secret->sealed ? g_bytes_get_size(secret->sealed) : 0;
    return true;
}

static bool
tell_lost(void *opaque, const char *text, GError **error)
{
    struct told *told = opaque;

    told->lost++;
    return true;
}

static const struct backup_records_funcs funcs = {tell_generations, tell_secret, tell_lost};

/* Whether these bytes are read to their end. */
static bool
is_read(const struct backup_fixture *test, const void *bytes, size_t len, struct told *told,
        GError **error)
{
    g_autoptr(backup_reader_t) reader = backup_fixture_open(test, bytes, len, error);

    *told = (struct told){0};
    return reader && backup_reader_run(reader, &funcs, told, NULL, error);
}

static void
expect_refused(const struct backup_fixture *test, const void *bytes, size_t len)
{
    g_autoptr(GError) error = NULL;
    struct told told;

    g_assert_false(is_read(test, bytes, len, &told, &error));
    /* The latter: where the version of its slots was changed. */
    g_assert_true(error_is(error, ERROR_INVALID_SECRET) ||
                  error_is(error, ERROR_CONFIG_UNSUPPORTED));
    g_assert_cmpstr(error->message, !=, "");
}

static void
test_all_that_was_put_in_is_read(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) file = NULL;
    struct told told;

    backup_fixture_add_three(test);

    backup_fixture_lose(test, SECRET_C ".key: damaged");
    file = backup_fixture_make(test);
    is_read(test, file->data, file->len, &told, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(told.generations, ==, 1);
    g_assert_cmpuint(told.secrets, ==, 3);
    g_assert_cmpuint(told.lost, ==, 1);
}

static void
test_no_value_is_in_clear(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = NULL;
    g_autoptr(GByteArray) content = NULL;

    backup_fixture_add_three(test);

    backup_fixture_lose(test, SECRET_C ".key: damaged");
    file = backup_fixture_make(test);
    content = backup_fixture_content(test, true);
    g_assert_null(memmem(file->data, file->len, "value of", 8));
    g_assert_null(memmem(file->data, file->len, "<secret", 7));
    g_assert_null(memmem(content->data, content->len, "value of", 8));
}

static void
test_every_changed_byte_is_noticed(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = NULL;

    backup_fixture_add_three(test);

    backup_fixture_lose(test, SECRET_C ".key: damaged");
    file = backup_fixture_make(test);
    for (guint i = 0; i < file->len; i++) {
        /* When it was made is told to people alone, but authenticated like the rest. */
        file->data[i] ^= 1;
        expect_refused(test, file->data, file->len);
        file->data[i] ^= 1;
    }
}

static void
test_every_cut_is_noticed(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = NULL;

    backup_fixture_add_three(test);

    backup_fixture_lose(test, SECRET_C ".key: damaged");
    file = backup_fixture_make(test);
    for (guint len = 0; len < file->len; len++)
        expect_refused(test, file->data, len);
    g_byte_array_append(file, (const uint8_t *)"x", 1);
    expect_refused(test, file->data, file->len);
}

/* ---- several chunks ---- */

static GByteArray *
make_large(struct backup_fixture *test)
{
    g_autofree char *value = g_strnfill(SEALED_VALUE_MAX, 'v');

    backup_fixture_add(test, SECRET_A, value, NULL, 0);
    backup_fixture_add(test, SECRET_B, value, NULL, 0);
    backup_fixture_add(test, SECRET_C, value, NULL, 0);
    return backup_fixture_make(test);
}

/* Where chunk `number` is. */
static size_t
chunk_at(const struct backup_fixture *test, size_t number)
{
    g_autoptr(GBytes) slots = slots_format(test->slots, test->master, NULL);

    return BACKUP_HEAD_SIZE + g_bytes_get_size(slots) + number * BACKUP_SEALED_SIZE;
}

static void
test_records_cross_chunks(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) file = make_large(test);
    struct told told;

    g_assert_cmpuint(file->len, >, chunk_at(test, 3));
    is_read(test, file->data, file->len, &told, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(told.secrets, ==, 3);
    g_assert_cmpuint(told.last_value_len, >, SEALED_VALUE_MAX);
}

static void
test_chunks_that_were_swapped_are_noticed(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_large(test);
    g_autofree uint8_t *first = g_memdup2(file->data + chunk_at(test, 0), BACKUP_SEALED_SIZE);

    memcpy(file->data + chunk_at(test, 0), file->data + chunk_at(test, 1), BACKUP_SEALED_SIZE);
    memcpy(file->data + chunk_at(test, 1), first, BACKUP_SEALED_SIZE);
    expect_refused(test, file->data, file->len);
}

static void
test_a_chunk_that_was_taken_out_is_noticed(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_large(test);

    for (size_t i = 0; i < 3; i++) {
        g_autoptr(GByteArray) spoilt = g_byte_array_new();

        g_byte_array_append(spoilt, file->data, file->len);
        g_byte_array_remove_range(spoilt, (guint)chunk_at(test, i), BACKUP_SEALED_SIZE);
        expect_refused(test, spoilt->data, spoilt->len);
        expect_refused(test, file->data, chunk_at(test, i + 1));
    }
}

static void
test_a_chunk_of_another_backup_is_noticed(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_large(test);
    g_autoptr(GByteArray) other = backup_fixture_make(test);

    memcpy(file->data + chunk_at(test, 1), other->data + chunk_at(test, 1), BACKUP_SEALED_SIZE);
    expect_refused(test, file->data, file->len);
}

static void
test_content_that_fills_its_last_chunk_is_read(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) content = NULL;
    g_autoptr(GByteArray) file = NULL;
    struct told told;

    /* Texts fill it up: each is 5 bytes and its own. */
    for (;;) {
        g_autofree char *text = NULL;
        guint left;

        g_clear_pointer(&content, g_byte_array_unref);
        content = backup_fixture_content(test, true);
        left = BACKUP_CHUNK_SIZE - content->len;
        if (left == 0)
            break;
        text = g_strnfill(MIN(left - 5, 1000), 't');
        backup_fixture_lose(test, left - 5 - strlen(text) < 6 && left > 1005 ? text + 10 : text);
    }
    file = backup_fixture_seal(test, content);
    g_assert_cmpuint(file->len, ==, chunk_at(test, 1));
    is_read(test, file->data, file->len, &told, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(told.lost, ==, test->lost);
    expect_refused(test, file->data, file->len - 1);
}

/* ---- content that is authentic, and wrong ---- */

static void
expect_content_refused(const struct backup_fixture *test, bool has_end, const char *text)
{
    g_autoptr(GByteArray) content = backup_fixture_content(test, has_end);
    g_autoptr(GByteArray) file = backup_fixture_seal(test, content);
    g_autoptr(GError) error = NULL;
    struct told told;

    g_assert_false(is_read(test, file->data, file->len, &told, &error));
    g_assert_true(error_is(error, ERROR_INVALID_SECRET));
    g_assert_nonnull(strstr(error->message, text));
}

static void
test_secrets_out_of_order_are_refused(struct backup_fixture *test, gconstpointer unused)
{
    backup_fixture_add(test, SECRET_B, "b", NULL, 0);
    backup_fixture_add(test, SECRET_A, "a", NULL, 0);
    expect_content_refused(test, true, "not in their order");
}

static void
test_a_secret_that_is_there_twice_is_refused(struct backup_fixture *test, gconstpointer unused)
{
    backup_fixture_add(test, SECRET_B, "b", NULL, 0);
    backup_fixture_add(test, SECRET_B, "b", NULL, 0);
    expect_content_refused(test, true, "not in their order");
}

static void
test_a_missing_end_is_refused(struct backup_fixture *test, gconstpointer unused)
{
    backup_fixture_add(test, SECRET_A, "a", NULL, 0);
    expect_content_refused(test, false, "it has no end");
}

static void
test_an_end_that_counts_others_is_refused(struct backup_fixture *test, gconstpointer unused)
{
    backup_fixture_add(test, SECRET_A, "a", NULL, 0);
    test->secrets++;
    expect_content_refused(test, true, "other secrets than its end says");
}

static void
test_a_record_of_an_unknown_kind_is_refused(struct backup_fixture *test, gconstpointer unused)
{
    g_ptr_array_add(test->pieces, g_bytes_new("\x09\x00\x00\x00\x00", 5));
    expect_content_refused(test, true, "of a kind");
}

static void
test_a_record_that_is_too_long_is_refused(struct backup_fixture *test, gconstpointer unused)
{
    g_ptr_array_add(test->pieces, g_bytes_new("\x02\x7f\xff\xff\xff", 5));
    expect_content_refused(test, true, "too long");
}

static void
test_another_master_key_does_not_open_it(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) file = backup_fixture_make(test);
    g_autoptr(master_key_t) other = master_key_new_random(NULL);
    g_autofree char *path = folder_path(&test->root, "backup");
    g_autoptr(backup_reader_t) reader = NULL;

    folder_put(&test->root, "backup", file->data, file->len);
    reader = backup_reader_open(path, &error);
    g_assert_no_error(error);
    g_assert_false(backup_reader_unlock(reader, other, &error));
    g_assert_true(error_is(error, ERROR_INVALID_SECRET));
}

static void
test_a_newer_format_is_named(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) file = backup_fixture_make(test);

    file->data[9] = 2;
    g_assert_null(backup_fixture_open(test, file->data, file->len, &error));
    g_assert_nonnull(strstr(error->message, "use the newer virtcrypt"));
}

static void
test_a_folder_is_no_backup(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(backup_reader_open(test->root.path, &error));
    g_assert_true(error_is(error, ERROR_INVALID_ARG));
}

#define ADD(name)                                                                                  \
    g_test_add("/backup_reader/" #name, struct backup_fixture, NULL, backup_fixture_set_up,        \
               test_##name, backup_fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(all_that_was_put_in_is_read);
    ADD(no_value_is_in_clear);
    ADD(every_changed_byte_is_noticed);
    ADD(every_cut_is_noticed);
    ADD(records_cross_chunks);
    ADD(chunks_that_were_swapped_are_noticed);
    ADD(a_chunk_that_was_taken_out_is_noticed);
    ADD(a_chunk_of_another_backup_is_noticed);
    ADD(content_that_fills_its_last_chunk_is_read);
    ADD(secrets_out_of_order_are_refused);
    ADD(a_secret_that_is_there_twice_is_refused);
    ADD(a_missing_end_is_refused);
    ADD(an_end_that_counts_others_is_refused);
    ADD(a_record_of_an_unknown_kind_is_refused);
    ADD(a_record_that_is_too_long_is_refused);
    ADD(another_master_key_does_not_open_it);
    ADD(a_newer_format_is_named);
    ADD(a_folder_is_no_backup);
    return g_test_run();
}
