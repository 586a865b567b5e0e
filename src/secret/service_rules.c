/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's rules for definitions. One is stricter here: libvirt lets a redefinition change
 * the type of usage to one under which another secret has the same id, and does not load one of the
 * two at its next start.
 */
#include "secret/service_state.h"
#include "util/error.h"

static bool
check_redefinition(const struct secret *known, const struct secret_def *def, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (g_strcmp0(known->def->usage_id, def->usage_id) != 0) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "a secret with UUID %s is already defined for use with %s",
                  uuid_format(&def->uuid, uuid),
                  known->def->usage_id ? known->def->usage_id : "(null)");
        return false;
    }
    if (known->def->is_private && !def->is_private) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "cannot change private flag on existing secret");
        return false;
    }
    return true;
}

/* The definition that has the usage of `def`, or will have it when a change under way ends. */
static const struct secret_def *
find_usage_holder(const struct secret_service *service, const struct secret_def *def)
{
    const struct secret *holder =
        registry_find_usage(service->registry, def->usage_type, def->usage_id);

    return holder ? holder->def : g_hash_table_lookup(service->reserved, def);
}

static bool
check_usage(const struct secret_service *service, const struct secret_def *def, GError **error)
{
    const struct secret_def *holder;
    char uuid[UUID_TEXT_SIZE];

    if (def->usage_type == SECRET_USAGE_NONE)
        return true;
    holder = find_usage_holder(service, def);
    if (!holder || uuid_equal(&holder->uuid, &def->uuid))
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
              "a secret with UUID %s already defined for use with %s",
              uuid_format(&holder->uuid, uuid), def->usage_id);
    return false;
}

bool
service_check_definition(const struct secret_service *service, const struct secret *known,
                         const struct secret_def *def, GError **error)
{
    return (!known || check_redefinition(known, def, error)) && check_usage(service, def, error);
}
