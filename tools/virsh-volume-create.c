/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: vol-create, of options or (as virsh has it) of a file with XML.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/libvirt_host.h"
#include "tools/output.h"
#include "tools/virsh-volume-commands.h"
#include "tools/volume_spec.h"
#include "tools/xml_file.h"
#include "tools/xpath.h"
#include "util/error.h"
#include "util/file.h"

/* Of virtcrypt_volume.x. */
enum {
    CREATE_PREALLOC_METADATA = 1 << 0,
    CREATE_VALIDATE = 1 << 2,
    CREATE_OVERWRITE = 1 << 16,
};

struct creation {
    char *pool;
    char *name; /* NULL where the XML says it */
    char *file; /* with XML, or NULL */
    char *xml;  /* owned */
    struct secret_buf *key;
    uint32_t flags;
};

static void
creation_clear(struct creation *creation)
{
    g_free(creation->xml);
    secret_buf_free(creation->key);
}

typedef struct creation creation_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(creation_t, creation_clear)

/* What says what a volume is, where it is not XML. */
static const char *const spec_options[] = {
    "capacity", "allocation", "format", "backing-vol", "backing-vol-format", "secret", "cipher",
};

static bool
has_spec_option(const struct command_args *args)
{
    for (size_t i = 0; i < G_N_ELEMENTS(spec_options); i++) {
        if (command_has(args, spec_options[i]))
            return true;
    }
    return false;
}

/* POOL FILE is virsh's form: it is meant where nothing says what the volume is. */
static bool
parse_words(const struct command_args *args, struct creation *creation, GError **error)
{
    bool has_spec = has_spec_option(args);

    if (!command_get_text(args, "pool", &creation->pool, error) ||
        !command_get_text(args, "name", &creation->name, error) ||
        !command_get_text(args, "file", &creation->file, error))
        return false;
    if (creation->file && (has_spec || creation->name)) {
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "--file names the volume's XML, which says all that other options would");
        return false;
    }
    if (!has_spec && !creation->file)
        creation->file = g_steal_pointer(&creation->name);
    if (has_spec && !creation->name)
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "command 'vol-create' requires <name> option");
    else if (!has_spec && !creation->file)
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "command 'vol-create' requires <name> and <capacity>, or <file>");
    else
        return true;
    return false;
}

/* An absolute path, or a volume of the same pool: ours, or of libvirt. */
static bool
find_backing(struct session *session, const struct creation *creation, char *name,
             struct libvirt_volume *ret_backing, GError **error)
{
    const struct virtcrypt_volume_ref_args call = {
        .volume = {.pool = creation->pool, .name = name},
    };
    struct virtcrypt_volume_get_ret found = {0};
    g_autoptr(GError) not_ours = NULL;
    g_autoptr(libvirt_host_t) host = NULL;

    if (*name == '/') {
        ret_backing->path = g_strdup(name);
        return true;
    }
    if (virtcrypt_volume_get_call(session->client, &call, &found, &not_ours)) {
        bool is_qcow2 = found.volume.kind == VOLUME_SPEC_QCOW2;

        ret_backing->path = g_strdup(found.volume.path);
        ret_backing->format = g_strdup(is_qcow2 ? "qcow2" : "raw");
        virtcrypt_volume_get_ret_clear(&found);
        return true;
    }
    if (!error_is(not_ours, ERROR_NO_STORAGE_VOL)) {
        g_propagate_error(error, g_steal_pointer(&not_ours));
        return false;
    }
    host = libvirt_host_open(session, error);
    return host && libvirt_host_find_volume(host, creation->pool, name, ret_backing, error);
}

/* Without --format: what the pool's policy says, else raw, as virsh has it. */
static bool
find_kind(struct session *session, const struct creation *creation, const char *format,
          enum volume_spec_kind *ret_kind, GError **error)
{
    const struct virtcrypt_volume_pool_policy_args call = {.pool = creation->pool};
    struct virtcrypt_volume_pool_policy_ret policy = {0};

    if (format)
        return volume_spec_find_kind(format, ret_kind, error);
    if (!virtcrypt_volume_pool_policy_call(session->client, &call, &policy, error))
        return false;
    *ret_kind = strcmp(policy.policy, "dm-crypt") == 0 ? VOLUME_SPEC_DM_CRYPT : VOLUME_SPEC_RAW;
    virtcrypt_volume_pool_policy_ret_clear(&policy);
    return true;
}

