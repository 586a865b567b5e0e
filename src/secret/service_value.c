/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: who gets a value, and what stands in the way of it. A value that is never on disk is sealed
 * as well, under a key that lives as long as the process: it takes no locked page of its own, and
 * no copy of it is anywhere in clear between two calls.
 */
#include "secret/sealed.h"
#include "secret/service_index.h"
#include "secret/service_state.h"
#include "util/error.h"

bool
service_keeps(const struct secret_service *service, const struct secret_def *def)
{
    return service->store && !def->is_ephemeral;
}

const struct master_key *
service_key_for(const struct secret_service *service, const struct secret_def *def, GError **error)
{
    if (!service_keeps(service, def))
        return service->memory_key;
    if (!service->generations)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the daemon is locked, and values can be neither read nor set: %s",
                  service->locked_reason);
    return generations_current(service->generations);
}

const struct master_key *
service_key_of(const struct secret_service *service, const struct secret_def *def, GBytes *sealed,
               GError **error)
{
    const struct master_key *key = service_key_for(service, def, error);
    gsize len = 0;
    const void *bytes = g_bytes_get_data(sealed, &len);

    return key && service_keeps(service, def) ? generations_key_of(service->generations, bytes, len)
                                              : key;
}

bool
service_has_value(const struct secret *secret)
{
    const struct secret_value *value = &secret->value;

    /* A clear value that was not looked at yet counts: the daemon is locked. */
    return value->sealed || value->unavailable || value->is_clear;
}

struct secret_buf *
service_open_value(const struct secret_service *service, const struct secret *secret,
                   GError **error)
{
    const struct secret_value *value = &secret->value;
    const struct master_key *key;
    char uuid[UUID_TEXT_SIZE];
    gsize len = 0;
    const void *bytes;

    if (!service_key_for(service, secret->def, error))
        return NULL;
    if (value->unavailable) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "%s", value->unavailable);
        return NULL;
    }
    if (!value->sealed) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the value of secret %s is in libvirt's own file, which was not taken over: "
                  "run 'virtcrypt store import', or set the value again",
                  uuid_format(&secret->def->uuid, uuid));
        return NULL;
    }
    key = service_key_of(service, secret->def, value->sealed, error);
    bytes = g_bytes_get_data(value->sealed, &len);
    return sealed_parse(key, &(struct sealed_binding){secret->def, value->owner}, bytes, len,
                        error);
}

void
service_set_not_found(const struct uuid *uuid, GError **error)
{
    char text[UUID_TEXT_SIZE];

    error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no secret with matching uuid '%s'",
              uuid_format(uuid, text));
}

static bool
check_reader(const struct secret_service *service, const struct secret_def *def,
             const struct secret_reader *reader, GError **error)
{
    if (reader->is_elevated)
        return true;
    if (def->is_private)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "secret is private");
    else if (service->readback == SECRET_READBACK_NEVER)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_DENIED,
                  "values are given to guests only (the setting value_readback is \"never\")");
    else if (service->readback == SECRET_READBACK_LOCAL_ROOT && !reader->is_local_root)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_DENIED,
                  "values are given to guests, and to root by 'virtcrypt secret-get-value' (the "
                  "setting value_readback is \"local-root\")");
    else
        return true;
    return false;
}

struct secret_buf *
secret_service_get_value(struct secret_service *service, const struct uuid *uuid,
                         const struct secret_reader *reader, GError **error)
{
    const struct secret *secret = registry_find(service->registry, uuid);
    char text[UUID_TEXT_SIZE];

    if (!secret) {
        service_set_not_found(uuid, error);
        return NULL;
    }
    if (!check_reader(service, secret->def, reader, error))
        return NULL;
    if (!service_has_value(secret)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "secret '%s' does not have a value",
                  uuid_format(uuid, text));
        return NULL;
    }
    return service_open_value(service, secret, error);
}

bool
secret_service_has_value(const struct secret_service *service, const struct uuid *uuid)
{
    const struct secret *secret = registry_find(service->registry, uuid);

    return secret && service_has_value(secret);
}

/* Whether a copy may come back that is not known and opens: of a guest whose folder could not be
 * listed, or what was erased and is under a key-encryption generation that is still there. */
static bool
may_have_others(const struct secret_service *service)
{
    return service->store &&
           (store_owned_problem(service->store) || generations_is_due(service->generations_path) ||
            (service->generations && generations_is_rotating(service->generations)));
}

/* Such a copy may be of any generation that there was till now, and must not be taken for the newer
 * one. Each value adds one, so that none is ahead of the clock's microseconds. */
uint64_t
service_last_generation(const struct secret_service *service, const struct uuid *uuid,
                        const struct secret *known)
{
    uint64_t generation = known ? known->value.generation : 0;
    uint64_t floor = service_index_floor(service, uuid);

    if (generation > 0 || !may_have_others(service))
        return MAX(generation, floor);
    return MAX((uint64_t)MAX(g_get_real_time(), 0), floor);
}

void
service_write_key(struct change *change, GBytes *sealed)
{
    change->changes_disk = true;
    change->disk.key_action = STORE_WRITE;
    change->disk.key = g_bytes_ref(sealed);
}

/* As libvirt's clients do before they ask. */
bool
service_check_value(const struct secret_buf *value, GError **error)
{
    if (secret_buf_len(value) == 0)
        error_set_remote(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                         "value in virSecretSetValue must not be NULL");
    else if (secret_buf_len(value) > SEALED_VALUE_MAX)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the value has %zu bytes, more than the maximum of %d", secret_buf_len(value),
                  SEALED_VALUE_MAX);
    else
        return true;
    return false;
}

bool
service_prepare_set_value(struct change *change, GError **error)
{
    const struct secret *secret = registry_find(change->service->registry, &change->uuid);

    if (!secret) {
        service_set_not_found(&change->uuid, error);
        return false;
    }
    if (!service_write_value(change, secret->def, secret->owners,
                             service_last_generation(change->service, &change->uuid, secret) + 1,
                             change->wanted, error))
        return false;
    if (secret->value.is_stored)
        service_note_erasure(change->service);
    return true;
}

void
service_apply_set_value(struct change *change)
{
    struct secret *secret = registry_find(change->service->registry, &change->uuid);

    secret_value_replace(&secret->value, &change->value);
    if (change->changes_disk)
        service_wipe_clear(change);
    change->def = secret_def_copy(secret->def);
}
