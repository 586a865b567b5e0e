/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Locking, unlocking and the slots as the service has them: what is refused, and that each way ends
 * with the slots of before or of after.
 */
#include "custodian_slots.h"
#include "master/recovery_text.h"
#include "secret/service_backup.h"
#include "secret/service_master.h"
#include "secret/service_state.h"
#include "util/file.h"

static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "first");
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

/* How a call ended. */
struct ending {
    unsigned int calls;
    GError *error;
    bool has_slot;
    struct uuid slot;
};

static void
ending_clear(struct ending *ending)
{
    g_clear_error(&ending->error);
}

typedef struct ending ending_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ending_t, ending_clear)

static void
note_ending(void *opaque, const struct slot *slot, const GError *error)
{
    struct ending *ending = opaque;

    ending->calls++;
    ending->error = error ? g_error_copy(error) : NULL;
    ending->has_slot = slot != NULL;
    if (slot)
        ending->slot = slot->id;
}

static void
expect_ended(struct custodian *test, struct ending *ending)
{
    secret_service_drain(test->service);
    g_assert_cmpuint(ending->calls, ==, 1);
    g_assert_no_error(ending->error);
}

static void
expect_failed(struct custodian *test, struct ending *ending, enum error_code code, const char *part)
{
    secret_service_drain(test->service);
    g_assert_cmpuint(ending->calls, ==, 1);
    expect_error_part(ending->error, code, ERROR_FROM_SECRET, part);
}

static void
start_add(struct custodian *test, const char *name, const char *label, struct ending *ending)
{
    g_autofree char *path = folder_path(&test->folder, name);
    const struct master_wanted wanted = {SLOT_KEY_FILE, label, fields_new(), NULL};

    g_assert_true(fields_set(wanted.fields, "path", path, NULL));
    secret_service_add_slot(test->service, &wanted, note_ending, ending);
}

static struct uuid
add(struct custodian *test, const char *name, const char *label)
{
    g_auto(ending_t) ending = {0};

    start_add(test, name, label, &ending);
    expect_ended(test, &ending);
    return ending.slot;
}

static struct uuid
first_slot(const struct custodian *test)
{
    g_autoptr(slots_t) slots = read_slots(test);

    return ((const struct slot *)slots->slots->pdata[0])->id;
}

static guint
count_slots(const struct custodian *test)
{
    g_autoptr(slots_t) slots = read_slots(test);

    return slots->slots->len;
}

static void
lock(struct custodian *test)
{
    g_auto(ending_t) ending = {0};

    secret_service_lock(test->service, note_ending, &ending);
    expect_ended(test, &ending);
    g_assert_nonnull(secret_service_locked_reason(test->service));
}

static void
unlock(struct custodian *test)
{
    g_auto(ending_t) ending = {0};

    secret_service_unlock(test->service, NULL, NULL, note_ending, &ending);
    expect_ended(test, &ending);
    g_assert_true(ending.has_slot);
    g_assert_null(secret_service_locked_reason(test->service));
}

/* ---- lock, unlock ---- */

static void
test_a_locked_service_has_its_values_after_unlock(struct custodian *test, gconstpointer unused)
{
    lock(test);
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID, "run 'virtcrypt master unlock'");
    define(test, UUID_2 " volume /b");
    undefine(test, UUID_2);
    lock(test);
    unlock(test);
    expect_value(test, UUID_1, "first");
    set_value(test, UUID_1, "second");
    custodian_reopen(test);
    expect_value(test, UUID_1, "second");
}

static void
test_changes_under_way_end_before_it_is_locked(struct custodian *test, gconstpointer unused)
{
    g_auto(outcome_t) outcome = {0};

    start_set_value(test, UUID_1, "newest", &outcome);
    lock(test);
    g_assert_cmpuint(outcome.calls, ==, 1);
    g_assert_no_error(outcome.error);
    unlock(test);
    expect_value(test, UUID_1, "newest");
}

static void
test_values_in_memory_stay_readable_while_locked(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_3 " volume /c ephemeral");
    set_value(test, UUID_3, "in memory");
    lock(test);
    expect_value(test, UUID_3, "in memory");
}

/* What was put on disk meanwhile is taken as at a start. */
static void
test_an_unlock_loads_what_came_meanwhile(struct custodian *test, gconstpointer unused)
{
    lock(test);
    put_xml(test, UUID_2 " volume /b");
    folder_put_text(&test->secrets, UUID_2 ".base64", "c2VjcmV0");
    unlock(test);
    expect_value(test, UUID_2, "secret");
}

