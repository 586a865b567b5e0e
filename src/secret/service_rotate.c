/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the way from one key-encryption generation to the next, in the background. Some time after
 * an erasure a new generation begins; each secret is moved to it by a change of its own, some at a
 * time, so that clients have their turn; when a pass over everything finds nothing to move, and no
 * journal record holds older bytes, the older generation is destroyed. A new master key takes the
 * same way, and its slots forget the one of before at the end. A daemon that starts, or unlocks,
 * goes on where the last one stopped: the files of generations and slots say all that is needed.
 */
#include "secret/service_index.h"
#include "secret/service_master_work.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"

enum { UNDER_WAY_MAX = 64, KEPT_MAX = 8, STEP_MS = 1, BUSY_MS = 500, RETRY_S = 30 };

struct rotation {
    struct secret_service *service;
    struct loop *loop;
    unsigned int delay_s;
    struct loop_timer *timer; /* of the next step, or NULL: it follows from what is under way */
    bool is_paused;
    bool must_look_again; /* since the pass began */
    bool is_checking;     /* the pass under way is one after another: little is left, if anything */

    /* The pass under way; no uuids: there is none. */
    GArray *uuids;
    GHashTable *guests; /* by uuid: those that have a copy, an array of owners.h */
    guint next;
    guint under_way;
    guint moved;
    guint failed;
    char *failure; /* the first one */

    uint64_t left;
    uint64_t kept_keys; /* data keys that were not made anew although that is wanted */
    char *problem;      /* of the last try */
};

struct rotation *
service_rotate_new(struct secret_service *service, const struct secret_service_params *params)
{
    struct rotation *rotation = g_new0(struct rotation, 1);

    rotation->service = service;
    rotation->loop = params->loop;
    rotation->delay_s = params->rotation_delay;
    return rotation;
}

void
service_rotate_free(struct rotation *rotation)
{
    if (!rotation)
        return;
    loop_timer_free(rotation->timer);
    g_clear_pointer(&rotation->uuids, g_array_unref);
    g_clear_pointer(&rotation->guests, g_hash_table_unref);
    g_free(rotation->failure);
    g_free(rotation->problem);
    g_free(rotation);
}

/* ---- when ---- */

static void take_step(struct rotation *rotation);

static void
on_timer(void *opaque)
{
    struct rotation *rotation = opaque;

    g_clear_pointer(&rotation->timer, loop_timer_free);
    take_step(rotation);
}

static void
plan_step(struct rotation *rotation, unsigned int delay_ms)
{
    loop_timer_free(rotation->timer);
    rotation->timer =
        loop_timer_new(rotation->loop, MAX(delay_ms, (unsigned int)STEP_MS), on_timer, rotation);
}

/* Tried again later. It may be the same for days. */
static void
fail(struct rotation *rotation, const char *problem)
{
    if (g_strcmp0(problem, rotation->problem) != 0) {
        if (rotation->service->previous_key)
            log_error("the master key of before cannot be forgotten yet: %s (tried again every %d "
                      "s)",
                      problem, RETRY_S);
        else
            log_error("the older key-encryption generation cannot be destroyed yet, so that what "
                      "was erased may still be opened if it is recovered from the disk: %s (tried "
                      "again every %d s)",
                      problem, RETRY_S);
        g_free(rotation->problem);
        rotation->problem = g_strdup(problem);
    }
    plan_step(rotation, RETRY_S * 1000);
}

static void
clear_pass(struct rotation *rotation)
{
    g_clear_pointer(&rotation->uuids, g_array_unref);
    g_clear_pointer(&rotation->guests, g_hash_table_unref);
    g_clear_pointer(&rotation->failure, g_free);
    rotation->next = rotation->moved = rotation->failed = 0;
}

/* Something is to be moved, or a master key to be forgotten. */
static bool
is_under_way(const struct secret_service *service)
{
    return service->previous_key || generations_is_rotating(service->generations);
}

void
service_rotate_resume(struct secret_service *service)
{
    struct rotation *rotation = service->rotation;

    if (!rotation)
        return;
    rotation->is_paused = false;
    if (!service->generations)
        return;
    /* The timer may be that of a generation that is due later. */
    if (rotation->timer && (!is_under_way(service) || rotation->uuids || rotation->problem))
        return;
    if (is_under_way(service))
        plan_step(rotation, 0);
    else if (generations_is_due(service->generations_path))
        plan_step(rotation, rotation->delay_s * 1000);
}

