/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: check.h. States are those of virtcrypt_guest.x.
 */
#include "guest/check.h"

#include <string.h>

#include "conf/domain_secrets.h"
#include "guest/chain.h"
#include "guest/header.h"
#include "guest/service_state.h"
#include "storage/luks.h"
#include "util/error.h"

#define OK            "ok"
#define MISSING       "missing"
#define LOCKED        "locked"
#define WRONG         "wrong"
#define UNREADABLE    "unreadable"
#define UNCHECKED     "unchecked"
#define NOT_ENCRYPTED "not encrypted"

struct check {
    struct guest_service *service;
    const struct domain_secrets *found;
    GHashTable *listed; /* set of paths that the XML names, and of those looked at */
    struct guest_check *result;
};

/* What is being looked at. */
struct subject {
    const char *place;
    const char *volume; /* for people; or NULL */
};

static void
free_item(void *data)
{
    struct guest_check_item *item = data;

    g_free(item->place);
    g_free(item->volume);
    g_free(item->message);
    g_free(item);
}

void
guest_check_free(struct guest_check *check)
{
    if (!check)
        return;
    g_free(check->name);
    g_ptr_array_unref(check->items);
    g_free(check);
}

/* ---- results ---- */

static struct guest_check_item *
add_item(struct check *check, const struct subject *subject, const struct uuid *secret,
         const char *state, const char *message)
{
    struct guest_check_item *item = g_new0(struct guest_check_item, 1);

    item->place = g_strdup(subject->place);
    item->volume = g_strdup(subject->volume);
    item->has_secret = secret != NULL;
    if (secret)
        item->secret = *secret;
    item->state = state;
    item->message = g_strdup(message);
    g_ptr_array_add(check->result->items, item);
    return item;
}

/* The same, and the guest would not start. */
static void
add_obstacle(struct check *check, const struct subject *subject, const struct uuid *secret,
             const char *state, const char *message)
{
    add_item(check, subject, secret, state, message);
    check->result->would_start = false;
}

/* ---- keys ---- */

/* NULL: an obstacle was added. */
static struct secret_buf *
get_key(struct check *check, const struct subject *subject, const struct uuid *secret)
{
    const struct guest_custodian *custodian = &check->service->custodian;
    g_autoptr(GError) failure = NULL;
    struct secret_buf *key = custodian->get(custodian->opaque, secret, &failure);

    if (!key)
        add_obstacle(check, subject, secret, error_is(failure, ERROR_NO_SECRET) ? MISSING : LOCKED,
                     failure->message);
    return key;
}

/* False: an obstacle was added. */
static bool
find_secret(struct check *check, const struct subject *subject, const struct domain_secret *secret,
            struct uuid *ret_uuid)
{
    const struct guest_custodian *custodian = &check->service->custodian;
    g_autoptr(GError) failure = NULL;

    *ret_uuid = secret->uuid;
    if (secret->has_uuid || custodian->find_usage(custodian->opaque, secret->usage_type,
                                                  secret->usage, ret_uuid, &failure))
        return true;
    add_obstacle(check, subject, NULL, error_is(failure, ERROR_NO_SECRET) ? MISSING : LOCKED,
                 failure->message);
    return false;
}

/* One that there is no header for: whether it has a value. */
static void
check_value(struct check *check, const struct subject *subject, const struct domain_secret *secret,
            const char *message)
{
    g_autoptr(secret_buf_t) key = NULL;
    struct uuid uuid;

    if (!find_secret(check, subject, secret, &uuid))
        return;
    key = get_key(check, subject, &uuid);
    if (key)
        add_item(check, subject, &uuid, UNCHECKED, message);
}

/* How a key that was tried on a header did. */
static void
add_answer(struct check *check, const struct subject *subject, const struct uuid *secret,
           const GError *failure)
{
    if (!failure)
        add_item(check, subject, secret, OK, NULL);
    else
        add_obstacle(check, subject, secret,
                     error_is(failure, ERROR_AUTH_FAILED)          ? WRONG
                     : error_is(failure, ERROR_CONFIG_UNSUPPORTED) ? NOT_ENCRYPTED
                                                                   : UNREADABLE,
                     failure->message);
}

