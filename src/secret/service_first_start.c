/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the start without a file of slots. On a host that keeps nothing yet a master key is made:
 * first what the slot needs (a key file), then the slots (COMMIT POINT of the master key), then the
 * generations; killed before the slots are there, a start begins anew. A store of before, whose key
 * file is the master key itself, gets slots. Anything else is locked: a new master key would open
 * none of what is there.
 */
#include <errno.h>
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

/* ---- what is there ---- */

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

static void
count_value(struct service_census *census, const struct master_key *master, const struct uuid *uuid,
            GBytes *take_sealed)
{
    g_autoptr(GBytes) sealed = take_sealed;
    gsize len = 0;
    const void *bytes = sealed ? g_bytes_get_data(sealed, &len) : NULL;
    const uint8_t *id = bytes ? sealed_master_key_id(bytes, len) : NULL;

    if (!id)
        return;
    if (memcmp(id, master_key_id(master), MASTER_KEY_ID_SIZE) == 0)
        census->legacy++;
    else if (census->others++ == 0)
        census->first_other = *uuid;
}

struct service_census
service_count_keys(const struct secret_service *service, const struct service_stock *stock,
                   const struct master_key *master)
{
    struct service_census census = {0};

    for (guint i = 0; i < stock->entries->len; i++) {
        const struct store_entry *entry = &g_array_index(stock->entries, struct store_entry, i);

        if (entry->has_key)
            count_value(&census, master, &entry->uuid,
                        store_read_key(service->store, &entry->uuid, NULL));
    }
    for (guint i = 0; i < stock->owned->len; i++) {
        const struct store_owned *copy = &g_array_index(stock->owned, struct store_owned, i);

        count_value(&census, master, &copy->secret,
                    store_read_owned_key(service->store, &copy->secret, &copy->guest, NULL));
    }
    return census;
}

/* ---- slots with one slot ---- */

/* A file that is there, and was not made by us, stays as it is for good; another one is made. */
static struct slot *
new_key_file_slot(const char *key_file, bool is_ours, GError **error)
{
    g_autoptr(slot_t) slot = slot_new(SLOT_KEY_FILE, NULL, error);

    return slot && fields_set(slot->fields, "path", key_file, error) &&
                   (!is_ours || fields_set(slot->fields, "made", "yes", error))
               ? g_steal_pointer(&slot)
               : NULL;
}

static struct slot *
new_credential_slot(const char *name, GError **error)
{
    g_autoptr(slot_t) slot = slot_new(SLOT_CREDENTIAL, NULL, error);

    return slot && fields_set(slot->fields, "name", name, error) ? g_steal_pointer(&slot) : NULL;
}

/* In memory; the method's part is in place. */
static struct slots *
new_slots(const struct secret_service *service, struct slot *take_slot,
          const struct master_key *master, GError **error)
{
    g_autoptr(slots_t) slots = slots_new(master);

    if (!take_slot)
        return NULL;
    return unlock_add_slot(&service->slots.unlock, slots, take_slot, NULL, master, error)
               ? g_steal_pointer(&slots)
               : NULL;
}

static bool
write_slots(const struct secret_service *service, struct slots *slots,
            const struct master_key *master, GError **error)
{
    if (!slots_write(service->slots.path, slots, master, error))
        return false;
    unlock_settle(&service->slots.unlock, slots);
    return true;
}

/* ---- a host that keeps nothing yet ---- */

static struct slots *
new_first_slots(const struct secret_service *service, const struct master_key *master,
                GError **error)
{
    const char *credential = unlock_find_credential(&service->slots.unlock);
    struct slots *slots =
        new_slots(service,
                  credential ? new_credential_slot(credential, error)
                             : new_key_file_slot(service->slots.key_file, false, error),
                  master, error);

    if (!slots && credential)
        g_prefix_error(error, "there is no master key yet, and none is made: ");
    return slots;
}

static struct master_key *
make_master(const struct secret_service *service, struct slots **ret_slots, GError **error)
{
    g_autoptr(master_key_t) master = master_key_new_random(error);
    g_autoptr(slots_t) slots = master ? new_first_slots(service, master, error) : NULL;
    g_autofree char *name = NULL;

    if (!slots || !write_slots(service, slots, master, error))
        return NULL;
    name = slot_describe(g_ptr_array_index(slots->slots, 0));
    log_info("a master key was made, which its %s unlocks; 'virtcrypt master add-slot' adds others",
             name);
    *ret_slots = g_steal_pointer(&slots);
    return g_steal_pointer(&master);
}

