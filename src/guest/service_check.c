/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the use case of checking a guest: libvirt says how it would start, check.h whether it
 * would.
 */
#include "guest/check.h"
#include "guest/service_state.h"
#include "util/error.h"

struct guest_check *
guest_service_check(struct guest_service *service, const struct uuid *guest, GError **error)
{
    g_autoptr(guest_seen_t) seen = NULL;

    if (!guest_service_check_libvirt(service, error))
        return NULL;
    seen = guest_libvirt_find(service->libvirt, guest, error);
    if (!seen)
        return NULL;
    if (seen->xmls->len == 0) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_INTERNAL, "libvirt has no XML of guest '%s'",
                  seen->name);
        return NULL;
    }
    /* The first one: as it would start; of a transient guest, as it runs. */
    return guest_check_make(service, seen->name, seen->xmls->pdata[0], error);
}