static void
test_an_unlock_of_what_is_unlocked_proves_the_slot(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) good = {0};
    g_auto(ending_t) bad = {0};
    const struct uuid slot = first_slot(test);

    secret_service_unlock(test->service, &slot, NULL, note_ending, &good);
    expect_ended(test, &good);
    g_assert_true(uuid_equal(&good.slot, &slot));
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    secret_service_unlock(test->service, &slot, NULL, note_ending, &bad);
    expect_failed(test, &bad, ERROR_SYSTEM, "cannot open the key file");
    g_assert_null(secret_service_locked_reason(test->service));
    expect_value(test, UUID_1, "first");
}

static void
test_an_unlock_by_another_master_keys_slots_is_refused(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) ending = {0};
    g_autoptr(GBytes) slots = replace_slots(test);

    secret_service_unlock(test->service, NULL, NULL, note_ending, &ending);
    expect_failed(test, &ending, ERROR_OPERATION_INVALID, "is of another master key");
    expect_value(test, UUID_1, "first");
    put_back_slots(test, slots);
}

static void
test_why_a_slot_did_not_open_is_in_the_status_and_the_log(struct custodian *test,
                                                          gconstpointer unused)
{
    g_auto(ending_t) ending = {0};
    struct master_status status;

    lock(test);
    folder_put_text(&test->folder, "master.key", "short");
    secret_service_unlock(test->service, NULL, NULL, note_ending, &ending);
    expect_failed(test, &ending, ERROR_OPERATION_INVALID, "bytes instead of 32");
    secret_service_get_master(test->service, &status);
    g_assert_nonnull(strstr(status.locked_reason, "bytes instead of 32"));
    g_assert_cmpuint(status.slots->len, ==, 1);
    g_assert_nonnull(strstr(g_array_index(status.slots, struct master_slot_state, 0).problem,
                            "bytes instead of 32"));
    g_assert_false(g_array_index(status.slots, struct master_slot_state, 0).is_opener);
    master_status_clear(&status);
    expect_logged(test, "the master key is not unlocked by its key-file slot");
}

/* A host with guests that can't start is worse. */
static void
test_a_second_slot_opens_when_the_first_one_does_not(struct custodian *test, gconstpointer unused)
{
    const struct uuid second = add(test, "second.key", "second");
    struct master_status status;

    custodian_close(test);
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    custodian_open(test);
    expect_value(test, UUID_1, "first");
    secret_service_get_master(test->service, &status);
    g_assert_true(
        uuid_equal(&g_array_index(status.slots, struct master_slot_state, 1).slot->id, &second));
    g_assert_true(g_array_index(status.slots, struct master_slot_state, 1).is_opener);
    g_assert_nonnull(g_array_index(status.slots, struct master_slot_state, 0).problem);
    master_status_clear(&status);
}

/* ---- slots ---- */

static void
test_one_at_a_time(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) first = {0};
    g_auto(ending_t) second = {0};
    g_auto(ending_t) third = {0};

    start_add(test, "second.key", NULL, &first);
    start_add(test, "third.key", NULL, &second);
    secret_service_lock(test->service, note_ending, &third);
    g_assert_cmpuint(second.calls, ==, 1);
    expect_error_part(second.error, ERROR_RESOURCE_BUSY, ERROR_FROM_SECRET,
                      "the master key is busy (a slot is being added)");
    expect_error_part(third.error, ERROR_RESOURCE_BUSY, ERROR_FROM_SECRET, "busy");
    expect_value(test, UUID_1, "first");
    expect_ended(test, &first);
    g_assert_cmpuint(count_slots(test), ==, 2);
}

/* It is bounded, and leaves the slots of before or of after. */
static void
test_a_service_ends_while_a_slot_is_added(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) ending = {0};

    start_add(test, "second.key", NULL, &ending);
    custodian_reopen(test);
    g_assert_cmpuint(ending.calls, ==, 0);
    g_assert_cmpuint(count_slots(test), >=, 1);
    expect_value(test, UUID_1, "first");
}

static void
test_a_removed_slot_opens_no_more(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) ending = {0};
    const struct uuid first = first_slot(test);

    add(test, "second.key", NULL);
    secret_service_remove_slot(test->service, &first, NULL, note_ending, &ending);
    expect_ended(test, &ending);
    folder_expect_none(&test->folder, "master.key");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
    g_assert_cmpuint(count_slots(test), ==, 1);
}

