/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rotation of the master key by the service: everything opens under the new one and nothing is left
 * under the old one; data keys are made anew where that is wanted; a slot that cannot get the new
 * key changes nothing; and what is refused says why.
 */
#include <errno.h>

#include "custodian_slots.h"
#include "master/recovery_text.h"
#include "rotation.h"
#include "secret/service_master.h"

#define STRAY UUID_3
#define KEPT  UUID_1 ".key.replaced-1"

enum { AT_GENERATION = 32, AT_KEY_ID = 72, AT_VALUE = 148 };

static void
note_done(void *opaque, const struct slot *slot, const GError *error)
{
    struct outcome *outcome = opaque;

    outcome->calls++;
    if (error)
        outcome->error = g_error_copy(error);
}

static GError *
try_rotate(struct custodian *test, const struct master_rotation *rotation)
{
    struct outcome outcome = {0};

    secret_service_rotate_master(test->service, rotation, note_done, &outcome);
    secret_service_drain(test->service);
    g_assert_cmpuint(outcome.calls, ==, 1);
    return outcome.error;
}

static void
rotate(struct custodian *test, bool reseal)
{
    const struct master_rotation rotation = {.reseal = reseal};
    g_autoptr(GError) error = try_rotate(test, &rotation);

    g_assert_no_error(error);
}

static void
expect_not_rotated(struct custodian *test, const struct master_rotation *rotation,
                   enum error_code code, const char *part)
{
    g_autoptr(GBytes) slots = folder_get(&test->folder, "master.slots");
    guint count = folder_count(&test->folder);
    g_autoptr(GError) error = try_rotate(test, rotation);

    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    folder_expect(&test->folder, "master.slots", slots);
    g_assert_cmpuint(folder_count(&test->folder), ==, count);
    expect_value(test, UUID_1, "first");
}

static bool
is_over(const struct custodian *test, uint64_t number)
{
    struct master_status status;
    bool is_rotating;

    secret_service_get_master(test->service, &status);
    is_rotating = status.is_rotating;
    master_status_clear(&status);
    return !is_rotating && has_ended(test, number);
}

/* One that belongs to two guests, one to nobody, one without a definition, and a kept one. */
static void
prepare_all(struct custodian *test)
{
    g_autoptr(GBytes) key = NULL;

    prepare_two(test);
    bind_to(test, UUID_2, GUEST_1);
    bind_to(test, UUID_2, GUEST_2);
    define(test, STRAY " volume /c");
    set_value(test, STRAY, "stray");
    key = back_up(test, UUID_1 ".key");
    put_back(test, KEPT, key);
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, STRAY ".xml", 0), ==, 0);
    loop_free(test->loop);
    test->loop = loop_new(NULL);
    custodian_open(test);
    await(test, is_over, status_of(test).number, NULL);
    restart(test);
}

/* All that is sealed. */
struct sealed_files {
    GBytes *files[5];
};

static struct sealed_files
get_files(struct custodian *test)
{
    return (struct sealed_files){{
        back_up(test, UUID_1 ".key"),
        get_copy(test, GUEST_1, UUID_2),
        get_copy(test, GUEST_2, UUID_2),
        back_up(test, STRAY ".key"),
        back_up(test, KEPT),
    }};
}

static void
clear_files(struct sealed_files *files)
{
    for (size_t i = 0; i < G_N_ELEMENTS(files->files); i++)
        g_bytes_unref(files->files[i]);
}

static bool
differs(GBytes *a, GBytes *b, size_t at, size_t len)
{
    g_assert_cmpuint(MIN(g_bytes_get_size(a), g_bytes_get_size(b)), >=, at + len);
    return memcmp((const uint8_t *)g_bytes_get_data(a, NULL) + at,
                  (const uint8_t *)g_bytes_get_data(b, NULL) + at, len) != 0;
}

