/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see answer.h.
 */
#include "guest/answer.h"

#include "util/error.h"

bool
guest_answer_get(struct guest_service *service, const struct uuid *guest,
                 struct guest_seen **ret_seen, GError **error)
{
    g_autoptr(GError) failure = NULL;
    struct guest_seen *seen;

    if (!service->libvirt)
        return guest_service_check_libvirt(service, error);
    seen = guest_libvirt_find(service->libvirt, guest, &failure);
    if (!seen && !error_is(failure, ERROR_NO_DOMAIN)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    *ret_seen = seen;
    return true;
}

int64_t
guest_answer_now(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}
