/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the service's parts and the order in which they begin and end; the locks of guests; what
 * was logged of which guest.
 */
#include "guest/service.h"

#include "guest/autostart.h"
#include "guest/reconcile.h"
#include "guest/service_state.h"
#include "guest/watch.h"
#include "util/error.h"
#include "util/log.h"

enum {
    LOCK_BOUND_S = 30,
    RETRY_S = 30,
    MIGRATED_S = 60, /* from a migration's event to that of the undefining that ends it */
};

/* ---- the service ---- */

/* In a thread of libvirt's loop. */
static void
on_event(void *opaque, enum guest_libvirt_event event, const struct uuid *guest)
{
    struct guest_service *service = opaque;

    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->lock);

    if (event == GUEST_LIBVIRT_CONNECTED || event == GUEST_LIBVIRT_LOST) {
        guest_watch_set_connected(service->watch, event == GUEST_LIBVIRT_CONNECTED);
        return;
    }
    if (event == GUEST_LIBVIRT_STARTED && service->autostart)
        guest_autostart_note_started(service->autostart, guest);
    if (event == GUEST_LIBVIRT_MIGRATED) {
        gint64 when = g_get_monotonic_time();

        g_hash_table_replace(service->migrated, g_memdup2(guest, sizeof(*guest)),
                             g_memdup2(&when, sizeof(when)));
    }
    guest_watch_note_guest(service->watch, guest);
}

static bool
look(void *opaque, const GArray *guests, int64_t *ret_look_again, GError **error)
{
    return guest_reconcile(opaque, guests, ret_look_again, error);
}

static GHashTable *
table_new(void)
{
    return g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, g_free);
}

struct guest_service *
guest_service_new(const struct guest_service_params *params, GError **error)
{
    g_autoptr(guest_service_t) service = g_new0(struct guest_service, 1);

    g_mutex_init(&service->lock);
    g_cond_init(&service->unlocked);
    g_mutex_init(&service->owners_mutex);
    service->busy = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    service->migrated = table_new();
    service->troubles = table_new();
    service->domain_dir = g_strdup(params->domain_dir);
    service->autostart_path = g_strdup(params->autostart_path);
    service->conf = params->conf;
    service->storage = params->storage;
    service->custodian = params->custodian;
    service->records = guest_records_new(params->records_dir, error);
    return service->records ? g_steal_pointer(&service) : NULL;
}

void
guest_service_start(struct guest_service *service)
{
    const struct guest_watch_params params = {
        .look = look,
        .opaque = service,
        .interval_s = service->conf->reconcile_interval,
        .retry_s = RETRY_S,
    };

    if (!service->conf->libvirt_uri)
        return;
    /* The first event waits: the look that it causes needs the connection. */
    g_mutex_lock(&service->lock);
    service->watch = guest_watch_new(&params);
    service->libvirt = guest_libvirt_new(service->conf->libvirt_uri, on_event, service);
    if (service->autostart_path)
        service->autostart = guest_autostart_new(service, service->autostart_path);
    g_mutex_unlock(&service->lock);
}

void
guest_service_stop(struct guest_service *service)
{
    if (service->watch)
        guest_watch_stop(service->watch);
    if (service->autostart)
        guest_autostart_stop(service->autostart);
    if (service->libvirt)
        guest_libvirt_stop(service->libvirt);
}

/* Stopped first, so that the look that is under way ends soon. */
void
guest_service_free(struct guest_service *service)
{
    if (!service)
        return;
    guest_service_stop(service);
    guest_watch_free(service->watch);
    guest_autostart_free(service->autostart);
    guest_libvirt_free(service->libvirt);
    guest_records_free(service->records);
    g_hash_table_unref(service->busy);
    g_hash_table_unref(service->migrated);
    g_hash_table_unref(service->troubles);
    g_free(service->trouble_of_all);
    g_free(service->domain_dir);
    g_free(service->autostart_path);
    g_mutex_clear(&service->lock);
    g_cond_clear(&service->unlocked);
    g_mutex_clear(&service->owners_mutex);
    g_free(service);
}