static void
test_the_last_slot_that_works_stays(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) alone = {0};
    g_auto(ending_t) spoilt = {0};
    const struct uuid first = first_slot(test);

    secret_service_remove_slot(test->service, &first, NULL, note_ending, &alone);
    expect_failed(test, &alone, ERROR_OPERATION_INVALID, "there is no other one");
    add(test, "second.key", NULL);
    folder_put_text(&test->folder, "second.key", "short");
    secret_service_remove_slot(test->service, &first, NULL, note_ending, &spoilt);
    expect_failed(test, &spoilt, ERROR_OPERATION_INVALID, "bytes instead of 32");
    g_assert_cmpuint(count_slots(test), ==, 2);
    g_assert_true(g_file_test(test->master_key, G_FILE_TEST_EXISTS));
}

static void
test_a_locked_service_changes_no_slots(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) added = {0};
    g_auto(ending_t) removed = {0};
    g_auto(ending_t) tested = {0};
    const struct uuid first = first_slot(test);

    lock(test);
    start_add(test, "second.key", NULL, &added);
    expect_failed(test, &added, ERROR_OPERATION_INVALID, "run 'virtcrypt master unlock' first");
    secret_service_remove_slot(test->service, &first, NULL, note_ending, &removed);
    expect_failed(test, &removed, ERROR_OPERATION_INVALID, "run 'virtcrypt master unlock' first");
    secret_service_test_slot(test->service, &first, NULL, note_ending, &tested);
    expect_ended(test, &tested);
    g_assert_nonnull(secret_service_locked_reason(test->service));
}

/* Who can write the file, and does not have the key, gets nothing signed. */
static void
test_slots_that_were_changed_by_others_open_and_are_not_rewritten(struct custodian *test,
                                                                  gconstpointer unused)
{
    g_auto(ending_t) ending = {0};
    g_autoptr(GBytes) slots = folder_get(&test->folder, "master.slots");
    gsize len = 0;
    g_autofree uint8_t *changed = g_bytes_unref_to_data(g_bytes_ref(slots), &len);
    g_autoptr(GBytes) tampered = NULL;
    struct master_status status;

    changed[len - 1] ^= 1;
    tampered = g_bytes_new(changed, len);
    custodian_close(test);
    put_back_slots(test, tampered);
    custodian_open(test);
    expect_value(test, UUID_1, "first");
    secret_service_get_master(test->service, &status);
    g_assert_nonnull(strstr(status.slots_problem, "virtcrypt master rotate"));
    master_status_clear(&status);
    start_add(test, "second.key", NULL, &ending);
    expect_failed(test, &ending, ERROR_OPERATION_INVALID, "put it back from a backup");
    folder_expect(&test->folder, "master.slots", tampered);
}