static bool
parse_texts(struct session *session, const struct command_args *args,
            const struct creation *creation, struct volume_spec *spec)
{
    g_autoptr(GError) error = NULL;
    char *format = NULL;
    char *cipher = NULL;

    if (!command_get_text(args, "format", &format, &error) ||
        !command_get_text(args, "cipher", &cipher, &error) ||
        (cipher && !volume_spec_check_cipher(cipher, &error)))
        return output_gerror(error);
    spec->cipher = cipher;
    if (!find_kind(session, creation, format, &spec->kind, &error))
        return output_failure(error, "Failed to create vol %s", creation->name);
    return true;
}

static bool
parse_backing(struct session *session, const struct command_args *args,
              const struct creation *creation, struct libvirt_volume *ret_backing)
{
    g_autoptr(GError) error = NULL;
    char *name = NULL;
    char *format = NULL;

    if (!command_get_text(args, "backing-vol", &name, &error) ||
        !command_get_text(args, "backing-vol-format", &format, &error))
        return output_gerror(error);
    if (format && !name)
        return output_error("--backing-vol-format needs --backing-vol");
    if (name && !find_backing(session, creation, name, ret_backing, &error))
        return output_failure(error, "failed to get vol '%s'", name);
    if (format) {
        g_free(ret_backing->format);
        ret_backing->format = g_strdup(format);
    }
    return true;
}

static bool
make_xml(struct session *session, const struct command_args *args, struct creation *creation)
{
    struct volume_spec spec = {.name = creation->name, .is_encrypted = true};
    g_auto(libvirt_volume_t) backing = {0};

    if (!virsh_volume_get_size(args, "capacity", &spec.has_capacity, &spec.capacity) ||
        !virsh_volume_get_size(args, "allocation", &spec.has_allocation, &spec.allocation) ||
        !virsh_volume_get_secret(args, &spec.has_secret, &spec.secret) ||
        !parse_texts(session, args, creation, &spec) ||
        !parse_backing(session, args, creation, &backing))
        return false;
    spec.backing_path = backing.path;
    spec.backing_format = backing.format;
    creation->xml = volume_spec_format(&spec);
    return true;
}

static bool
read_xml(const struct command_args *args, struct creation *creation)
{
    g_autoptr(GError) error = NULL;

    creation->xml = xml_file_read(creation->file, &error);
    if (creation->xml)
        return true;
    output_gerror(error);
    if (!command_has(args, "file") && !strchr(creation->file, '/'))
        output_error("To make a volume '%s' without XML, say its size: vol-create %s %s SIZE",
                     creation->file, creation->pool, creation->file);
    return false;
}

static bool
start_create(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
             GError **error)
{
    return virtcrypt_volume_create_call(client, call, ret, error);
}

static bool
create(struct session *session, const struct creation *creation)
{
    const struct virtcrypt_volume_create_args call = {
        .pool = creation->pool,
        .xml = creation->xml,
        .flags = creation->flags,
        .key = creation->key,
    };
    const struct virsh_volume_job job = {"Create volume", &call, start_create};
    g_auto(virtcrypt_volume_job_ret_t) end = {0};
    g_autoptr(GError) error = NULL;
    const char *name;

    if (!virsh_volume_run_job(session, &job, &end, &error))
        return creation->file
                   ? output_failure(error, "Failed to create vol from %s", creation->file)
                   : output_failure(error, "Failed to create vol %s", creation->name);
    libvirt_host_refresh_pool(session, creation->pool);
    name = end.volume ? end.volume->name : creation->name;
    if (!session->is_quiet && creation->file)
        printf("Vol %s created from %s\n", name ? name : "", creation->file);
    else if (!session->is_quiet)
        printf("Vol %s created\n", name ? name : "");
    return true;
}

bool
virsh_volume_create(struct session *session, const struct command_args *args)
{
    g_auto(creation_t) creation = {0};
    g_autoptr(GError) error = NULL;

    creation.flags = (command_has(args, "prealloc-metadata") ? CREATE_PREALLOC_METADATA : 0) |
                     (command_has(args, "validate") ? CREATE_VALIDATE : 0) |
                     (command_has(args, "force") ? CREATE_OVERWRITE : 0);
    if (!parse_words(args, &creation, &error))
        return output_gerror(error);
    if (!(creation.file ? read_xml(args, &creation) : make_xml(session, args, &creation)))
        return false;
    if (command_has(args, "print-xml")) {
        printf("%s", creation.xml);
        return true;
    }
    creation.key = virsh_volume_read_key(args, true);
    return creation.key && create(session, &creation);
}