/* The first `resealed` have new data keys, and none another generation of the value. */
static void
expect_moved(struct custodian *test, struct sealed_files *before, size_t resealed)
{
    struct sealed_files after = get_files(test);

    for (size_t i = 0; i < G_N_ELEMENTS(after.files); i++) {
        GBytes *old = before->files[i];
        GBytes *new = after.files[i];
        size_t len = g_bytes_get_size(old);

        g_assert_true(differs(old, new, AT_KEY_ID, MASTER_KEY_ID_SIZE));
        g_assert_false(differs(old, new, AT_GENERATION, 8));
        g_assert_cmpint(differs(old, new, AT_VALUE, len - AT_VALUE), ==, i < resealed);
        g_assert_false(differs(after.files[0], new, AT_KEY_ID, MASTER_KEY_ID_SIZE));
    }
    clear_files(&after);
}

static void
expect_all_open(struct custodian *test)
{
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "second");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "second");
    define(test, STRAY " volume /c");
    expect_value(test, STRAY, "stray");
}

static void
test_everything_is_moved_to_the_new_one(struct custodian *test, gconstpointer unused)
{
    g_autoptr(master_key_t) old = NULL;
    g_autoptr(master_key_t) new = NULL;
    g_autoptr(slots_t) slots = NULL;
    struct sealed_files before;

    prepare_all(test);
    old = open_master(test);
    before = get_files(test);
    rotate(test, false);
    await(test, is_over, status_of(test).number + 1, NULL);
    new = open_master(test);
    g_assert_true(memcmp(master_key_id(old), master_key_id(new), MASTER_KEY_ID_SIZE) != 0);
    slots = read_slots(test);
    g_assert_false(slots->has_previous);
    g_assert_cmpuint(slots->flags & SLOTS_RESEAL, ==, 0);
    expect_moved(test, &before, 0);
    clear_files(&before);
    expect_all_open(test);
}

static void
test_new_data_keys_are_made_where_the_value_opens(struct custodian *test, gconstpointer unused)
{
    struct sealed_files before;

    prepare_all(test);
    before = get_files(test);
    rotate(test, true);
    await(test, is_over, status_of(test).number + 1, NULL);
    expect_moved(test, &before, 3);
    clear_files(&before);
    expect_logged(test, "1 sealed values keep their data keys");
    expect_all_open(test);
}

/* As long as the wish is in the file of generations. */
static void
test_new_data_keys_are_made_after_a_restart_too(struct custodian *test, gconstpointer unused)
{
    struct sealed_files before;
    uint64_t number;

    prepare_all(test);
    before = get_files(test);
    number = status_of(test).number;
    rotate(test, true);
    restart(test);
    await(test, is_over, number + 1, NULL);
    expect_moved(test, &before, 3);
    clear_files(&before);
    expect_all_open(test);
}

/* A value in memory alone, whose file was lost. */
static void
test_a_value_in_memory_alone_gets_a_new_data_key(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".key", 0), ==, 0);
    rotate(test, true);
    await(test, is_over, 2, NULL);
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "second");
}

static void
test_a_second_one_meanwhile_is_refused(struct custodian *test, gconstpointer unused)
{
    const struct master_rotation rotation = {0};

    prepare_two(test);
    rotate(test, false);
    expect_not_rotated(test, &rotation, ERROR_OPERATION_INVALID,
                       "values are still being moved to key-encryption generation 1");
    await(test, is_over, 2, NULL);
    restart(test);
    rotate(test, false);
    await(test, is_over, 3, NULL);
    expect_value(test, UUID_1, "first");
}

/* What can't be read might be under the older generation: one that is held up goes first. */
static void
test_it_waits_for_what_an_ordinary_rotation_is_held_up_by(struct custodian *test,
                                                          gconstpointer unused)
{
    const struct master_rotation rotation = {0};

    prepare_two(test);
    folder_put_text(&test->secrets, UUID_3 ".key", "whatever");
    set_value(test, UUID_2, "changed");
    await(test, has_problem, 0, NULL);
    expect_not_rotated(test, &rotation, ERROR_OPERATION_INVALID,
                       UUID_3 ".key is no sealed value that this program can read");
}

