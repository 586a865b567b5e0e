/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see answer.h.
 */
#include "guest/answer.h"

#include "guest/domain_files.h"
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

bool
guest_answer_check_gone(struct guest_service *service, const struct guest_record *record,
                        GError **error)
{
    g_autoptr(GHashTable) definitions = guest_domain_files_read(service->domain_dir, error);

    if (!definitions)
        return false;
    if (!g_hash_table_contains(definitions, &record->uuid))
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
              "libvirt has a definition of guest '%s' in %s that it did not load: mend or remove "
              "it, and restart libvirt",
              record->name, service->domain_dir);
    return false;
}

int64_t
guest_answer_now(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}
