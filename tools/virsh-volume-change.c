/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: vol-delete, vol-wipe, vol-resize, vol-rekey.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/libvirt_host.h"
#include "tools/output.h"
#include "tools/virsh-volume-commands.h"
#include "util/error.h"

static struct virtcrypt_volume_ref
ref_to(const struct virtcrypt_volume_entry *volume)
{
    return (struct virtcrypt_volume_ref){.pool = volume->pool, .name = volume->name};
}

/* The stubs, with the type of their arguments forgotten. */
static bool
start_delete(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
             GError **error)
{
    return virtcrypt_volume_delete_call(client, call, ret, error);
}

static bool
start_wipe(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
           GError **error)
{
    return virtcrypt_volume_wipe_call(client, call, ret, error);
}

static bool
start_resize(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
             GError **error)
{
    return virtcrypt_volume_resize_call(client, call, ret, error);
}

static bool
start_rekey(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
            GError **error)
{
    return virtcrypt_volume_rekey_call(client, call, ret, error);
}

bool
virsh_volume_delete(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};
    struct virtcrypt_volume_ref_args call = {0};
    const struct virsh_volume_job job = {"Delete volume", &call, start_delete};
    g_autoptr(GError) error = NULL;

    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    call.volume = ref_to(&volume);
    if (!virsh_volume_run_job(session, &job, &end, &error))
        return output_failure(error, "Failed to delete vol %s", volume.name);
    libvirt_host_refresh_pool(session, volume.pool);
    if (!session->is_quiet)
        printf("Vol %s deleted\n", volume.name);
    return true;
}

/* Of virStorageVolWipeAlgorithm. */
static bool
find_algorithm(const char *name, uint32_t *ret_algorithm)
{
    static const char *const names[] = {"zero",     "nnsa",      "dod",        "bsi",    "gutmann",
                                        "schneier", "pfitzner7", "pfitzner33", "random", "trim"};

    for (uint32_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_algorithm = i;
            return true;
        }
    }
    return false;
}

bool
virsh_volume_wipe(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};
    struct virtcrypt_volume_wipe_args call = {0};
    const struct virsh_volume_job job = {"Wipe volume", &call, start_wipe};
    g_autoptr(GError) error = NULL;
    char *algorithm = NULL;

    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    if (!command_get_text(args, "algorithm", &algorithm, &error))
        return output_gerror(error);
    if (algorithm && !find_algorithm(algorithm, &call.algorithm))
        return output_error("Unsupported algorithm '%s'", algorithm);
    call.volume = ref_to(&volume);
    if (!virsh_volume_run_job(session, &job, &end, &error))
        return output_failure(error, "Failed to wipe vol %s", volume.name);
    if (!session->is_quiet)
        printf("Vol %s wiped\n", volume.name);
    return true;
}

enum { /* of virStorageVolResizeFlags */
       RESIZE_ALLOCATE = 1 << 0,
       RESIZE_DELTA = 1 << 1,
       RESIZE_SHRINK = 1 << 2,
};

/* As with virsh, a size that begins with '-' is a difference; *ret_text is without that sign. */
static bool
parse_resize(const struct command_args *args, struct virtcrypt_volume_resize_args *call,
             char **ret_text)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    if (!command_get_text(args, "capacity", &text, &error))
        return output_gerror(error);
    call->flags = (command_has(args, "allocate") ? RESIZE_ALLOCATE : 0) |
                  (command_has(args, "delta") ? RESIZE_DELTA : 0) |
                  (command_has(args, "shrink") ? RESIZE_SHRINK : 0);
    if (*text == '-') {
        if (!(call->flags & RESIZE_SHRINK))
            return output_error("negative size requires --shrink");
        call->flags |= RESIZE_DELTA;
        text++;
    }
    *ret_text = text;
    return virsh_volume_parse_size(text, &call->capacity);
}

bool
virsh_volume_resize(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};
    struct virtcrypt_volume_resize_args call = {0};
    const struct virsh_volume_job job = {"Resize volume", &call, start_resize};
    g_autoptr(GError) error = NULL;
    const char *how;
    char *text = NULL;

    if (!virsh_volume_lookup(session, args, &volume) || !parse_resize(args, &call, &text))
        return false;
    how = call.flags & RESIZE_DELTA ? "by" : "to";
    call.volume = ref_to(&volume);
    if (!virsh_volume_run_job(session, &job, &end, &error))
        return output_failure(error, "Failed to change size of volume '%s' %s %s", volume.name, how,
                              text);
    libvirt_host_refresh_pool(session, volume.pool);
    if (!session->is_quiet)
        printf("Size of volume '%s' successfully changed %s %s\n", volume.name, how, text);
    return true;
}

bool
virsh_volume_rekey(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};
    struct virtcrypt_volume_ref_args call = {0};
    const struct virsh_volume_job job = {"Re-key volume", &call, start_rekey};
    g_autoptr(GError) error = NULL;

    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    call.volume = ref_to(&volume);
    if (!virsh_volume_run_job(session, &job, &end, &error))
        return output_failure(error, "Failed to re-key vol %s", volume.name);
    if (!session->is_quiet)
        printf("Vol %s re-keyed\n", volume.name);
    return true;
}
