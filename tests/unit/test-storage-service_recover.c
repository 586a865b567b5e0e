/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the absence of the custodian or of a pool keeps from being done is done later; and two
 * operations on one volume exclude one another.
 */
#include "conf/volume_record.h"
#include "patience.h"
#include "service_fixture.h"

enum { BOUND_MS = 10 * 1000, STEP_MS = 20 };

static void
expect_soon(struct fixture *test, unsigned int pending)
{
    for (unsigned int waited = 0; waited < patient_ms(BOUND_MS); waited += STEP_MS) {
        if (storage_service_count_pending(test->service) == pending)
            return;
        g_usleep(STEP_MS * 1000);
    }
    g_assert_cmpuint(storage_service_count_pending(test->service), ==, pending);
}

static void
test_deletion_without_a_custodian_is_finished_by_itself(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(GError) error = NULL;

    test->keys.is_away = true;
    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, &error));
    expect_error_part(error, ERROR_NO_CONNECT, ERROR_FROM_SECRET,
                      "can't remove the key of volume 'disk' of pool 'images'");
    g_assert_cmpuint(storage_service_count_pending(test->service), ==, 1);
    test->keys.is_away = false;
    expect_soon(test, 0);
    expect_nothing(test);
}

static void
test_deletion_is_finished_by_deleting_again(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("raw", LUKS));

    test->keys.is_away = true;
    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, NULL));
    test->keys.is_away = false;
    delete_volume(test, "disk");
    expect_nothing(test);
}

static void
test_deletion_is_finished_by_creating_again(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) again = NULL;

    test->keys.is_away = true;
    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, NULL));
    test->keys.is_away = false;
    again = create(test, "disk", TARGET("qcow2", LUKS));
    g_assert_true(qemu_opens(test, "disk", "qcow2", &again->secret));
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
}

/* As a stop would have left it. */
static void
set_state(struct fixture *test, const char *name, const char *state)
{
    g_autofree char *file = g_strconcat(name, ".xml", NULL);
    g_autofree char *record = g_build_filename(test->volumes.path, "images", file, NULL);
    g_autofree char *wanted = g_strdup_printf(">%s<", state);
    g_autofree char *text = NULL;
    g_autoptr(GString) changed = NULL;

    g_assert_true(g_file_get_contents(record, &text, NULL, NULL));
    changed = g_string_new(text);
    g_assert_cmpuint(g_string_replace(changed, ">ready<", wanted, 0), ==, 1);
    g_assert_true(g_file_set_contents(record, changed->str, -1, NULL));
}

static void
test_undoing_waits_for_the_pool(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", TARGET("raw", LUKS));
    g_autofree char *pool = folder_path(&test->pools, "images.xml");
    g_autofree char *aside = folder_path(&test->root, "images.xml");

    fixture_stop(test);
    set_state(test, "disk", "creating");
    g_assert_cmpint(rename(pool, aside), ==, 0);
    fixture_start(test);
    g_assert_cmpuint(storage_service_count_pending(test->service), ==, 1);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
    g_assert_cmpint(rename(aside, pool), ==, 0);
    expect_soon(test, 0);
    expect_nothing(test);
}

/* The creation was stopped before the container was there; then somebody else took the name. */
static void
test_undoing_leaves_what_others_made_meanwhile(struct fixture *test, gconstpointer format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", rest);
    g_autoptr(GBytes) content = NULL;

    fixture_stop(test);
    set_state(test, "disk", "creating");
    folder_put_text(&test->images, "disk", "somebody's data");
    fixture_start(test);
    expect_soon(test, 0);
    g_assert_cmpuint(storage_service_count(test->service), ==, 0);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 0);
    content = folder_get(&test->images, "disk");
    g_assert_cmpmem(g_bytes_get_data(content, NULL), g_bytes_get_size(content), "somebody's data",
                    strlen("somebody's data"));
}

static void
test_stopped_wipe_is_finished_by_itself(struct fixture *test, gconstpointer format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autoptr(storage_volume_t) volume = create(test, "disk", rest);

    fixture_stop(test);
    set_state(test, "disk", "wiping");
    fixture_start(test);
    expect_soon(test, 0);
    g_assert_true(qemu_opens(test, "disk", format, &volume->secret));
}

static struct volume_record *
read_record(const char *path)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    struct volume_record *record;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    record = volume_record_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    return record;
}

