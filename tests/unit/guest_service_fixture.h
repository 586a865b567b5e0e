/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a service of guests for tests: that of volumes (service_fixture.h), a libvirt and a
 * custodian of files beside it, and records. Nothing is looked at before the first look that a test
 * asks for.
 */
#pragma once

#include "conf/guest_record.h"
#include "fake_libvirt.h"
#include "guest/records.h"
#include "guest/service.h"
#include "owner_files.h"
#include "service_fixture.h"
#include "storage/luks.h"

#define OTHER_GUEST_UUID "88888888-2222-4333-8444-555555555555"
#define SECRET_UUID      "77777777-2222-4333-8444-555555555555"
#define PEER             "qemu+ssh://b.example/system"

struct guest_fixture {
    struct fixture base;
    struct folder owners_folder, records, domains, definitions;
    struct owner_files owners;
    struct daemon_conf *conf;
    struct guest_service *service;
    struct uuid guest, secret;
};

static inline void
guest_fixture_start(struct guest_fixture *test)
{
    const struct guest_service_params params = {
        .conf = test->conf,
        .records_dir = test->records.path,
        .domain_dir = test->definitions.path,
        .storage = test->base.service,
        .custodian = owner_files_table(&test->owners),
    };
    g_autoptr(GError) error = NULL;

    test->service = guest_service_new(&params, &error);
    g_assert_no_error(error);
    guest_service_start(test->service);
}

/* Looks at all guests. */
static inline void
guest_fixture_look(struct guest_fixture *test)
{
    g_autoptr(GError) error = NULL;

    fake_libvirt_emit(GUEST_LIBVIRT_CONNECTED, NULL);
    guest_service_reconcile(test->service, &error);
    g_assert_no_error(error);
}

static inline void
guest_fixture_stop(struct guest_fixture *test)
{
    g_clear_pointer(&test->service, guest_service_free);
}

/* All but the folders of `base`. */
static inline void
guest_fixture_open(struct guest_fixture *test)
{
    fixture_folder(&test->base, "owners", &test->owners_folder);
    fixture_folder(&test->base, "records", &test->records);
    fixture_folder(&test->base, "domains", &test->domains);
    fixture_folder(&test->base, "definitions", &test->definitions);
    test->owners = (struct owner_files){.keys = &test->base.keys, .folder = &test->owners_folder};
    fake_libvirt = (struct guest_libvirt){.folder = &test->domains};
    test->conf = daemon_conf_new_default(DAEMON_CONF_VIRTCRYPTD, false);
    g_free(test->conf->libvirt_uri);
    test->conf->libvirt_uri = g_strdup("test:///fake");
    g_assert_true(uuid_parse(GUEST_UUID, &test->guest));
    g_assert_true(uuid_parse(SECRET_UUID, &test->secret));
    guest_fixture_start(test);
}

static inline void
guest_fixture_close(struct guest_fixture *test)
{
    guest_fixture_stop(test);
    daemon_conf_free(test->conf);
    g_free(test->owners.reason);
    g_clear_pointer(&fake_libvirt.defined, g_free);
    fixture_close_folder(&test->owners_folder);
    fixture_close_folder(&test->records);
    fixture_close_folder(&test->domains);
    fixture_close_folder(&test->definitions);
}

static inline void
guest_fixture_set_up(struct guest_fixture *test, gconstpointer unused)
{
    fixture_set_up(&test->base, NULL);
    guest_fixture_open(test);
}

static inline void
guest_fixture_tear_down(struct guest_fixture *test, gconstpointer unused)
{
    guest_fixture_close(test);
    fixture_tear_down(&test->base, NULL);
}

/* A domain with one disk; `source` is what stands in its <source>'s tag and behind it. */
static inline char *
guest_fixture_xml(const char *format, const char *source)
{
    return g_strdup_printf("<domain type='qemu'>\n  <name>web</name>\n  <uuid>" GUEST_UUID
                           "</uuid>\n  <devices>\n    <disk type='file' device='disk'>\n"
                           "      <driver name='qemu' type='%s'/>\n      <source %s\n"
                           "      <target dev='vda' bus='virtio'/>\n    </disk>\n"
                           "  </devices>\n</domain>\n",
                           format, source);
}

static inline char *
guest_fixture_disk(struct guest_fixture *test, const char *name)
{
    g_autofree char *path = folder_path(&test->base.images, name);
    g_autofree char *source = g_strdup_printf("file='%s'/>", path);

    return guest_fixture_xml("raw", source);
}

/* As the records on disk have it. */
static inline struct guest_record *
guest_fixture_record(struct guest_fixture *test)
{
    g_autoptr(GBytes) content = folder_get(&test->records, GUEST_UUID ".xml");
    g_autoptr(GError) error = NULL;
    struct guest_record *record;

    if (!content)
        return NULL;
    record = guest_record_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), &error);
    g_assert_no_error(error);
    return record;
}

static inline void
guest_fixture_expect_state(struct guest_fixture *test, enum guest_state state, guint keys)
{
    g_autoptr(guest_record_t) record = guest_fixture_record(test);

    g_assert_nonnull(record);
    g_assert_cmpint(record->state, ==, state);
    g_assert_cmpuint(record->keys->len, ==, keys);
}

static inline guint
guest_fixture_count_secrets(struct guest_fixture *test)
{
    g_autoptr(GArray) all = owner_files_all(&test->owners);

    return all->len;
}

/* Neither a guest, nor a secret, nor a record of either. */
static inline void
guest_fixture_expect_nothing(struct guest_fixture *test)
{
    g_assert_cmpuint(guest_fixture_count_secrets(test), ==, 0);
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
    g_assert_cmpuint(folder_count(&test->domains), ==, 0);
}

/* A LUKS container of nobody's that `text` opens. */
static inline void
guest_fixture_make_foreign(struct guest_fixture *test, const char *name, const char *text)
{
    g_autofree char *path = folder_path(&test->base.images, name);
    g_autoptr(secret_buf_t) key = secret_buf_new_from(text, strlen(text), NULL);
    const struct luks_place place = {.device = path};
    const struct luks_format_params params = {.type = LUKS_1, .kdf = LUKS_KDF_FULL_ENTROPY};
    g_autoptr(GError) error = NULL;

    folder_put_text(&test->base.images, name, "");
    g_assert_cmpint(truncate(path, 4 * 1024 * 1024), ==, 0);
    luks_format(&place, &params, key, &error);
    g_assert_no_error(error);
}
