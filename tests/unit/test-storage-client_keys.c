/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Storage's way to keys, against a real custodian that runs in a thread of its own.
 */
#include "custodian_thread.h"
#include "storage/client_keys.h"

#define USAGE "/var/lib/libvirt/images/a.qcow2"

enum { SHORT_MS = 200, THREADS = 8, ROUNDS = 10 };

struct fixture {
    struct custodian_thread custodian;
    struct client_keys *keys;
    struct storage_keys table;
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    custodian_thread_init(&fixture->custodian);
    fixture->keys = client_keys_new(fixture->custodian.socket, fixture->custodian.token_dir);
    fixture->table = client_keys_table(fixture->keys);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    client_keys_free(fixture->keys);
    custodian_thread_clear(&fixture->custodian);
}

/* ---- what storage does ---- */

static struct uuid
new_uuid(void)
{
    struct uuid uuid;

    g_assert_true(uuid_generate_random(&uuid, NULL));
    return uuid;
}

static bool
put(const struct fixture *fixture, const struct uuid *uuid, const char *usage, const char *value,
    GError **error)
{
    g_autoptr(secret_buf_t) key = secret_buf_new_from(value, strlen(value), NULL);

    return fixture->table.put(fixture->table.opaque, uuid, usage, "volume a", key, error);
}

static void
expect_value(const struct fixture *fixture, const struct uuid *uuid, const char *value)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) key = fixture->table.get(fixture->table.opaque, uuid, &error);

    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(key), secret_buf_len(key), value, strlen(value));
}

static void
expect_no_secret(const struct fixture *fixture, const struct uuid *uuid, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(fixture->table.get(fixture->table.opaque, uuid, &error));
    expect_error_part(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, part);
}

/* ---- tests ---- */

static void
test_a_key_that_was_put_is_given_back(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    g_autoptr(GError) error = NULL;

    g_assert_true(put(fixture, &uuid, USAGE, "correct horse", &error));
    g_assert_no_error(error);
    expect_value(fixture, &uuid, "correct horse");
}

static void
test_what_is_put_is_a_private_secret_of_its_volume(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    const struct secret_def *def;

    g_assert_true(put(fixture, &uuid, USAGE, "k", NULL));
    custodian_thread_pause(&fixture->custodian);
    def = secret_service_find(fixture->custodian.secretd.service, &uuid, NULL);
    g_assert_nonnull(def);
    g_assert_true(def->is_private);
    g_assert_false(def->is_ephemeral);
    g_assert_cmpint(def->usage_type, ==, SECRET_USAGE_VOLUME);
    g_assert_cmpstr(def->usage_id, ==, USAGE);
    g_assert_cmpstr(def->description, ==, "volume a");
}

static void
test_a_secret_is_found_by_its_usage(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    struct uuid found;
    g_autoptr(GError) error = NULL;

    g_assert_true(put(fixture, &uuid, USAGE, "k", NULL));
    g_assert_true(fixture->table.find_by_usage(fixture->table.opaque, USAGE, &found, NULL));
    g_assert_true(uuid_equal(&uuid, &found));
    g_assert_false(fixture->table.find_by_usage(fixture->table.opaque, "/other", &found, &error));
    expect_error_part(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, "/other");
}

static void
test_a_secret_that_is_not_there_is_said_to_be_missing(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();

    expect_no_secret(fixture, &uuid, "no secret with matching uuid");
}

