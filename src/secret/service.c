/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the service's life, what clients ask of it, and how it is handed to the files that do the
 * work: service_change.c (the order of changes), service_define.c, service_value.c and
 * service_owner.c (what a change is), service_rules.c, service_load.c and service_import.c (what is
 * on disk at start). The calls about owners are in service_bindings.c.
 */
#include "secret/service.h"

#include "secret/sealed.h"
#include "secret/service_index.h"
#include "secret/service_master_work.h"
#include "secret/service_state.h"
#include "util/error.h"

static struct master_key *
new_memory_key(GError **error)
{
    struct secret_buf *bytes = secret_buf_new_random(MASTER_KEY_SIZE, error);

    return bytes ? master_key_new(bytes, error) : NULL;
}

static void
free_stray_owners(void *owners)
{
    owners_free(owners);
}

static void
init_slots(struct service_slots *slots, const struct secret_service_params *params)
{
    slots->path = g_strdup(params->slots_path);
    slots->key_file = g_strdup(params->key_file);
    if (params->unlock)
        slots->unlock = *params->unlock;
    slots->unlock.cancel = &slots->cancel;
    slots->attempts = unlock_attempts_new();
    slots->loop = params->loop;
}

static void
clear_slots(struct service_slots *slots)
{
    slots_free(slots->slots);
    g_array_unref(slots->attempts);
    g_free(slots->problem);
    g_free(slots->path);
    g_free(slots->key_file);
}

static struct secret_service *
new_empty(const struct secret_service_params *params)
{
    struct secret_service *service = g_new0(struct secret_service, 1);

    init_slots(&service->slots, params);
    service->generations_path = g_strdup(params->generations_path);
    service->libvirt_conf = g_strdup(params->libvirt_conf);
    service->credentials_dir = g_strdup(params->credentials_dir);
    service->readback = params->readback;
    service->on_event = params->on_event;
    service->opaque = params->opaque;
    service->registry = registry_new();
    service->strays =
        g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, free_stray_owners);
    service->queues =
        g_hash_table_new_full(uuid_hash_key, uuid_equal_key, NULL, service_free_queue);
    service->reserved = g_hash_table_new(registry_usage_hash, registry_usage_equal);
    return service;
}

struct secret_service *
secret_service_new(const struct secret_service_params *params, GError **error)
{
    g_autoptr(secret_service_t) service = new_empty(params);

    service->memory_key = new_memory_key(error);
    if (!service->memory_key)
        return NULL;
    if (params->dir) {
        const struct store_params store_params = {
            .dir = params->dir,
            .journal_dir = params->journal_dir,
            .guests_dir = params->guests_dir,
            .audit = params->audit,
            .loop = params->loop,
        };

        service->store = store_open(&store_params, error);
        if (!service->store)
            return NULL;
        service->rotation = service_rotate_new(service, params);
        if (params->index_path) {
            service->index = service_index_new(service, params, error);
            if (!service->index)
                return NULL;
        }
        if (!service_master_open_work(service, error) || !service_load(service, error))
            return NULL;
    }
    return g_steal_pointer(&service);
}

void
secret_service_free(struct secret_service *service)
{
    if (!service)
        return;
    service_master_close_work(service);
    store_free(service->store);
    service_index_free(service->index);
    g_hash_table_unref(service->strays);
    service_rotate_free(service->rotation);
    g_hash_table_unref(service->queues);
    g_hash_table_unref(service->reserved);
    registry_free(service->registry);
    generations_free(service->generations);
    master_key_free(service->previous_key);
    master_key_free(service->master_key);
    master_key_free(service->memory_key);
    g_free(service->locked_reason);
    clear_slots(&service->slots);
    g_free(service->generations_path);
    g_free(service->libvirt_conf);
    g_free(service->credentials_dir);
    g_free(service);
}

void
service_drain_changes(struct secret_service *service)
{
    service_rotate_pause(service);
    /* A change that ends may let the next one of its queue begin. */
    while (service->submitted > 0)
        store_drain(service->store);
}