bool
guest_service_check_libvirt(struct guest_service *service, GError **error)
{
    g_autofree char *problem = service->libvirt ? guest_libvirt_problem(service->libvirt) : NULL;

    if (service->libvirt && !problem)
        return true;
    if (!service->libvirt)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_UNSUPPORTED,
                  "no guests are watched: set libvirt_uri in virtcryptd.conf");
    else
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
                  "libvirt can't be asked at '%s': %s", guest_libvirt_uri(service->libvirt),
                  problem);
    return false;
}

bool
guest_service_reconcile(struct guest_service *service, GError **error)
{
    return guest_service_check_libvirt(service, error) &&
           guest_watch_look_now(service->watch, error);
}

void
guest_service_note_volume(struct guest_service *service)
{
    if (service->watch)
        guest_watch_note_all(service->watch);
}

bool
guest_service_needs_elsewhere(struct guest_service *service, const struct uuid *secret,
                              const char *path)
{
    return guest_records_need_elsewhere(service->records, secret, path);
}

/* ---- locks of guests ---- */

static void
set_busy(struct guest_service *service, const struct uuid *guest)
{
    g_hash_table_add(service->busy, g_memdup2(guest, sizeof(*guest)));
}

bool
guest_service_try_lock(struct guest_service *service, const struct uuid *guest)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->lock);

    if (g_hash_table_contains(service->busy, guest))
        return false;
    set_busy(service, guest);
    return true;
}

bool
guest_service_lock(struct guest_service *service, const struct uuid *guest, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + LOCK_BOUND_S * G_TIME_SPAN_SECOND;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->lock);
    char uuid[UUID_TEXT_SIZE];

    while (g_hash_table_contains(service->busy, guest)) {
        if (!g_cond_wait_until(&service->unlocked, &service->lock, deadline)) {
            error_set(error, ERROR_FROM_DOMAIN, ERROR_RESOURCE_BUSY,
                      "another operation on guest %s is under way", uuid_format(guest, uuid));
            return false;
        }
    }
    set_busy(service, guest);
    return true;
}

void
guest_service_unlock(struct guest_service *service, const struct uuid *guest)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->lock);

    g_hash_table_remove(service->busy, guest);
    g_cond_broadcast(&service->unlocked);
}

/* ---- what libvirt reported ---- */

static gboolean
is_old(gpointer guest G_GNUC_UNUSED, gpointer when, gpointer limit)
{
    return *(const gint64 *)when < *(const gint64 *)limit;
}

bool
guest_service_was_migrated(struct guest_service *service, const struct uuid *guest)
{
    gint64 limit = g_get_monotonic_time() - MIGRATED_S * G_TIME_SPAN_SECOND;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->lock);

    g_hash_table_foreach_remove(service->migrated, is_old, &limit);
    return g_hash_table_contains(service->migrated, guest);
}

/* ---- what was logged ---- */

void
guest_service_note_trouble(struct guest_service *service, const struct uuid *guest,
                           const char *name, const GError *error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->lock);

    if (!error) {
        g_hash_table_remove(service->troubles, guest);
        return;
    }
    if (g_strcmp0(error->message, g_hash_table_lookup(service->troubles, guest)) == 0)
        return;
    log_warn("guest '%s': its keys are left as they are, and tried again: %s", name,
             error->message);
    g_hash_table_replace(service->troubles, g_memdup2(guest, sizeof(*guest)),
                         g_strdup(error->message));
}

void
guest_service_note_trouble_of_all(struct guest_service *service, const char *text)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->lock);

    if (text && g_strcmp0(text, service->trouble_of_all) != 0)
        log_warn("no key is taken from any guest meanwhile: %s", text);
    g_free(service->trouble_of_all);
    service->trouble_of_all = g_strdup(text);
}