/* Values under the master key itself would be lost with it. */
static void
test_values_under_the_master_key_itself_are_moved_first(struct custodian *test,
                                                        gconstpointer unused)
{
    const struct master_rotation rotation = {0};
    g_autoptr(master_key_t) master = NULL;

    prepare_two(test);
    custodian_close(test);
    master = open_master(test);
    {
        const struct secret_def def = {.uuid = uuid_of(UUID_1),
                                       .usage_type = SECRET_USAGE_VOLUME,
                                       .usage_id = (char *)"/a",
                                       .is_private = true};
        const struct sealed_binding binding = {&def, NULL};
        g_autoptr(secret_buf_t) value = secret_buf_new_from("first", 5, NULL);
        g_autoptr(GBytes) sealed = sealed_format(master, &binding, 1, value, NULL);
        g_autoptr(generations_t) generations = NULL;

        put_back(test, UUID_1 ".key", sealed);
        g_assert_cmpint(unlinkat(test->secrets.fd, UUID_2 ".key", 0), ==, 0);
        g_assert_cmpint(g_unlink(test->generations), ==, 0);
        generations = generations_make(test->generations, master, true, NULL);
        g_assert_nonnull(generations);
    }
    restart(test);
    expect_not_rotated(test, &rotation, ERROR_OPERATION_INVALID, "values are still being moved");
    await(test, is_over, 1, NULL);
    restart(test);
    rotate(test, false);
    await(test, is_over, 2, NULL);
    expect_value(test, UUID_1, "first");
}

static void
test_a_lock_in_the_middle_only_holds_it_up(struct custodian *test, gconstpointer unused)
{
    struct outcome locked = {0};
    struct outcome unlocked = {0};

    prepare_all(test);
    rotate(test, true);
    secret_service_lock(test->service, note_done, &locked);
    g_assert_no_error(locked.error);
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID, "locked");
    secret_service_unlock(test->service, NULL, NULL, note_done, &unlocked);
    secret_service_drain(test->service);
    g_assert_cmpuint(unlocked.calls, ==, 1);
    g_assert_no_error(unlocked.error);
    await(test, is_over, status_of(test).number + 1, NULL);
    expect_all_open(test);
}

/* ---- slots ---- */

static struct uuid
add_slot(struct custodian *test, enum slot_method method, const char *name, const char *value,
         struct secret_buf *take_secret)
{
    struct outcome outcome = {0};
    const struct master_wanted wanted = {method, "second", fields_new(), take_secret};
    g_autoptr(slots_t) slots = NULL;

    if (name)
        g_assert_true(fields_set(wanted.fields, name, value, NULL));
    secret_service_add_slot(test->service, &wanted, note_done, &outcome);
    secret_service_drain(test->service);
    g_assert_no_error(outcome.error);
    slots = read_slots(test);
    return ((const struct slot *)g_ptr_array_index(slots->slots, slots->slots->len - 1))->id;
}

/* In a folder of its own. */
static struct uuid
add_credential(struct custodian *test, char **ret_path)
{
    g_autofree char *folder = folder_path(&test->folder, "credentials");

    g_assert_cmpint(mkdir(folder, 0700), ==, 0);
    *ret_path = g_build_filename(folder, "mine", NULL);
    g_assert_true(g_file_set_contents(*ret_path, "32 bytes that the host is given.", 32, NULL));
    g_assert_cmpint(chmod(*ret_path, 0600), ==, 0);
    test->unlock.credentials_dir = g_intern_string(folder);
    restart(test);
    return add_slot(test, SLOT_CREDENTIAL, "name", "mine", NULL);
}

