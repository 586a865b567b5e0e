/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a service of volumes for tests: folders of its own, an active dir pool "images", keys in
 * files (key_files.h), real backends.
 */
#pragma once

#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "key_files.h"
#include "storage/service.h"

#define POOL_UUID  "11111111-2222-4333-8444-555555555555"
#define GUEST_UUID "99999999-2222-4333-8444-555555555555"

struct fixture {
    struct folder root;
    struct folder images, keys_folder, volumes, pools, policies, guests;
    struct key_files keys;
    struct storage_service *service;
};

static inline void
fixture_folder(struct fixture *test, const char *name, struct folder *ret_folder)
{
    ret_folder->path = folder_path(&test->root, name);
    g_assert_cmpint(g_mkdir_with_parents(ret_folder->path, 0700), ==, 0);
    ret_folder->fd = open(ret_folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(ret_folder->fd, >=, 0);
}

static inline void
fixture_put_pool(struct fixture *test, const char *name, const char *type)
{
    g_autofree char *file = g_strconcat(name, ".xml", NULL);
    g_autofree char *xml =
        g_strdup_printf("<poolstate>\n<pool type='%s'>\n<name>%s</name>\n<uuid>" POOL_UUID
                        "</uuid>\n<source><name>vg</name></source>\n<target><path>%s</path>"
                        "</target>\n</pool>\n</poolstate>\n",
                        type, name, test->images.path);

    folder_put_text(&test->pools, file, xml);
}

static inline void
fixture_start(struct fixture *test)
{
    g_autofree char *uses = folder_path(&test->root, "uses");
    g_autofree char *devices = folder_path(&test->root, "dev");
    const struct storage_service_params params = {
        .volumes_dir = test->volumes.path,
        .policy_dir = test->policies.path,
        .pool_state_dir = test->pools.path,
        .guest_state_dir = test->guests.path,
        .uses_dir = uses,
        .device_dir = devices,
        .retry_s = 1,
        .keys = key_files_table(&test->keys),
    };
    g_autoptr(GError) error = NULL;

    test->service = storage_service_new(&params, &error);
    g_assert_no_error(error);
}

static inline void
fixture_stop(struct fixture *test)
{
    g_clear_pointer(&test->service, storage_service_free);
}

static inline void
fixture_set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->root);
    fixture_folder(test, "images", &test->images);
    fixture_folder(test, "keys", &test->keys_folder);
    fixture_folder(test, "volumes", &test->volumes);
    fixture_folder(test, "pools", &test->pools);
    fixture_folder(test, "policies", &test->policies);
    fixture_folder(test, "guests", &test->guests);
    test->keys.fd = test->keys_folder.fd;
    fixture_put_pool(test, "images", "dir");
    fixture_start(test);
}

static inline void
fixture_close_folder(struct folder *folder)
{
    close(folder->fd);
    g_free(folder->path);
}

static inline void
fixture_tear_down(struct fixture *test, gconstpointer unused)
{
    fixture_stop(test);
    fixture_close_folder(&test->images);
    fixture_close_folder(&test->keys_folder);
    fixture_close_folder(&test->volumes);
    fixture_close_folder(&test->pools);
    fixture_close_folder(&test->policies);
    fixture_close_folder(&test->guests);
    folder_clear(&test->root);
}

/* `rest` is what stands beside name and capacity. */
static inline char *
volume_xml(const char *name, const char *rest)
{
    return g_strdup_printf("<volume><name>%s</name><capacity unit='MiB'>4</capacity>%s</volume>",
                           name, rest);
}

#define TARGET(format, encryption) "<target><format type='" format "'/>" encryption "</target>"
#define LUKS                       "<encryption format='luks'/>"

static inline struct storage_volume *
try_create(struct fixture *test, const char *name, const char *rest, GError **error)
{
    g_autofree char *xml = volume_xml(name, rest);
    const struct storage_create_request request = {.pool = "images", .xml = xml};

    return storage_service_create(test->service, &request, NULL, error);
}

static inline struct storage_volume *
create(struct fixture *test, const char *name, const char *rest)
{
    g_autoptr(GError) error = NULL;
    struct storage_volume *volume = try_create(test, name, rest, &error);

    g_assert_no_error(error);
    return volume;
}

static inline void
create_refused(struct fixture *test, const char *rest, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) volume = try_create(test, "refused", rest, &error);

    g_assert_null(volume);
    expect_error_part(error, code, ERROR_FROM_STORAGE, part);
    folder_expect_none(&test->images, "refused");
    g_assert_cmpuint(storage_service_count(test->service), ==, 0);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 0);
}

static inline void
delete_volume(struct fixture *test, const char *name)
{
    g_autoptr(GError) error = NULL;

    storage_service_delete(test->service, "images", name, NULL, &error);
    g_assert_no_error(error);
}

/* No volume, secret, record or image. */
static inline void
expect_nothing(struct fixture *test)
{
    g_assert_cmpuint(storage_service_count(test->service), ==, 0);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 0);
    g_assert_cmpuint(folder_count(&test->images), ==, 0);
}

/* Whether qemu-img reads an image of that format with the secret `uuid`. */
static inline bool
qemu_opens(struct fixture *test, const char *name, const char *format, const struct uuid *uuid)
{
    g_autoptr(secret_buf_t) key = key_files_get(&test->keys, uuid, NULL);
    g_autofree char *key_path = folder_path(&test->root, "key");
    g_autofree char *path = folder_path(&test->images, name);
    g_autofree char *object = g_strdup_printf("secret,id=k,file=%s", key_path);
    bool is_qcow2 = strcmp(format, "qcow2") == 0;
    g_autofree char *image =
        g_strdup_printf("driver=%s,%skey-secret=k,file.driver=file,file.filename=%s",
                        is_qcow2 ? "qcow2" : "luks", is_qcow2 ? "encrypt." : "", path);
    const char *argv[] = {"qemu-io", "--object",   object, "--image-opts",
                          "-c",      "read 0 512", image,  NULL};
    int status = -1;
    g_autofree char *output = NULL;

    if (!key)
        return false;
    folder_put(&test->root, "key", secret_buf_bytes(key), secret_buf_len(key));
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                 NULL, &output, NULL, &status, NULL);
    return status == 0 && strstr(output, "read 512/512");
}
