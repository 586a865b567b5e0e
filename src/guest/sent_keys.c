/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see sent_keys.h.
 */
#include "guest/sent_keys.h"

#include <string.h>

#include "guest/header.h"
#include "storage/pools.h"
#include "util/error.h"

enum { USAGE_PART_LEN = 8 };

static void
sent_key_free(void *opaque)
{
    struct guest_sent_key *sent = opaque;

    g_free(sent->path);
    secret_def_free(sent->def);
    secret_buf_free(sent->generated);
    g_free(sent);
}

/* What is worked on. */
struct sending {
    struct guest_service *service;
    const struct domain_keys *domain;
    const struct guest_given_key *given;
    struct guest_sent_key *sent;
};

static bool G_GNUC_PRINTF(4, 5) refuse(const struct sending *sending, enum error_code code,
                                       GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_DOMAIN, code, "disk '%s' of guest '%s': %s",
              sending->sent->volume->target, sending->domain->name, text);
    return false;
}

/* ---- which volume ---- */

/* NULL without an error: no volume of ours. */
static struct storage_volume *
find_own_volume(const struct sending *sending, GError **error)
{
    const struct domain_volume *volume = sending->sent->volume;
    struct storage_service *storage = sending->service->storage;
    g_autoptr(GError) failure = NULL;
    struct storage_volume *found = NULL;

    if (volume->type == DISK_SOURCE_VOLUME)
        found = storage_service_get(storage, volume->pool, volume->volume, &failure);
    else if (volume->path)
        found = storage_service_get_by_path(storage, volume->path, &failure);
    if (failure && !error_is(failure, ERROR_NO_STORAGE_VOL))
        g_propagate_error(error, g_steal_pointer(&failure));
    return found;
}

static bool
find_path(const struct sending *sending, const struct storage_volume *own, GError **error)
{
    const struct domain_volume *volume = sending->sent->volume;
    g_autoptr(pool_def_t) pool = NULL;

    if (own) {
        sending->sent->path = g_strdup(own->path);
        return true;
    }
    if (volume->type != DISK_SOURCE_VOLUME) {
        sending->sent->path = g_strdup(volume->path);
        return true;
    }
    pool = storage_pools_get(storage_service_pools(sending->service->storage), volume->pool, error);
    if (!pool)
        return false;
    if (pool->target_path)
        sending->sent->path = g_build_filename(pool->target_path, volume->volume, NULL);
    return true;
}

static bool
check_encryption(const struct sending *sending, const struct storage_volume *own, GError **error)
{
    const struct domain_volume *volume = sending->sent->volume;

    if (own && own->kind == VOLUME_KIND_DM_CRYPT)
        return refuse(sending, ERROR_CONFIG_UNSUPPORTED, error,
                      "volume '%s' of pool '%s' is opened by virtcrypt, which has its key: send "
                      "none",
                      own->name, own->pool);
    if (!volume->encryption || volume->encryption->format == ENCRYPTION_FORMAT_LUKS ||
        volume->encryption->format == ENCRYPTION_FORMAT_DEFAULT)
        return true;
    if (volume->type == DISK_SOURCE_OTHER && volume->encryption->format != ENCRYPTION_FORMAT_QCOW)
        return true;
    return refuse(sending, ERROR_CONFIG_UNSUPPORTED, error,
                  "encryption of format '%s' can't be opened by a guest here: it is luks",
                  encryption_format_name(volume->encryption->format));
}

/* ---- which secret ---- */

/* The one that is there for the volume's path, if it has the same value: a guest that is defined
 * again gets no second one. */
static bool
find_same(const struct sending *sending)
{
    const struct guest_custodian *custodian = &sending->service->custodian;
    struct guest_sent_key *sent = sending->sent;
    g_autoptr(secret_buf_t) value = NULL;
    struct uuid known;

    if (!sent->path || sent->is_generated ||
        !custodian->find_usage(custodian->opaque, SECRET_USAGE_VOLUME, sent->path, &known, NULL))
        return false;
    value = custodian->get(custodian->opaque, &known, NULL);
    if (!value || !secret_buf_equal(value, sending->given->key))
        return false;
    sent->secret = known;
    return true;
}