/* Records come back from a backup that was made in the middle of the re-keying. */
static void
test_old_record_does_not_take_the_only_key_away(struct fixture *test, gconstpointer format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED = create(test, "disk", rest);
    g_autofree char *path = g_build_filename(test->volumes.path, "images", "disk.xml", NULL);
    g_autoptr(volume_record_t) record = read_record(path);
    g_autoptr(storage_volume_t) rekeyed =
        storage_service_rekey(test->service, "images", "disk", NULL);
    g_autoptr(storage_volume_t) found = NULL;
    g_autofree char *text = NULL;

    g_assert_nonnull(rekeyed);
    record->state = VOLUME_STATE_REKEYING;
    record->has_other_secret = true;
    record->other_secret_is_made = true;
    record->other_secret = rekeyed->secret;
    text = volume_record_format(record);
    fixture_stop(test);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    fixture_start(test);
    expect_soon(test, 0);
    found = storage_service_get(test->service, "images", "disk", NULL);
    g_assert_nonnull(found);
    g_assert_true(uuid_equal(&found->secret, &rekeyed->secret));
    g_assert_true(found->secret_is_generated);
    g_assert_true(qemu_opens(test, "disk", format, &rekeyed->secret));
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
}

static void
test_creation_is_undone_when_it_is_cancelled(struct fixture *test, gconstpointer unused)
{
    g_autofree char *xml = volume_xml("disk", TARGET("raw", LUKS));
    const struct storage_create_request request = {.pool = "images", .xml = xml};
    struct storage_progress progress = {.is_cancelled = 1};
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume =
        storage_service_create(test->service, &request, &progress, &error);

    g_assert_null(volume);
    g_assert_true(error_is(error, ERROR_OPERATION_ABORTED));
    expect_nothing(test);
}

static void
test_unreadable_guest_keeps_all_volumes(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "disk", TARGET("raw", LUKS));
    g_autoptr(GError) error = NULL;

    folder_put_text(&test->guests, "web1.xml", "<domstatus>");
    g_assert_false(storage_service_delete(test->service, "images", "disk", NULL, &error));
    g_assert_nonnull(strstr(error->message, "can't tell which disks"));
    g_assert_true(qemu_opens(test, "disk", "raw", &volume->secret));
}

struct race {
    struct fixture *test;
    gint created;
    gint refused;
};

static void *
create_in_thread(void *opaque)
{
    struct race *race = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume =
        try_create(race->test, "disk", TARGET("raw", LUKS), &error);

    if (volume)
        g_atomic_int_inc(&race->created);
    else if (error_is(error, ERROR_RESOURCE_BUSY) || error_is(error, ERROR_STORAGE_VOL_EXIST))
        g_atomic_int_inc(&race->refused);
    return NULL;
}

static void
test_one_of_many_creations_of_a_name_wins(struct fixture *test, gconstpointer unused)
{
    struct race race = {.test = test};
    GThread *threads[4];

    for (unsigned int i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("create", create_in_thread, &race);
    for (unsigned int i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpint(race.created, ==, 1);
    g_assert_cmpint(race.refused, ==, 3);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
    g_assert_cmpuint(folder_count(&test->images), ==, 1);
}

#define ADD(path, argument, function)                                                              \
    g_test_add("/storage/service_recover/" path, struct fixture, argument, fixture_set_up,         \
               function, fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("delete-later", NULL, test_deletion_without_a_custodian_is_finished_by_itself);
    ADD("delete-again", NULL, test_deletion_is_finished_by_deleting_again);
    ADD("create-again", NULL, test_deletion_is_finished_by_creating_again);
    ADD("pool", NULL, test_undoing_waits_for_the_pool);
    ADD("others-raw", "raw", test_undoing_leaves_what_others_made_meanwhile);
    ADD("others-qcow2", "qcow2", test_undoing_leaves_what_others_made_meanwhile);
    ADD("wipe-raw", "raw", test_stopped_wipe_is_finished_by_itself);
    ADD("wipe-qcow2", "qcow2", test_stopped_wipe_is_finished_by_itself);
    ADD("old-record-raw", "raw", test_old_record_does_not_take_the_only_key_away);
    ADD("old-record-qcow2", "qcow2", test_old_record_does_not_take_the_only_key_away);
    ADD("cancelled", NULL, test_creation_is_undone_when_it_is_cancelled);
    ADD("unreadable-guest", NULL, test_unreadable_guest_keeps_all_volumes);
    ADD("race", NULL, test_one_of_many_creations_of_a_name_wins);
    return g_test_run();
}
