/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A store is read without a daemon by any way to unlock it; what is damaged is named, and costs
 * nothing else.
 */
#include <sys/file.h>

#include "backup_fixture.h"
#include "offline_expect.h"
#include "recover/restore.h"

#define CONFIG  SYSCONFDIR "/libvirt"
#define SECRETS CONFIG "/secrets/"
#define KEYS    CONFIG "/qemu/keys/"

static char *
path_of(const struct backup_fixture *test, const char *name)
{
    return g_build_filename(test->root.path, name, NULL);
}

static void
spoil(const struct backup_fixture *test, const char *name)
{
    g_autofree char *path = path_of(test, name);
    g_autofree char *bytes = NULL;
    gsize len = 0;

    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    bytes[len - 1] ^= 1;
    g_assert_true(g_file_set_contents_full(path, bytes, (gssize)len, G_FILE_SET_CONTENTS_CONSISTENT,
                                           0600, NULL));
}

static void
drop(const struct backup_fixture *test, const char *name)
{
    g_autofree char *path = path_of(test, name);

    g_assert_cmpint(g_unlink(path), ==, 0);
}

static void
put_bytes(const struct backup_fixture *test, const char *name, const void *bytes, size_t len)
{
    g_autofree char *path = path_of(test, name);

    g_assert_true(g_file_set_contents_full(path, bytes, (gssize)len, G_FILE_SET_CONTENTS_CONSISTENT,
                                           0600, NULL));
}

/* A store with the three. */
static void
set_up(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) file = NULL;
    g_autoptr(backup_reader_t) reader = NULL;
    g_autoptr(offline_paths_t) paths = NULL;
    g_auto(restore_report_t) report = {0};
    struct restore_params params;

    backup_fixture_set_up(test, NULL);
    backup_fixture_add_three(test);
    file = backup_fixture_make(test);
    reader = backup_fixture_open(test, file->data, file->len, &error);
    paths = offline_paths_new(test->root.path, false, &error);
    params = (struct restore_params){.paths = paths, .reader = reader, .master = test->master};
    restore_run(&params, &report, &error);
    g_assert_no_error(error);
}

static struct offline_store *
open_store(const struct backup_fixture *test)
{
    g_autoptr(GError) error = NULL;
    const struct offline_params params = {.root = test->root.path};
    struct offline_store *store = offline_store_open(&params, &error);

    g_assert_no_error(error);
    return store;
}

static struct offline_store *
open_unlocked(const struct backup_fixture *test)
{
    g_autoptr(GError) error = NULL;
    const struct offline_key key = {.secret = test->recovery};
    struct offline_store *store = open_store(test);

    offline_store_unlock(store, &backup_fixture_context, &key, &error);
    g_assert_no_error(error);
    return store;
}

