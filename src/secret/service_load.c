/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is on disk becomes what is known, at start and when the daemon is told to reload.
 * Files are read, parsed and decrypted on all processors by threads that see nothing but their own
 * entry; what they found is then taken over one by one. A file that is not good costs its own
 * secret or value, a line in the log, and nothing else: it is kept.
 */
#include <errno.h>
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"
#include "util/parallel.h"

/* So many stray files are logged one by one, and the others are counted. */
enum { STRAYS_LOGGED_MAX = 10 };

/* What was found for one uuid. */
struct load {
    struct store_entry entry;
    struct secret_def *def; /* NULL: not readable, see `problem` */
    char *problem;
    GBytes *known; /* its sealed value, if one is in use that is good for `def`, or NULL */
    bool is_known; /* UUID.key has the same */
    struct secret_value value;
    bool is_foreign; /* its value is under a key that is not here */
};

struct loading {
    struct secret_service *service;
    GArray *loads;
};

static struct load *
load_at(const struct loading *loading, size_t index)
{
    return &g_array_index(loading->loads, struct load, index);
}

static void
clear_load(void *element)
{
    struct load *load = element;

    secret_def_free(load->def);
    g_free(load->problem);
    g_clear_pointer(&load->known, g_bytes_unref);
    secret_value_clear(&load->value);
}

static bool
check_loaded(const struct store_entry *entry, const struct secret_def *def, GError **error)
{
    if (!uuid_equal(&def->uuid, &entry->uuid)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "<uuid> does not match the name of the file");
        return false;
    }
    if (def->is_ephemeral) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "it says ephemeral='yes', and such a secret is never kept on disk");
        return false;
    }
    return true;
}

static struct secret_def *
read_definition(struct store *store, const struct store_entry *entry, GError **error)
{
    g_autoptr(GBytes) xml = store_read_xml(store, &entry->uuid, error);
    g_autoptr(secret_def_t) def = NULL;
    gsize len = 0;
    const char *text;

    if (!xml)
        return NULL;
    text = g_bytes_get_data(xml, &len);
    def = secret_def_parse(text, len, false, error);
    return def && check_loaded(entry, def, error) ? g_steal_pointer(&def) : NULL;
}

static void
load_definition(size_t index, void *opaque)
{
    const struct loading *loading = opaque;
    struct load *load = load_at(loading, index);
    g_autoptr(GError) error = NULL;

    if (!load->entry.has_xml)
        return;
    load->def = read_definition(loading->service->store, &load->entry, &error);
    if (!load->def)
        load->problem = g_strdup(error->message);
}

/* What an unauthenticated header says may be anything; the next one has to be greater. */
static uint64_t
read_generation(const void *bytes, size_t len)
{
    uint64_t generation = 0;

    if (!sealed_parse_generation(bytes, len, &generation) || generation > G_MAXINT64)
        return 0;
    return generation;
}

static bool
is_foreign(const struct generations *generations, const void *bytes, size_t len)
{
    const uint8_t *id = sealed_master_key_id(bytes, len);

    return id && !generations_find(generations, id);
}

bool
service_read_value(struct store *store, const struct generations *generations,
                   const struct secret_def *def, struct secret_value *ret_value)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) sealed = store_read_key(store, &def->uuid, &error);
    g_autoptr(secret_buf_t) value = NULL;
    gsize len = 0;
    const void *bytes;

    secret_value_clear(ret_value);
    if (!sealed && error_get_errno(error) == ENOENT)
        return true;
    ret_value->is_stored = true;
    if (!sealed) {
        ret_value->unavailable = g_strdup(error->message);
        return true;
    }
    bytes = g_bytes_get_data(sealed, &len);
    ret_value->generation = read_generation(bytes, len);
    if (generations)
        value = sealed_parse(generations_key_of(generations, bytes, len),
                             &(struct sealed_binding){.def = def}, bytes, len, &error);
    if (!generations || value) {
        ret_value->sealed = g_steal_pointer(&sealed);
        return true;
    }
    ret_value->unavailable = g_strdup(error->message);
    return !is_foreign(generations, bytes, len);
}

static bool
has_known_value(struct store *store, const struct load *load)
{
    g_autoptr(GBytes) sealed = load->known ? store_read_key(store, &load->entry.uuid, NULL) : NULL;

    return sealed && g_bytes_equal(sealed, load->known);
}

static void
load_value(size_t index, void *opaque)
{
    const struct loading *loading = opaque;
    struct store *store = loading->service->store;
    struct load *load = load_at(loading, index);

    if (!load->def || !load->entry.has_key)
        return;
    load->is_known = has_known_value(store, load);
    if (!load->is_known)
        load->is_foreign =
            !service_read_value(store, loading->service->generations, load->def, &load->value);
}

static void
load_both(size_t index, void *opaque)
{
    load_definition(index, opaque);
    load_value(index, opaque);
}

/* If there are values, and all of them are under other keys, then it is the file of generations
 * that is wrong, not the values. Nothing must be sealed under it. */
