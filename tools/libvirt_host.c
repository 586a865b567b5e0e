/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt_host.h. libvirt has no bound on how long its calls take; the one that nobody asked
 * for, the refresh of a pool, is given one by a thread that is left behind.
 */
#include "tools/libvirt_host.h"

#include <stdlib.h>

#include "tools/libvirt_host_state.h"
#include "tools/output.h"
#include "tools/xpath.h"
#include "util/error.h"

enum { REFRESH_BOUND_S = 30 };

G_STATIC_ASSERT((int)LIBVIRT_NO_GUEST == (int)VIR_ERR_NO_DOMAIN);

/* libvirt prints errors unless it is told where else they go. */
static void
keep_quiet(void *opaque G_GNUC_UNUSED, virErrorPtr error G_GNUC_UNUSED)
{
}

void
libvirt_host_take_error(const struct libvirt_host *host, GError **error)
{
    virErrorPtr last = host->calls.virGetLastError();

    error_set_remote(error, last ? last->domain : ERROR_FROM_NONE,
                     last ? last->code : ERROR_INTERNAL,
                     last && last->message ? last->message : "unknown error of libvirt");
}

struct libvirt_host *
libvirt_host_connect(const char *uri, GError **error)
{
    g_autoptr(libvirt_host_t) host = g_atomic_rc_box_new0(struct libvirt_host);

    if (!libvirt_calls_load(&host->calls, error))
        return NULL;
    host->calls.virSetErrorFunc(NULL, keep_quiet);
    host->connection = host->calls.virConnectOpenAuth(uri, host->calls.auth_default, 0);
    if (!host->connection) {
        libvirt_host_take_error(host, error);
        return NULL;
    }
    return g_steal_pointer(&host);
}

struct libvirt_host *
libvirt_host_open(const struct session *session, GError **error)
{
    g_autoptr(uri_t) uri = session_parse_uri(session, error);
    g_autofree char *text = uri ? uri_to_libvirt(uri) : NULL;

    return text ? libvirt_host_connect(text, error) : NULL;
}

static void
host_clear(void *opaque)
{
    struct libvirt_host *host = opaque;

    if (host->connection)
        host->calls.virConnectClose(host->connection);
}

void
libvirt_host_close(struct libvirt_host *host)
{
    if (host)
        g_atomic_rc_box_release_full(host, host_clear);
}

/* Shared by the thread that refreshes and the one that waits for it. */
struct refresh {
    char *uri;
    char *pool;
    GMutex lock;
    GCond done;
    bool is_done;
    GError *error;
};

static void
refresh_clear(void *opaque)
{
    struct refresh *refresh = opaque;

    g_free(refresh->uri);
    g_free(refresh->pool);
    g_mutex_clear(&refresh->lock);
    g_cond_clear(&refresh->done);
    g_clear_error(&refresh->error);
}

static void
look_again(const struct refresh *refresh, GError **error)
{
    g_autoptr(libvirt_host_t) host = libvirt_host_connect(refresh->uri, error);
    virStoragePoolPtr pool;

    if (!host)
        return;
    pool = host->calls.virStoragePoolLookupByName(host->connection, refresh->pool);
    if (!pool || host->calls.virStoragePoolRefresh(pool, 0) < 0)
        libvirt_host_take_error(host, error);
    if (pool)
        host->calls.virStoragePoolFree(pool);
}

static void *
run_refresh(void *opaque)
{
    struct refresh *refresh = opaque;
    GError *error = NULL;

    look_again(refresh, &error);
    g_mutex_lock(&refresh->lock);
    refresh->is_done = true;
    refresh->error = error;
    g_cond_signal(&refresh->done);
    g_mutex_unlock(&refresh->lock);
    g_atomic_rc_box_release_full(refresh, refresh_clear);
    return NULL;
}

/* Takes `thread`: one that is done is waited for to its very end, since libraries of libvirt's free
 * what they keep for a thread at its end, and all that they have at the program's. */
static void
wait_for_refresh(struct refresh *refresh, GThread *thread)
{
    gint64 deadline = g_get_monotonic_time() + REFRESH_BOUND_S * G_TIME_SPAN_SECOND;
    bool is_done;

    g_mutex_lock(&refresh->lock);
    while (!refresh->is_done && g_cond_wait_until(&refresh->done, &refresh->lock, deadline))
        ;
    if (!refresh->is_done)
        output_note("libvirt did not look at the pool '%s' again within %d s; 'virsh pool-refresh "
                    "%s' makes it",
                    refresh->pool, REFRESH_BOUND_S, refresh->pool);
    else if (refresh->error)
        output_note("libvirt did not look at the pool '%s' again: %s; 'virsh pool-refresh %s' "
                    "makes it",
                    refresh->pool, refresh->error->message, refresh->pool);
    is_done = refresh->is_done;
    g_mutex_unlock(&refresh->lock);
    if (is_done)
        g_thread_join(thread);
    else
        g_thread_unref(thread);
}

void
libvirt_host_refresh_pool(const struct session *session, const char *pool)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(uri_t) uri = session_parse_uri(session, &error);
    struct refresh *refresh;

    if (!uri)
        return; /* the connection to virtcryptd was made by that URI: it is there */
    refresh = g_atomic_rc_box_new0(struct refresh);
    refresh->uri = uri_to_libvirt(uri);
    refresh->pool = g_strdup(pool);
    g_mutex_init(&refresh->lock);
    g_cond_init(&refresh->done);
    wait_for_refresh(refresh,
                     g_thread_new("refresh", run_refresh, g_atomic_rc_box_acquire(refresh)));
    g_atomic_rc_box_release_full(refresh, refresh_clear);
}

