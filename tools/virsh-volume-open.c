/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: vol-open and vol-close.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/libvirt_host.h"
#include "tools/output.h"
#include "tools/virsh-volume-commands.h"
#include "tools/volume_pages.h"
#include "util/error.h"
#include "util/uuid.h"

bool
virsh_volume_open(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    struct virtcrypt_volume_open_args call = {.is_readonly = command_has(args, "readonly")};
    struct virtcrypt_volume_open_ret opened = {0};
    g_autoptr(GError) error = NULL;

    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    call.volume = (struct virtcrypt_volume_ref){.pool = volume.pool, .name = volume.name};
    if (!virtcrypt_volume_open_call(session->client, &call, &opened, &error))
        return output_failure(error, "Failed to open vol %s", volume.name);
    if (session->is_quiet)
        printf("%s\n", opened.path);
    else
        printf("Vol %s opened as %s\n", volume.name, opened.path);
    virtcrypt_volume_open_ret_clear(&opened);
    return true;
}

/* A guest that does not exist any more can be named by its uuid; libvirt is asked for names only.
 */
static bool
find_guest(struct session *session, char *name, struct remote_nonnull_domain *ret_guest,
           GError **error)
{
    g_autoptr(libvirt_host_t) host = NULL;
    g_auto(libvirt_guest_t) found = {0};
    struct uuid uuid;

    ret_guest->id = -1;
    ret_guest->name = name;
    if (!uuid_parse(name, &uuid)) {
        host = libvirt_host_open(session, error);
        if (!host || !libvirt_host_find_guest(host, name, &found, error))
            return false;
        uuid = found.uuid;
    }
    memcpy(ret_guest->uuid, uuid.bytes, sizeof(uuid.bytes));
    return true;
}

static bool
close_one(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    struct virtcrypt_volume_open_args call = {0};
    struct remote_nonnull_domain guest = {0};
    g_autoptr(GError) error = NULL;
    char *guest_name = NULL;

    if (!command_get_text(args, "guest", &guest_name, &error))
        return output_gerror(error);
    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    if (guest_name && !find_guest(session, guest_name, &guest, &error))
        return output_failure(error, "failed to get domain '%s'", guest_name);
    call.volume = (struct virtcrypt_volume_ref){.pool = volume.pool, .name = volume.name};
    call.guest = guest_name ? &guest : NULL;
    if (!virtcrypt_volume_close_call(session->client, &call, &error))
        return output_failure(error, "Failed to close vol %s", volume.name);
    if (!session->is_quiet)
        printf("Vol %s closed\n", volume.name);
    return true;
}

/* What a guest still uses stays open and is no error; it is said. */
static bool
close_listed(struct session *session, const struct virtcrypt_volume_entry *volume)
{
    const struct virtcrypt_volume_open_args call = {
        .volume = {.pool = volume->pool, .name = volume->name},
    };
    g_autoptr(GError) error = NULL;

    if (virtcrypt_volume_close_call(session->client, &call, &error)) {
        if (!session->is_quiet)
            printf("Vol %s of pool %s closed\n", volume->name, volume->pool);
        return true;
    }
    if (!error_is(error, ERROR_OPERATION_INVALID))
        return output_failure(error, "Failed to close vol %s of pool %s", volume->name,
                              volume->pool);
    if (!session->is_quiet)
        output_note("vol %s of pool %s stays open for %s", volume->name, volume->pool,
                    volume->users ? volume->users : "others");
    return true;
}

static bool
close_all(struct session *session, const struct command_args *args)
{
    g_autoptr(GPtrArray) volumes = NULL;
    g_autoptr(GError) error = NULL;
    char *pool = NULL;
    bool is_done = true;

    if (!command_get_text(args, "pool", &pool, &error))
        return output_gerror(error);
    volumes = volume_pages_get(session->client, pool, &error);
    if (!volumes)
        return output_failure(error, "Failed to list volumes");
    for (guint i = 0; i < volumes->len; i++) {
        const struct virtcrypt_volume_entry *volume = g_ptr_array_index(volumes, i);

        if (volume->is_open)
            is_done = close_listed(session, volume) && is_done;
    }
    return is_done;
}

bool
virsh_volume_close(struct session *session, const struct command_args *args)
{
    static const char *const others[] = {"vol", "guest"};
    g_autoptr(GError) error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        if (!command_check_exclusive(args, "all", others[i], &error))
            return output_gerror(error);
    }
    if (command_has(args, "all"))
        return close_all(session, args);
    if (!command_has(args, "vol"))
        return output_error("command 'vol-close' requires <vol> option, or --all");
    return close_one(session, args);
}
