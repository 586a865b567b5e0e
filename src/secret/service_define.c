/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what becomes of a value when its secret is defined, redefined or undefined. A sealed value
 * is bound to the definition, so a redefinition that alters what it is bound to, or moves it
 * between disk and memory, seals it again in the same store change: there is one commit point for
 * both.
 */
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_index.h"
#include "secret/service_state.h"
#include "util/error.h"

GBytes *
service_format_xml(const struct secret_def *def)
{
    char *xml = secret_def_format(def);

    return g_bytes_new_take(xml, strlen(xml));
}

static void
remove_files(struct change *change, const struct secret *known)
{
    if (known->value.is_stored)
        service_note_erasure(change->service);
    change->changes_disk = true;
    change->disk.xml_action = STORE_REMOVE;
    change->disk.key_action = STORE_REMOVE;
    service_remove_copies(change, known->owners);
    service_remove_strays(change, known->owners);
}

static void
read_value(struct change *change, const GArray *owners)
{
    const struct secret_service *service = change->service;
    const struct service_source source = {
        .store = service->store,
        .generations = service->generations,
        .index = service_index_get(service),
        .def = change->def,
        .owners = owners,
    };
    g_auto(service_reading_t) reading = {0};

    service_read(&source, &reading);
    secret_value_replace(&change->value, &reading.value);
    change->changes_value = true;
}

/* The value is unavailable as `known` is defined; perhaps because its definition was changed on
 * disk and is now put right. */
static bool
try_other_definition(struct change *change, const struct secret *known, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (service_keeps(change->service, change->def) && known->value.is_stored) {
        read_value(change, known->owners);
        if (!change->value.unavailable)
            return true;
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "the value of secret %s would be lost by this redefinition, since it can't be used "
              "now (%s)",
              uuid_format(&change->uuid, uuid), known->value.unavailable);
    return false;
}

/* Seals the value of `known` again, as `def` needs it. */
static bool
reseal(struct change *change, const struct secret *known, GError **error)
{
    g_autoptr(secret_buf_t) plain = service_open_value(change->service, known, error);

    return plain && service_write_value(change, change->def, known->owners, known->value.generation,
                                        plain, error);
}

/* What guests own is not lost because a daemon ends. */
static bool
check_can_move(const struct change *change, const struct secret *known, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (!known->owners || service_keeps(change->service, change->def))
        return true;
    error_set(
        error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
        "secret %s can't become ephemeral, since its value belongs to %u guests: take it from "
        "them first with 'virtcrypt key-unbind'",
        uuid_format(&change->uuid, uuid), known->owners->len);
    return false;
}

static bool
carry_value(struct change *change, const struct secret *known, GError **error)
{
    if (!check_can_move(change, known, error))
        return false;
    if (!service_has_value(known) || sealed_is_bound_alike(known->def, change->def))
        return true;
    if (known->value.unavailable && change->service->master_key)
        return try_other_definition(change, known, error);
    return reseal(change, known, error);
}

static bool
has_libvirt_file(int dir_fd, const struct uuid *uuid)
{
    return clear_value_exists(dir_fd, uuid, STORE_BASE64) ||
           clear_value_exists(dir_fd, uuid, STORE_AES256CBC);
}

/* Files of a value may be there without a definition: put back from a backup, or left by one that
 * could not be read. What is good in them is the value of the new definition, and the guests that
 * have copies own it. */
static bool
adopt_value(struct change *change, GError **error)
{
    struct secret_service *service = change->service;
    int dir_fd = store_dir_fd(service->store);
    struct secret_value *value = &change->value;
    struct clear_value *clear;

    change->owners = owners_copy(g_hash_table_lookup(service->strays, &change->uuid));
    change->changes_owners = true;
    read_value(change, change->owners);
    if (change->owners || !has_libvirt_file(dir_fd, &change->uuid))
        return true;
    /* What libvirt encrypted is looked at in an import alone, where its key is weighed. */
    if (!service->master_key || clear_value_exists(dir_fd, &change->uuid, STORE_AES256CBC)) {
        value->is_clear = true;
        return true;
    }
    clear = change->clear = g_new0(struct clear_value, 1);
    clear->dir_fd = dir_fd;
    clear->kind = STORE_BASE64;
    clear->generations = service->generations;
    clear->def = secret_def_copy(change->def);
    clear->known = value->sealed ? g_bytes_ref(value->sealed) : NULL;
    clear->generation =
        MAX(value->generation, service_last_generation(service, &change->uuid, NULL));
    clear_value_judge(clear);
    if (clear->verdict != CLEAR_VALUE_IMPORT)
        return true;
    if (!clear_value_keep_replaced(dir_fd, &change->uuid, error))
        return false;
    service_write_key(change, clear->sealed);
    return true;
}

