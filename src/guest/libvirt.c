/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the object, and the calls that look at domains and make them.
 */
#include "guest/libvirt.h"

#include <stdlib.h>
#include <string.h>

#include "guest/libvirt_state.h"
#include "util/error.h"
#include "util/parallel.h"

enum {
    SLOW_ANSWER_S = 5, /* a try to connect that takes longer is called a problem */
    LIST_BOUND_S = 120,
    QUESTIONS_MAX = 4, /* at a time: libvirtd complains from max_client_requests (5) on */
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
    virDomainPtr *domains;
    int count;
    GHashTable *persistent;
    GHashTable *saved;
    GHashTable *snapshots;
    GHashTable *checkpoints;
    struct guest_seen **seen; /* of each domain; NULL: it is there no more, or failed */
    GMutex mutex;
    GError *failure; /* the first one, under the mutex */
};

static void
listing_clear(struct listing *listing)
{
    for (int i = 0; i < listing->count; i++) {
        virDomainFree(listing->domains[i]);
        guest_seen_free(listing->seen[i]);
    }
    free(listing->domains);
    g_free(listing->seen);
    g_clear_pointer(&listing->persistent, g_hash_table_unref);
    g_clear_pointer(&listing->saved, g_hash_table_unref);
    g_clear_pointer(&listing->snapshots, g_hash_table_unref);
    g_clear_pointer(&listing->checkpoints, g_hash_table_unref);
    g_clear_error(&listing->failure);
    g_mutex_clear(&listing->mutex);
}

static void
free_seen(void *seen)
{
    guest_seen_free(seen);
}

static bool
has_failed(struct listing *listing)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&listing->mutex);

    return listing->failure != NULL;
}

/* Takes `error`. */
static void
fail(struct listing *listing, GError *error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&listing->mutex);

    if (listing->failure)
        g_error_free(error);
    else
        listing->failure = error;
}

static void
look_at_domain(size_t index, void *opaque)
{
    struct listing *listing = opaque;
    virDomainPtr domain = listing->domains[index];
    struct libvirt_traits traits = {.is_active = virDomainGetID(domain) != (unsigned int)-1};
    GError *failure = NULL;
    struct uuid uuid;

    if (has_failed(listing))
        return;
    if (virDomainGetUUID(domain, uuid.bytes) < 0) {
        guest_libvirt_set_error(&failure);
        fail(listing, failure);
        return;
    }
    traits.is_persistent = g_hash_table_contains(listing->persistent, &uuid);
    traits.has_saved_image = g_hash_table_contains(listing->saved, &uuid);
    traits.has_snapshots = g_hash_table_contains(listing->snapshots, &uuid);
    traits.has_checkpoints = g_hash_table_contains(listing->checkpoints, &uuid);
    listing->seen[index] = guest_libvirt_look(domain, &traits, &failure);
    if (!listing->seen[index] && guest_libvirt_is_gone(domain))
        g_error_free(failure);
    else if (!listing->seen[index])
        fail(listing, failure);
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

static GPtrArray *
take_seen(struct listing *listing)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(free_seen);

    for (int i = 0; i < listing->count; i++) {
        if (listing->seen[i])
            g_ptr_array_add(found, g_steal_pointer(&listing->seen[i]));
    }
    g_ptr_array_sort(found, compare_seen);
    return found;
}

/* Several questions at a time: what takes time is to wait for each answer. */
static bool
run_list(struct libvirt_call *call, GError **error)
{
    struct listing listing = {0};
    int count = virConnectListAllDomains(call->conn, &listing.domains, 0);
    bool is_good = count >= 0;

    if (!is_good)
        guest_libvirt_set_error(error);
    g_mutex_init(&listing.mutex);
    listing.count = MAX(count, 0);
    listing.seen = g_new0(struct guest_seen *, (gsize)listing.count);
    is_good = is_good && list_traits(call->conn, &listing, error);
    if (is_good)
        parallel_run_limited((size_t)listing.count, QUESTIONS_MAX, look_at_domain, &listing);
    if (listing.failure) {
        g_propagate_error(error, g_steal_pointer(&listing.failure));
        is_good = false;
    }
    if (is_good)
        call->found = take_seen(&listing);
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
