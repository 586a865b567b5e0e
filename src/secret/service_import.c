/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: taking over libvirt's clear values, many at a time: read and sealed on all processors,
 * committed in the store's batches, read back, and wiped with one flush for all. The order of these
 * steps is the safety of it: at every instant the value is whole in one of the two files.
 */
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"
#include "util/parallel.h"

enum { BATCH_MAX = 1024 };

static struct clear_value *
clear_at(const GArray *clears, size_t index)
{
    return &g_array_index(clears, struct clear_value, index);
}

static void
clear_element(void *element)
{
    clear_value_clear(element);
}

static GArray *
list_clear_values(const struct secret_service *service, const struct uuid *uuids, size_t count)
{
    GArray *clears = g_array_new(FALSE, TRUE, sizeof(struct clear_value));

    g_array_set_clear_func(clears, clear_element);
    g_array_set_size(clears, (guint)count);
    for (size_t i = 0; i < count; i++) {
        const struct secret *secret = registry_find(service->registry, &uuids[i]);
        struct clear_value *clear = clear_at(clears, i);

        clear->dir_fd = store_dir_fd(service->store);
        clear->generations = service->generations;
        clear->def = secret_def_copy(secret->def);
        clear->known = secret->value.sealed ? g_bytes_ref(secret->value.sealed) : NULL;
        clear->generation = service_last_generation(service, &uuids[i], secret);
    }
    return clears;
}

static void
judge(size_t index, void *opaque)
{
    clear_value_judge(clear_at(opaque, index));
}

static void
verify(size_t index, void *opaque)
{
    struct clear_value *clear = clear_at(opaque, index);

    if (clear->is_committed)
        clear_value_verify(clear);
}

static void
refuse(struct clear_value *clear, const GError *error)
{
    char uuid[UUID_TEXT_SIZE];

    clear->verdict = CLEAR_VALUE_KEEP;
    clear->problem = g_strdup_printf("%s.base64 could not be sealed (%s); it is left as it is",
                                     uuid_format(&clear->def->uuid, uuid), error->message);
}

static void
on_committed(void *opaque, const GError *error)
{
    struct clear_value *clear = opaque;

    if (error)
        refuse(clear, error);
    clear->is_committed = !error;
}

static void
submit(struct secret_service *service, GArray *clears)
{
    for (guint i = 0; i < clears->len; i++) {
        struct clear_value *clear = clear_at(clears, i);
        struct store_change change = {.uuid = clear->def->uuid, .key_action = STORE_WRITE};
        g_autoptr(GError) error = NULL;

        if (clear->verdict != CLEAR_VALUE_IMPORT)
            continue;
        if (!clear_value_keep_replaced(clear->dir_fd, &clear->def->uuid, &error)) {
            refuse(clear, error);
            continue;
        }
        change.key = g_bytes_ref(clear->sealed);
        store_submit(service->store, &change, on_committed, clear);
    }
}

bool
service_take_clear(struct clear_value *clear, struct secret_value *value)
{
    char uuid[UUID_TEXT_SIZE];

    value->is_clear = false;
    if (clear->is_committed) {
        struct secret_value sealed = {.sealed = g_bytes_ref(clear->sealed),
                                      .generation = clear->generation + 1,
                                      .is_stored = true};

        secret_value_replace(value, &sealed);
    }
    if (clear->verdict == CLEAR_VALUE_KEEP)
        log_error("%s", clear->problem);
    if (clear->verdict == CLEAR_VALUE_KEEP && clear->is_useless && !value->unavailable)
        value->unavailable =
            g_strdup_printf("the value of secret %s can't be taken over from libvirt's clear "
                            "file: %s; put a good copy back and reload the daemon, or set the "
                            "value again",
                            uuid_format(&clear->def->uuid, uuid), clear->problem);
    return clear->verdict == CLEAR_VALUE_WIPE;
}

static GArray *
begin_batch(struct secret_service *service, const struct uuid *uuids, size_t count)
{
    GArray *clears = list_clear_values(service, uuids, count);

    parallel_run(count, judge, clears);
    submit(service, clears);
    return clears;
}

/* Its changes have ended. Takes it, and returns how many are sealed and wiped now. */
static size_t
end_batch(struct secret_service *service, GArray *take_clears)
{
    g_autoptr(GArray) clears = take_clears;
    g_autofree struct uuid *uuids = g_new(struct uuid, clears->len);
    g_autofree bool *wiped = g_new(bool, clears->len);
    size_t count = 0;
    size_t finished = 0;

    parallel_run(clears->len, verify, clears);
    for (guint i = 0; i < clears->len; i++) {
        struct clear_value *clear = clear_at(clears, i);
        struct secret *secret = registry_find(service->registry, &clear->def->uuid);

        if (service_take_clear(clear, &secret->value))
            uuids[count++] = clear->def->uuid;
    }
    clear_value_wipe(store_dir_fd(service->store), uuids, count, wiped);
    for (size_t i = 0; i < count; i++)
        finished += wiped[i];
    return finished;
}

void
service_import(struct secret_service *service, const GArray *uuids)
{
    GArray *previous = NULL;
    size_t finished = 0;

    /* One batch is wiped while the store commits the next one. */
    for (guint at = 0; at < uuids->len; at += BATCH_MAX) {
        GArray *batch = begin_batch(service, &g_array_index(uuids, struct uuid, at),
                                    MIN(uuids->len - at, BATCH_MAX));

        if (previous)
            finished += end_batch(service, previous);
        store_drain(service->store);
        previous = batch;
    }
    if (previous)
        finished += end_batch(service, previous);
    if (finished > 0)
        log_warn("%zu values that libvirt kept in clear are sealed now, and their clear files are "
                 "overwritten and removed; backups, snapshots and spare blocks may still have them",
                 finished);
}