static void
test_a_slot_that_cannot_get_it_changes_nothing(struct custodian *test, gconstpointer unused)
{
    struct master_rotation rotation = {0};
    g_autofree char *credential = NULL;
    g_autofree char *text = NULL;
    g_autoptr(slots_t) slots = NULL;
    char uuid[UUID_TEXT_SIZE];
    struct uuid slot;

    prepare_two(test);
    slot = add_credential(test, &credential);
    text = g_strdup_printf("nothing was changed, because the credential slot %.8s (second) cannot "
                           "get a new master key (put that right, or do without it: --remove-slot "
                           "%.8s)",
                           uuid_format(&slot, uuid), uuid_format(&slot, uuid));
    g_assert_cmpint(g_unlink(credential), ==, 0);
    expect_not_rotated(test, &rotation, ERROR_OPERATION_INVALID, text);
    g_assert_false(status_of(test).is_rotating);
    rotation.remove = &slot;
    rotation.remove_count = 1;
    {
        g_autoptr(GError) error = try_rotate(test, &rotation);

        g_assert_no_error(error);
    }
    await(test, is_over, 2, NULL);
    slots = read_slots(test);
    g_assert_cmpuint(slots->slots->len, ==, 1);
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

static void
test_slots_that_are_not_there_or_all_of_them_are_refused(struct custodian *test,
                                                         gconstpointer unused)
{
    g_autoptr(slots_t) slots = NULL;
    struct uuid other = uuid_of(UUID_3);
    struct master_rotation rotation = {.remove = &other, .remove_count = 1};

    prepare_two(test);
    expect_not_rotated(test, &rotation, ERROR_NO_SECRET, "the master key has no slot '" UUID_3 "'");
    slots = read_slots(test);
    rotation.remove = &((const struct slot *)g_ptr_array_index(slots->slots, 0))->id;
    expect_not_rotated(test, &rotation, ERROR_INVALID_ARG,
                       "no slot would be left to unlock the new master key");
}

static struct secret_buf *
new_recovery(void)
{
    g_autoptr(secret_buf_t) bytes = secret_buf_new_random(RECOVERY_SIZE, NULL);

    return recovery_text_format(bytes, NULL);
}

static struct secret_buf *
copy_of(const struct secret_buf *buf)
{
    return secret_buf_new_from(secret_buf_bytes(buf), secret_buf_len(buf), NULL);
}

static bool
opens(const struct custodian *test, const struct uuid *id, const struct secret_buf *secret)
{
    g_autoptr(slots_t) slots = read_slots(test);
    g_autoptr(master_key_t) master =
        unlock_slot(&test->unlock, slots, slots_find(slots, id), secret, NULL);

    return master != NULL;
}

static void
test_a_recovery_slot_gets_its_answer_as_its_passphrase(struct custodian *test, gconstpointer unused)
{
    g_autoptr(secret_buf_t) old = new_recovery();
    g_autoptr(secret_buf_t) new = new_recovery();
    g_autoptr(GArray) answers = g_array_new(FALSE, FALSE, sizeof(struct master_answer));
    struct master_rotation rotation = {0};
    struct master_answer answer = {0};
    g_autoptr(GError) error = NULL;

    prepare_two(test);
    answer.slot = add_slot(test, SLOT_RECOVERY, NULL, NULL, copy_of(old));
    expect_not_rotated(test, &rotation, ERROR_OPERATION_INVALID,
                       "it needs its passphrase, which was not given");
    answer.secret = copy_of(new);
    g_array_append_val(answers, answer);
    rotation.answers = answers;
    error = try_rotate(test, &rotation);
    g_assert_no_error(error);
    await(test, is_over, 2, NULL);
    g_assert_true(opens(test, &answer.slot, new));
    g_assert_false(opens(test, &answer.slot, old));
    expect_value(test, UUID_1, "first");
}

/* Without a key nobody can make a slot that opens; but one could change what is asked for. */
static void
test_slots_that_were_tampered_with_have_to_open(struct custodian *test, gconstpointer unused)
{
    g_autofree char *credential = NULL;
    g_autoptr(GBytes) slots = NULL;
    g_autofree uint8_t *bytes = NULL;
    struct master_rotation rotation = {0};
    struct uuid slot;
    gsize len = 0;
    uint8_t *label;

    prepare_two(test);
    slot = add_credential(test, &credential);
    slots = folder_get(&test->folder, "master.slots");
    bytes = g_memdup2(g_bytes_get_data(slots, &len), g_bytes_get_size(slots));
    label = memmem(bytes, len, "second", 6);
    g_assert_nonnull(label);
    label[0] = 'S';
    custodian_close(test);
    folder_put(&test->folder, "master.slots", bytes, len);
    custodian_open(test);
    expect_not_rotated(test, &rotation, ERROR_INVALID_SECRET, "cannot get a new master key");
    rotation.remove = &slot;
    rotation.remove_count = 1;
    {
        g_autoptr(GError) error = try_rotate(test, &rotation);

        g_assert_no_error(error);
    }
    await(test, is_over, 2, NULL);
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
    expect_not_logged(test, "cannot be changed");
}

/* ---- files that do not go together ---- */

/* Where the new key file has not taken the old one's place yet. */
static void
test_old_slots_that_are_put_back_cost_no_key(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) old_slots = NULL;
    g_autoptr(GBytes) new_slots = NULL;
    g_autoptr(GBytes) old_key = NULL;

    prepare_two(test);
    old_slots = folder_get(&test->folder, "master.slots");
    old_key = folder_get(&test->folder, "master.key");
    rotate(test, false);
    await(test, is_over, 2, NULL);
    custodian_close(test);
    new_slots = folder_get(&test->folder, "master.slots");
    g_assert_cmpint(renameat(test->folder.fd, "master.key", test->folder.fd, "master.key.next"), ==,
                    0);
    folder_put(&test->folder, "master.key", g_bytes_get_data(old_key, NULL),
               g_bytes_get_size(old_key));
    put_back_slots(test, old_slots);
    restart(test);
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID, "were made with another master key");
    put_back_slots(test, new_slots);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
}