static virStorageVolPtr
look_up_volume(struct libvirt_host *host, const char *pool_name, const char *name)
{
    virStoragePoolPtr pool;
    virStorageVolPtr volume;

    if (!pool_name)
        return host->calls.virStorageVolLookupByPath(host->connection, name);
    pool = host->calls.virStoragePoolLookupByName(host->connection, pool_name);
    if (!pool)
        return NULL;
    volume = host->calls.virStorageVolLookupByName(pool, name);
    host->calls.virStoragePoolFree(pool);
    return volume;
}

bool
libvirt_host_find_volume(struct libvirt_host *host, const char *pool, const char *name,
                         struct libvirt_volume *ret_volume, GError **error)
{
    virStorageVolPtr volume = look_up_volume(host, pool, name);
    char *path = volume ? host->calls.virStorageVolGetPath(volume) : NULL;
    char *xml = path ? host->calls.virStorageVolGetXMLDesc(volume, 0) : NULL;

    if (xml) {
        ret_volume->path = g_strdup(path);
        ret_volume->format = xpath_get_text(xml, "string(/volume/target/format/@type)");
    } else {
        libvirt_host_take_error(host, error);
    }
    if (volume)
        host->calls.virStorageVolFree(volume);
    free(path);
    free(xml);
    return ret_volume->path != NULL;
}

void
libvirt_volume_clear(struct libvirt_volume *volume)
{
    g_clear_pointer(&volume->path, g_free);
    g_clear_pointer(&volume->format, g_free);
}

static virDomainPtr
look_up_guest(struct libvirt_host *host, const char *name)
{
    virDomainPtr domain = NULL;
    struct uuid uuid;
    gint64 id;

    if (g_ascii_string_to_signed(name, 10, 0, G_MAXINT, &id, NULL))
        domain = host->calls.virDomainLookupByID(host->connection, (int)id);
    if (!domain && uuid_parse(name, &uuid))
        domain = host->calls.virDomainLookupByUUID(host->connection, uuid.bytes);
    return domain ? domain : host->calls.virDomainLookupByName(host->connection, name);
}

bool
libvirt_host_find_guest(struct libvirt_host *host, const char *name,
                        struct libvirt_guest *ret_guest, GError **error)
{
    virDomainPtr domain = look_up_guest(host, name);
    struct libvirt_guest guest = {0};
    int is_active = domain ? host->calls.virDomainIsActive(domain) : -1;
    char *xml = is_active >= 0 ? host->calls.virDomainGetXMLDesc(domain, 0) : NULL;
    bool is_found = xml && host->calls.virDomainGetUUID(domain, guest.uuid.bytes) == 0;

    if (is_found) {
        guest.name = g_strdup(host->calls.virDomainGetName(domain));
        guest.is_active = is_active > 0;
        guest.is_persistent = host->calls.virDomainIsPersistent(domain) > 0;
        guest.xml = g_strdup(xml);
        *ret_guest = guest;
    } else {
        libvirt_host_take_error(host, error);
    }
    if (domain)
        host->calls.virDomainFree(domain);
    free(xml);
    return is_found;
}

static enum libvirt_guest_presence
presence_of(int state, int reason)
{
    switch (state) {
    case VIR_DOMAIN_SHUTOFF:
    case VIR_DOMAIN_CRASHED:
        return LIBVIRT_GUEST_DEFINED;
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return LIBVIRT_GUEST_RUNNING;
    default:
        return state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION
                   ? LIBVIRT_GUEST_SENT
                   : LIBVIRT_GUEST_PAUSED;
    }
}

bool
libvirt_host_look_at(struct libvirt_host *host, const struct uuid *guest,
                     enum libvirt_guest_presence *ret_presence, GError **error)
{
    virDomainPtr domain = host->calls.virDomainLookupByUUID(host->connection, guest->bytes);
    g_autoptr(GError) refusal = NULL;
    int state = VIR_DOMAIN_NOSTATE;
    int reason = 0;

    if (!domain || host->calls.virDomainGetState(domain, &state, &reason, 0) < 0)
        libvirt_host_take_error(host, &refusal);
    if (domain)
        host->calls.virDomainFree(domain);
    if (refusal && error_get_code(refusal) != LIBVIRT_NO_GUEST) {
        g_propagate_error(error, g_steal_pointer(&refusal));
        return false;
    }
    *ret_presence = refusal ? LIBVIRT_GUEST_NONE : presence_of(state, reason);
    return true;
}

bool
libvirt_host_drop(struct libvirt_host *host, const struct uuid *guest, GError **error)
{
    virDomainPtr domain = host->calls.virDomainLookupByUUID(host->connection, guest->bytes);
    bool is_persistent = domain && host->calls.virDomainIsPersistent(domain) > 0;
    bool is_dropped = domain && host->calls.virDomainDestroy(domain) == 0 &&
                      (!is_persistent || host->calls.virDomainUndefineFlags(
                                             domain, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) == 0);

    if (!is_dropped)
        libvirt_host_take_error(host, error);
    if (domain)
        host->calls.virDomainFree(domain);
    return is_dropped;
}

void
libvirt_guest_clear(struct libvirt_guest *guest)
{
    g_clear_pointer(&guest->name, g_free);
    g_clear_pointer(&guest->xml, g_free);
}

bool
libvirt_host_attach(struct libvirt_host *host, const struct libvirt_guest *guest,
                    const char *device_xml, unsigned int flags, GError **error)
{
    virDomainPtr domain = host->calls.virDomainLookupByUUID(host->connection, guest->uuid.bytes);
    bool is_attached =
        domain && host->calls.virDomainAttachDeviceFlags(domain, device_xml, flags) == 0;

    if (!is_attached)
        libvirt_host_take_error(host, error);
    if (domain)
        host->calls.virDomainFree(domain);
    return is_attached;
}