/* What is in memory of them is no better than the file was; but the key is there till the end. */
static void
test_changed_slots_that_went_away_are_not_signed_either(struct custodian *test,
                                                        gconstpointer unused)
{
    const struct master_rotation rotation = {0};
    g_auto(ending_t) added = {0};
    g_auto(ending_t) rotated = {0};
    g_autoptr(GBytes) slots = folder_get(&test->folder, "master.slots");
    gsize len = 0;
    g_autofree uint8_t *changed = g_bytes_unref_to_data(g_bytes_ref(slots), &len);

    changed[len - 1] ^= 1;
    custodian_close(test);
    folder_put(&test->folder, "master.slots", changed, len);
    custodian_open(test);
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    secret_service_reload(test->service);
    expect_logged(test, "are gone, and what is in memory of them is not as it was written");
    start_add(test, "second.key", NULL, &added);
    expect_failed(test, &added, ERROR_OPERATION_INVALID, "virtcrypt master rotate");
    folder_expect_none(&test->folder, "master.slots");
    secret_service_rotate_master(test->service, &rotation, note_ending, &rotated);
    expect_ended(test, &rotated);
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

/* It was good when it was read: what is in memory is what is changed and written. */
static void
test_a_file_that_was_spoilt_meanwhile_comes_back_with_a_change(struct custodian *test,
                                                               gconstpointer unused)
{
    g_auto(ending_t) proved = {0};
    g_autoptr(GBytes) slots = folder_get(&test->folder, "master.slots");
    gsize len = 0;
    g_autofree uint8_t *changed = g_bytes_unref_to_data(g_bytes_ref(slots), &len);
    struct master_status status;

    changed[len - 1] ^= 1;
    folder_put(&test->folder, "master.slots", changed, len);
    secret_service_unlock(test->service, NULL, NULL, note_ending, &proved);
    expect_ended(test, &proved);
    add(test, "second.key", NULL);
    folder_put_text(&test->folder, "master.slots", "torn");
    add(test, "third.key", NULL);
    custodian_reopen(test);
    g_assert_cmpuint(count_slots(test), ==, 3);
    secret_service_get_master(test->service, &status);
    g_assert_null(status.slots_problem);
    master_status_clear(&status);
}

static void
test_a_file_that_went_away_comes_back_with_a_change(struct custodian *test, gconstpointer unused)
{
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    add(test, "second.key", NULL);
    g_assert_cmpuint(count_slots(test), ==, 2);
}

/* The file of before a rotation, say, with a passphrase that is known to somebody. */
static void
test_a_passphrase_in_another_master_keys_slots_is_not_changed(struct custodian *test,
                                                              gconstpointer unused)
{
    g_autoptr(GBytes) ours = folder_get(&test->folder, "master.slots");
    g_autoptr(master_key_t) other = master_key_new_random(NULL);
    g_autoptr(secret_buf_t) bits = secret_buf_new_random(RECOVERY_SIZE, NULL);
    struct secret_buf *before = recovery_text_format(bits, NULL);
    g_autoptr(slots_t) slots = slots_new(other);
    struct slot *slot = slot_new(SLOT_RECOVERY, NULL, NULL);
    const struct uuid id = slot->id;
    g_autoptr(service_backup_t) backup = NULL;
    g_autoptr(GBytes) theirs = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(ending_t) ending = {0};

    g_assert_true(unlock_add_slot(&test->unlock, slots, slot, before, other, NULL));
    g_assert_true(slots_write(test->slots, slots, other, NULL));
    theirs = folder_get(&test->folder, "master.slots");
    secret_service_change_passphrase(test->service, &id, before, recovery_text_format(bits, NULL),
                                     note_ending, &ending);
    expect_failed(test, &ending, ERROR_OPERATION_INVALID, "is of another master key");
    folder_expect(&test->folder, "master.slots", theirs);
    backup = service_backup_new(test->service, &error);
    g_assert_no_error(error);
    put_back_slots(test, ours);
}

/* By the TPM's counter, say, which is read in the background. */
static void
test_what_ends_after_the_service_was_locked_changes_nothing_in_it(struct custodian *test,
                                                                  gconstpointer unused)
{
    const struct master_rotation rotation = {0};
    g_auto(ending_t) ending = {0};

    secret_service_rotate_master(test->service, &rotation, note_ending, &ending);
    service_lock(test->service, "for a test");
    expect_failed(test, &ending, ERROR_OPERATION_INVALID, "was locked meanwhile");
    g_assert_nonnull(secret_service_locked_reason(test->service));
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID, "for a test");
    unlock(test);
    expect_value(test, UUID_1, "first");
}

/* As after a battery that is empty, or before a clock was set. */
static void
test_a_slot_of_any_time_opens(struct custodian *test, gconstpointer unused)
{
    static const uint64_t times[] = {0, G_MAXUINT64};

    for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
        g_autoptr(master_key_t) master = open_master(test);
        g_autoptr(slots_t) slots = slots_new(master);
        struct slot *slot = slot_new(SLOT_KEY_FILE, NULL, NULL);
        struct master_status status;

        slot->created = times[i];
        g_assert_true(fields_set(slot->fields, "path", test->master_key, NULL));
        g_assert_true(unlock_add_slot(&test->unlock, slots, slot, NULL, master, NULL));
        g_assert_true(slots_write(test->slots, slots, master, NULL));
        custodian_reopen(test);
        expect_value(test, UUID_1, "first");
        secret_service_get_master(test->service, &status);
        g_assert_cmpuint(g_array_index(status.slots, struct master_slot_state, 0).slot->created, ==,
                         times[i]);
        master_status_clear(&status);
    }
}

static void
test_without_a_disk_there_is_no_master_key(struct custodian *test, gconstpointer unused)
{
    g_auto(ending_t) unlocked = {0};
    g_auto(ending_t) locked = {0};
    struct master_status status;

    custodian_close(test);
    test->without_disk = true;
    custodian_open(test);
    secret_service_unlock(test->service, NULL, NULL, note_ending, &unlocked);
    expect_failed(test, &unlocked, ERROR_OPERATION_UNSUPPORTED, "keeps nothing on disk");
    secret_service_lock(test->service, note_ending, &locked);
    expect_failed(test, &locked, ERROR_OPERATION_UNSUPPORTED, "keeps nothing on disk");
    secret_service_get_master(test->service, &status);
    g_assert_null(status.key_id);
    g_assert_cmpuint(status.slots->len, ==, 0);
    master_status_clear(&status);
}

