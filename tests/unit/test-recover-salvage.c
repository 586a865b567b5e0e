/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Of a damaged backup what is whole is restored when that is asked for, and nothing else is.
 */
#include "backup_fixture.h"
#include "recover/offline_store.h"
#include "recover/restore.h"

#define SECRET_D "dddddddd-0000-4000-8000-000000000001"

/* Each value crosses into the next chunk. */
static const char *const secrets[] = {SECRET_A, SECRET_B, SECRET_C, SECRET_D};

static char *
make_value(size_t number)
{
    return g_strnfill(SEALED_VALUE_MAX, (gchar)('a' + number));
}

static GByteArray *
make_backup(struct backup_fixture *test)
{
    const struct uuid guests[] = {backup_fixture_uuid(GUEST_1)};

    for (size_t i = 0; i < G_N_ELEMENTS(secrets); i++) {
        g_autofree char *value = make_value(i);

        backup_fixture_add(test, secrets[i], value, guests, secrets[i] == secrets[2] ? 1 : 0);
    }
    return backup_fixture_make(test);
}

/* From where on chunk `number` is. */
static guint
chunk_at(const struct backup_fixture *test, size_t number)
{
    g_autoptr(GBytes) slots = slots_format(test->slots, test->master, NULL);

    return (guint)(BACKUP_HEAD_SIZE + g_bytes_get_size(slots) + number * BACKUP_SEALED_SIZE);
}

static bool
restore(const struct backup_fixture *test, const GByteArray *file, bool salvage,
        struct restore_report *ret_report, GError **error)
{
    g_autoptr(backup_reader_t) reader = backup_fixture_open(test, file->data, file->len, error);
    g_autoptr(offline_paths_t) paths = offline_paths_new(test->root.path, false, NULL);
    const struct restore_params params = {
        .paths = paths,
        .reader = reader,
        .master = test->master,
        .replace = true,
        .salvage = salvage,
    };

    return reader && restore_run(&params, ret_report, error);
}

static bool
has_damage(const struct restore_report *report, const char *part)
{
    for (guint i = 0; i < report->content.damage->len; i++) {
        if (strstr(report->content.damage->pdata[i], part))
            return true;
    }
    return false;
}

/* Which of the secrets a daemon would have now: "ad", say. Each has its own value. */
static char *
read_restored(const struct backup_fixture *test)
{
    const struct offline_params params = {.root = test->root.path};
    const struct offline_key key = {.secret = test->recovery};
    g_autoptr(GError) error = NULL;
    g_autoptr(offline_store_t) store = offline_store_open(&params, &error);
    GString *found = g_string_new(NULL);

    g_assert_no_error(error);
    offline_store_unlock(store, &backup_fixture_context, &key, &error);
    g_assert_no_error(error);
    for (size_t i = 0; i < G_N_ELEMENTS(secrets); i++) {
        const struct offline_secret *secret = offline_store_find(store, secrets[i], NULL);
        g_autofree char *wanted = make_value(i);
        g_autoptr(secret_buf_t) value = NULL;

        if (!secret)
            continue;
        value = offline_store_open_value(store, secret, &error);
        g_assert_no_error(error);
        g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), wanted, strlen(wanted));
        g_string_append_c(found, (gchar)('a' + i));
    }
    return g_string_free(found, FALSE);
}

static void
expect_salvaged(struct backup_fixture *test, const GByteArray *file, const char *wanted,
                const char *damage)
{
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) refused = {0};
    g_auto(restore_report_t) report = {0};
    g_autofree char *found = NULL;

    g_assert_false(restore(test, file, false, &refused, &error));
    g_assert_true(error_is(error, ERROR_INVALID_SECRET));
    g_assert_nonnull(strstr(error->message, "bytes "));
    g_clear_error(&error);
    restore(test, file, true, &report, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(report.content.secrets, ==, strlen(wanted));
    if (!has_damage(&report, damage))
        g_error("'%s' is not told", damage);
    found = read_restored(test);
    g_assert_cmpstr(found, ==, wanted);
}

static void
test_one_damaged_byte_costs_what_is_in_its_chunk(struct backup_fixture *test, gconstpointer unused)
{
    static const char *const left[] = {"", "cd", "ad", "ab", "abc"};
    g_autoptr(GByteArray) file = make_backup(test);

    g_assert_cmpuint(file->len, <, chunk_at(test, 5));
    for (size_t i = 1; i < G_N_ELEMENTS(left); i++) {
        guint at = chunk_at(test, i) + 321;
        g_autofree char *bytes = g_strdup_printf("bytes %u to %u are damaged", chunk_at(test, i),
                                                 MIN(chunk_at(test, i + 1), file->len));

        file->data[at] ^= 1;
        expect_salvaged(test, file, left[i], bytes);
        file->data[at] ^= 1;
    }
}

static void
test_what_begins_before_the_damage_is_named(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_backup(test);

    file->data[chunk_at(test, 1)] ^= 1;
    expect_salvaged(test, file, "cd", "secret " SECRET_A " begins before bytes that are damaged");
    expect_salvaged(test, file, "cd", "2 of 4 secrets were found");
}

static void
test_a_backup_that_was_cut_off_is_used_as_far_as_it_goes(struct backup_fixture *test,
                                                         gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_backup(test);

    g_byte_array_set_size(file, chunk_at(test, 3) + 100);
    expect_salvaged(test, file, "ab", "its end is missing");
    g_byte_array_set_size(file, chunk_at(test, 2));
    expect_salvaged(test, file, "a", "secret " SECRET_B " begins before");
}

static void
test_chunks_in_other_places_are_not_taken(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_backup(test);

    memmove(file->data + chunk_at(test, 2), file->data + chunk_at(test, 1), BACKUP_SEALED_SIZE);
    expect_salvaged(test, file, "ad", "2 of 4 secrets were found");
}

static void
test_without_its_beginning_nothing_is_salvaged(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_backup(test);
    const guint places[] = {40, chunk_at(test, 0), chunk_at(test, 1) - 1};

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(restore_report_t) report = {0};

        file->data[places[i]] ^= 1;
        g_assert_false(restore(test, file, true, &report, &error));
        expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, "use another one");
        file->data[places[i]] ^= 1;
    }
}

static void
test_a_whole_backup_has_no_damage(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = make_backup(test);
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) report = {0};
    g_autofree char *found = NULL;

    restore(test, file, true, &report, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(report.content.damage->len, ==, 0);
    found = read_restored(test);
    g_assert_cmpstr(found, ==, "abcd");
}

#define ADD(name)                                                                                  \
    g_test_add("/recover/salvage/" #name, struct backup_fixture, NULL, backup_fixture_set_up,      \
               test_##name, backup_fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(one_damaged_byte_costs_what_is_in_its_chunk);
    ADD(what_begins_before_the_damage_is_named);
    ADD(a_backup_that_was_cut_off_is_used_as_far_as_it_goes);
    ADD(chunks_in_other_places_are_not_taken);
    ADD(without_its_beginning_nothing_is_salvaged);
    ADD(a_whole_backup_has_no_damage);
    return g_test_run();
}
