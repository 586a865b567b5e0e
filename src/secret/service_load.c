/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is on disk becomes what is known, at start and when the daemon is told to reload.
 * Files are read, parsed and decrypted (service_read.c) on all processors by threads that see
 * nothing but their own entry; what they found is then taken over one by one. A file that is not
 * good costs its own secret or value, a line in the log, and nothing else: it is kept.
 */
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_load.h"
#include "util/error.h"
#include "util/log.h"
#include "util/parallel.h"

static void
clear_load(void *element)
{
    struct load *load = element;

    g_clear_pointer(&load->owners, owners_free);
    secret_def_free(load->def);
    g_free(load->problem);
    g_clear_pointer(&load->known, g_bytes_unref);
    service_reading_clear(&load->reading);
}

static bool
has_stored_value(const struct loading *loading)
{
    for (guint i = 0; i < loading->loads->len; i++) {
        const struct load *load = service_load_at(loading, i);

        if (load->entry.has_key || load->owners)
            return true;
    }
    return false;
}

static void
lock(struct secret_service *service, const char *reason)
{
    g_clear_pointer(&service->master_key, master_key_free);
    g_free(service->locked_reason);
    service->locked_reason =
        g_strdup_printf("%s (when that is put right, reload the daemon)", reason);
    log_error("the daemon is locked, and values can be neither read nor set: %s",
              service->locked_reason);
}

/* A new master key is made only where there is nothing that it could not open. */
static void
unlock(struct secret_service *service, const struct loading *loading)
{
    g_autoptr(GError) error = NULL;

    service->master_key = master_key_open(service->unlock_method, service->unlock_location,
                                          !has_stored_value(loading), &error);
    if (service->master_key)
        g_clear_pointer(&service->locked_reason, g_free);
    else
        lock(service, error->message);
}

static bool
check_loaded(const struct store_entry *entry, const struct secret_def *def, GError **error)
{
    if (!uuid_equal(&def->uuid, &entry->uuid)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "<uuid> does not match the name of the file");
        return false;
    }
    if (def->is_ephemeral) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "it says ephemeral='yes', and such a secret is never kept on disk");
        return false;
    }
    return true;
}

static struct secret_def *
read_definition(struct store *store, const struct store_entry *entry, GError **error)
{
    g_autoptr(GBytes) xml = store_read_xml(store, &entry->uuid, error);
    g_autoptr(secret_def_t) def = NULL;
    gsize len = 0;
    const char *text;

    if (!xml)
        return NULL;
    text = g_bytes_get_data(xml, &len);
    def = secret_def_parse(text, len, false, error);
    return def && check_loaded(entry, def, error) ? g_steal_pointer(&def) : NULL;
}

static void
load_definition(size_t index, void *opaque)
{
    const struct loading *loading = opaque;
    struct load *load = service_load_at(loading, index);
    g_autoptr(GError) error = NULL;

    if (!load->entry.has_xml)
        return;
    load->def = read_definition(loading->service->store, &load->entry, &error);
    if (!load->def)
        load->problem = g_strdup(error->message);
}

/* Without opening anything, which is the usual case of a reload. Guests' copies have to agree with
 * one another, too, so they are opened. */
static bool
has_known_value(struct store *store, const struct load *load)
{
    g_autoptr(GBytes) sealed =
        load->known && !load->owners ? store_read_key(store, &load->entry.uuid, NULL) : NULL;

    return sealed && g_bytes_equal(sealed, load->known);
}

static void
load_value(size_t index, void *opaque)
{
    const struct loading *loading = opaque;
    struct load *load = service_load_at(loading, index);
    const struct service_source source = {
        .store = loading->service->store,
        .key = loading->service->master_key,
        .def = load->def,
        .owners = load->owners,
        .known = load->known,
    };

    if (!load->def || (!load->entry.has_key && !load->owners))
        return;
    load->is_known = has_known_value(source.store, load);
    if (load->is_known)
        return;
    service_read(&source, &load->reading);
    load->is_known = load->known && load->reading.value.sealed &&
                     g_bytes_equal(load->reading.value.sealed, load->known);
}

static void
load_both(size_t index, void *opaque)
{
    load_definition(index, opaque);
    load_value(index, opaque);
}

/* If there are values, and all of them are under another master key, then it is the key that is
 * wrong, not the values. Nothing must be sealed under it. */
static void
check_master_key(struct loading *loading)
{
    struct secret_service *service = loading->service;
    g_autofree char *reason = NULL;
    size_t opened = 0;
    size_t foreign = 0;

    for (guint i = 0; i < loading->loads->len; i++) {
        const struct load *load = service_load_at(loading, i);

        opened += load->reading.value.sealed != NULL;
        foreign += load->reading.is_foreign;
    }
    if (!service->master_key || foreign == 0 || opened > 0)
        return;
    reason = g_strdup_printf(
        "the master key (%s: %s) is another one than the %zu sealed values need; put that one back",
        service->unlock_method->name, service->unlock_location, foreign);
    lock(service, reason);
    parallel_run(loading->loads->len, load_value, loading);
}

