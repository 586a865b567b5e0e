/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what guests' code sees of the host in tests: volumes (service_fixture.h), their keys as a
 * custodian of guests, images of libvirt's own, a guest's XML. libvirt is not there.
 */
#pragma once

#include "guest/service_state.h"
#include "service_fixture.h"

#define GUEST_SECRET "d9a3c9a0-1111-4222-8333-444455556666"

struct guest_fixture {
    struct fixture host;
    struct guest_service service;
    GArray *with_value;
};

static inline bool
guest_find_usage(void *opaque, enum secret_usage_type type, const char *usage,
                 struct uuid *ret_uuid, GError **error)
{
    (void)type;
    return key_files_find(opaque, usage, ret_uuid, error);
}

static inline void
guest_set_up(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *records = NULL;

    fixture_set_up(&test->host, unused);
    test->service.storage = test->host.service;
    test->service.custodian.opaque = &test->host.keys;
    test->service.custodian.get = key_files_get;
    test->service.custodian.find_usage = guest_find_usage;
    test->with_value = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    records = folder_path(&test->host.root, "records");
    test->service.records = guest_records_new(records, NULL);
    g_assert_nonnull(test->service.records);
}

static inline void
guest_tear_down(struct guest_fixture *test, gconstpointer unused)
{
    guest_records_free(test->service.records);
    fixture_tear_down(&test->host, unused);
    g_array_unref(test->with_value);
}

/* With records that were put since. */
static inline void
guest_restart(struct guest_fixture *test)
{
    fixture_stop(&test->host);
    fixture_start(&test->host);
    test->service.storage = test->host.service;
}

static inline struct uuid
guest_uuid_of(const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

/* Encrypted, with a key that is generated for it; gives the secret. */
static inline struct uuid
guest_make_volume(struct guest_fixture *test, const char *name, const char *format)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), format);
    g_autoptr(storage_volume_t) volume = create(&test->host, name, rest);

    g_array_append_val(test->with_value, volume->secret);
    return volume->secret;
}

static inline char *
guest_image(struct guest_fixture *test, const char *name)
{
    return folder_path(&test->host.images, name);
}

/* A qcow2 image without encryption; `backing` is NULL, or its name as QEMU writes it. */
static inline char *
guest_make_image(struct guest_fixture *test, const char *name, const char *backing,
                 const char *backing_format)
{
    char *path = guest_image(test, name);
    const char *alone[] = {"qemu-img", "create", "-q", "-f", "qcow2", path, "1M", NULL};
    const char *based[] = {"qemu-img", "create", "-q",           "-u", "-f", "qcow2", "-b",
                           backing,    "-F",     backing_format, path, "1M", NULL};
    g_autoptr(GError) error = NULL;
    int status = -1;

    g_spawn_sync(NULL, (char **)(backing ? based : alone), NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
                 NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    return path;
}

/* `inside` is what stands in <devices>. */
static inline char *
guest_xml(const char *inside)
{
    return g_strdup_printf("<domain type='qemu'><name>web1</name><uuid>" GUEST_UUID
                           "</uuid><devices>%s</devices></domain>",
                           inside);
}

/* `more` is what stands in <source>. */
static inline char *
guest_disk(const char *path, const char *format, const char *more)
{
    return g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='%s'/>"
                           "<source file='%s'>%s</source><target dev='vda' bus='virtio'/></disk>",
                           format, path, more);
}

static inline char *
guest_encryption(const struct uuid *secret)
{
    char uuid[UUID_TEXT_SIZE];

    return g_strdup_printf("<encryption format='luks'><secret type='passphrase' uuid='%s'/>"
                           "</encryption>",
                           uuid_format(secret, uuid));
}

/* The record of a dm-crypt volume "images/NAME", whose device is an image of that name with
 * ".crypt" behind it. */
static inline void
guest_put_dm_crypt(struct guest_fixture *test, const char *name, const char *secret,
                   const char *format)
{
    g_autofree char *folder = folder_path(&test->host.volumes, "images");
    g_autofree char *file = g_strdup_printf("%s/%s.xml", folder, name);
    g_autofree char *xml = g_strdup_printf(
        "<volumeRecord version='1'><pool>images</pool><name>%s</name><kind>dm-crypt</kind>"
        "<state>ready</state><path>/dev/virtcrypt/images/%s</path><device>%s/%s.crypt</device>"
        "<made>no</made><capacity>4194304</capacity>"
        "<encryption format='%s' engine='dm-crypt'><secret type='passphrase' uuid='%s'/>%s"
        "</encryption><generated>yes</generated><stored>no</stored></volumeRecord>",
        name, name, test->host.images.path, name, format, secret,
        strcmp(format, "plain") == 0 ? "<cipher name='aes' size='512' mode='xts'/>"
                                       "<ivgen name='plain64'/>"
                                     : "");

    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, xml, -1, NULL));
    guest_restart(test);
}