/* Damages the master key of before in `slots`, and starts with them. */
static void
restart_with_damaged_previous(struct custodian *test, GBytes *slots)
{
    enum { AT_PREVIOUS_WRAPPED = 44 + MASTER_KEY_ID_SIZE + AEAD_NONCE_SIZE };
    gsize len = 0;
    g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(slots, &len), g_bytes_get_size(slots));

    bytes[AT_PREVIOUS_WRAPPED] ^= 1;
    folder_put(&test->folder, "master.slots", bytes, len);
    restart(test);
}

/* Nothing is under it any more. */
static void
test_a_damaged_key_of_before_that_is_not_needed_locks_nothing(struct custodian *test,
                                                              gconstpointer unused)
{
    g_autoptr(GBytes) slots = NULL;

    prepare_two(test);
    rotate(test, false);
    slots = folder_get(&test->folder, "master.slots");
    await(test, is_over, 2, NULL);
    restart_with_damaged_previous(test, slots);
    expect_value(test, UUID_1, "first");
    expect_logged(test, "the master key of before, in the file of slots, is damaged");
    rotate(test, false);
    await(test, is_over, 3, NULL);
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

/* The file of generations is still under it. */
static void
test_a_damaged_key_of_before_that_is_needed_is_named(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) slots = NULL;

    prepare_two(test);
    rotate(test, false);
    slots = folder_get(&test->folder, "master.slots");
    restart_with_damaged_previous(test, slots);
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID,
                    "the master key of before, in the file of slots, is damaged");
    put_back_slots(test, slots);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
}

/* Its time comes, but the old master key is not to wait for that. */
static void
test_a_generation_that_is_due_later_holds_nothing_up(struct custodian *test, gconstpointer unused)
{
    test->rotation_delay = 86400;
    prepare_two(test);
    set_value(test, UUID_1, "first");
    rotate(test, false);
    await(test, is_over, 2, NULL);
    expect_value(test, UUID_1, "first");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_master_rotate/" #name, struct custodian, NULL, set_up,             \
               test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(everything_is_moved_to_the_new_one);
    ADD(new_data_keys_are_made_where_the_value_opens);
    ADD(new_data_keys_are_made_after_a_restart_too);
    ADD(a_value_in_memory_alone_gets_a_new_data_key);
    ADD(a_second_one_meanwhile_is_refused);
    ADD(it_waits_for_what_an_ordinary_rotation_is_held_up_by);
    ADD(values_under_the_master_key_itself_are_moved_first);
    ADD(a_lock_in_the_middle_only_holds_it_up);
    ADD(a_slot_that_cannot_get_it_changes_nothing);
    ADD(slots_that_are_not_there_or_all_of_them_are_refused);
    ADD(a_recovery_slot_gets_its_answer_as_its_passphrase);
    ADD(slots_that_were_tampered_with_have_to_open);
    ADD(old_slots_that_are_put_back_cost_no_key);
    ADD(a_damaged_key_of_before_that_is_not_needed_locks_nothing);
    ADD(a_damaged_key_of_before_that_is_needed_is_named);
    ADD(a_generation_that_is_due_later_holds_nothing_up);
    return g_test_run();
}
