/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: whether the service has its keys: the master key, and the generations that it opens. Both
 * are made only where there is nothing that new ones could not open; what stands in the way locks
 * the service, with the reason.
 */
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_index.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"

void
service_lock(struct secret_service *service, const char *reason)
{
    service_index_close(service);
    g_clear_pointer(&service->generations, generations_free);
    g_clear_pointer(&service->master_key, master_key_free);
    g_free(service->locked_reason);
    service->locked_reason =
        g_strdup_printf("%s (when that is put right, reload the daemon)", reason);
    log_error("the daemon is locked, and values can be neither read nor set: %s",
              service->locked_reason);
}

/* Or may be. */
static bool
has_stored_value(const struct secret_service *service, const struct service_stock *stock)
{
    for (guint i = 0; i < stock->entries->len; i++) {
        if (g_array_index(stock->entries, struct store_entry, i).has_key)
            return true;
    }
    return stock->owned->len > 0 || store_owned_problem(service->store);
}

/* Whose keys the stored values need, where there is no file of generations. */
struct census {
    size_t legacy; /* the master key itself */
    size_t others;
    struct uuid first_other;
};

static void
count_value(struct census *census, const struct secret_service *service, const struct uuid *uuid,
            GBytes *take_sealed)
{
    g_autoptr(GBytes) sealed = take_sealed;
    gsize len = 0;
    const void *bytes = sealed ? g_bytes_get_data(sealed, &len) : NULL;
    const uint8_t *id = bytes ? sealed_master_key_id(bytes, len) : NULL;

    if (!id)
        return;
    if (memcmp(id, master_key_id(service->master_key), MASTER_KEY_ID_SIZE) == 0)
        census->legacy++;
    else if (census->others++ == 0)
        census->first_other = *uuid;
}

static struct generations *
make_generations(const struct secret_service *service, const struct service_stock *stock,
                 GError **error)
{
    const char *problem = store_owned_problem(service->store);
    struct census census = {0};
    char uuid[UUID_TEXT_SIZE];

    for (guint i = 0; i < stock->entries->len; i++) {
        const struct store_entry *entry = &g_array_index(stock->entries, struct store_entry, i);

        if (entry->has_key)
            count_value(&census, service, &entry->uuid,
                        store_read_key(service->store, &entry->uuid, NULL));
    }
    for (guint i = 0; i < stock->owned->len; i++) {
        const struct store_owned *copy = &g_array_index(stock->owned, struct store_owned, i);

        count_value(&census, service, &copy->secret,
                    store_read_owned_key(service->store, &copy->secret, &copy->guest, NULL));
    }
    if (census.others == 0 && census.legacy == 0 && problem) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "there are no key-encryption generations (%s), and guests may have values that "
                  "need some (%s): put that right first",
                  service->generations_path, problem);
        return NULL;
    }
    if (census.others == 0)
        return generations_make(service->generations_path, service->master_key, census.legacy > 0,
                                error);
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there are no key-encryption generations (%s) although %zu sealed values need some "
              "(%s.key is the first): put that file back, with the master key that belongs to it; "
              "or move these values away if they are another host's",
              service->generations_path, census.others, uuid_format(&census.first_other, uuid));
    return NULL;
}

static bool
open_keys(struct secret_service *service, const struct service_stock *stock, GError **error)
{
    bool has_generations = generations_exists(service->generations_path);

    service->master_key =
        master_key_open(service->unlock_method, service->unlock_location,
                        !has_stored_value(service, stock) && !has_generations, error);
    if (!service->master_key)
        return false;
    service->generations = has_generations ? generations_open(service->generations_path,
                                                              service->master_key, NULL, error)
                                           : make_generations(service, stock, error);
    return service->generations != NULL;
}

void
service_unlock(struct secret_service *service, const struct service_stock *stock)
{
    g_autoptr(GError) error = NULL;

    if (open_keys(service, stock, &error)) {
        g_clear_pointer(&service->locked_reason, g_free);
        if (service->index)
            service_index_open(service, NULL, false);
        return;
    }
    service_lock(service, error->message);
}

/* One that is not there may be on a medium that was taken out. */
static void
check_master_key(const struct secret_service *service)
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
service_check_keys_in_use(const struct secret_service *service)
{
    g_autoptr(GError) error = NULL;

    check_master_key(service);
    if (generations_exists(service->generations_path))
        return;
    if (generations_ensure(service->generations, &error))
        log_warn("the key-encryption generations (%s) were gone, and are written again from memory",
                 service->generations_path);
    else
        log_error("the key-encryption generations (%s) are gone, and cannot be written again: %s; "
                  "when the daemon ends all sealed values are lost",
                  service->generations_path, error->message);
}
