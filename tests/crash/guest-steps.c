/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a program that changes guests and their keys step by step, for the crash tests.
 *
 *   guest-steps ROOT STEP ...
 *
 * ROOT is a folder with all that a service of guests has: a libvirt and a custodian of files, and
 * that of volumes with a dir pool "images". There is one guest with one disk, "disk". A STEP is
 * "volume" (makes the disk, a LUKS container of nobody's), "own" (makes it as a volume of ours),
 * "run" (libvirt has the guest, and runs it with the disk's secret), "gone" (libvirt has it no
 * more), "define", "create", "receive", "begin", "end moved", "end stayed", "age" (what is under
 * way began 400 s before) or "list". What became of it is printed: "done" or "error TEXT". "list"
 * looks at all guests twice, and prints "guest" if libvirt has it, "record STATE" if there is one,
 * "key UUID STATE" for each key in it, and for each secret "secret UUID owned" or "free".
 */
#include <stdio.h>

#include "../unit/guest_service_fixture.h"
#include "storage/records.h"

#define KEY "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"

/* ---- the root ---- */

static void
open_root(struct guest_fixture *test, const char *root)
{
    struct fixture *base = &test->base;

    base->root.path = g_strdup(root);
    g_assert_cmpint(g_mkdir_with_parents(root, 0700), ==, 0);
    base->root.fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture_folder(base, "images", &base->images);
    fixture_folder(base, "keys", &base->keys_folder);
    fixture_folder(base, "volumes", &base->volumes);
    fixture_folder(base, "pools", &base->pools);
    fixture_folder(base, "policies", &base->policies);
    fixture_folder(base, "guests", &base->guests);
    base->keys.fd = base->keys_folder.fd;
    if (faccessat(base->pools.fd, "images.xml", F_OK, 0) != 0)
        fixture_put_pool(base, "images", "dir");
    fixture_start(base);
    guest_fixture_open(test);
}

static void
close_root(struct guest_fixture *test)
{
    struct fixture *base = &test->base;

    guest_fixture_close(test);
    fixture_stop(base);
    fixture_close_folder(&base->images);
    fixture_close_folder(&base->keys_folder);
    fixture_close_folder(&base->volumes);
    fixture_close_folder(&base->pools);
    fixture_close_folder(&base->policies);
    fixture_close_folder(&base->guests);
    fixture_close_folder(&base->root);
}

static void
report(const GError *error)
{
    printf("%s%s\n", error ? "error " : "done", error ? error->message : "");
}

/* ---- what others do ---- */

/* The secret of the volume, ours or not. */
static struct uuid
disk_secret(struct guest_fixture *test)
{
    g_autofree char *path = folder_path(&test->base.images, "disk");
    g_autoptr(storage_volume_t) own = storage_service_get_by_path(test->base.service, path, NULL);

    return own ? own->secret : test->secret;
}

static void
run_guest(struct guest_fixture *test)
{
    g_autofree char *path = folder_path(&test->base.images, "disk");
    struct uuid secret = disk_secret(test);
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *source =
        g_strdup_printf("file='%s'><encryption format='luks'><secret type='passphrase' "
                        "uuid='%s'/></encryption></source>",
                        path, uuid_format(&secret, uuid));
    g_autofree char *xml = guest_fixture_xml("raw", source);

    fake_libvirt_put(xml, ".run");
}

static void
age_record(struct guest_fixture *test)
{
    g_autoptr(guest_record_t) record = guest_fixture_record(test);
    g_autofree char *text = NULL;

    if (!record)
        return;
    record->since -= 400;
    text = guest_record_format(record);
    guest_fixture_stop(test);
    folder_put_text(&test->records, GUEST_UUID ".xml", text);
    guest_fixture_start(test);
}

/* ---- what is tested ---- */

static void
define(struct guest_fixture *test, bool is_create)
{
    g_autofree char *xml = guest_fixture_disk(test, "disk");
    g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);
    const struct guest_given_key given = {.volume = "vda", .key = key};
    const struct guest_define_request request = {
        .xml = xml, .keys = &given, .key_count = 1, .is_create = is_create};
    g_autoptr(GError) error = NULL;

    guest_defined_free(guest_service_define(test->service, &request, &error));
    report(error);
}