/* ---- a store of before ---- */

/* What its file holds, taken as the master key itself. */
static struct master_key *
read_key_file(const char *key_file, const struct unlock_context *unlock, GError **error)
{
    g_autoptr(slot_t) slot = new_key_file_slot(key_file, true, error);
    struct secret_buf *bytes =
        slot ? unlock_method_of(SLOT_KEY_FILE)->open(unlock, slot, NULL, error) : NULL;

    return bytes ? master_key_new(bytes, error) : NULL;
}

/* Whether the generations, or without them the values, are under it. */
static bool
check_is_master(const struct secret_service *service, const struct service_stock *stock,
                const struct master_key *master, GError **error)
{
    g_autoptr(generations_t) generations = NULL;
    struct service_census census;
    char uuid[UUID_TEXT_SIZE];

    if (generations_exists(service->generations_path)) {
        generations = generations_open(service->generations_path, master, NULL, error);
        return generations != NULL;
    }
    census = service_count_keys(service, stock, master);
    if (census.legacy == 0 && store_owned_problem(service->store)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "what guests have is not known (%s)", store_owned_problem(service->store));
        return false;
    }
    if (census.others == 0)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there are no key-encryption generations (%s) although %zu sealed values need some "
              "(%s.key is the first)",
              service->generations_path, census.others, uuid_format(&census.first_other, uuid));
    return false;
}

static struct master_key *
find_old_master(const struct secret_service *service, const struct service_stock *stock,
                GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(master_key_t) master =
        read_key_file(service->slots.key_file, &service->slots.unlock, &failure);

    if (!master && (error_get_errno(failure) == ENOENT || error_get_errno(failure) == ENOTDIR))
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID, "there is no %s either",
                  service->slots.key_file);
    else if (!master)
        g_propagate_error(error, g_steal_pointer(&failure));
    return master && check_is_master(service, stock, master, error) ? g_steal_pointer(&master)
                                                                    : NULL;
}

/* What is not on disk (a full one) is written by a later start: the key file is as good. */
static struct master_key *
migrate(const struct secret_service *service, const struct service_stock *stock,
        struct slots **ret_slots, GError **error)
{
    const char *key_file = service->slots.key_file;
    g_autoptr(GError) failure = NULL;
    g_autoptr(master_key_t) master = find_old_master(service, stock, &failure);
    g_autoptr(slots_t) slots = NULL;

    if (!master) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key's slots (%s) are missing although there are sealed values or "
                  "key-encryption generations: put that file back (a new master key would open "
                  "none of them). A store of an earlier release needs its %s instead: %s",
                  service->slots.path, key_file, failure->message);
        return NULL;
    }
    slots = new_slots(service, new_key_file_slot(key_file, true, error), master, error);
    if (!slots)
        return NULL;
    if (write_slots(service, slots, master, &failure))
        log_info("the master key of before (%s) has slots now (%s)", key_file, service->slots.path);
    else
        log_error("the master key's slots (%s) cannot be written: %s; until they are, %s unlocks "
                  "it as before",
                  service->slots.path, failure->message, key_file);
    *ret_slots = g_steal_pointer(&slots);
    return g_steal_pointer(&master);
}

void
service_look_before_first_start(const char *key_file, const struct unlock_context *unlock)
{
    g_autoptr(master_key_t) ignored G_GNUC_UNUSED = read_key_file(key_file, unlock, NULL);

    (void)unlock_find_credential(unlock);
}

struct master_key *
service_make_slots(const struct secret_service *service, const struct service_stock *stock,
                   struct slots **ret_slots, GError **error)
{
    g_autofree char *restoring = g_strconcat(service->slots.path, ".restoring", NULL);

    if (file_may_exist(restoring)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "a restore of a backup was not finished (%s): run 'virtcrypt store restore' with "
                  "the same backup again",
                  restoring);
        return NULL;
    }
    if (has_stored_value(service, stock) || generations_exists(service->generations_path))
        return migrate(service, stock, ret_slots, error);
    return make_master(service, ret_slots, error);
}
