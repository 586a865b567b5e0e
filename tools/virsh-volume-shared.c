/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what virsh-volume-commands.h says that the volume commands share.
 */
#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/job.h"
#include "tools/key_input.h"
#include "tools/output.h"
#include "tools/size.h"
#include "tools/virsh-volume-commands.h"
#include "util/error.h"
#include "util/uuid.h"

void
virsh_volume_clear(struct virtcrypt_volume_entry *volume)
{
    virtcrypt_volume_entry_clear(volume);
}

static bool
get_by_name(struct session *session, char *pool, char *name, struct virtcrypt_volume_get_ret *ret,
            GError **error)
{
    const struct virtcrypt_volume_ref_args call = {.volume = {.pool = pool, .name = name}};

    return virtcrypt_volume_get_call(session->client, &call, ret, error);
}

static bool
get_by_path(struct session *session, char *path, struct virtcrypt_volume_get_ret *ret,
            GError **error)
{
    const struct virtcrypt_volume_get_by_path_args call = {.path = path};

    if (*path == '/')
        return virtcrypt_volume_get_by_path_call(session->client, &call, ret, error);
    error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL,
              "no storage vol with matching path '%s'", path);
    return false;
}

bool
virsh_volume_lookup(struct session *session, const struct command_args *args,
                    struct virtcrypt_volume_entry *ret_volume)
{
    struct virtcrypt_volume_get_ret found = {0};
    g_autoptr(GError) error = NULL;
    char *pool = NULL;
    char *name = NULL;
    bool is_found;

    if (!command_get_text(args, "vol", &name, &error) ||
        !command_get_text(args, "pool", &pool, &error))
        return output_gerror(error);
    /* As with virsh, a volume of a pool may be named by its path too. */
    if (pool && *name != '/')
        is_found = get_by_name(session, pool, name, &found, &error);
    else
        is_found = get_by_path(session, name, &found, &error);
    if (!is_found)
        return output_failure(error,
                              pool ? "failed to get vol '%s'"
                                   : "failed to get vol '%s', specifying --pool might help",
                              name);
    *ret_volume = found.volume;
    return true;
}

bool
virsh_volume_parse_size(const char *text, uint64_t *ret_size)
{
    g_autofree char *reason = size_parse(text, ret_size);

    if (!reason)
        return true;
    output_error("Malformed size %s", text);
    return !*reason ? false : output_error("%s", reason);
}

bool
virsh_volume_get_size(const struct command_args *args, const char *name, bool *ret_has_size,
                      uint64_t *ret_size)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    if (!command_get_text(args, name, &text, &error))
        return output_gerror(error);
    *ret_has_size = text != NULL;
    return !text || virsh_volume_parse_size(text, ret_size);
}

struct secret_buf *
virsh_volume_read_key(const struct command_args *args, bool is_new)
{
    g_autoptr(GError) error = NULL;
    struct secret_buf *key;
    char *path = NULL;

    if (!command_get_text(args, "key", &path, &error)) {
        output_gerror(error);
        return NULL;
    }
    key = path ? key_input_read(
                     path, "Enter key of the volume:", is_new ? "Enter key again:" : NULL, &error)
               : secret_buf_new(0, &error);
    if (!key)
        output_gerror(error);
    return key;
}

bool
virsh_volume_get_secret(const struct command_args *args, bool *ret_has_secret,
                        struct uuid *ret_secret)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    if (!command_check_exclusive(args, "key", "secret", &error) ||
        !command_get_text(args, "secret", &text, &error))
        return output_gerror(error);
    *ret_has_secret = text != NULL;
    if (text && !uuid_parse(text, ret_secret))
        return output_error("the secret '%s' is not named by its UUID", text);
    return true;
}

bool
virsh_volume_run_job(struct session *session, const struct virsh_volume_job *job,
                     struct virtcrypt_volume_job_ret *ret_end, GError **error)
{
    g_auto(job_t) watch = {.interrupts = -1};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};

    if (!job_begin(&watch, job->label, session->is_quiet, error) ||
        !job->start(session->client, job->call, &end, error) ||
        !job_finish(&watch, session->client, &end, error))
        return false;
    for (uint32_t i = 0; i < end.warnings_len; i++)
        output_warning(end.warnings[i]);
    *ret_end = end;
    end = (struct virtcrypt_volume_job_ret){0};
    return true;
}