void
service_rotate_pause(struct secret_service *service)
{
    if (service->rotation)
        service->rotation->is_paused = true;
}

void
service_rotate_stop(struct secret_service *service)
{
    struct rotation *rotation = service->rotation;

    clear_pass(rotation);
    g_clear_pointer(&rotation->timer, loop_timer_free);
    g_clear_pointer(&rotation->problem, g_free);
    rotation->must_look_again = true;
    rotation->is_checking = false;
    rotation->left = rotation->kept_keys = 0;
}

void
service_note_erasure(struct secret_service *service)
{
    struct rotation *rotation = service->rotation;
    g_autoptr(GError) error = NULL;

    if (!rotation)
        return;
    if (!generations_mark_due(service->generations_path, &error))
        log_error("%s; the next key-encryption generation begins only if the daemon runs till then",
                  error->message);
    if (service->generations && !is_under_way(service) && !rotation->timer)
        plan_step(rotation, rotation->delay_s * 1000);
}

/* ---- a pass ---- */

struct collection {
    GHashTable *seen;
    GArray *uuids;
};

static void
collect(struct collection *collection, const struct uuid *uuid)
{
    if (g_hash_table_contains(collection->seen, uuid))
        return;
    g_hash_table_add(collection->seen, g_memdup2(uuid, sizeof(*uuid)));
    g_array_append_val(collection->uuids, *uuid);
}

static bool
collect_secret(const struct secret *secret, void *opaque)
{
    if (secret->value.is_stored)
        collect(opaque, &secret->def->uuid);
    return true;
}

static void
free_guests(void *guests)
{
    owners_free(guests);
}

/* `owned` is in the order of secrets. */
static GHashTable *
collect_guests(struct collection *collection, const GArray *owned)
{
    GHashTable *table = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, free_guests);

    for (guint i = 0; i < owned->len;) {
        const struct uuid *uuid = &g_array_index(owned, struct store_owned, i).secret;
        GArray *guests = NULL;

        for (; i < owned->len; i++) {
            const struct store_owned *copy = &g_array_index(owned, struct store_owned, i);

            if (!uuid_equal(&copy->secret, uuid))
                break;
            owners_add(&guests, &copy->guest);
        }
        g_hash_table_insert(table, g_memdup2(uuid, sizeof(*uuid)), guests);
        collect(collection, uuid);
    }
    return table;
}

/* Everything that may be under an older generation: what is stored, with or without a definition,
 * what is in memory only, and what a change under way may be about to store. */
static bool
collect_all(struct rotation *rotation, GError **error)
{
    const struct secret_service *service = rotation->service;
    g_autoptr(GArray) entries = NULL;
    g_autoptr(GArray) owned = NULL;
    g_autoptr(GHashTable) seen = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    struct collection collection = {seen, NULL};
    GHashTableIter iter;
    void *uuid;

    if (!store_list_all(service->store, &entries, &owned, error))
        return false;
    collection.uuids = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    for (guint i = 0; i < entries->len; i++) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i);

        if (entry->has_key)
            collect(&collection, &entry->uuid);
    }
    rotation->guests = collect_guests(&collection, owned);
    registry_foreach(service->registry, collect_secret, &collection);
    g_hash_table_iter_init(&iter, service->queues);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        collect(&collection, uuid);
    rotation->uuids = collection.uuids;
    return true;
}

const GArray *
service_rotate_find_guests(const struct secret_service *service, const struct uuid *uuid)
{
    return g_hash_table_lookup(service->rotation->guests, uuid);
}

static void
begin_pass(struct rotation *rotation)
{
    g_autoptr(GError) error = NULL;

    clear_pass(rotation);
    rotation->must_look_again = false;
    if (!collect_all(rotation, &error)) {
        fail(rotation, error->message);
        return;
    }
    if (!rotation->is_checking)
        rotation->left = rotation->uuids->len;
    plan_step(rotation, 0);
}

