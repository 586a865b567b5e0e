/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the object, and the calls that look at domains and make them.
 */
#include "guest/libvirt.h"

#include <string.h>

#include "guest/libvirt_state.h"
#include "util/error.h"

enum {
    SLOW_ANSWER_S = 5, /* a try to connect that takes longer is called a problem */
    LIST_BOUND_S = 120,
};

G_STATIC_ASSERT(sizeof(((struct uuid *)NULL)->bytes) == VIR_UUID_BUFLEN);

/* ---- the object ---- */

struct guest_libvirt *
guest_libvirt_ref(struct guest_libvirt *libvirt)
{
    g_atomic_int_inc(&libvirt->refs);
    return libvirt;
}

void
guest_libvirt_unref(struct guest_libvirt *libvirt)
{
    if (!g_atomic_int_dec_and_test(&libvirt->refs))
        return;
    g_mutex_clear(&libvirt->mutex);
    g_cond_clear(&libvirt->changed);
    g_mutex_clear(&libvirt->emit_mutex);
    g_free(libvirt->uri);
    g_free(libvirt->problem);
    g_free(libvirt);
}

struct guest_libvirt *
guest_libvirt_new(const char *uri, guest_libvirt_func on_event, void *opaque)
{
    struct guest_libvirt *libvirt = g_new0(struct guest_libvirt, 1);

    libvirt->refs = 1;
    libvirt->uri = g_strdup(uri);
    libvirt->on_event = on_event;
    libvirt->opaque = opaque;
    g_mutex_init(&libvirt->mutex);
    g_cond_init(&libvirt->changed);
    g_mutex_init(&libvirt->emit_mutex);
    guest_libvirt_start_threads(libvirt);
    return libvirt;
}

void
guest_libvirt_stop(struct guest_libvirt *libvirt)
{
    g_mutex_lock(&libvirt->mutex);
    libvirt->is_ended = true;
    g_cond_broadcast(&libvirt->changed);
    g_mutex_unlock(&libvirt->mutex);
    g_mutex_lock(&libvirt->emit_mutex);
    libvirt->on_event = NULL;
    g_mutex_unlock(&libvirt->emit_mutex);
}

void
guest_libvirt_free(struct guest_libvirt *libvirt)
{
    if (!libvirt)
        return;
    guest_libvirt_stop(libvirt);
    guest_libvirt_end_threads(libvirt);
    guest_libvirt_unref(libvirt);
}

const char *
guest_libvirt_uri(const struct guest_libvirt *libvirt)
{
    return libvirt->uri;
}

char *
guest_libvirt_problem(struct guest_libvirt *libvirt)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&libvirt->mutex);
    gint64 limit = g_get_monotonic_time() - SLOW_ANSWER_S * G_TIME_SPAN_SECOND;

    if (libvirt->conn && !libvirt->is_lost)
        return NULL;
    if (libvirt->trying_since != 0 && libvirt->trying_since < limit)
        return g_strdup_printf("libvirt does not answer at '%s'", libvirt->uri);
    return g_strdup(libvirt->problem ? libvirt->problem : "there is no connection to libvirt yet");
}

void
guest_libvirt_emit(struct guest_libvirt *libvirt, enum guest_libvirt_event event,
                   const struct uuid *guest)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&libvirt->emit_mutex);

    if (libvirt->on_event)
        libvirt->on_event(libvirt->opaque, event, guest);
}

/* ---- all domains ---- */

/* Which domains are persistent and so on takes a list for each question, not a question for each
 * domain. */
static bool
list_having(virConnectPtr conn, unsigned int filter, GHashTable **ret_uuids, GError **error)
{
    g_autoptr(GHashTable) uuids =
        g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(conn, &domains, filter);

    if (count < 0) {
        guest_libvirt_set_error(error);
        return false;
    }
    for (int i = 0; i < count; i++) {
        struct uuid *uuid = g_new(struct uuid, 1);

        if (virDomainGetUUID(domains[i], uuid->bytes) < 0)
            memset(uuid, 0, sizeof(*uuid));
        g_hash_table_add(uuids, uuid);
        virDomainFree(domains[i]);
    }
    free(domains);
    *ret_uuids = g_steal_pointer(&uuids);
    return true;
}

struct listing {
    GHashTable *persistent;
    GHashTable *saved;
    GHashTable *snapshots;
    GHashTable *checkpoints;
    GPtrArray *seen;
};

static void
listing_clear(struct listing *listing)
{
    g_clear_pointer(&listing->persistent, g_hash_table_unref);
    g_clear_pointer(&listing->saved, g_hash_table_unref);
    g_clear_pointer(&listing->snapshots, g_hash_table_unref);
    g_clear_pointer(&listing->checkpoints, g_hash_table_unref);
    g_clear_pointer(&listing->seen, g_ptr_array_unref);
}

static void
free_seen(void *seen)
{
    guest_seen_free(seen);
}