static bool
choose_secret(const struct sending *sending, const struct storage_volume *own, GError **error)
{
    const struct encryption *encryption = sending->sent->volume->encryption;
    const struct guest_custodian *custodian = &sending->service->custodian;
    struct guest_sent_key *sent = sending->sent;
    g_autoptr(GError) failure = NULL;

    sent->is_in_xml = encryption && encryption->secret_by != ENCRYPTION_SECRET_NONE;
    if (sent->is_in_xml && encryption->secret_by == ENCRYPTION_SECRET_UUID) {
        sent->secret = encryption->secret_uuid;
        return true;
    }
    if (sent->is_in_xml) {
        if (custodian->find_usage(custodian->opaque, SECRET_USAGE_VOLUME, encryption->secret_usage,
                                  &sent->secret, &failure))
            return true;
        if (error_is(failure, ERROR_NO_SECRET))
            return uuid_generate_random(&sent->secret, error);
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!own)
        return find_same(sending) || uuid_generate_random(&sent->secret, error);
    sent->secret = own->secret;
    return true;
}

/* A usage belongs to one secret, and the volume's path may be that of an older one. */
static char *
choose_usage(const struct sending *sending, GError **error)
{
    const struct guest_sent_key *sent = sending->sent;
    const struct guest_custodian *custodian = &sending->service->custodian;
    const struct encryption *encryption = sent->volume->encryption;
    g_autofree char *usage =
        sent->path ? g_strdup(sent->path)
                   : g_strdup_printf("%s/%s", sending->domain->name, sent->volume->target);
    g_autoptr(GError) failure = NULL;
    char text[UUID_TEXT_SIZE];
    struct uuid other;

    if (sent->is_in_xml && encryption->secret_by == ENCRYPTION_SECRET_USAGE)
        return g_strdup(encryption->secret_usage);
    if (custodian->find_usage(custodian->opaque, SECRET_USAGE_VOLUME, usage, &other, &failure))
        return g_strdup_printf("%s#%.*s", usage, USAGE_PART_LEN, uuid_format(&sent->secret, text));
    if (error_is(failure, ERROR_NO_SECRET))
        return g_steal_pointer(&usage);
    g_propagate_error(error, g_steal_pointer(&failure));
    return NULL;
}

static bool
describe_new(const struct sending *sending, GError **error)
{
    struct guest_sent_key *sent = sending->sent;
    g_autofree char *usage = choose_usage(sending, error);
    struct secret_def *def;

    if (!usage)
        return false;
    def = sent->def = g_new0(struct secret_def, 1);
    def->uuid = sent->secret;
    def->usage_type = SECRET_USAGE_VOLUME;
    def->usage_id = g_steal_pointer(&usage);
    def->is_private = true;
    def->description = g_strdup_printf("key of disk '%s' of guest '%s', sent with it",
                                       sent->volume->target, sending->domain->name);
    return true;
}

/* It is there: then it has to be the same. */
static bool
compare(const struct sending *sending, const struct secret_def *def, GError **error)
{
    const struct guest_custodian *custodian = &sending->service->custodian;
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_buf_t) value =
        custodian->get(custodian->opaque, &sending->sent->secret, &failure);
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&sending->sent->secret, uuid);
    if (!value && !error_is(failure, ERROR_NO_SECRET)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!value || def->is_ephemeral)
        return refuse(sending, ERROR_OPERATION_INVALID, error,
                      "its secret %s is defined and %s: undefine it, or set its value with virsh "
                      "secret-set-value and send no key",
                      uuid, value ? "ephemeral" : "has no value");
    if (sending->given->mechanism == GUEST_MECHANISM_GENERATE)
        return refuse(sending, ERROR_OPERATION_INVALID, error,
                      "its secret %s has a value already, and no new one is generated for it: send "
                      "no key",
                      uuid);
    if (secret_buf_equal(value, sending->given->key))
        return true;
    return refuse(sending, ERROR_OPERATION_INVALID, error,
                  "its secret %s has another value already: name another secret in the XML, or "
                  "none",
                  uuid);
}