void
service_rotate_note_moved(struct secret_service *service)
{
    service->rotation->moved++;
}

void
service_rotate_note_kept_key(struct secret_service *service)
{
    service->rotation->kept_keys++;
}

static void
on_rewrapped(void *opaque, const struct secret_def *def, const GError *error)
{
    struct rotation *rotation = opaque;

    rotation->under_way--;
    if (error && rotation->failed++ == 0)
        rotation->failure = g_strdup(error->message);
    if (!error && !rotation->is_checking)
        rotation->left--;
    /* Within a change that ends nothing else is begun. */
    if (!rotation->timer)
        plan_step(rotation, 0);
}

/* As many as may be under way at a time. */
static void
submit_some(struct rotation *rotation)
{
    for (guint count = 0; count < UNDER_WAY_MAX && rotation->under_way < UNDER_WAY_MAX &&
                          rotation->next < rotation->uuids->len;
         count++) {
        const struct uuid *uuid = &g_array_index(rotation->uuids, struct uuid, rotation->next++);

        rotation->under_way++;
        service_submit(
            service_new_change(rotation->service, CHANGE_REWRAP, uuid, on_rewrapped, rotation));
    }
}

/* ---- the steps ---- */

static bool
is_current(const struct secret *secret, void *opaque)
{
    const struct secret_service *service = opaque;
    gsize len = 0;
    const void *bytes = secret->value.sealed ? g_bytes_get_data(secret->value.sealed, &len) : NULL;

    return !bytes || !service_keeps(service, secret->def) ||
           generations_key_of(service->generations, bytes, len) ==
               generations_current(service->generations);
}

struct search {
    const struct secret_service *service;
    bool is_found;
};

static bool
find_old(const struct secret *secret, void *opaque)
{
    struct search *search = opaque;

    search->is_found = !is_current(secret, (void *)search->service);
    return !search->is_found;
}

/* A reload takes files that somebody put back. */
static bool
has_old_in_memory(const struct secret_service *service)
{
    struct search search = {service, false};

    registry_foreach(service->registry, find_old, &search);
    return search.is_found;
}

static void
finish(struct rotation *rotation)
{
    struct secret_service *service = rotation->service;
    g_autoptr(GError) error = NULL;

    if (!generations_finish(service->generations, &error)) {
        fail(rotation, error->message);
        return;
    }
    log_info("key-encryption generation %" G_GUINT64_FORMAT
             " is the only one now; older ones are destroyed",
             generations_number(service->generations));
    if (rotation->kept_keys > 0)
        log_warn("%" G_GUINT64_FORMAT " sealed values keep their data keys, because they open with "
                 "no definition that is there; set these values again, or remove them",
                 rotation->kept_keys);
    g_clear_pointer(&rotation->problem, g_free);
    g_clear_pointer(&rotation->timer, loop_timer_free);
    rotation->left = rotation->kept_keys = 0;
    rotation->is_checking = false;
    service_rotate_resume(service);
}

static void
on_checkpointed(void *opaque, const GError *error)
{
    struct rotation *rotation = opaque;

    rotation->under_way--;
    /* The service was locked meanwhile. */
    if (!rotation->service->generations)
        return;
    if (error)
        fail(rotation, error->message);
    else if (rotation->must_look_again || has_old_in_memory(rotation->service))
        plan_step(rotation, 0);
    else
        finish(rotation);
}

void
service_rotate_look_again(struct secret_service *service)
{
    struct rotation *rotation = service->rotation;

    if (!rotation)
        return;
    rotation->must_look_again = true;
    /* What stood in the way may have been put right. */
    if (rotation->problem && rotation->timer)
        plan_step(rotation, 0);
}

/* Files beside those that count, which nobody else changes. Whether all are done. */
static bool
rewrap_kept(struct rotation *rotation)
{
    const struct store_kept_work work = {service_rewrap_kept, rotation->service, KEPT_MAX};
    g_autoptr(GError) error = NULL;
    guint count = 0;

    if (!store_replace_kept(rotation->service->store, &work, &count, &error)) {
        if (rotation->failed++ == 0)
            rotation->failure = g_strdup(error->message);
        return true;
    }
    rotation->moved += count;
    return count < KEPT_MAX;
}