static bool
add_domain(struct listing *listing, virDomainPtr domain, GError **error)
{
    struct uuid uuid;
    struct libvirt_traits traits = {.is_active = virDomainGetID(domain) != (unsigned int)-1};
    g_autoptr(GError) failure = NULL;
    struct guest_seen *seen;

    if (virDomainGetUUID(domain, uuid.bytes) < 0) {
        guest_libvirt_set_error(error);
        return false;
    }
    traits.is_persistent = g_hash_table_contains(listing->persistent, &uuid);
    traits.has_saved_image = g_hash_table_contains(listing->saved, &uuid);
    traits.has_snapshots = g_hash_table_contains(listing->snapshots, &uuid);
    traits.has_checkpoints = g_hash_table_contains(listing->checkpoints, &uuid);
    seen = guest_libvirt_look(domain, &traits, &failure);
    if (seen) {
        g_ptr_array_add(listing->seen, seen);
        return true;
    }
    if (guest_libvirt_is_gone(domain))
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static int
compare_seen(gconstpointer a, gconstpointer b)
{
    const struct guest_seen *const *left = a;
    const struct guest_seen *const *right = b;

    return memcmp(&(*left)->uuid, &(*right)->uuid, sizeof(struct uuid));
}

static bool
list_traits(virConnectPtr conn, struct listing *listing, GError **error)
{
    return list_having(conn, VIR_CONNECT_LIST_DOMAINS_PERSISTENT, &listing->persistent, error) &&
           list_having(conn, VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, &listing->saved, error) &&
           list_having(conn, VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT, &listing->snapshots, error) &&
           list_having(conn, VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT, &listing->checkpoints, error);
}

static bool
run_list(struct libvirt_call *call, GError **error)
{
    struct listing listing = {.seen = g_ptr_array_new_with_free_func(free_seen)};
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(call->conn, &domains, 0);
    bool is_good = count >= 0;

    if (!is_good)
        guest_libvirt_set_error(error);
    is_good = is_good && list_traits(call->conn, &listing, error);
    for (int i = 0; i < count; i++) {
        is_good = is_good && add_domain(&listing, domains[i], error);
        virDomainFree(domains[i]);
    }
    free(domains);
    if (is_good) {
        g_ptr_array_sort(listing.seen, compare_seen);
        call->found = g_steal_pointer(&listing.seen);
    }
    listing_clear(&listing);
    return is_good;
}

GPtrArray *
guest_libvirt_list(struct guest_libvirt *libvirt, GError **error)
{
    g_autoptr(libvirt_call_t) call = guest_libvirt_call_new(run_list, "listing guests");

    call->bound_s = LIST_BOUND_S;
    if (!guest_libvirt_call_run(libvirt, call, error))
        return NULL;
    return g_steal_pointer(&call->found);
}

/* ---- one domain ---- */

static bool
run_find(struct libvirt_call *call, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUID(call->conn, call->guest.bytes);
    struct libvirt_traits traits;
    struct guest_seen *seen = NULL;

    if (!domain) {
        guest_libvirt_set_error(error);
        return false;
    }
    if (guest_libvirt_get_traits(domain, &traits, error))
        seen = guest_libvirt_look(domain, &traits, error);
    if (seen) {
        seen->is_migrating = seen->is_active && guest_libvirt_is_migrating(domain);
        call->found = g_ptr_array_new_with_free_func(free_seen);
        g_ptr_array_add(call->found, seen);
    }
    virDomainFree(domain);
    return seen != NULL;
}

struct guest_seen *
guest_libvirt_find(struct guest_libvirt *libvirt, const struct uuid *guest, GError **error)
{
    g_autoptr(libvirt_call_t) call = guest_libvirt_call_new(run_find, "looking for a guest");

    call->guest = *guest;
    if (!guest_libvirt_call_run(libvirt, call, error))
        return NULL;
    return g_ptr_array_steal_index(call->found, 0);
}

/* ---- new domains ---- */

static bool
take_domain(struct libvirt_call *call, virDomainPtr domain, GError **error)
{
    bool is_good = domain && virDomainGetUUID(domain, call->guest.bytes) == 0;

    if (!is_good)
        guest_libvirt_set_error(error);
    if (domain)
        virDomainFree(domain);
    return is_good;
}

static bool
run_define(struct libvirt_call *call, GError **error)
{
    return take_domain(call, virDomainDefineXMLFlags(call->conn, call->xml, call->flags), error);
}

static bool
run_create(struct libvirt_call *call, GError **error)
{
    return take_domain(call, virDomainCreateXML(call->conn, call->xml, call->flags), error);
}

static bool
make_domain(struct guest_libvirt *libvirt, struct libvirt_call *call, const char *xml,
            struct uuid *ret_uuid, GError **error)
{
    call->xml = g_strdup(xml);
    if (!guest_libvirt_call_run(libvirt, call, error))
        return false;
    *ret_uuid = call->guest;
    return true;
}

bool
guest_libvirt_define(struct guest_libvirt *libvirt, const char *xml, unsigned int flags,
                     struct uuid *ret_uuid, GError **error)
{
    g_autoptr(libvirt_call_t) call = guest_libvirt_call_new(run_define, "defining a guest");

    call->flags = flags;
    return make_domain(libvirt, call, xml, ret_uuid, error);
}

bool
guest_libvirt_create(struct guest_libvirt *libvirt, const char *xml, unsigned int flags,
                     struct uuid *ret_uuid, GError **error)
{
    g_autoptr(libvirt_call_t) call = guest_libvirt_call_new(run_create, "starting a guest");

    call->flags = flags;
    return make_domain(libvirt, call, xml, ret_uuid, error);
}