static void
receive(struct guest_fixture *test)
{
    const struct secret_def def = {
        .uuid = test->secret,
        .usage_type = SECRET_USAGE_VOLUME,
        .usage_id = (char *)"disk of web",
        .is_private = true,
    };
    g_autofree char *xml = secret_def_format(&def);
    g_autofree char *path = folder_path(&test->base.images, "disk");
    g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);
    struct guest_packet packet = {.xml = xml, .volume = path, .origin = GUEST_KEY_SENT, .key = key};
    g_autoptr(GPtrArray) packets = g_ptr_array_new();
    struct guest_migration migration = {
        .uuid = test->guest, .name = (char *)"web", .packets = packets};
    g_autoptr(GError) error = NULL;

    g_ptr_array_add(packets, &packet);
    g_assert_true(uuid_generate_random(&migration.migration, NULL));
    guest_service_migrate_receive(test->service, &migration, "a.example", &error);
    report(error);
}

static void
begin(struct guest_fixture *test)
{
    g_autoptr(GError) error = NULL;

    guest_migration_free(guest_service_migrate_begin(test->service, &test->guest, PEER, &error));
    report(error);
}

static void
end(struct guest_fixture *test, bool has_moved)
{
    const struct uuid any = {0};
    struct guest_migrate_end result;
    g_autoptr(GError) error = NULL;

    fake_libvirt_emit(GUEST_LIBVIRT_CONNECTED, NULL);
    guest_service_migrate_end(test->service, &test->guest, &any, has_moved, &result, &error);
    report(error);
}

/* ---- what is there ---- */

static void
list_record(const struct guest_record *record)
{
    static const char *const states[] = {"present",  "undefined", "migrated",
                                         "defining", "arriving",  "leaving"};
    static const char *const key_states[] = {"bound", "made", "waiting", "orphaned"};
    char uuid[UUID_TEXT_SIZE];

    G_STATIC_ASSERT(G_N_ELEMENTS(states) == GUEST_STATE_LAST);
    G_STATIC_ASSERT(G_N_ELEMENTS(key_states) == GUEST_KEY_STATE_LAST);
    printf("record %s\n", states[record->state]);
    for (guint i = 0; i < record->keys->len; i++) {
        const struct guest_key *key = record->keys->pdata[i];

        printf("key %s %s\n", uuid_format(&key->secret, uuid), key_states[key->state]);
    }
}

static void
list(struct guest_fixture *test)
{
    g_autoptr(guest_record_t) record = NULL;
    g_autoptr(GArray) secrets = NULL;
    struct guest_seen *seen;
    char uuid[UUID_TEXT_SIZE];

    guest_fixture_look(test);
    guest_fixture_look(test);
    seen = fake_libvirt_look(&test->guest);
    record = guest_fixture_record(test);
    secrets = owner_files_all(&test->owners);
    if (seen)
        printf("guest\n");
    guest_seen_free(seen);
    if (record)
        list_record(record);
    for (guint i = 0; i < secrets->len; i++) {
        const struct uuid *secret = &g_array_index(secrets, struct uuid, i);

        printf("secret %s %s\n", uuid_format(secret, uuid),
               owner_files_is_owner(&test->owners, secret, &test->guest) ? "owned" : "free");
    }
}

static void
prepare(struct guest_fixture *test, const char *step)
{
    if (strcmp(step, "volume") == 0)
        guest_fixture_make_foreign(test, "disk", KEY);
    else if (strcmp(step, "own") == 0)
        storage_volume_free(create(&test->base, "disk", TARGET("raw", LUKS)));
    else if (strcmp(step, "run") == 0)
        run_guest(test);
    else if (strcmp(step, "gone") == 0)
        fake_libvirt_remove(&test->guest, ".run");
    else if (strcmp(step, "age") == 0)
        age_record(test);
    else
        g_error("'%s' is no step", step);
}

static void
make_step(struct guest_fixture *test, const char *step)
{
    if (strcmp(step, "list") == 0)
        list(test);
    else if (strcmp(step, "define") == 0 || strcmp(step, "create") == 0)
        define(test, strcmp(step, "create") == 0);
    else if (strcmp(step, "receive") == 0)
        receive(test);
    else if (strcmp(step, "begin") == 0)
        begin(test);
    else if (g_str_has_prefix(step, "end "))
        end(test, strcmp(step, "end moved") == 0);
    else
        prepare(test, step);
}

int
main(int argc, char **argv)
{
    struct guest_fixture test = {0};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) {
        fprintf(stderr, "usage: %s ROOT STEP ...\n", argv[0]);
        return 2;
    }
    open_root(&test, argv[1]);
    for (int i = 2; i < argc; i++)
        make_step(&test, argv[i]);
    close_root(&test);
    return 0;
}
