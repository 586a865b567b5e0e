/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: vol-clone, of a volume of ours or of libvirt's, and vol-adopt.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/libvirt_host.h"
#include "tools/output.h"
#include "tools/virsh-volume-commands.h"
#include "tools/volume_spec.h"
#include "util/error.h"

/* Of virtcrypt_volume.x. */
enum {
    CREATE_PREALLOC_METADATA = 1 << 0,
    CREATE_REFLINK = 1 << 1,
    CREATE_OVERWRITE = 1 << 16,
    CREATE_DECRYPT = 1 << 17,
    CREATE_NEW_KEY = 1 << 18,
};

static bool
start_create(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
             GError **error)
{
    return virtcrypt_volume_create_call(client, call, ret, error);
}

static bool
start_adopt(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
            GError **error)
{
    return virtcrypt_volume_adopt_call(client, call, ret, error);
}

struct source {
    struct virtcrypt_volume_entry ours; /* `ours.name` is NULL if it is none of ours */
    struct libvirt_volume libvirts;
};

static void
source_clear(struct source *source)
{
    virtcrypt_volume_entry_clear(&source->ours);
    libvirt_volume_clear(&source->libvirts);
}

typedef struct source source_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(source_t, source_clear)

static bool
find_ours(struct session *session, char *pool, char *name, struct source *source, GError **error)
{
    const struct virtcrypt_volume_ref_args by_name = {.volume = {.pool = pool, .name = name}};
    const struct virtcrypt_volume_get_by_path_args by_path = {.path = name};
    struct virtcrypt_volume_get_ret found = {0};
    bool is_found =
        pool && *name != '/'
            ? virtcrypt_volume_get_call(session->client, &by_name, &found, error)
            : virtcrypt_volume_get_by_path_call(session->client, &by_path, &found, error);

    if (is_found)
        source->ours = found.volume;
    return is_found;
}

static bool
find_source(struct session *session, const struct command_args *args, struct source *source)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(libvirt_host_t) host = NULL;
    char *pool = NULL;
    char *name = NULL;

    if (!command_get_text(args, "vol", &name, &error) ||
        !command_get_text(args, "pool", &pool, &error))
        return output_gerror(error);
    if (!pool && *name != '/') {
        output_error("failed to get vol '%s', specifying --pool might help", name);
        return output_error("Storage volume not found: no storage vol with matching path '%s'",
                            name);
    }
    if (find_ours(session, pool, name, source, &error))
        return true;
    if (error_is(error, ERROR_NO_STORAGE_VOL)) {
        g_clear_error(&error);
        host = libvirt_host_open(session, &error);
        if (host && libvirt_host_find_volume(host, *name == '/' ? NULL : pool, name,
                                             &source->libvirts, &error))
            return true;
    }
    return output_failure(error, "failed to get vol '%s'", name);
}

struct clone {
    char *pool;
    char *source_name;
    char *format;
    struct volume_spec spec;
    uint32_t flags;
};

static uint32_t
clone_flags(const struct command_args *args)
{
    return (command_has(args, "prealloc-metadata") ? CREATE_PREALLOC_METADATA : 0) |
           (command_has(args, "reflink") ? CREATE_REFLINK : 0) |
           (command_has(args, "force") ? CREATE_OVERWRITE : 0) |
           (command_has(args, "decrypt") ? CREATE_DECRYPT : 0) |
           (command_has(args, "new-key") ? CREATE_NEW_KEY : 0);
}