/* ---- volumes ---- */

/* Opened by us when the guest starts, with the key of its record. */
static void
check_dm_crypt(struct check *check, const struct subject *subject,
               const struct volume_record *record)
{
    const struct encryption *encryption = record->encryption;
    const struct luks_place place = {
        .device = record->device,
        .header_path = encryption->dmcrypt.header_path,
    };
    g_autoptr(secret_buf_t) key = get_key(check, subject, &encryption->secret_uuid);
    g_autoptr(GError) failure = NULL;

    if (!key)
        return;
    if (encryption->format == ENCRYPTION_FORMAT_PLAIN) {
        add_item(check, subject, &encryption->secret_uuid, UNCHECKED,
                 "plain dm-crypt has no header to try a key on");
        return;
    }
    luks_check_key(&place, key, &failure);
    add_answer(check, subject, &encryption->secret_uuid, failure);
}

static const struct domain_secret *
find_encryption(const struct check *check, const char *volume)
{
    for (guint i = 0; volume && i < check->found->secrets->len; i++) {
        const struct domain_secret *secret = check->found->secrets->pdata[i];

        if (secret->is_encryption && g_strcmp0(secret->volume, volume) == 0)
            return secret;
    }
    return NULL;
}

/* Its <source> names a secret. */
static void
check_encrypted(struct check *check, const struct subject *subject, const char *path,
                const char *format, const struct domain_secret *secret)
{
    g_autoptr(secret_buf_t) key = NULL;
    g_autoptr(GError) failure = NULL;
    struct uuid uuid;

    if (!find_secret(check, subject, secret, &uuid))
        return;
    key = get_key(check, subject, &uuid);
    if (!key)
        return;
    guest_header_test(path, format, key, &failure);
    add_answer(check, subject, &uuid, failure);
}

/* Nothing says that it is encrypted. A raw one may be the guest's own business. */
static void
check_clear(struct check *check, const struct subject *subject, const char *path,
            const char *format, bool is_backing)
{
    g_autoptr(GError) failure = NULL;
    enum guest_header header = GUEST_HEADER_NONE;
    bool is_qcow2 = g_strcmp0(format, "qcow2") == 0;

    if (!guest_header_find(path, format, &header, &failure))
        add_obstacle(check, subject, NULL, UNREADABLE, failure->message);
    else if (header == GUEST_HEADER_NONE)
        add_obstacle(check, subject, NULL, UNREADABLE, "there is no such file or device");
    else if (header == GUEST_HEADER_CLEAR && !is_backing)
        add_item(check, subject, NULL, NOT_ENCRYPTED, NULL);
    else if (header == GUEST_HEADER_LUKS && (is_qcow2 || is_backing))
        add_obstacle(check, subject, NULL, MISSING,
                     is_backing ? "it is the encrypted backing file of an image, and no "
                                  "<backingStore> of the <disk> names its secret"
                                : "it is encrypted, and the <source> of the <disk> has no "
                                  "<encryption>");
    else if (header == GUEST_HEADER_LUKS)
        add_item(check, subject, NULL, UNCHECKED,
                 "it holds a LUKS header, and the <source> of the <disk> has no <encryption>: the "
                 "guest would see it");
}

/* Backing files that the XML does not name: libvirt finds them by the images, as we do. */
static void
check_chain(struct check *check, const char *place, const char *path)
{
    g_autofree char *at = g_strdup(path);

    for (unsigned int depth = 0; depth < GUEST_CHAIN_MAX; depth++) {
        g_autofree char *next = NULL;
        g_autofree char *format = NULL;
        const struct subject subject = {place, NULL};
        struct subject backing = subject;

        if (guest_chain_next(at, &next, &format) != GUEST_CHAIN_NEXT ||
            !g_hash_table_add(check->listed, g_strdup(next)))
            return;
        backing.volume = next;
        check_clear(check, &backing, next, format, true);
        if (g_strcmp0(format, "qcow2") != 0)
            return;
        g_free(at);
        at = g_steal_pointer(&next);
    }
}