static bool
take_secret(const struct sending *sending, GError **error)
{
    const struct guest_custodian *custodian = &sending->service->custodian;
    struct guest_sent_key *sent = sending->sent;
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_def_t) def = custodian->find(custodian->opaque, &sent->secret, &failure);

    if (def)
        return compare(sending, def, error);
    if (!error_is(failure, ERROR_NO_SECRET)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (sent->is_generated) {
        sent->generated = storage_service_generate_key(error);
        if (!sent->generated)
            return false;
    }
    sent->key = sent->is_generated ? sent->generated : sending->given->key;
    return describe_new(sending, error);
}

/* ---- whether it opens the volume ---- */

static bool
check_not_there(const struct sending *sending, GError **error)
{
    const struct guest_sent_key *sent = sending->sent;
    enum guest_header header;

    if (!guest_header_find(sent->path, sent->volume->format, &header, error)) {
        g_prefix_error(error, "disk '%s' of guest '%s': ", sent->volume->target,
                       sending->domain->name);
        return false;
    }
    if (header == GUEST_HEADER_NONE)
        return true;
    if (header == GUEST_HEADER_LUKS)
        return refuse(sending, ERROR_OPERATION_INVALID, error,
                      "%s has a key already, which can't be generated again: send that key",
                      sent->path);
    return refuse(sending, ERROR_OPERATION_INVALID, error,
                  "%s is not encrypted, and a key would not open it: make the volume with "
                  "virtcrypt vol-create-as, or send no key",
                  sent->path);
}

static bool
check_key(const struct sending *sending, GError **error)
{
    const struct guest_sent_key *sent = sending->sent;
    const char *format = sent->volume->format;
    g_autoptr(GError) failure = NULL;

    if (!sent->path)
        return true;
    if (format && strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0)
        return refuse(sending, ERROR_CONFIG_UNSUPPORTED, error,
                      "an image of format '%s' can't be encrypted with LUKS: raw and qcow2 can",
                      format);
    if (sent->is_generated)
        return check_not_there(sending, error);
    if (guest_header_test(sent->path, format, sending->given->key, &failure) ||
        error_is(failure, ERROR_NO_STORAGE_VOL))
        return true; /* a volume may be made after its guest is defined */
    g_propagate_prefixed_error(error, g_steal_pointer(&failure),
                               "disk '%s' of guest '%s': ", sent->volume->target,
                               sending->domain->name);
    return false;
}

/* ---- all of them ---- */

static bool
check_is_first(const struct sending *sending, const GPtrArray *others, GError **error)
{
    for (guint i = 0; i < others->len; i++) {
        const struct guest_sent_key *other = others->pdata[i];

        if (other == sending->sent)
            continue;
        if (other->volume == sending->sent->volume)
            return refuse(sending, ERROR_INVALID_ARG, error, "two keys are sent for it");
        if (uuid_equal(&other->secret, &sending->sent->secret))
            return refuse(sending, ERROR_INVALID_ARG, error,
                          "it has the same secret as disk '%s': send its key once",
                          other->volume->target);
    }
    return true;
}

static bool
find_one(const struct sending *sending, const GPtrArray *others, GError **error)
{
    g_autoptr(storage_volume_t) own = NULL;
    g_autoptr(GError) failure = NULL;

    sending->sent->volume = domain_keys_find(sending->domain, sending->given->volume, error);
    if (!sending->sent->volume)
        return false;
    own = find_own_volume(sending, &failure);
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    return find_path(sending, own, error) && check_encryption(sending, own, error) &&
           choose_secret(sending, own, error) && check_is_first(sending, others, error) &&
           check_key(sending, error) && take_secret(sending, error);
}

GPtrArray *
guest_sent_keys_find(struct guest_service *service, const struct domain_keys *domain,
                     const struct guest_define_request *request, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(sent_key_free);

    for (size_t i = 0; i < request->key_count; i++) {
        struct guest_sent_key *sent = g_new0(struct guest_sent_key, 1);
        const struct sending sending = {service, domain, &request->keys[i], sent};

        sent->is_generated = request->keys[i].mechanism == GUEST_MECHANISM_GENERATE;
        g_ptr_array_add(all, sent);
        if (!find_one(&sending, all, error))
            return NULL;
    }
    return g_steal_pointer(&all);
}
