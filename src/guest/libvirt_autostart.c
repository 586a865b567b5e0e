/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls about guests that should have been started at boot.
 */
#include <stdlib.h>

#include "guest/libvirt_state.h"
#include "util/error.h"

enum { LIST_BOUND_S = 120, START_BOUND_S = 180 };

static void
free_seen(void *seen)
{
    guest_seen_free(seen);
}

/* One that went meanwhile is left out. */
static bool
add_domain(GPtrArray *found, virDomainPtr domain, GError **error)
{
    struct libvirt_traits traits;
    struct guest_seen *seen = guest_libvirt_get_traits(domain, &traits, error)
                                  ? guest_libvirt_look(domain, &traits, error)
                                  : NULL;

    if (!seen && guest_libvirt_is_gone(domain)) {
        g_clear_error(error);
        return true;
    }
    if (seen)
        g_ptr_array_add(found, seen);
    return seen != NULL;
}

static bool
run_list(struct libvirt_call *call, GError **error)
{
    static const unsigned int filter = VIR_CONNECT_LIST_DOMAINS_INACTIVE |
                                       VIR_CONNECT_LIST_DOMAINS_PERSISTENT |
                                       VIR_CONNECT_LIST_DOMAINS_AUTOSTART;
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(call->conn, &domains, filter);
    bool is_good = count >= 0;

    if (!is_good)
        guest_libvirt_set_error(error);
    call->found = g_ptr_array_new_with_free_func(free_seen);
    for (int i = 0; i < count; i++) {
        is_good = is_good && add_domain(call->found, domains[i], error);
        virDomainFree(domains[i]);
    }
    free(domains);
    return is_good;
}

GPtrArray *
guest_libvirt_list_unstarted(struct guest_libvirt *libvirt, GError **error)
{
    g_autoptr(libvirt_call_t) call =
        guest_libvirt_call_new(run_list, "listing guests that autostart");

    call->bound_s = LIST_BOUND_S;
    if (!guest_libvirt_call_run(libvirt, call, error))
        return NULL;
    return g_steal_pointer(&call->found);
}

static bool
run_start(struct libvirt_call *call, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUID(call->conn, call->guest.bytes);
    bool is_good = domain && virDomainCreate(domain) == 0;

    if (!is_good)
        guest_libvirt_set_error(error);
    if (domain)
        virDomainFree(domain);
    return is_good;
}

bool
guest_libvirt_start(struct guest_libvirt *libvirt, const struct uuid *guest, GError **error)
{
    g_autoptr(libvirt_call_t) call = guest_libvirt_call_new(run_start, "starting a guest");

    call->guest = *guest;
    call->bound_s = START_BOUND_S;
    return guest_libvirt_call_run(libvirt, call, error);
}
