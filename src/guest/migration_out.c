/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a guest that leaves: its keys are handed to whoever migrates it, and stay here until
 * libvirt says that the guest is not here any more. Nothing is erased here: that is the plan's.
 */
#include "guest/answer.h"
#include "guest/migration.h"

#include <string.h>

#include "conf/domain_secrets.h"
#include "util/error.h"
#include "util/log.h"

static void
packet_free(void *opaque)
{
    struct guest_packet *packet = opaque;

    g_free(packet->xml);
    g_free(packet->volume);
    g_free(packet->record);
    secret_buf_free(packet->key);
    g_free(packet);
}

void
guest_migration_free(struct guest_migration *migration)
{
    if (!migration)
        return;
    g_free(migration->name);
    g_ptr_array_unref(migration->packets);
    g_free(migration);
}

/* ---- dm-crypt volumes are open on one host alone ---- */

static bool
check_source(struct guest_service *service, const struct guest_seen *seen,
             const struct disk_source *source, GError **error)
{
    g_autoptr(storage_volume_t) volume = NULL;

    if (source->type == DISK_SOURCE_VOLUME)
        volume = storage_service_get(service->storage, source->pool, source->volume, NULL);
    else if (source->path)
        volume = storage_service_get_by_path(service->storage, source->path, NULL);
    if (!volume || volume->kind != VOLUME_KIND_DM_CRYPT)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_UNSUPPORTED,
              "guest '%s' has volume '%s' of pool '%s', which is dm-crypt and opened on this host: "
              "only guests on images that QEMU opens (format raw or qcow2) can be migrated with "
              "their keys",
              seen->name, volume->name, volume->pool);
    return false;
}

static bool
check_sources(struct guest_service *service, const struct guest_seen *seen, GError **error)
{
    for (guint i = 0; i < seen->xmls->len; i++) {
        const char *xml = seen->xmls->pdata[i];
        g_autoptr(domain_secrets_t) secrets = domain_secrets_parse(xml, strlen(xml), error);

        if (!secrets)
            return false;
        for (guint k = 0; k < secrets->sources->len; k++) {
            if (!check_source(service, seen, secrets->sources->pdata[k], error))
                return false;
        }
    }
    return true;
}

/* ---- what is sent ---- */

static bool
fill_packet(struct guest_service *service, const struct guest_key *key, struct guest_packet *packet,
            GError **error)
{
    const struct guest_custodian *custodian = &service->custodian;
    g_autoptr(secret_def_t) def = custodian->find(custodian->opaque, &key->secret, error);
    g_autoptr(GError) failure = NULL;

    packet->key = def ? custodian->get(custodian->opaque, &key->secret, error) : NULL;
    if (!packet->key)
        return false;
    packet->xml = secret_def_format(def);
    packet->volume = g_strdup(key->volume);
    packet->origin = key->origin;
    if (!key->volume)
        return true;
    packet->record = storage_service_give_record(service->storage, key->volume, &failure);
    if (!failure)
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
add_packet(struct guest_service *service, const struct guest_record *record,
           const struct guest_key *key, GPtrArray *packets, GError **error)
{
    struct guest_packet *packet = g_new0(struct guest_packet, 1);
    char uuid[UUID_TEXT_SIZE];

    g_ptr_array_add(packets, packet);
    if (fill_packet(service, key, packet, error))
        return true;
    g_prefix_error(error, "guest '%s' can't be migrated with its key %s%s%s: ", record->name,
                   uuid_format(&key->secret, uuid), key->volume ? " of " : "",
                   key->volume ? key->volume : "");
    return false;
}

/* All that the guest owns and uses: those that it uses no more stay, and go by their own rules. */
static bool
add_packets(struct guest_service *service, const struct guest_record *record, GPtrArray *packets,
            GError **error)
{
    for (guint i = 0; i < record->keys->len; i++) {
        const struct guest_key *key = record->keys->pdata[i];

        if (key->state == GUEST_KEY_BOUND && key->origin != GUEST_KEY_REFUSED &&
            !add_packet(service, record, key, packets, error))
            return false;
    }
    if (packets->len <= GUEST_MIGRATION_KEYS_MAX)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OVERFLOW,
              "guest '%s' has %u keys, and %d are the most that can be migrated", record->name,
              packets->len, GUEST_MIGRATION_KEYS_MAX);
    return false;
}

/* ---- its record ---- */