/* After a change which makes it void, as libvirt's own driver would. */
void
service_wipe_clear(const struct change *change)
{
    clear_value_wipe_all(store_dir_fd(change->service->store), &change->uuid);
}

/* All that was on disk of the secret is gone. */
static void
forget_files(const struct change *change)
{
    service_wipe_clear(change);
    g_hash_table_remove(change->service->strays, &change->uuid);
}

/* Whether there may be such files: what was not kept on disk till now knows of none. */
static bool
may_adopt(const struct change *change, const struct secret *known)
{
    const struct secret_service *service = change->service;

    return service_keeps(service, change->def) &&
           (!known || (!service_keeps(service, known->def) && !service_has_value(known)));
}

/* The value comes from memory; or files that were left are adopted, and that is all of them. */
static void
replace_strays(struct change *change)
{
    if (change->changes_owners)
        return;
    service_remove_strays(change, NULL);
    change->changes_owners = true;
}

bool
service_prepare_define(struct change *change, GError **error)
{
    struct secret_service *service = change->service;
    const struct secret *known = registry_find(service->registry, &change->uuid);
    bool is_kept = service_keeps(service, change->def);

    if (!service_check_definition(service, known, change->def, error))
        return false;
    if (may_adopt(change, known) ? !adopt_value(change, error)
                                 : known && !carry_value(change, known, error))
        return false;
    if (is_kept) {
        change->changes_disk = true;
        change->disk.xml_action = STORE_WRITE;
        change->disk.xml = service_format_xml(change->def);
        if (known && !service_keeps(service, known->def))
            replace_strays(change);
    } else if (known && service_keeps(service, known->def)) {
        remove_files(change, known);
    }
    return true;
}

void
service_apply_define(struct change *change)
{
    struct secret_service *service = change->service;
    struct secret *secret = registry_find(service->registry, &change->uuid);
    struct secret_def *def = secret_def_copy(change->def);

    if (secret)
        registry_redefine(service->registry, secret, def);
    else
        secret = registry_add(service->registry, def);
    if (change->changes_value)
        secret_value_replace(&secret->value, &change->value);
    if (change->changes_owners)
        service_take_owners(change, secret);
    if (change->clear && change->clear->verdict == CLEAR_VALUE_IMPORT) {
        change->clear->is_committed = true;
        clear_value_verify(change->clear);
    }
    if (change->clear && service_take_clear(change->clear, &secret->value))
        clear_value_wipe_all(change->clear->dir_fd, &change->uuid);
    if (change->disk.xml_action == STORE_REMOVE)
        forget_files(change);
}

/* A value that goes is a line of the audit; so is what was asked to be erased. */
static bool
note_undefine(struct change *change, const struct secret *known, GError **error)
{
    struct audit_event event = {
        .event = change->is_erase ? "erase" : "undefine",
        .reason = change->is_erase ? change->reason : "undefined by a client",
        .guests = owners_data(known->owners),
        .guest_count = owners_count(known->owners),
    };

    if (change->has_guest) {
        event.guests = &change->guest;
        event.guest_count = 1;
    }
    return (!change->is_erase && !service_has_value(known)) ||
           service_add_audit(change, known, &event, error);
}

/* A copy that is not known would be left, and could be opened again. */
static bool
check_knows_copies(const struct change *change, GError **error)
{
    const char *problem = store_owned_problem(change->service->store);
    char uuid[UUID_TEXT_SIZE];

    if (!problem)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "secret %s is not removed, since guests may have copies of its value that are not "
              "known (%s): put that right and reload the daemon",
              uuid_format(&change->uuid, uuid), problem);
    return false;
}

bool
service_prepare_undefine(struct change *change, GError **error)
{
    const struct secret *known = registry_find(change->service->registry, &change->uuid);

    if (!known) {
        service_set_not_found(&change->uuid, error);
        return false;
    }
    if (!service_keeps(change->service, known->def))
        return true;
    if (!check_knows_copies(change, error))
        return false;
    remove_files(change, known);
    return note_undefine(change, known, error);
}

void
service_apply_undefine(struct change *change)
{
    struct secret_service *service = change->service;
    struct secret *secret = registry_find(service->registry, &change->uuid);

    if (change->disk.xml_action == STORE_REMOVE)
        forget_files(change);
    change->def = secret_def_copy(secret->def);
    registry_remove(service->registry, secret);
}
