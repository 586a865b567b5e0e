/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is on disk becomes what is known, at start and when the daemon is told to reload.
 * Files are read, parsed and decrypted (service_read.c) on all processors by threads that see
 * nothing but their own entry; what they found is then taken over one by one. A file that is not
 * good costs its own secret or value, a line in the log, and nothing else: it is kept.
 */
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_chores.h"
#include "secret/service_index.h"
#include "secret/service_load.h"
#include "secret/service_master_work.h"
#include "secret/store_inventory.h"
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

static struct secret_def *
read_definition(struct store *store, const struct uuid *uuid, GError **error)
{
    g_autoptr(secret_def_t) def = store_inventory_read_definition(store, uuid, error);

    if (def && def->is_ephemeral) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "it says ephemeral='yes', and such a secret is never kept on disk");
        return NULL;
    }
    return g_steal_pointer(&def);
}

static void
load_definition(size_t index, void *opaque)
{
    const struct loading *loading = opaque;
    struct load *load = service_load_at(loading, index);
    g_autoptr(GError) error = NULL;

    if (!load->entry.has_xml)
        return;
    load->def = read_definition(loading->service->store, &load->entry.uuid, &error);
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
        .generations = loading->service->generations,
        .index = service_index_get(loading->service),
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

/* If there are values, and all of them are under other keys, then it is the file of generations
 * that is wrong, not the values. Nothing must be sealed under it. */
static void
check_generations(struct loading *loading)
{
    struct secret_service *service = loading->service;
    g_autofree char *reason = NULL;
    size_t opened = 0;
    size_t foreign = 0;

    for (guint i = 0; i < loading->loads->len; i++) {
        const struct load *load = service_load_at(loading, i);

        opened += load->reading.value.sealed != NULL || load->reading.is_old;
        foreign += load->reading.is_foreign;
    }
    if (!service->generations || foreign == 0 || opened > 0)
        return;
    reason = g_strdup_printf(
        "the key-encryption generations (%s) are others than the %zu sealed values need: put the "
        "file back that they were sealed with; or, if these values were put back from before an "
        "erasure, take them away: nothing opens them any more",
        service->generations_path, foreign);
    service_lock(service, reason);
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
    g_clear_pointer(&loading->stock.entries, g_array_unref);
    g_clear_pointer(&loading->stock.owned, g_array_unref);
    service_repair(service, repairs);
    service_import(service, clear);
    service_index_follow_all(service);
}

static void
add_load(const struct store_entry *entry, GArray *take_owners, void *opaque)
{
    struct loading *loading = opaque;
    struct load load = {.entry = *entry, .owners = take_owners};

    g_array_append_val(loading->loads, load);
}

static bool
begin_loading(struct secret_service *service, struct loading *ret_loading, GError **error)
{
    g_autoptr(GArray) entries = store_list(service->store, error);
    g_autoptr(GArray) owned = entries ? store_list_owned(service->store, error) : NULL;

    if (!owned)
        return false;
    *ret_loading = (struct loading){
        .service = service,
        .loads = g_array_sized_new(FALSE, TRUE, sizeof(struct load), entries->len),
    };
    ret_loading->stock.entries = g_steal_pointer(&entries);
    ret_loading->stock.owned = g_steal_pointer(&owned);
    g_array_set_clear_func(ret_loading->loads, clear_load);
    store_inventory_foreach(ret_loading->stock.entries, ret_loading->stock.owned, add_load,
                            ret_loading);
    return true;
}

/* Slots that hang do not keep the definitions from clients. */
static void
unlock_at_start(struct secret_service *service, const struct service_stock *stock)
{
    g_auto(service_try_t) tried = {0};

    if (service_master_try_at_start(service, &tried))
        service_unlock(service, stock, &tried);
    else
        service_lock_while_trying(service);
    service_chores_wait(service);
}

bool
service_load(struct secret_service *service, GError **error)
{
    struct loading loading;

    if (!begin_loading(service, &loading, error))
        return false;
    unlock_at_start(service, &loading.stock);
    parallel_run(loading.loads->len, load_both, &loading);
    check_generations(&loading);
    finish_loading(&loading);
    service_rotate_resume(service);
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

/* What was read while locked is unproven. */
static void
load_again(struct secret_service *service, struct service_try *tried)
{
    bool was_locked = service->locked_reason != NULL;
    g_autoptr(GError) error = NULL;
    struct loading loading;

    if (!begin_loading(service, &loading, &error)) {
        log_error("definitions are not loaded again: %s", error->message);
        return;
    }
    if (!was_locked)
        service_check_keys_in_use(service);
    else if (tried)
        service_unlock(service, &loading.stock, tried);
    parallel_run(loading.loads->len, load_definition, &loading);
    if (!was_locked)
        note_known_values(&loading);
    parallel_run(loading.loads->len, load_value, &loading);
    if (was_locked)
        check_generations(&loading);
    finish_loading(&loading);
}

void
service_load_unlocked(struct secret_service *service, struct service_try *tried)
{
    service_rotate_look_again(service);
    service_drain_changes(service);
    load_again(service, tried);
    service_rotate_resume(service);
}

/* False: it is still under way, or can't be begun. */
static bool
unlock_by_reload(struct secret_service *service)
{
    if (service->slots.work) {
        log_warn("the daemon is not unlocked by this reload: the master key is in use");
        return false;
    }
    service_master_unlock_unattended(service);
    return service_master_wait(service, CHORES_WAIT_MS);
}

void
secret_service_reload(struct secret_service *service)
{
    if (!service->store)
        return;
    /* Unlocking loads all. */
    if (!service->locked_reason || !unlock_by_reload(service))
        service_load_unlocked(service, NULL);
    service_chores_wait(service);
}