void
secret_service_drain(struct secret_service *service)
{
    service_master_end_work(service);
    service_drain_changes(service);
    service_rotate_resume(service);
}

const char *
secret_service_locked_reason(const struct secret_service *service)
{
    return service->locked_reason;
}

size_t
secret_service_count(const struct secret_service *service)
{
    return registry_count(service->registry);
}

size_t
secret_service_count_ephemeral(const struct secret_service *service)
{
    return registry_count_ephemeral(service->registry);
}

static bool
count_unavailable(const struct secret *secret, void *opaque)
{
    size_t *count = opaque;

    *count += secret->value.unavailable != NULL;
    return true;
}

size_t
secret_service_count_unavailable(const struct secret_service *service)
{
    size_t count = 0;

    registry_foreach(service->registry, count_unavailable, &count);
    return count;
}

void
secret_service_define(struct secret_service *service, struct secret_def *take_def,
                      secret_done_func done, void *opaque)
{
    struct change *change =
        service_new_change(service, CHANGE_DEFINE, &take_def->uuid, done, opaque);

    change->def = take_def;
    service_submit(change);
}

void
secret_service_set_value(struct secret_service *service, const struct uuid *uuid,
                         struct secret_buf *take_value, secret_done_func done, void *opaque)
{
    g_autoptr(secret_buf_t) value = take_value;
    g_autoptr(GError) error = NULL;
    struct change *change;

    if (!service_check_value(value, &error)) {
        done(opaque, NULL, error);
        return;
    }
    change = service_new_change(service, CHANGE_SET_VALUE, uuid, done, opaque);
    change->wanted = g_steal_pointer(&value);
    service_submit(change);
}

void
secret_service_undefine(struct secret_service *service, const struct uuid *uuid,
                        secret_done_func done, void *opaque)
{
    service_submit(service_new_change(service, CHANGE_UNDEFINE, uuid, done, opaque));
}

const struct secret_def *
secret_service_find(const struct secret_service *service, const struct uuid *uuid, GError **error)
{
    const struct secret *secret = registry_find(service->registry, uuid);

    if (secret)
        return secret->def;
    service_set_not_found(uuid, error);
    return NULL;
}

const struct secret_def *
secret_service_find_usage(const struct secret_service *service, int type, const char *usage_id,
                          GError **error)
{
    const struct secret *secret =
        registry_find_usage(service->registry, (enum secret_usage_type)type, usage_id);

    if (secret)
        return secret->def;
    error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no secret with matching usage '%s'",
              usage_id);
    return NULL;
}

struct list {
    unsigned int flags;
    GPtrArray *defs;
};

/* Of a pair of flags none or both: any. */
static bool
passes(unsigned int flags, unsigned int yes, unsigned int no, bool is)
{
    return (flags & (yes | no)) == 0 || (flags & (is ? yes : no)) != 0;
}

static bool
add_to_list(const struct secret *secret, void *opaque)
{
    struct list *list = opaque;

    if (passes(list->flags, SECRET_LIST_EPHEMERAL, SECRET_LIST_NO_EPHEMERAL,
               secret->def->is_ephemeral) &&
        passes(list->flags, SECRET_LIST_PRIVATE, SECRET_LIST_NO_PRIVATE, secret->def->is_private))
        g_ptr_array_add(list->defs, secret->def);
    return true;
}

GPtrArray *
secret_service_list(const struct secret_service *service, unsigned int flags)
{
    struct list list = {flags, g_ptr_array_sized_new((guint)registry_count(service->registry))};

    registry_foreach(service->registry, add_to_list, &list);
    return list.defs;
}

GPtrArray *
secret_service_list_page(const struct secret_service *service, const struct uuid *after, size_t max)
{
    GPtrArray *page = registry_page(service->registry, after, max);

    for (guint i = 0; i < page->len; i++) {
        const struct secret *secret = g_ptr_array_index(page, i);

        page->pdata[i] = secret->def;
    }
    return page;
}