static void
test_nothing_is_put_where_a_volume_has_a_secret(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid first = new_uuid();
    const struct uuid second = new_uuid();
    char text[UUID_TEXT_SIZE];
    g_autoptr(GError) error = NULL;

    g_assert_true(put(fixture, &first, USAGE, "first", NULL));
    g_assert_false(put(fixture, &second, USAGE, "second", &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, uuid_format(&first, text));
    expect_value(fixture, &first, "first");
    expect_no_secret(fixture, &second, "no secret with matching uuid");
}

static void
test_a_secret_of_the_same_uuid_is_not_replaced(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    g_autoptr(GError) error = NULL;

    g_assert_true(put(fixture, &uuid, USAGE, "first", NULL));
    g_assert_false(put(fixture, &uuid, "/other", "second", &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "already");
    expect_value(fixture, &uuid, "first");
}

static void
test_removing_is_done_once_and_true_again(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    g_autoptr(GBytes) audit = NULL;

    g_assert_true(put(fixture, &uuid, USAGE, "k", NULL));
    g_assert_true(fixture->table.remove(fixture->table.opaque, &uuid, "volume deleted", NULL));
    expect_no_secret(fixture, &uuid, "no secret with matching uuid");
    g_assert_true(fixture->table.remove(fixture->table.opaque, &uuid, "volume deleted", NULL));
    audit = folder_get(&fixture->custodian.secretd.folder, "audit/audit.log");
    g_assert_nonnull(audit);
    g_assert_nonnull(g_strstr_len(g_bytes_get_data(audit, NULL), (gssize)g_bytes_get_size(audit),
                                  "\"reason\":\"volume deleted\""));
}

static void
test_a_locked_custodian_is_left_without_the_secret(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    g_autoptr(GError) error = NULL;

    custodian_thread_lock(&fixture->custodian);
    g_assert_false(put(fixture, &uuid, USAGE, "k", &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE, "is locked");
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                      "'virtcrypt daemon-status'");
    custodian_thread_pause(&fixture->custodian);
    g_assert_null(secret_service_find(fixture->custodian.secretd.service, &uuid, NULL));
}

static void
test_the_check_tells_why_a_custodian_is_locked(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(client_keys_check(fixture->keys, &error));
    custodian_thread_lock(&fixture->custodian);
    g_assert_false(client_keys_check(fixture->keys, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE, "master.key");
}

static void
test_an_absent_custodian_is_named_with_the_remedy(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    g_autoptr(client_keys_t) keys =
        client_keys_new("/nonexistent/sock", fixture->custodian.token_dir);
    struct storage_keys table = client_keys_table(keys);
    g_autoptr(GError) error = NULL;

    g_assert_null(table.get(table.opaque, &uuid, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "/nonexistent/sock");
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE,
                      "'systemctl start virtcrypt-secretd'");
}

static void
test_a_custodian_that_does_not_answer_is_given_up(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    int64_t start = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;

    custodian_thread_pause(&fixture->custodian);
    client_keys_set_timeout(fixture->keys, SHORT_MS);
    g_assert_null(fixture->table.get(fixture->table.opaque, &uuid, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "can't be reached");
    g_assert_cmpint(g_get_monotonic_time() - start, <, (int64_t)patient_ms(5000) * 1000);
}

static void
test_a_custodian_that_was_away_is_found_again(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    g_autofree char *away = folder_path(&fixture->custodian.secretd.folder, "away");

    g_assert_true(put(fixture, &uuid, USAGE, "k", NULL));
    g_assert_cmpint(g_rename(fixture->custodian.socket, away), ==, 0);
    g_assert_null(fixture->table.get(fixture->table.opaque, &uuid, NULL));
    g_assert_cmpint(g_rename(away, fixture->custodian.socket), ==, 0);
    expect_value(fixture, &uuid, "k");
}

static void
test_a_wrong_token_gives_no_private_key(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = new_uuid();
    g_autoptr(GError) error = NULL;

    g_assert_true(put(fixture, &uuid, USAGE, "k", NULL));
    folder_put_text(&fixture->custodian.secretd.folder, "common/system.token",
                    "ffffffffffffffffffffffffffffffff");
    g_assert_null(fixture->table.get(fixture->table.opaque, &uuid, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_STORAGE, "secret is private");
}

static gpointer
put_and_get(gpointer opaque)
{
    const struct fixture *fixture = opaque;

    for (int i = 0; i < ROUNDS; i++) {
        const struct uuid uuid = new_uuid();
        char usage[UUID_TEXT_SIZE];

        uuid_format(&uuid, usage);
        g_assert_true(put(fixture, &uuid, usage, usage, NULL));
        expect_value(fixture, &uuid, usage);
        g_assert_true(fixture->table.remove(fixture->table.opaque, &uuid, "volume deleted", NULL));
    }
    return NULL;
}

static void
test_threads_can_ask_at_a_time(struct fixture *fixture, gconstpointer unused)
{
    GThread *threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("storage", put_and_get, fixture);
    for (int i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    custodian_thread_pause(&fixture->custodian);
    g_assert_cmpuint(secret_service_count(fixture->custodian.secretd.service), ==, 0);
}

#define ADD(name)                                                                                  \
    g_test_add("/storage/client_keys/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_key_that_was_put_is_given_back);
    ADD(what_is_put_is_a_private_secret_of_its_volume);
    ADD(a_secret_is_found_by_its_usage);
    ADD(a_secret_that_is_not_there_is_said_to_be_missing);
    ADD(nothing_is_put_where_a_volume_has_a_secret);
    ADD(a_secret_of_the_same_uuid_is_not_replaced);
    ADD(removing_is_done_once_and_true_again);
    ADD(a_locked_custodian_is_left_without_the_secret);
    ADD(the_check_tells_why_a_custodian_is_locked);
    ADD(an_absent_custodian_is_named_with_the_remedy);
    ADD(a_custodian_that_does_not_answer_is_given_up);
    ADD(a_custodian_that_was_away_is_found_again);
    ADD(a_wrong_token_gives_no_private_key);
    ADD(threads_can_ask_at_a_time);
    return g_test_run();
}
