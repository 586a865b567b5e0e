/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is read of one domain: the XML of everything that it may be started from. What it does
 * not have is not asked for; a part that goes away meanwhile is a part that it does not have.
 */
#include <stdlib.h>

#include "guest/libvirt_state.h"
#include "util/error.h"

void
guest_seen_free(struct guest_seen *seen)
{
    if (!seen)
        return;
    g_free(seen->name);
    g_ptr_array_unref(seen->xmls);
    g_free(seen);
}

/* libvirt's own allocator, which need not be GLib's. */
static bool
take_xml(struct guest_seen *seen, char *xml, GError **error)
{
    if (!xml) {
        guest_libvirt_set_error(error);
        return false;
    }
    g_ptr_array_add(seen->xmls, g_strdup(xml));
    free(xml);
    return true;
}

bool
guest_libvirt_is_gone(virDomainPtr domain)
{
    unsigned char uuid[VIR_UUID_BUFLEN];
    virDomainPtr found;

    if (virDomainGetUUID(domain, uuid) < 0)
        return false;
    found = virDomainLookupByUUID(virDomainGetConnect(domain), uuid);
    if (found)
        virDomainFree(found);
    return !found && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
}

/* ---- migration ---- */

static bool
is_migrating_state(virDomainPtr domain)
{
    int state;
    int reason;

    if (virDomainGetState(domain, &state, &reason, 0) < 0)
        return true;
    return (state == VIR_DOMAIN_PAUSED &&
            (reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
             reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)) ||
           (state == VIR_DOMAIN_RUNNING && (reason == VIR_DOMAIN_RUNNING_POSTCOPY ||
                                            reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED));
}

static bool
is_migrating_job(virDomainPtr domain)
{
    virTypedParameterPtr params = NULL;
    int count = 0;
    int type;
    int operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN;

    if (virDomainGetJobStats(domain, &type, &params, &count, 0) < 0)
        return virGetLastErrorCode() != VIR_ERR_NO_SUPPORT;
    virTypedParamsGetInt(params, count, VIR_DOMAIN_JOB_OPERATION, &operation);
    virTypedParamsFree(params, count);
    return type != VIR_DOMAIN_JOB_NONE && (operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN ||
                                           operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT);
}

bool
guest_libvirt_is_migrating(virDomainPtr domain)
{
    return is_migrating_state(domain) || is_migrating_job(domain);
}

/* ---- which parts ---- */

/* `answer` of a question that some drivers do not know: they have none of it then. */
static bool
take_count(int answer, bool *ret_has, GError **error)
{
    if (answer < 0 && virGetLastErrorCode() != VIR_ERR_NO_SUPPORT) {
        guest_libvirt_set_error(error);
        return false;
    }
    *ret_has = answer > 0;
    return true;
}

bool
guest_libvirt_get_traits(virDomainPtr domain, struct libvirt_traits *ret_traits, GError **error)
{
    struct libvirt_traits traits;

    if (!take_count(virDomainIsActive(domain), &traits.is_active, error) ||
        !take_count(virDomainIsPersistent(domain), &traits.is_persistent, error) ||
        !take_count(virDomainHasManagedSaveImage(domain, 0), &traits.has_saved_image, error) ||
        !take_count(virDomainSnapshotNum(domain, 0), &traits.has_snapshots, error) ||
        !take_count(virDomainListAllCheckpoints(domain, NULL, 0), &traits.has_checkpoints, error))
        return false;
    *ret_traits = traits;
    return true;
}

/* ---- the parts ---- */

static bool
add_saved_image(struct guest_seen *seen, virDomainPtr domain, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (take_xml(seen, virDomainManagedSaveGetXMLDesc(domain, 0), &failure) ||
        virDomainHasManagedSaveImage(domain, 0) == 0)
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
add_snapshots(struct guest_seen *seen, virDomainPtr domain, GError **error)
{
    virDomainSnapshotPtr *snapshots = NULL;
    int count = virDomainListAllSnapshots(domain, &snapshots, 0);
    bool is_good = count >= 0;

    if (!is_good)
        guest_libvirt_set_error(error);
    for (int i = 0; i < count; i++) {
        char *xml = is_good ? virDomainSnapshotGetXMLDesc(snapshots[i], 0) : NULL;

        if (is_good && (xml || virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_SNAPSHOT))
            is_good = take_xml(seen, xml, error);
        virDomainSnapshotFree(snapshots[i]);
    }
    free(snapshots);
    return is_good;
}

static bool
add_checkpoints(struct guest_seen *seen, virDomainPtr domain, GError **error)
{
    virDomainCheckpointPtr *checkpoints = NULL;
    int count = virDomainListAllCheckpoints(domain, &checkpoints, 0);
    bool is_good = count >= 0;

    if (!is_good)
        guest_libvirt_set_error(error);
    for (int i = 0; i < count; i++) {
        char *xml = is_good ? virDomainCheckpointGetXMLDesc(checkpoints[i], 0) : NULL;

        if (is_good && (xml || virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_CHECKPOINT))
            is_good = take_xml(seen, xml, error);
        virDomainCheckpointFree(checkpoints[i]);
    }
    free(checkpoints);
    return is_good;
}

static bool
add_xmls(struct guest_seen *seen, virDomainPtr domain, const struct libvirt_traits *traits,
         GError **error)
{
    if (traits->is_persistent &&
        !take_xml(seen, virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE), error))
        return false;
    if ((traits->is_active || !traits->is_persistent) &&
        !take_xml(seen, virDomainGetXMLDesc(domain, 0), error))
        return false;
    return (!traits->has_saved_image || add_saved_image(seen, domain, error)) &&
           (!traits->has_snapshots || add_snapshots(seen, domain, error)) &&
           (!traits->has_checkpoints || add_checkpoints(seen, domain, error));
}

struct guest_seen *
guest_libvirt_look(virDomainPtr domain, const struct libvirt_traits *traits, GError **error)
{
    g_autoptr(guest_seen_t) seen = g_new0(struct guest_seen, 1);
    const char *name = virDomainGetName(domain);

    seen->xmls = g_ptr_array_new_with_free_func(g_free);
    if (!name || virDomainGetUUID(domain, seen->uuid.bytes) < 0) {
        guest_libvirt_set_error(error);
        return NULL;
    }
    seen->name = g_strdup(name);
    seen->is_active = traits->is_active;
    seen->is_persistent = traits->is_persistent;
    return add_xmls(seen, domain, traits, error) ? g_steal_pointer(&seen) : NULL;
}