static void
expect_loss(const struct offline_store *store, const char *name, const char *text)
{
    const struct offline_secret *secret = offline_store_find(store, name, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(secret);
    g_assert_null(offline_store_open_value(store, secret, &error));
    g_assert_true(error_is(error, ERROR_INVALID_SECRET));
    g_assert_nonnull(strstr(offline_store_find_loss(secret), text));
}

static void
test_a_value_is_found_by_uuid_and_by_usage(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = open_unlocked(test);
    g_autoptr(GError) error = NULL;

    expect_value(store, SECRET_A, "value of a");
    expect_value(store, "/srv/" SECRET_A, "value of a");
    g_assert_null(offline_store_find(store, "/srv/nothing", &error));
    g_assert_true(error_is(error, ERROR_NO_SECRET));
}

static void
test_a_secret_without_a_value_is_no_loss(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = open_unlocked(test);
    const struct offline_secret *secret = offline_store_find(store, SECRET_C, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_null(offline_store_find_loss(secret));
    g_assert_null(offline_store_open_value(store, secret, &error));
    g_assert_true(error_is(error, ERROR_NO_SECRET));
}

static void
test_a_store_in_use_is_refused(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    const struct offline_params params = {.root = test->root.path};
    g_autofree char *folder = path_of(test, CONFIG "/secrets");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    g_assert_cmpint(flock(fd, LOCK_EX | LOCK_NB), ==, 0);
    g_assert_null(offline_store_open(&params, &error));
    g_assert_true(error_is(error, ERROR_RESOURCE_BUSY));
    close(fd);
}

static void
test_a_root_without_a_store_is_left_as_it_is(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *empty = path_of(test, "empty");
    const struct offline_params params = {.root = empty};
    g_autofree char *made = g_build_filename(empty, "etc", NULL);

    g_assert_cmpint(g_mkdir(empty, 0700), ==, 0);
    g_assert_null(offline_store_open(&params, &error));
    g_assert_true(error_is(error, ERROR_NO_SECRET));
    g_assert_false(g_file_test(made, G_FILE_TEST_EXISTS));
}

static void
test_a_wrong_passphrase_names_the_slot(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = open_store(test);
    g_autoptr(secret_buf_t) bits = secret_buf_new_random(RECOVERY_SIZE, NULL);
    g_autoptr(secret_buf_t) wrong = recovery_text_format(bits, NULL);
    const struct offline_key key = {.secret = wrong};
    const struct offline_key none = {0};
    g_autoptr(GError) error = NULL;

    g_assert_false(offline_store_unlock(store, &backup_fixture_context, &key, &error));
    g_assert_nonnull(strstr(error->message, "(paper)"));
    g_clear_error(&error);
    g_assert_false(offline_store_unlock(store, &backup_fixture_context, &none, &error));
    g_assert_nonnull(strstr(error->message, "it needs its passphrase"));
    g_assert_true(offline_store_needs_person(store, &none));
}

static void
test_a_slot_can_be_named(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = open_store(test);
    const struct offline_key other = {.slot = "other", .secret = test->recovery};
    const struct offline_key paper = {.slot = "paper", .secret = test->recovery};
    g_autoptr(GError) error = NULL;

    g_assert_false(offline_store_unlock(store, &backup_fixture_context, &other, &error));
    g_clear_error(&error);
    g_assert_true(offline_store_unlock(store, &backup_fixture_context, &paper, &error));
    expect_value(store, SECRET_A, "value of a");
}

/* ---- key files ---- */

static void
add_key_file_slot(const struct backup_fixture *test, const char *path)
{
    g_autoptr(GError) error = NULL;
    struct slot *slot = slot_new(SLOT_KEY_FILE, NULL, &error);
    g_autofree char *file = path_of(test, CONFIG "/virtcrypt/master.slots");
    g_autoptr(slots_t) slots = slots_read(file, NULL, &error);

    fields_set(slot->fields, "path", path, &error);
    unlock_add_slot(&backup_fixture_context, slots, slot, NULL, test->master, &error);
    g_assert_no_error(error);
    slots_write(file, slots, test->master, &error);
    g_assert_no_error(error);
    unlock_settle(&backup_fixture_context, slots);
}

static void
test_a_key_file_is_looked_for_below_the_root(struct backup_fixture *test, gconstpointer unused)
{
    g_autofree char *here = path_of(test, "key");
    g_autofree char *there = g_strconcat(test->root.path, here, NULL);
    g_autofree char *folder = g_path_get_dirname(there);
    g_autoptr(GError) error = NULL;
    g_autoptr(offline_store_t) store = NULL;
    const struct offline_key key = {0};

    add_key_file_slot(test, here);
    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    g_assert_cmpint(g_rename(here, there), ==, 0);
    store = open_store(test);
    offline_store_unlock(store, &backup_fixture_context, &key, &error);
    g_assert_no_error(error);
    expect_value(store, SECRET_A, "value of a");
}

static void
test_a_key_file_elsewhere_can_be_named(struct backup_fixture *test, gconstpointer unused)
{
    g_autofree char *here = path_of(test, "key");
    g_autofree char *elsewhere = path_of(test, "moved");
    g_autoptr(GError) error = NULL;
    g_autoptr(offline_store_t) store = NULL;
    const struct offline_key key = {.key_file = elsewhere};

    add_key_file_slot(test, here);
    g_assert_cmpint(g_rename(here, elsewhere), ==, 0);
    store = open_store(test);
    offline_store_unlock(store, &backup_fixture_context, &key, &error);
    g_assert_no_error(error);
    expect_value(store, SECRET_A, "value of a");
}

static void
put_bare_master_key(const struct backup_fixture *test)
{
    const struct secret_buf *bytes = master_key_bytes(test->master);

    drop(test, CONFIG "/virtcrypt/master.slots");
    put_bytes(test, CONFIG "/virtcrypt/master.key", secret_buf_bytes(bytes), secret_buf_len(bytes));
}

static void
test_a_store_of_before_slots_is_opened(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(offline_store_t) store = NULL;
    const struct offline_key key = {0};

    put_bare_master_key(test);
    store = open_store(test);
    offline_store_unlock(store, &backup_fixture_context, &key, &error);
    g_assert_no_error(error);
    expect_value(store, SECRET_A, "value of a");
    expect_value(store, SECRET_B, "value of b");
}

static void
test_a_store_of_before_generations_is_opened(struct backup_fixture *test, gconstpointer unused)
{
    g_autofree char *text = backup_fixture_xml(SECRET_A);
    g_autoptr(secret_def_t) def = secret_def_parse(text, strlen(text), false, NULL);
    const struct sealed_binding binding = {.def = def};
    g_autoptr(secret_buf_t) value = secret_buf_new_from("of old", 6, NULL);
    g_autoptr(GBytes) sealed = sealed_format(test->master, &binding, 9, value, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(offline_store_t) store = NULL;
    const struct offline_key key = {0};
    g_autofree char *generations = path_of(test, CONFIG "/virtcrypt/generations");

    put_bare_master_key(test);
    drop(test, CONFIG "/virtcrypt/generations");
    put_bytes(test, SECRETS SECRET_A ".key", g_bytes_get_data(sealed, NULL),
              g_bytes_get_size(sealed));
    store = open_store(test);
    offline_store_unlock(store, &backup_fixture_context, &key, &error);
    g_assert_no_error(error);
    expect_value(store, SECRET_A, "of old");
    expect_loss(store, SECRET_B, "a key that is not here");
    g_assert_false(g_file_test(generations, G_FILE_TEST_EXISTS));
}

static void
test_another_key_file_is_no_master_key(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(offline_store_t) store = NULL;
    g_autofree char *other = g_strnfill(MASTER_KEY_SIZE, 'x');
    const struct offline_key key = {0};

    drop(test, CONFIG "/virtcrypt/master.slots");
    put_bytes(test, CONFIG "/virtcrypt/master.key", other, MASTER_KEY_SIZE);
    store = open_store(test);
    g_assert_false(offline_store_unlock(store, &backup_fixture_context, &key, &error));
    g_assert_nonnull(strstr(error->message, "is not the master key of this store"));
}

/* ---- damage ---- */

static void
test_a_damaged_value_costs_nothing_else(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = NULL;

    spoil(test, SECRETS SECRET_A ".key");
    store = open_unlocked(test);
    expect_loss(store, SECRET_A, "damaged or was tampered with");
    expect_value(store, SECRET_B, "value of b");
}

static void
test_another_guests_copy_stands_in_for_a_damaged_one(struct backup_fixture *test,
                                                     gconstpointer unused)
{
    g_autoptr(offline_store_t) store = NULL;
    const struct offline_secret *secret;

    spoil(test, KEYS GUEST_1 "/" SECRET_B ".key");
    store = open_unlocked(test);
    expect_value(store, SECRET_B, "value of b");
    secret = offline_store_find(store, SECRET_B, NULL);
    g_assert_cmpuint(secret->reading.problems->len, ==, 1);
    g_assert_nonnull(strstr(secret->reading.problems->pdata[0], GUEST_1));
}

static void
test_damaged_generations_are_named(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = NULL;

    spoil(test, CONFIG "/virtcrypt/generations");
    store = open_unlocked(test);
    g_assert_cmpuint(offline_store_problems(store)->len, ==, 1);
    g_assert_nonnull(strstr(offline_store_problems(store)->pdata[0], "generations"));
    g_assert_cmpuint(offline_store_count(store), ==, 3);
    expect_loss(store, SECRET_A, "a key that is not here");
    g_assert_null(offline_store_find_loss(offline_store_find(store, SECRET_C, NULL)));
}

static void
test_slots_that_are_not_authentic_still_open(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = NULL;

    /* The last byte is of the tag. */
    spoil(test, CONFIG "/virtcrypt/master.slots");
    store = open_unlocked(test);
    g_assert_cmpuint(offline_store_problems(store)->len, ==, 1);
    g_assert_nonnull(strstr(offline_store_problems(store)->pdata[0], "master.slots"));
    expect_value(store, SECRET_A, "value of a");
}

static void
test_a_damaged_definition_costs_its_value_alone(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = NULL;

    put_bytes(test, SECRETS SECRET_A ".xml", "<secret", 7);
    store = open_unlocked(test);
    expect_loss(store, SECRET_A, "its definition can't be read");
    expect_value(store, SECRET_B, "value of b");
}

static void
test_a_copy_without_a_definition_is_listed(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(offline_store_t) store = NULL;

    drop(test, SECRETS SECRET_B ".xml");
    store = open_unlocked(test);
    g_assert_cmpuint(offline_store_count(store), ==, 3);
    expect_loss(store, SECRET_B, "its definition can't be read");
}

/* ---- audit ---- */

static guint
count_lines(const struct backup_fixture *test, const char *what)
{
    g_autofree char *path = path_of(test, LOCALSTATEDIR "/lib/libvirt/virtcrypt/audit.log");
    g_autofree char *text = NULL;
    guint count = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

static void
test_a_line_of_the_audit_is_written_once(struct backup_fixture *test, gconstpointer unused)
{
    const struct uuid uuid = backup_fixture_uuid(SECRET_A);
    const struct audit_event event = {.event = "extract", .secret = &uuid, .reason = "why"};
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < 2; i++) {
        g_autoptr(offline_store_t) store = open_unlocked(test);

        offline_store_audit(store, &event, &error);
        g_assert_no_error(error);
    }
    g_assert_cmpuint(count_lines(test, "\"event\":\"extract\""), ==, 2);
}

#define ADD(name)                                                                                  \
    g_test_add("/offline_store/" #name, struct backup_fixture, NULL, set_up, test_##name,          \
               backup_fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_value_is_found_by_uuid_and_by_usage);
    ADD(a_secret_without_a_value_is_no_loss);
    ADD(a_store_in_use_is_refused);
    ADD(a_root_without_a_store_is_left_as_it_is);
    ADD(a_wrong_passphrase_names_the_slot);
    ADD(a_slot_can_be_named);
    ADD(a_key_file_is_looked_for_below_the_root);
    ADD(a_key_file_elsewhere_can_be_named);
    ADD(a_store_of_before_slots_is_opened);
    ADD(a_store_of_before_generations_is_opened);
    ADD(another_key_file_is_no_master_key);
    ADD(a_damaged_value_costs_nothing_else);
    ADD(another_guests_copy_stands_in_for_a_damaged_one);
    ADD(damaged_generations_are_named);
    ADD(slots_that_are_not_authentic_still_open);
    ADD(a_damaged_definition_costs_its_value_alone);
    ADD(a_copy_without_a_definition_is_listed);
    ADD(a_line_of_the_audit_is_written_once);
    return g_test_run();
}
