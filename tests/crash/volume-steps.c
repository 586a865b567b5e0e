/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a program that changes volumes step by step, for the crash tests.
 *
 *   volume-steps ROOT STEP ...
 *
 * ROOT is a folder with all that a service of volumes has: it is filled at first with a dir pool
 * "images". A STEP is "create NAME FORMAT", "clone NAME SOURCE", "person NAME FORMAT" (with a key
 * that is given), "delete NAME", "wipe NAME", "rekey NAME", "adopt NAME" or "list". What became of
 * it is printed: "done" or "error TEXT". "list" waits until nothing is left to be recovered; then
 * it prints "volume NAME SECRET opens" (or "closed", if its key does not open it), "key UUID" for
 * each secret that is there, and "file NAME" for each file in the pool.
 */
#include <stdio.h>

#include "../unit/service_fixture.h"
#include "storage/records.h"

enum { STEP_MS = 10, BOUND_MS = 30 * 1000 };

static void
open_folder(struct fixture *test, const char *name, struct folder *ret_folder)
{
    fixture_folder(test, name, ret_folder);
}

static void
open_root(struct fixture *test, const char *root)
{
    test->root.path = g_strdup(root);
    g_assert_cmpint(g_mkdir_with_parents(root, 0700), ==, 0);
    test->root.fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    open_folder(test, "images", &test->images);
    open_folder(test, "keys", &test->keys_folder);
    open_folder(test, "volumes", &test->volumes);
    open_folder(test, "pools", &test->pools);
    open_folder(test, "policies", &test->policies);
    open_folder(test, "guests", &test->guests);
    test->keys.fd = test->keys_folder.fd;
    if (faccessat(test->pools.fd, "images.xml", F_OK, 0) != 0)
        fixture_put_pool(test, "images", "dir");
    fixture_start(test);
}

static void
report(const GError *error)
{
    printf("%s%s\n", error ? "error " : "done", error ? error->message : "");
}

/* The state of each volume, its key looked for as a guest's start would. */
static void
list_volumes(struct fixture *test)
{
    struct storage_records *records = storage_records_new(test->volumes.path, "/none", NULL);
    g_autoptr(GPtrArray) list = storage_records_list(records, NULL);
    char uuid[UUID_TEXT_SIZE];

    for (guint i = 0; i < list->len; i++) {
        const struct volume_record *record = list->pdata[i];
        g_autoptr(secret_buf_t) key =
            key_files_get(&test->keys, &record->encryption->secret_uuid, NULL);
        bool opens = key && record->state == VOLUME_STATE_READY &&
                     backend_find(record->kind)->check_key(record, key, NULL);

        printf("volume %s %s %s\n", record->name,
               uuid_format(&record->encryption->secret_uuid, uuid), opens ? "opens" : "closed");
    }
    storage_records_free(records);
}

static void
list_files(const char *what, const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        if (!g_str_has_suffix(name, ".new")) /* the custodian's, of a key that was not stored */
            printf("%s %s\n", what, name);
    }
}

static void
list(struct fixture *test)
{
    for (unsigned int waited = 0;
         storage_service_count_pending(test->service) > 0 && waited < BOUND_MS; waited += STEP_MS)
        g_usleep(STEP_MS * 1000);
    list_volumes(test);
    list_files("key", test->keys_folder.path);
    list_files("file", test->images.path);
}

static void
create_volume(struct fixture *test, char **words)
{
    bool is_clone = strcmp(words[0], "clone") == 0;
    g_autofree char *rest =
        g_strdup_printf(TARGET("%s", "%s"), is_clone ? "raw" : words[2], is_clone ? "" : LUKS);
    g_autofree char *xml = volume_xml(words[1], rest);
    g_autoptr(secret_buf_t) key = secret_buf_new_from("open sesame", 11, NULL);
    const struct storage_create_request request = {
        .pool = "images",
        .xml = xml,
        .source_pool = is_clone ? "images" : NULL,
        .source_volume = is_clone ? words[2] : NULL,
        .key = strcmp(words[0], "person") == 0 ? key : NULL,
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED =
        storage_service_create(test->service, &request, NULL, &error);

    report(error);
}

static void
adopt_volume(struct fixture *test, const char *name)
{
    g_autofree char *xml = g_strdup_printf("<volume><name>%s</name></volume>", name);
    g_autoptr(secret_buf_t) key = secret_buf_new_from("open sesame", 11, NULL);
    const struct storage_create_request request = {.pool = "images", .xml = xml, .key = key};
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume G_GNUC_UNUSED =
        storage_service_adopt(test->service, &request, &error);

    report(error);
}

static void
change_volume(struct fixture *test, const char *how, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume = NULL;

    if (strcmp(how, "delete") == 0)
        storage_service_delete(test->service, "images", name, NULL, &error);
    else if (strcmp(how, "wipe") == 0)
        storage_service_wipe(test->service, "images", name, 0, NULL, &error);
    else if (strcmp(how, "rekey") == 0)
        /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) freed at the end */
        volume = storage_service_rekey(test->service, "images", name, &error);
    else
        g_error("'%s' is no step", how);
    report(error);
}

static void
make_step(struct fixture *test, const char *step)
{
    g_auto(GStrv) words = g_strsplit(step, " ", -1);

    if (strcmp(words[0], "list") == 0)
        list(test);
    else if (words[1] && words[2])
        create_volume(test, words);
    else if (strcmp(words[0], "adopt") == 0)
        adopt_volume(test, words[1]);
    else
        change_volume(test, words[0], words[1]);
}

static void
close_root(struct fixture *test)
{
    fixture_stop(test);
    fixture_close_folder(&test->images);
    fixture_close_folder(&test->keys_folder);
    fixture_close_folder(&test->volumes);
    fixture_close_folder(&test->pools);
    fixture_close_folder(&test->policies);
    fixture_close_folder(&test->guests);
    fixture_close_folder(&test->root);
}

int
main(int argc, char **argv)
{
    struct fixture test = {0};

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