static bool
check_exclusive(const struct command_args *args, GError **error)
{
    static const char *const pairs[][2] = {
        {"decrypt", "new-key"}, {"decrypt", "key"},    {"decrypt", "secret"},
        {"new-key", "key"},     {"new-key", "secret"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        if (!command_check_exclusive(args, pairs[i][0], pairs[i][1], error))
            return false;
    }
    return true;
}

static bool
parse_clone(const struct command_args *args, const struct source *source, struct clone *ret_clone)
{
    struct clone clone = {.flags = clone_flags(args)};
    g_autoptr(GError) error = NULL;
    char *new_pool = NULL;
    char *name = NULL;

    if (!check_exclusive(args, &error) ||
        !command_get_text(args, "vol", &clone.source_name, &error) ||
        !command_get_text(args, "pool", &clone.pool, &error) ||
        !command_get_text(args, "newpool", &new_pool, &error) ||
        !command_get_text(args, "newname", &name, &error) ||
        !command_get_text(args, "format", &clone.format, &error))
        return output_gerror(error);
    if (new_pool)
        clone.pool = new_pool;
    else if (source->ours.name)
        clone.pool = source->ours.pool;
    if (!clone.pool)
        return output_error("the pool of the clone is not known: use --newpool");
    clone.spec.name = name;
    if (!virsh_volume_get_secret(args, &clone.spec.has_secret, &clone.spec.secret))
        return false;
    *ret_clone = clone;
    return true;
}

/* The XML names a kind where the source is of none, or another one or another key is wanted; what
 * is left out is as in the source. */
static bool
set_kind(const struct command_args *args, const struct source *source, struct clone *clone)
{
    struct volume_spec *spec = &clone->spec;
    bool is_decrypted = clone->flags & CREATE_DECRYPT;
    g_autoptr(GError) error = NULL;

    if (clone->format) {
        if (!volume_spec_find_kind(clone->format, &spec->kind, &error))
            return output_gerror(error);
    } else if (source->ours.name) {
        spec->kind = source->ours.kind < VOLUME_SPEC_UNKNOWN
                         ? (enum volume_spec_kind)source->ours.kind
                         : VOLUME_SPEC_UNKNOWN;
    } else {
        spec->kind =
            g_strcmp0(source->libvirts.format, "qcow2") == 0 ? VOLUME_SPEC_QCOW2 : VOLUME_SPEC_RAW;
    }
    if (is_decrypted && spec->kind == VOLUME_SPEC_DM_CRYPT)
        spec->kind = VOLUME_SPEC_RAW;
    spec->is_encrypted = !is_decrypted && (!source->ours.name || clone->format ||
                                           spec->has_secret || command_has(args, "key"));
    return true;
}

bool
virsh_volume_clone(struct session *session, const struct command_args *args)
{
    g_auto(source_t) source = {0};
    struct clone clone = {0};
    struct virtcrypt_volume_create_args call = {0};
    const struct virsh_volume_job job = {"Clone volume", &call, start_create};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};
    struct virtcrypt_volume_ref ref;
    g_autoptr(secret_buf_t) key = NULL;
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;

    if (!find_source(session, args, &source) || !parse_clone(args, &source, &clone) ||
        !set_kind(args, &source, &clone))
        return false;
    xml = volume_spec_format(&clone.spec);
    if (command_has(args, "print-xml")) {
        printf("%s", xml);
        return true;
    }
    key = virsh_volume_read_key(args, true);
    if (!key)
        return false;
    ref = (struct virtcrypt_volume_ref){.pool = source.ours.pool, .name = source.ours.name};
    call = (struct virtcrypt_volume_create_args){
        .pool = clone.pool,
        .xml = xml,
        .source = source.ours.name ? &ref : NULL,
        .source_path = source.libvirts.path,
        .source_format = source.libvirts.format,
        .flags = clone.flags,
        .key = key,
    };
    if (!virsh_volume_run_job(session, &job, &end, &error))
        return output_failure(error, "Failed to clone vol from %s", clone.source_name);
    libvirt_host_refresh_pool(session, clone.pool);
    if (!session->is_quiet)
        printf("Vol %s cloned from %s\n", clone.spec.name, clone.source_name);
    return true;
}

static bool
parse_adoption(const struct command_args *args, char **ret_pool, struct volume_spec *spec,
               GError **error)
{
    char *name = NULL;
    char *path = NULL;
    char *format = NULL;
    char *pool = NULL;

    if (!command_get_text(args, "pool", &pool, error) ||
        !command_get_text(args, "vol", &name, error) ||
        !command_get_text(args, "path", &path, error) ||
        !command_get_text(args, "format", &format, error) ||
        (format && !volume_spec_find_kind(format, &spec->kind, error)))
        return false;
    spec->name = name;
    spec->path = path;
    *ret_pool = pool;
    return true;
}

bool
virsh_volume_adopt(struct session *session, const struct command_args *args)
{
    struct volume_spec spec = {.kind = VOLUME_SPEC_UNKNOWN, .is_encrypted = true};
    struct virtcrypt_volume_create_args call = {0};
    const struct virsh_volume_job job = {"Adopt volume", &call, start_adopt};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};
    g_autoptr(secret_buf_t) key = NULL;
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;

    if (!parse_adoption(args, &call.pool, &spec, &error))
        return output_gerror(error);
    if (!virsh_volume_get_secret(args, &spec.has_secret, &spec.secret))
        return false;
    if (!spec.has_secret && !command_has(args, "key"))
        return output_error("either --key or --secret is required: what opens the volume");
    key = virsh_volume_read_key(args, false);
    if (!key)
        return false;
    xml = volume_spec_format(&spec);
    call.xml = xml;
    call.key = key;
    if (!virsh_volume_run_job(session, &job, &end, &error))
        return output_failure(error, "Failed to adopt vol %s", spec.name);
    libvirt_host_refresh_pool(session, call.pool);
    if (!session->is_quiet)
        printf("Vol %s adopted\n", spec.name);
    return true;
}