/* ---- first starts ---- */

static void
begin_anew(struct custodian *test)
{
    undefine(test, UUID_1);
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
}

static void
test_a_credential_makes_no_key_file(struct custodian *test, gconstpointer unused)
{
    static const char *const names[] = {"virtcrypt-master-key", "secrets-encryption-key"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        begin_anew(test);
        test->unlock.credentials_dir = test->folder.path;
        folder_put(&test->folder, names[i], "0123456789abcdefghijklmnopqrstuv", 32);
        custodian_open(test);
        g_assert_null(secret_service_locked_reason(test->service));
        folder_expect_none(&test->folder, "master.key");
        g_assert_cmpint(unlinkat(test->folder.fd, names[i], 0), ==, 0);
        custodian_reopen(test);
        g_assert_nonnull(strstr(secret_service_locked_reason(test->service), names[i]));
        folder_put(&test->folder, names[i], "0123456789abcdefghijklmnopqrstuv", 32);
        unlock(test);
        g_assert_cmpint(unlinkat(test->folder.fd, names[i], 0), ==, 0);
        test->unlock.credentials_dir = NULL;
        /* What begin_anew takes away. */
        folder_put_text(&test->folder, "master.key", "");
        define(test, UUID_1 " volume /a");
    }
}

static void
test_a_restore_that_was_not_finished_locks(struct custodian *test, gconstpointer unused)
{
    begin_anew(test);
    folder_put_text(&test->folder, "master.slots.restoring", "x");
    custodian_open(test);
    g_assert_nonnull(
        strstr(secret_service_locked_reason(test->service), "run 'virtcrypt store restore'"));
    folder_expect_none(&test->folder, "master.slots");
    folder_expect_none(&test->folder, "master.key");
}

/* A key file that an administrator put there is used, and stays. */
static void
test_a_key_file_that_is_there_is_used_as_it_is(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = g_bytes_new_static("0123456789abcdefghijklmnopqrstuv", 32);
    g_auto(ending_t) ending = {0};
    struct uuid first;

    begin_anew(test);
    folder_put(&test->folder, "master.key", g_bytes_get_data(key, NULL), 32);
    custodian_open(test);
    folder_expect(&test->folder, "master.key", key);
    first = first_slot(test);
    add(test, "second.key", NULL);
    secret_service_remove_slot(test->service, &first, NULL, note_ending, &ending);
    expect_ended(test, &ending);
    folder_expect(&test->folder, "master.key", key);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_master/" #name, struct custodian, NULL, set_up, test_##name,       \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_locked_service_has_its_values_after_unlock);
    ADD(changes_under_way_end_before_it_is_locked);
    ADD(values_in_memory_stay_readable_while_locked);
    ADD(an_unlock_loads_what_came_meanwhile);
    ADD(an_unlock_of_what_is_unlocked_proves_the_slot);
    ADD(an_unlock_by_another_master_keys_slots_is_refused);
    ADD(why_a_slot_did_not_open_is_in_the_status_and_the_log);
    ADD(a_second_slot_opens_when_the_first_one_does_not);
    ADD(one_at_a_time);
    ADD(a_service_ends_while_a_slot_is_added);
    ADD(a_removed_slot_opens_no_more);
    ADD(the_last_slot_that_works_stays);
    ADD(a_locked_service_changes_no_slots);
    ADD(slots_that_were_changed_by_others_open_and_are_not_rewritten);
    ADD(changed_slots_that_went_away_are_not_signed_either);
    ADD(a_file_that_went_away_comes_back_with_a_change);
    ADD(a_file_that_was_spoilt_meanwhile_comes_back_with_a_change);
    ADD(a_passphrase_in_another_master_keys_slots_is_not_changed);
    ADD(what_ends_after_the_service_was_locked_changes_nothing_in_it);
    ADD(a_slot_of_any_time_opens);
    ADD(without_a_disk_there_is_no_master_key);
    ADD(a_credential_makes_no_key_file);
    ADD(a_restore_that_was_not_finished_locks);
    ADD(a_key_file_that_is_there_is_used_as_it_is);
    return g_test_run();
}
