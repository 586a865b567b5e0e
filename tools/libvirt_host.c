/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt_host.h. libvirt has no bound on how long its calls take; the one that nobody asked
 * for, the refresh of a pool, is given one by a thread that is left behind.
 */
#include "tools/libvirt_host.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdlib.h>

#include "tools/output.h"
#include "tools/xpath.h"
#include "util/error.h"

enum { REFRESH_BOUND_S = 30 };

struct libvirt_host {
    virConnectPtr connection;
};

typedef virDomain virDomain_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain_t, virDomainFree)
typedef virStoragePool virStoragePool_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStoragePool_t, virStoragePoolFree)
typedef virStorageVol virStorageVol_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageVol_t, virStorageVolFree)

/* libvirt prints errors unless it is told where else they go. */
static void
keep_quiet(void *opaque G_GNUC_UNUSED, virErrorPtr error G_GNUC_UNUSED)
{
}

/* The last error of this thread. */
static void
take_error(GError **error)
{
    virErrorPtr last = virGetLastError();

    error_set_remote(error, last ? last->domain : ERROR_FROM_NONE,
                     last ? last->code : ERROR_INTERNAL,
                     last && last->message ? last->message : "unknown error of libvirt");
}

static virConnectPtr
connect_to(const char *uri)
{
    virSetErrorFunc(NULL, keep_quiet);
    return virConnectOpenAuth(uri, virConnectAuthPtrDefault, 0);
}

struct libvirt_host *
libvirt_host_open(const struct session *session, GError **error)
{
    g_autoptr(uri_t) uri = session_parse_uri(session, error);
    g_autofree char *text = uri ? uri_to_libvirt(uri) : NULL;
    virConnectPtr connection = text ? connect_to(text) : NULL;
    struct libvirt_host *host;

    if (!connection) {
        if (text)
            take_error(error);
        return NULL;
    }
    host = g_new0(struct libvirt_host, 1);
    host->connection = connection;
    return host;
}

void
libvirt_host_close(struct libvirt_host *host)
{
    if (!host)
        return;
    virConnectClose(host->connection);
    g_free(host);
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
    virConnectPtr connection = connect_to(refresh->uri);
    g_autoptr(virStoragePool_t) pool =
        connection ? virStoragePoolLookupByName(connection, refresh->pool) : NULL;

    if (!pool || virStoragePoolRefresh(pool, 0) < 0)
        take_error(error);
    g_clear_pointer(&pool, virStoragePoolFree);
    if (connection)
        virConnectClose(connection);
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

static void
wait_for_refresh(struct refresh *refresh)
{
    gint64 deadline = g_get_monotonic_time() + REFRESH_BOUND_S * G_TIME_SPAN_SECOND;

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
    g_mutex_unlock(&refresh->lock);
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
    g_thread_unref(g_thread_new("refresh", run_refresh, g_atomic_rc_box_acquire(refresh)));
    wait_for_refresh(refresh);
    g_atomic_rc_box_release_full(refresh, refresh_clear);
}

bool
libvirt_host_find_volume(struct libvirt_host *host, const char *pool_name, const char *name,
                         struct libvirt_volume *ret_volume, GError **error)
{
    g_autoptr(virStoragePool_t) pool =
        pool_name ? virStoragePoolLookupByName(host->connection, pool_name) : NULL;
    g_autoptr(virStorageVol_t) volume = NULL;
    g_auto(libvirt_volume_t) found = {0};
    char *path = NULL;
    char *xml = NULL;

    if (pool_name)
        volume = pool ? virStorageVolLookupByName(pool, name) : NULL;
    else
        volume = virStorageVolLookupByPath(host->connection, name);
    path = volume ? virStorageVolGetPath(volume) : NULL;
    xml = path ? virStorageVolGetXMLDesc(volume, 0) : NULL;
    if (!xml) {
        free(path);
        take_error(error);
        return false;
    }
    found.path = g_strdup(path);
    found.format = xpath_get_text(xml, "string(/volume/target/format/@type)");
    free(path);
    free(xml);
    *ret_volume = found;
    found = (struct libvirt_volume){0};
    return true;
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
        domain = virDomainLookupByID(host->connection, (int)id);
    if (!domain && uuid_parse(name, &uuid))
        domain = virDomainLookupByUUID(host->connection, uuid.bytes);
    return domain ? domain : virDomainLookupByName(host->connection, name);
}

bool
libvirt_host_find_guest(struct libvirt_host *host, const char *name,
                        struct libvirt_guest *ret_guest, GError **error)
{
    g_autoptr(virDomain_t) domain = look_up_guest(host, name);
    struct libvirt_guest guest = {0};
    int is_active = domain ? virDomainIsActive(domain) : -1;
    int is_persistent = is_active >= 0 ? virDomainIsPersistent(domain) : -1;
    char *xml = is_persistent >= 0 ? virDomainGetXMLDesc(domain, 0) : NULL;

    if (!xml || virDomainGetUUID(domain, guest.uuid.bytes) < 0) {
        take_error(error);
        free(xml);
        return false;
    }
    guest.name = g_strdup(virDomainGetName(domain));
    guest.is_active = is_active > 0;
    guest.is_persistent = is_persistent > 0;
    guest.xml = g_strdup(xml);
    free(xml);
    *ret_guest = guest;
    return true;
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
    g_autoptr(virDomain_t) domain = virDomainLookupByUUID(host->connection, guest->uuid.bytes);

    if (domain && virDomainAttachDeviceFlags(domain, device_xml, flags) == 0)
        return true;
    take_error(error);
    return false;
}
