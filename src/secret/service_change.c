/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the life of a change: queued behind others of its uuid, prepared, durable, visible, told to
 * listeners, answered. The store never has two changes of one uuid under way, and rules are checked
 * against a state that no change under way will alter for that uuid.
 */
#include "secret/service_index.h"
#include "secret/service_state.h"
#include "secret/store_change.h"

/* What listeners are told of a change, as bits. */
enum news { NEWS_NONE = 0, NEWS_DEFINED = 1, NEWS_VALUE = 2, NEWS_UNDEFINED = 4 };

static const struct {
    bool (*prepare)(struct change *change, GError **error);
    void (*apply)(struct change *change);
    unsigned int news;
} kinds[] = {
    [CHANGE_DEFINE] = {service_prepare_define, service_apply_define, NEWS_DEFINED},
    [CHANGE_SET_VALUE] = {service_prepare_set_value, service_apply_set_value, NEWS_VALUE},
    [CHANGE_UNDEFINE] = {service_prepare_undefine, service_apply_undefine, NEWS_UNDEFINED},
    [CHANGE_BIND] = {service_prepare_bind, service_apply_owners, NEWS_NONE},
    [CHANGE_UNBIND] = {service_prepare_unbind, service_apply_owners, NEWS_NONE},
    [CHANGE_PUT] = {service_prepare_put, service_apply_put, NEWS_DEFINED | NEWS_VALUE},
    [CHANGE_REWRAP] = {service_prepare_rewrap, service_apply_rewrap, NEWS_NONE},
    [CHANGE_ACCEPT] = {service_prepare_accept, service_apply_accept, NEWS_VALUE},
};
G_STATIC_ASSERT(G_N_ELEMENTS(kinds) == CHANGE_ACCEPT + 1);

/* Changes of one uuid; the first one is under way. */
struct queue {
    struct secret_service *service;
    struct uuid uuid;
    GQueue changes;
};

struct change *
service_new_change(struct secret_service *service, enum change_kind kind, const struct uuid *uuid,
                   secret_done_func done, void *opaque)
{
    struct change *change = g_new0(struct change, 1);

    change->service = service;
    change->kind = kind;
    change->uuid = *uuid;
    change->disk.uuid = *uuid;
    change->done = done;
    change->opaque = opaque;
    return change;
}

bool
service_add_audit(struct change *change, const struct secret *known, struct audit_event *event,
                  GError **error)
{
    event->secret = &change->uuid;
    event->generation = known->value.generation;
    change->disk.audit = audit_event_members(event, error);
    return change->disk.audit != NULL;
}

static void
change_free(struct change *change)
{
    secret_def_free(change->def);
    secret_buf_free(change->wanted);
    g_free(change->reason);
    owners_free(change->owners);
    store_change_clear(&change->disk);
    secret_value_clear(&change->value);
    clear_value_free(change->clear);
    g_free(change);
}

static void
reserve_usage(struct change *change)
{
    if (!(kinds[change->kind].news & NEWS_DEFINED) || change->def->usage_type == SECRET_USAGE_NONE)
        return;
    change->has_reservation = true;
    g_hash_table_add(change->service->reserved, change->def);
}

static void
release_usage(struct change *change)
{
    if (change->has_reservation)
        g_hash_table_remove(change->service->reserved, change->def);
    change->has_reservation = false;
}

static void
tell(const struct change *change)
{
    const struct secret_service *service = change->service;
    unsigned int news = kinds[change->kind].news;

    if (!service->on_event)
        return;
    if (news & NEWS_DEFINED)
        service->on_event(service->opaque, SECRET_EVENT_LIFECYCLE, SECRET_EVENT_DEFINED,
                          change->def);
    if (news & NEWS_VALUE)
        service->on_event(service->opaque, SECRET_EVENT_VALUE_CHANGED, 0, change->def);
    if (news & NEWS_UNDEFINED)
        service->on_event(service->opaque, SECRET_EVENT_LIFECYCLE, SECRET_EVENT_UNDEFINED,
                          change->def);
}

/* Makes it visible, or not, and tells everybody. Frees it. */
static void
end_change(struct change *change, const GError *error)
{
    release_usage(change);
    if (!error) {
        kinds[change->kind].apply(change);
        if (change->changes_disk)
            service_index_follow(change->service, &change->uuid,
                                 change->disk.xml_action == STORE_REMOVE);
        tell(change);
    }
    change->done(change->opaque, error ? NULL : change->def, error);
    change_free(change);
}

/* For the table of queues; what is left then was submitted to a service that is freed. */
void
service_free_queue(void *opaque)
{
    struct queue *queue = opaque;
    struct change *change;

    while ((change = g_queue_pop_head(&queue->changes)))
        change_free(change);
    g_free(queue);
}

static void run_queue(struct queue *queue);

static void
on_committed(void *opaque, const GError *error)
{
    struct queue *queue = opaque;
    struct change *change = g_queue_peek_head(&queue->changes);

    queue->service->submitted--;
    end_change(change, error);
    g_queue_pop_head(&queue->changes);
    run_queue(queue);
}

/* Whether it has ended; if not, on_committed follows. */
static bool
begin_change(struct queue *queue, struct change *change)
{
    g_autoptr(GError) error = NULL;
    bool prepared = kinds[change->kind].prepare(change, &error);

    if (prepared && change->changes_disk) {
        change->service->submitted++;
        reserve_usage(change);
        store_submit(change->service->store, &change->disk, on_committed, queue);
        return false;
    }
    end_change(change, error);
    return true;
}

/* The head stays in the queue until all of it is done, so that what its `done` function submits
 * waits behind it. */
static void
run_queue(struct queue *queue)
{
    struct change *change;

    while ((change = g_queue_peek_head(&queue->changes))) {
        if (!begin_change(queue, change))
            return;
        g_queue_pop_head(&queue->changes);
    }
    g_hash_table_remove(queue->service->queues, &queue->uuid);
}

void
service_submit(struct change *change)
{
    struct secret_service *service = change->service;
    struct queue *queue = g_hash_table_lookup(service->queues, &change->uuid);

    if (queue) {
        g_queue_push_tail(&queue->changes, change);
        return;
    }
    queue = g_new0(struct queue, 1);
    queue->service = service;
    queue->uuid = change->uuid;
    g_queue_init(&queue->changes);
    g_queue_push_tail(&queue->changes, change);
    g_hash_table_insert(service->queues, &queue->uuid, queue);
    run_queue(queue);
}
