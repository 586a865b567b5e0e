/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a libvirt for tests, in the place of guest/libvirt*.c: a folder with a file UUID.xml for
 * each domain that is defined, and one UUID.run for each that runs. It can be away, refuse what it
 * is asked, or do it and not say so. One a program.
 */
#pragma once

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "guest/libvirt.h"
#include "util/error.h"
#include "util/file.h"

enum fake_answer {
    FAKE_DOES_IT,
    FAKE_REFUSES,
    FAKE_IS_LATE,         /* it was done, and the answer did not come in time */
    FAKE_DOES_NOT_ANSWER, /* nor does it */
};

struct guest_libvirt {
    const struct folder *folder;
    guest_libvirt_func on_event;
    void *opaque;
    bool is_away;
    bool is_migrating; /* all of them */
    enum fake_answer answer;
    char *defined; /* the last XML that was given */
    unsigned int flags;
};

static struct guest_libvirt fake_libvirt;

enum { FAKE_XML_MAX = 1024 * 1024 };

static inline void
fake_libvirt_emit(enum guest_libvirt_event event, const struct uuid *guest)
{
    fake_libvirt.on_event(fake_libvirt.opaque, event, guest);
}

struct guest_libvirt *
guest_libvirt_new(const char *uri, guest_libvirt_func on_event, void *opaque)
{
    g_assert_cmpstr(uri, ==, "test:///fake");
    fake_libvirt.on_event = on_event;
    fake_libvirt.opaque = opaque;
    return &fake_libvirt;
}

void
guest_libvirt_stop(struct guest_libvirt *libvirt)
{
}

void
guest_libvirt_free(struct guest_libvirt *libvirt)
{
}

const char *
guest_libvirt_uri(const struct guest_libvirt *libvirt)
{
    return "test:///fake";
}

char *
guest_libvirt_problem(struct guest_libvirt *libvirt)
{
    return NULL;
}

void
guest_seen_free(struct guest_seen *seen)
{
    if (!seen)
        return;
    g_free(seen->name);
    g_ptr_array_unref(seen->xmls);
    g_free(seen);
}

static inline bool
fake_libvirt_check(GError **error)
{
    if (!fake_libvirt.is_away)
        return true;
    error_set(error, ERROR_FROM_RPC, ERROR_INTERNAL, "libvirt is away");
    return false;
}

/* The XML in the file UUID.xml or UUID.run, or NULL. */
static inline char *
fake_libvirt_read(const struct uuid *guest, const char *suffix)
{
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *name = g_strconcat(uuid_format(guest, uuid), suffix, NULL);
    g_autoptr(GBytes) content = file_read(fake_libvirt.folder->fd, name, FAKE_XML_MAX, NULL);

    return content ? g_strndup(g_bytes_get_data(content, NULL), g_bytes_get_size(content)) : NULL;
}

static inline char *
fake_libvirt_element(const char *xml, const char *name)
{
    g_autofree char *open = g_strdup_printf("<%s>", name);
    const char *start = strstr(xml, open);

    g_assert_nonnull(start);
    start += strlen(open);
    return g_strndup(start, strcspn(start, "<"));
}

static inline struct guest_seen *
fake_libvirt_look(const struct uuid *guest)
{
    g_autofree char *defined = fake_libvirt_read(guest, ".xml");
    g_autofree char *running = fake_libvirt_read(guest, ".run");
    struct guest_seen *seen;

    if (!defined && !running)
        return NULL;
    seen = g_new0(struct guest_seen, 1);
    seen->uuid = *guest;
    seen->name = fake_libvirt_element(defined ? defined : running, "name");
    seen->is_active = running != NULL;
    seen->is_persistent = defined != NULL;
    seen->is_migrating = fake_libvirt.is_migrating;
    seen->xmls = g_ptr_array_new_with_free_func(g_free);
    if (defined)
        g_ptr_array_add(seen->xmls, g_steal_pointer(&defined));
    if (running)
        g_ptr_array_add(seen->xmls, g_steal_pointer(&running));
    return seen;
}

struct guest_seen *
guest_libvirt_find(struct guest_libvirt *libvirt, const struct uuid *guest, GError **error)
{
    struct guest_seen *seen;

    if (!fake_libvirt_check(error))
        return NULL;
    seen = fake_libvirt_look(guest);
    if (!seen)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_NO_DOMAIN, "no such domain");
    return seen;
}