static void
check_path(struct check *check, const struct subject *subject, const char *path, const char *format,
           const struct domain_secret *secret)
{
    g_autoptr(volume_record_t) record =
        storage_service_find_record(check->service->storage, path, NULL, NULL, NULL);

    if (record && record->kind == VOLUME_KIND_DM_CRYPT && !secret) {
        check_dm_crypt(check, subject, record);
        return;
    }
    if (secret)
        check_encrypted(check, subject, path, format, secret);
    else
        check_clear(check, subject, path, format, false);
    if (g_strcmp0(format, "qcow2") == 0)
        check_chain(check, subject->place, path);
}

/* The path of a source; NULL: of what is on no disk of this host. */
static char *
find_path(struct check *check, const struct disk_source *source, GError **error)
{
    struct storage_service *storage = check->service->storage;
    g_autoptr(volume_record_t) record = NULL;
    g_autoptr(pool_def_t) pool = NULL;
    g_autoptr(GError) failure = NULL;

    if (source->type != DISK_SOURCE_VOLUME)
        return source->path ? g_canonicalize_filename(source->path, "/") : NULL;
    record = storage_service_find_record(storage, NULL, source->pool, source->volume, &failure);
    if (record)
        return g_strdup(record->path);
    pool =
        failure ? NULL : storage_pools_get(storage_service_pools(storage), source->pool, &failure);
    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    return pool && pool->target_path ? g_build_filename(pool->target_path, source->volume, NULL)
                                     : NULL;
}

static void
check_source(struct check *check, const struct disk_source *source, const char *place)
{
    g_autofree char *name = domain_secrets_name_volume(source);
    g_autoptr(GError) failure = NULL;
    g_autofree char *path = find_path(check, source, &failure);
    const struct subject subject = {place, path ? path : name};
    const struct domain_secret *secret = find_encryption(check, name);

    if (failure)
        add_obstacle(check, &subject, NULL, UNREADABLE, failure->message);
    else if (path)
        check_path(check, &subject, path, source->format, secret);
    else if (secret)
        check_value(check, &subject, secret, "it is on no disk of this host");
}

/* ---- the whole ---- */

static void
list_path(struct check *check, const struct disk_source *source)
{
    char *path = find_path(check, source, NULL);

    if (path)
        g_hash_table_add(check->listed, path);
}

/* Those of network disks, devices and TPMs. */
static void
check_other_secrets(struct check *check)
{
    for (guint i = 0; i < check->found->secrets->len; i++) {
        const struct domain_secret *secret = check->found->secrets->pdata[i];
        const struct subject subject = {secret->place, secret->volume};

        if (!secret->volume)
            check_value(check, &subject, secret,
                        secret->usage_type == SECRET_USAGE_VTPM
                            ? "the state of a TPM has no header to try a key on"
                        : secret->is_encryption ? "it is on no disk of this host"
                                                : "the server alone knows whether it is right");
    }
}

/* What virtcrypt's guard would say at the start. */
static void
check_guard(struct check *check, const char *xml)
{
    const struct subject subject = {"disks", NULL};
    g_autoptr(GError) failure = NULL;

    if (!storage_service_check_guest(check->service->storage, xml, &failure))
        add_obstacle(check, &subject, NULL, UNCHECKED, failure->message);
}

struct guest_check *
guest_check_make(struct guest_service *service, const char *name, const char *xml, GError **error)
{
    g_autoptr(domain_secrets_t) found = domain_secrets_parse(xml, strlen(xml), error);
    g_autoptr(GHashTable) listed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct check check = {.service = service, .found = found, .listed = listed};

    if (!found)
        return NULL;
    check.result = g_new0(struct guest_check, 1);
    check.result->name = g_strdup(name);
    check.result->items = g_ptr_array_new_with_free_func(free_item);
    check.result->would_start = true;
    for (guint i = 0; i < found->sources->len; i++)
        list_path(&check, found->sources->pdata[i]);
    for (guint i = 0; i < found->sources->len; i++)
        check_source(&check, found->sources->pdata[i], found->places->pdata[i]);
    check_other_secrets(&check);
    check_guard(&check, xml);
    return check.result;
}