/* The pass has seen everything. */
static void
end_pass(struct rotation *rotation)
{
    g_autofree char *failure = g_steal_pointer(&rotation->failure);
    bool is_clean = rotation->moved == 0 && rotation->failed == 0;

    rotation->is_checking = rotation->failed == 0;
    if (failure)
        rotation->left = rotation->failed;
    clear_pass(rotation);
    g_clear_pointer(&rotation->timer, loop_timer_free);
    if (failure) {
        fail(rotation, failure);
    } else if (is_clean) {
        /* The journal has copies of what was moved, and of what was erased. */
        rotation->under_way++;
        store_request_checkpoint(rotation->service->store, on_checkpointed, rotation);
    } else {
        plan_step(rotation, 0);
    }
}

/* Under another master key, if that was replaced. */
static bool
write_generation(struct secret_service *service, GError **error)
{
    const struct slots *slots = service->slots.slots;

    if (!service->previous_key)
        return generations_begin(service->generations, error);
    return generations_rekey(service->generations, service->master_key,
                             slots && (slots->flags & SLOTS_RESEAL), error);
}

static bool
begin_generation(struct rotation *rotation)
{
    struct secret_service *service = rotation->service;
    g_autoptr(GError) error = NULL;

    if (!write_generation(service, &error)) {
        fail(rotation, error->message);
        return false;
    }
    log_info("key-encryption generation %" G_GUINT64_FORMAT " begins%s",
             generations_number(service->generations),
             service->previous_key ? " under the new master key" : "");
    rotation->is_checking = false;
    /* What was erased before is under the older one. */
    if (!generations_clear_due(service->generations_path, &error))
        log_warn("%s; one more key-encryption generation will follow this one", error->message);
    return true;
}

static void
on_forgotten(void *opaque, const struct slot *slot, const GError *error)
{
    struct rotation *rotation = opaque;

    rotation->under_way--;
    if (error_is(error, ERROR_RESOURCE_BUSY)) {
        plan_step(rotation, BUSY_MS);
    } else if (error) {
        fail(rotation, error->message);
    } else {
        log_info("the master key of before is forgotten; nothing is under it any more");
        g_clear_pointer(&rotation->problem, g_free);
        service_rotate_resume(rotation->service);
    }
}

/* Whether there is something to move now. */
static bool
prepare_pass(struct rotation *rotation)
{
    struct secret_service *service = rotation->service;
    g_autoptr(GError) error = NULL;

    if (generations_is_rotating(service->generations))
        return true;
    if (!service->previous_key || generations_is_under(service->generations, service->previous_key))
        return begin_generation(rotation);
    if (!service_index_rekey(service, &error)) {
        fail(rotation, error->message);
        return false;
    }
    rotation->under_way++;
    service_master_forget_previous(service, on_forgotten, rotation);
    return false;
}

static void
take_step(struct rotation *rotation)
{
    const struct secret_service *service = rotation->service;

    if (rotation->is_paused || !service->generations)
        return;
    if (!rotation->uuids) {
        if (rotation->under_way == 0 && prepare_pass(rotation))
            begin_pass(rotation);
        return;
    }
    submit_some(rotation);
    if (rotation->next < rotation->uuids->len) {
        if (rotation->under_way == 0)
            plan_step(rotation, 0);
    } else if (rotation->under_way == 0) {
        if (rewrap_kept(rotation))
            end_pass(rotation);
        else
            plan_step(rotation, 0);
    }
}

/* ---- what others ask ---- */

void
secret_service_get_generation(const struct secret_service *service,
                              struct secret_generation_status *ret_status)
{
    const struct rotation *rotation = service->rotation;

    *ret_status = (struct secret_generation_status){
        .number = generations_number(service->generations),
        .is_rotating = service->generations && generations_is_rotating(service->generations),
        .left = rotation ? rotation->left : 0,
        .problem = service->locked_reason ? service->locked_reason
                   : rotation             ? rotation->problem
                                          : NULL,
    };
}

bool
secret_service_has_rotation(const struct secret_service *service)
{
    const struct rotation *rotation = service->rotation;

    return rotation && !rotation->problem && (rotation->timer || rotation->under_way > 0);
}