static inline void
fake_libvirt_free_seen(void *seen)
{
    guest_seen_free(seen);
}

static inline int
fake_libvirt_compare(gconstpointer a, gconstpointer b)
{
    const struct guest_seen *const *first = a;
    const struct guest_seen *const *second = b;

    return memcmp(&(*first)->uuid, &(*second)->uuid, sizeof(struct uuid));
}

GPtrArray *
guest_libvirt_list(struct guest_libvirt *libvirt, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(fake_libvirt_free_seen);
    g_autoptr(GHashTable) known =
        g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    g_autoptr(GDir) dir = g_dir_open(fake_libvirt.folder->path, 0, NULL);
    const char *name;

    if (!fake_libvirt_check(error))
        return NULL;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *text = g_strndup(name, UUID_TEXT_SIZE - 1);
        struct uuid uuid;

        if (strlen(name) == UUID_TEXT_SIZE + 3 && uuid_parse(text, &uuid) &&
            g_hash_table_add(known, g_memdup2(&uuid, sizeof(uuid))))
            g_ptr_array_add(all, fake_libvirt_look(&uuid));
    }
    g_ptr_array_sort(all, fake_libvirt_compare);
    return g_steal_pointer(&all);
}

static inline void
fake_libvirt_put(const char *xml, const char *suffix)
{
    g_autofree char *uuid = fake_libvirt_element(xml, "uuid");
    g_autofree char *name = g_strconcat(uuid, suffix, NULL);
    g_autoptr(GError) error = NULL;

    file_replace(fake_libvirt.folder->fd, name, xml, strlen(xml), 0600, &error);
    g_assert_no_error(error);
}

static inline void
fake_libvirt_remove(const struct uuid *guest, const char *suffix)
{
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *name = g_strconcat(uuid_format(guest, uuid), suffix, NULL);

    g_assert_cmpint(unlinkat(fake_libvirt.folder->fd, name, 0), ==, 0);
}

static inline bool
fake_libvirt_make(const char *xml, const char *suffix, unsigned int flags, struct uuid *ret_uuid,
                  GError **error)
{
    g_autofree char *uuid = fake_libvirt_element(xml, "uuid");
    enum fake_answer answer = fake_libvirt.answer;

    if (!fake_libvirt_check(error))
        return false;
    g_free(fake_libvirt.defined);
    fake_libvirt.defined = g_strdup(xml);
    fake_libvirt.flags = flags;
    g_assert_true(uuid_parse(uuid, ret_uuid));
    if (answer == FAKE_REFUSES) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML, "libvirt refuses it");
        return false;
    }
    if (answer == FAKE_DOES_IT || answer == FAKE_IS_LATE)
        fake_libvirt_put(xml, suffix);
    if (answer == FAKE_DOES_IT)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_TIMEOUT, "libvirt does not answer");
    return false;
}

bool
guest_libvirt_define(struct guest_libvirt *libvirt, const char *xml, unsigned int flags,
                     struct uuid *ret_uuid, GError **error)
{
    return fake_libvirt_make(xml, ".xml", flags, ret_uuid, error);
}

bool
guest_libvirt_create(struct guest_libvirt *libvirt, const char *xml, unsigned int flags,
                     struct uuid *ret_uuid, GError **error)
{
    return fake_libvirt_make(xml, ".run", flags, ret_uuid, error);
}

/* Every domain that is defined and does not run: all of them are to be started at boot. */
GPtrArray *
guest_libvirt_list_unstarted(struct guest_libvirt *libvirt, GError **error)
{
    GPtrArray *found = guest_libvirt_list(libvirt, error);

    for (guint i = found ? found->len : 0; i > 0; i--) {
        if (((const struct guest_seen *)found->pdata[i - 1])->is_active)
            g_ptr_array_remove_index(found, i - 1);
    }
    return found;
}

bool
guest_libvirt_start(struct guest_libvirt *libvirt, const struct uuid *guest, GError **error)
{
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *name = g_strconcat(uuid_format(guest, uuid), ".run", NULL);
    g_autofree char *xml = fake_libvirt_read(guest, ".xml");

    if (!fake_libvirt_check(error))
        return false;
    if (!xml || fake_libvirt.answer != FAKE_DOES_IT) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED, "libvirt does not want to");
        return false;
    }
    folder_put_text(fake_libvirt.folder, name, xml);
    return true;
}