static struct guest_record *
find_record(struct guest_service *service, const struct guest_seen *seen, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(guest_record_t) record = guest_records_get(service->records, &seen->uuid, &failure);
    int64_t look_again = 0;

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (!record)
        return guest_record_new(&seen->uuid, seen->name, guest_libvirt_uri(service->libvirt));
    if (record->state == GUEST_STATE_ARRIVING &&
        !guest_migrate_recover(service, record, seen, &look_again, error))
        return NULL;
    if (record->state != GUEST_STATE_ARRIVING && record->state != GUEST_STATE_DEFINING)
        return g_steal_pointer(&record);
    error_set(error, ERROR_FROM_DOMAIN, ERROR_RESOURCE_BUSY,
              "guest '%s' is still %s: try again when that is done", record->name,
              record->state == GUEST_STATE_DEFINING ? "being defined" : "arriving");
    return NULL;
}

/* From now on the keys may be on both hosts, and a stop is settled by where the guest is. */
static bool
put_leaving(struct guest_service *service, struct guest_record *record, const char *peer,
            GError **error)
{
    bool is_again = record->state == GUEST_STATE_LEAVING && g_strcmp0(record->peer, peer) == 0;

    if (!is_again && !uuid_generate_random(&record->operation, error))
        return false;
    record->state = GUEST_STATE_LEAVING;
    record->since = guest_answer_now();
    g_free(record->peer);
    record->peer = g_strdup(peer);
    return guest_records_put(service->records, record, error);
}

static struct guest_migration *
begin(struct guest_service *service, const struct uuid *guest, const char *peer, GError **error)
{
    g_autoptr(guest_seen_t) seen = NULL;
    g_autoptr(guest_record_t) record = NULL;
    g_autoptr(GPtrArray) packets = g_ptr_array_new_with_free_func(packet_free);
    struct guest_migration *migration;
    char uuid[UUID_TEXT_SIZE];

    if (!guest_answer_get(service, guest, &seen, error))
        return NULL;
    if (!seen) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_NO_DOMAIN, "no domain with matching uuid '%s'",
                  uuid_format(guest, uuid));
        return NULL;
    }
    record = find_record(service, seen, error);
    if (!record || !check_sources(service, seen, error) ||
        !add_packets(service, record, packets, error) || !put_leaving(service, record, peer, error))
        return NULL;
    migration = g_new0(struct guest_migration, 1);
    migration->uuid = *guest;
    migration->name = g_strdup(seen->name);
    migration->migration = record->operation;
    migration->packets = g_steal_pointer(&packets);
    return migration;
}

struct guest_migration *
guest_service_migrate_begin(struct guest_service *service, const struct uuid *guest,
                            const char *peer, GError **error)
{
    g_autoptr(GError) failure = NULL;
    struct guest_migration *migration;

    /* Keys of volumes that it was given just now are its own first. */
    if (!guest_service_reconcile(service, &failure))
        log_info("not all guests are as they should be before a migration: %s", failure->message);
    if (!guest_service_lock(service, guest, error))
        return NULL;
    migration = begin(service, guest, peer, error);
    guest_service_unlock(service, guest);
    return migration;
}

/* ---- its end ---- */

bool
guest_migration_stay(struct guest_service *service, struct guest_record *record, GError **error)
{
    record->state = GUEST_STATE_PRESENT;
    record->since = guest_answer_now();
    record->operation = (struct uuid){0};
    g_clear_pointer(&record->peer, g_free);
    if (record->keys->len == 0)
        return guest_records_remove(service->records, &record->uuid, error);
    return guest_records_put(service->records, record, error);
}

/* Nothing joins the keys of a guest that is leaving, so all that it used until it had left were
 * sent. The plan may have seen it gone before the other host's word came. */
static bool
was_sent(const struct guest_record *record, const struct guest_key *key)
{
    if (key->state == GUEST_KEY_BOUND)
        return key->origin != GUEST_KEY_REFUSED;
    return key->state != GUEST_KEY_MADE && key->since >= record->since;
}

bool
guest_migration_leave(struct guest_service *service, struct guest_record *record, bool is_confirmed,
                      GError **error)
{
    if (record->state != GUEST_STATE_MIGRATED) {
        record->state = GUEST_STATE_MIGRATED;
        record->since = guest_answer_now();
    }
    for (guint i = 0; is_confirmed && i < record->keys->len; i++) {
        struct guest_key *key = record->keys->pdata[i];

        if (was_sent(record, key))
            key->has_remote_copy = true;
    }
    if (record->keys->len == 0)
        return guest_records_remove(service->records, &record->uuid, error);
    return guest_records_put(service->records, record, error);
}