static void
finish_loading(struct loading *loading)
{
    struct secret_service *service = loading->service;
    g_autoptr(GArray) clear = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    g_autoptr(GArray) repairs = service_repairs_new();

    service_show(loading, clear, repairs);
    /* What it took to load them is given back before anything else is taken. */
    g_clear_pointer(&loading->loads, g_array_unref);
    service_repair(service, repairs);
    service_import(service, clear);
}

static struct load *
add_load(struct loading *loading, const struct uuid *uuid)
{
    struct load *load;

    g_array_set_size(loading->loads, loading->loads->len + 1);
    load = service_load_at(loading, loading->loads->len - 1);
    load->entry.uuid = *uuid;
    return load;
}

/* Puts the guests of one secret, which come next in `owned`, into `load`; returns where the next
 * secret's begin. */
static guint
add_owners(struct load *load, const GArray *owned, guint at)
{
    static const struct uuid nobody;

    for (; at < owned->len; at++) {
        const struct store_owned *copy = &g_array_index(owned, struct store_owned, at);

        if (!uuid_equal(&copy->secret, &load->entry.uuid))
            break;
        /* A value is sealed for these zeros when it belongs to no guest. */
        if (!uuid_equal(&copy->guest, &nobody))
            owners_add(&load->owners, &copy->guest);
    }
    return at;
}

/* Both in the order of secrets. */
static void
merge(struct loading *loading, const GArray *entries, const GArray *owned)
{
    guint at = 0;

    for (guint i = 0; i < entries->len; i++) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i);
        struct load *load;

        while (at < owned->len) {
            const struct uuid *secret = &g_array_index(owned, struct store_owned, at).secret;

            if (uuid_compare(secret, &entry->uuid) >= 0)
                break;
            at = add_owners(add_load(loading, secret), owned, at);
        }
        load = add_load(loading, &entry->uuid);
        load->entry = *entry;
        at = add_owners(load, owned, at);
    }
    while (at < owned->len) {
        const struct uuid *secret = &g_array_index(owned, struct store_owned, at).secret;

        at = add_owners(add_load(loading, secret), owned, at);
    }
}

static bool
begin_loading(struct secret_service *service, struct loading *ret_loading, GError **error)
{
    g_autoptr(GArray) entries = store_list(service->store, error);
    g_autoptr(GArray) owned = entries ? store_list_owned(service->store, error) : NULL;

    if (!owned)
        return false;
    *ret_loading = (struct loading){
        service, g_array_sized_new(FALSE, TRUE, sizeof(struct load), entries->len)};
    g_array_set_clear_func(ret_loading->loads, clear_load);
    merge(ret_loading, entries, owned);
    return true;
}

bool
service_load(struct secret_service *service, GError **error)
{
    struct loading loading;

    if (!begin_loading(service, &loading, error))
        return false;
    unlock(service, &loading);
    parallel_run(loading.loads->len, load_both, &loading);
    check_master_key(&loading);
    finish_loading(&loading);
    return true;
}

/* Values that are in use, and may not be lost to a bad file. */
static void
note_known_values(struct loading *loading)
{
    for (guint i = 0; i < loading->loads->len; i++) {
        struct load *load = service_load_at(loading, i);
        const struct secret *known = registry_find(loading->service->registry, &load->entry.uuid);

        if (load->def && known && known->value.sealed &&
            sealed_is_bound_alike(known->def, load->def))
            load->known = g_bytes_ref(known->value.sealed);
    }
}

/* The key in use is not read again, and kept whatever became of its file. One that is not there may
 * be on a medium that was taken out. */
static void
check_key_in_use(const struct secret_service *service)
{
    const char *location = service->unlock_location;
    g_autoptr(master_key_t) found = NULL;
    g_autoptr(GError) error = NULL;

    if (!service->unlock_method->exists(location))
        return;
    found = master_key_open(service->unlock_method, location, false, &error);
    if (!found)
        log_error("%s; the daemon goes on with the master key that it has in memory, and will be "
                  "locked at its next start",
                  error->message);
    else if (memcmp(master_key_id(found), master_key_id(service->master_key), MASTER_KEY_ID_SIZE) !=
             0)
        log_error("the master key (%s: %s) was replaced by another one; the daemon goes on with "
                  "the one that it has in memory, and when it ends all sealed values are lost "
                  "without it: put that one back",
                  service->unlock_method->name, location);
}

void
secret_service_reload(struct secret_service *service)
{
    bool was_locked = service->locked_reason != NULL;
    g_autoptr(GError) error = NULL;
    struct loading loading;

    if (!service->store)
        return;
    secret_service_drain(service);
    if (!begin_loading(service, &loading, &error)) {
        log_error("definitions are not loaded again: %s", error->message);
        return;
    }
    if (was_locked)
        unlock(service, &loading);
    else
        check_key_in_use(service);
    parallel_run(loading.loads->len, load_definition, &loading);
    /* What was read while locked is unproven. */
    if (!was_locked)
        note_known_values(&loading);
    parallel_run(loading.loads->len, load_value, &loading);
    if (was_locked)
        check_master_key(&loading);
    finish_loading(&loading);
}
