/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the rules by which what was read from disk takes the place of what is known, and what of it
 * is said in the log.
 */
#include "secret/sealed.h"
#include "secret/service_load.h"
#include "util/error.h"
#include "util/log.h"

/* So many stray files are logged one by one, and the others are counted. */
enum { STRAYS_LOGGED_MAX = 10 };

static bool
is_same_definition(const struct secret_def *a, const struct secret_def *b)
{
    return sealed_is_bound_alike(a, b) && g_strcmp0(a->description, b->description) == 0;
}

static void
skip_definition(const struct load *load, const char *problem)
{
    char uuid[UUID_TEXT_SIZE];

    log_error("%s.xml: %s; this definition is not loaded, and the file is kept",
              uuid_format(&load->entry.uuid, uuid), problem);
}

/* The secret that has the definition now, or NULL if it can't be had. */
static struct secret *
show_definition(struct secret_service *service, struct load *load)
{
    struct secret *known = registry_find(service->registry, &load->entry.uuid);
    g_autoptr(GError) error = NULL;

    if (known && is_same_definition(known->def, load->def))
        return known;
    if (known && known->def->is_ephemeral) {
        skip_definition(load, "there is an ephemeral secret of this uuid");
        return NULL;
    }
    if (!service_check_definition(service, known, load->def, &error)) {
        skip_definition(load, error->message);
        return NULL;
    }
    if (known)
        registry_redefine(service->registry, known, g_steal_pointer(&load->def));
    else
        known = registry_add(service->registry, g_steal_pointer(&load->def));
    return known;
}

static void
show_value(struct load *load, struct secret *secret)
{
    struct secret_value *value = &load->reading.value;
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&load->entry.uuid, uuid);
    if (value->unavailable && load->owners)
        log_error("%s.key of %u guests: %s; the value is unavailable, and the files are kept", uuid,
                  load->owners->len, value->unavailable);
    else if (value->unavailable)
        log_error("%s.key: %s; the value is unavailable, and the file is kept", uuid,
                  value->unavailable);
    secret_value_replace(&secret->value, value);
}

/* The value that is in use is given up for another good one only. */
static void
show_other_value(struct load *load, struct secret *secret)
{
    struct secret_value *value = &load->reading.value;
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&load->entry.uuid, uuid);
    if (value->sealed) {
        /* The file of the same value that was in use till now is no good, as was logged. */
        if (!load->owners || value->generation != secret->value.generation)
            log_warn("%s.key was replaced by another program: the value in it, of generation "
                     "%" G_GUINT64_FORMAT ", counts now, instead of that of generation "
                     "%" G_GUINT64_FORMAT,
                     uuid, value->generation, secret->value.generation);
        secret_value_replace(&secret->value, value);
        return;
    }
    log_error("%s.key: %s; the value that is in memory stays in use, and is lost when the daemon "
              "ends: put a good copy of the file back, or set the value again",
              uuid, value->unavailable ? value->unavailable : "it is gone");
}

static const char *
stray_suffix(const struct load *load)
{
    if (load->entry.has_key || load->owners)
        return "key";
    return load->entry.has_base64 ? "base64" : "aes256cbc";
}

/* Files without a definition that is loaded. What guests have of it counts when it is defined. */
static void
keep_stray(struct secret_service *service, struct load *load, unsigned int *strays)
{
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&load->entry.uuid, uuid);
    if (!load->entry.has_xml && (*strays)++ < STRAYS_LOGGED_MAX)
        log_warn("%s.%s is there without %s.xml; it is left alone", uuid, stray_suffix(load), uuid);
    if (load->owners)
        g_hash_table_replace(service->strays, g_memdup2(&load->entry.uuid, sizeof(struct uuid)),
                             g_steal_pointer(&load->owners));
}

static void
log_reading(const struct load *load)
{
    const struct service_reading *reading = &load->reading;
    char uuid[UUID_TEXT_SIZE];

    for (guint i = 0; reading->problems && i < reading->problems->len; i++)
        log_error("%s; the file is kept, and the value comes from another one",
                  (const char *)reading->problems->pdata[i]);
    if (reading->stale || reading->has_stale_key)
        log_warn("the files with the value of secret %s differ: the newest, of generation "
                 "%" G_GUINT64_FORMAT ", counts, and the others are put right",
                 uuid_format(&load->entry.uuid, uuid), reading->value.generation);
}

static void
show_files(struct load *load, struct secret *secret)
{
    bool has_files = load->entry.has_key || load->owners;

    if (!load->known)
        show_value(load, secret);
    else if (!load->is_known)
        show_other_value(load, secret);
    if (load->known && !has_files)
        return; /* the value that is in memory belongs to whom it belonged */
    owners_free(secret->owners);
    secret->owners = g_steal_pointer(&load->owners);
}

static void
show_clear(const struct load *load, struct secret *secret, bool is_unlocked, GArray *clear)
{
    secret->value.is_clear = false;
    if (!load->entry.has_base64 && !load->entry.has_aes256cbc)
        return;
    if (is_unlocked)
        g_array_append_val(clear, load->entry.uuid);
    else if (!secret->owners)
        secret->value.is_clear = true;
}

void
service_show(struct loading *loading, GArray *clear, GArray *repairs)
{
    struct secret_service *service = loading->service;
    unsigned int strays = 0;

    g_hash_table_remove_all(service->strays);
    for (guint i = 0; i < loading->loads->len; i++) {
        struct load *load = service_load_at(loading, i);
        struct secret *secret = load->def ? show_definition(service, load) : NULL;

        if (load->entry.has_xml && !load->def && load->problem)
            skip_definition(load, load->problem);
        if (!secret) {
            keep_stray(service, load, &strays);
            continue;
        }
        log_reading(load);
        service_repairs_add(repairs, &load->entry.uuid, &load->reading);
        show_files(load, secret);
        show_clear(load, secret, service->master_key != NULL, clear);
    }
    if (strays > STRAYS_LOGGED_MAX)
        log_warn("and %u more values without a definition", strays - STRAYS_LOGGED_MAX);
}
