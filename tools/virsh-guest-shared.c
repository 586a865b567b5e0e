/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how guests and secrets are found by what they are called.
 */
#include <string.h>

#include "rpc/protocol/remote_secret_client.h"
#include "tools/guest_pages.h"
#include "tools/output.h"
#include "tools/virsh-guest-commands.h"
#include "util/error.h"

/* Of libvirt's: volume, ceph, iscsi, tls, vtpm. */
enum { USAGE_TYPE_FIRST = 1, USAGE_TYPE_LAST = 5 };

void
virsh_guest_clear(struct virsh_guest *guest)
{
    g_clear_pointer(&guest->name, g_free);
}

bool
virsh_guest_find_known(struct session *session, const char *text, struct virsh_guest *ret_guest,
                       GError **error)
{
    g_autoptr(GPtrArray) guests = guest_pages_get_guests(session->client, error);
    const struct virtcrypt_guest_entry *found = NULL;

    for (guint i = 0; guests && i < guests->len; i++) {
        const struct virtcrypt_guest_entry *guest = g_ptr_array_index(guests, i);

        if (strcmp(guest->name, text) != 0)
            continue;
        if (found) {
            error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG,
                      "virtcryptd has known several guests '%s': use the UUID, see 'virtcrypt "
                      "guest-list'",
                      text);
            return false;
        }
        found = guest;
    }
    if (!found)
        return false;
    memcpy(ret_guest->uuid.bytes, found->uuid, sizeof(ret_guest->uuid.bytes));
    ret_guest->name = g_strdup(found->name);
    return true;
}

const GError *
virsh_guest_choose_error(const GError *libvirts, const GError *lists)
{
    return lists && error_is(lists, ERROR_INVALID_ARG) ? lists : libvirts;
}

bool
virsh_guest_find(struct session *session, const char *text, struct virsh_guest *ret_guest)
{
    g_autoptr(libvirt_host_t) host = NULL;
    g_auto(libvirt_guest_t) found = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) list_error = NULL;

    if (uuid_parse(text, &ret_guest->uuid)) {
        ret_guest->name = g_strdup(text);
        return true;
    }
    host = libvirt_host_open(session, &error);
    if (host && libvirt_host_find_guest(host, text, &found, &error)) {
        ret_guest->uuid = found.uuid;
        ret_guest->name = g_strdup(found.name);
        return true;
    }
    if (virsh_guest_find_known(session, text, ret_guest, &list_error))
        return true;
    return output_failure(virsh_guest_choose_error(error, list_error), "failed to get domain '%s'",
                          text);
}

bool
virsh_guest_get(struct session *session, const struct command_args *args, const char *name,
                bool *ret_is_given, struct virsh_guest *ret_guest)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    if (!command_get_text(args, name, &text, &error))
        return output_gerror(error);
    *ret_is_given = text != NULL;
    return !text || virsh_guest_find(session, text, ret_guest);
}

/* How many secrets have that usage, of whatever type; -1 after an error. */
static int
look_up_usage(struct session *custodian, char *usage, struct uuid *ret_secret, GError **error)
{
    int count = 0;

    for (int type = USAGE_TYPE_FIRST; type <= USAGE_TYPE_LAST; type++) {
        const struct remote_secret_lookup_by_usage_args call = {
            .usageType = type,
            .usageID = usage,
        };
        struct remote_secret_lookup_by_usage_ret found = {0};
        g_autoptr(GError) refusal = NULL;

        if (remote_secret_lookup_by_usage_call(custodian->client, &call, &found, &refusal)) {
            memcpy(ret_secret->bytes, found.secret.uuid, sizeof(ret_secret->bytes));
            remote_secret_lookup_by_usage_ret_clear(&found);
            count++;
        } else if (!error_is(refusal, ERROR_NO_SECRET)) {
            g_propagate_error(error, g_steal_pointer(&refusal));
            return -1;
        }
    }
    return count;
}

bool
virsh_guest_find_secret(struct session *session, const char *text, struct uuid *ret_secret)
{
    g_auto(session_t) custodian = session_beside(session, URI_SECRETD);
    g_autofree char *usage = g_strdup(text);
    g_autoptr(GError) error = NULL;
    int count;

    if (uuid_parse(text, ret_secret))
        return true;
    if (!session_connect(&custodian))
        return false;
    count = look_up_usage(&custodian, usage, ret_secret, &error);
    if (count == 0)
        error_set(&error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no secret with matching usage '%s'",
                  text);
    else if (count > 1)
        error_set(&error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "several secrets have the usage '%s': use the UUID", text);
    return count == 1 || output_failure(error, "failed to get secret '%s'", text);
}