static void
check_generations(struct loading *loading)
{
    struct secret_service *service = loading->service;
    g_autofree char *reason = NULL;
    size_t opened = 0;
    size_t foreign = 0;

    for (guint i = 0; i < loading->loads->len; i++) {
        const struct load *load = load_at(loading, i);

        opened += load->value.sealed != NULL;
        foreign += load->is_foreign;
    }
    if (!service->generations || foreign == 0 || opened > 0)
        return;
    reason = g_strdup_printf(
        "the key-encryption generations (%s) are others than the %zu sealed values need: put the "
        "file back that they were sealed with; or, if these values were put back from before an "
        "erasure, take them away: nothing opens them any more",
        service->generations_path, foreign);
    service_lock(service, reason);
    parallel_run(loading->loads->len, load_value, loading);
}

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
show_value(const struct load *load, struct secret *secret, struct secret_value *value)
{
    char uuid[UUID_TEXT_SIZE];

    if (value->unavailable)
        log_error("%s.key: %s; the value is unavailable, and the file is kept",
                  uuid_format(&load->entry.uuid, uuid), value->unavailable);
    secret_value_replace(&secret->value, value);
}

/* The value that is in use is given up for another good one only. */
static void
show_other_value(const struct load *load, struct secret *secret, struct secret_value *value)
{
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&load->entry.uuid, uuid);
    if (value->sealed) {
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

static void
log_stray(const struct load *load, unsigned int *strays)
{
    char uuid[UUID_TEXT_SIZE];

    if ((*strays)++ < STRAYS_LOGGED_MAX)
        log_warn("%s.%s is there without %s.xml; it is left alone",
                 uuid_format(&load->entry.uuid, uuid), load->entry.has_key ? "key" : "base64",
                 uuid);
}

/* Takes over what was found, in the order of uuids; returns the uuids of clear values to import. */
static GArray *
show_loads(struct loading *loading)
{
    struct secret_service *service = loading->service;
    GArray *clear = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    unsigned int strays = 0;

    for (guint i = 0; i < loading->loads->len; i++) {
        struct load *load = load_at(loading, i);
        struct secret *secret = load->def ? show_definition(service, load) : NULL;

        if (!load->entry.has_xml)
            log_stray(load, &strays);
        else if (!load->def && load->problem)
            skip_definition(load, load->problem);
        if (!secret)
            continue;
        if (!load->known)
            show_value(load, secret, &load->value);
        else if (!load->is_known)
            show_other_value(load, secret, &load->value);
        if (load->entry.has_base64 && service->master_key)
            g_array_append_val(clear, load->entry.uuid);
        secret->value.is_clear = load->entry.has_base64 && !service->master_key;
    }
    if (strays > STRAYS_LOGGED_MAX)
        log_warn("and %u more values without a definition", strays - STRAYS_LOGGED_MAX);
    return clear;
}

static void
finish_loading(struct loading *loading)
{
    g_autoptr(GArray) clear = show_loads(loading);

    /* What it took to load them is given back before anything else is taken. */
    g_clear_pointer(&loading->loads, g_array_unref);
    service_import(loading->service, clear);
}

static struct loading
begin_loading(struct secret_service *service, const GArray *entries)
{
    struct loading loading = {service, g_array_new(FALSE, TRUE, sizeof(struct load))};

    g_array_set_clear_func(loading.loads, clear_load);
    g_array_set_size(loading.loads, entries->len);
    for (guint i = 0; i < entries->len; i++)
        load_at(&loading, i)->entry = g_array_index(entries, struct store_entry, i);
    return loading;
}

bool
service_load(struct secret_service *service, GError **error)
{
    g_autoptr(GArray) entries = store_list(service->store, error);
    struct loading loading;

    if (!entries)
        return false;
    service_unlock(service, entries);
    loading = begin_loading(service, entries);
    parallel_run(loading.loads->len, load_both, &loading);
    check_generations(&loading);
    finish_loading(&loading);
    service_rotate_resume(service);
    return true;
}

/* Values that are in use, and may not be lost to a bad file. */
static void
note_known_values(struct loading *loading)
{
    for (guint i = 0; i < loading->loads->len; i++) {
        struct load *load = load_at(loading, i);
        const struct secret *known = registry_find(loading->service->registry, &load->entry.uuid);

        if (load->def && known && known->value.sealed &&
            sealed_is_bound_alike(known->def, load->def))
            load->known = g_bytes_ref(known->value.sealed);
    }
}

void
secret_service_reload(struct secret_service *service)
{
    bool was_locked = service->locked_reason != NULL;
    g_autoptr(GArray) entries = NULL;
    g_autoptr(GError) error = NULL;
    struct loading loading;

    if (!service->store)
        return;
    secret_service_drain(service);
    entries = store_list(service->store, &error);
    if (!entries) {
        log_error("definitions are not loaded again: %s", error->message);
        return;
    }
    if (was_locked)
        service_unlock(service, entries);
    else
        service_check_keys_in_use(service);
    loading = begin_loading(service, entries);
    parallel_run(loading.loads->len, load_definition, &loading);
    /* What was read while locked is unproven. */
    if (!was_locked)
        note_known_values(&loading);
    parallel_run(loading.loads->len, load_value, &loading);
    if (was_locked)
        check_generations(&loading);
    finish_loading(&loading);
    if (was_locked)
        service_rotate_resume(service);
}
