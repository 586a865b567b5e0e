/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "credential": 32 bytes that systemd decrypted for this service, in a file
 * of $CREDENTIALS_DIRECTORY. That folder is systemd's, which sees to who can read it; it is there
 * and empty when there are none, and missing when one could not be decrypted.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/unlock_methods.h"
#include "util/error.h"
#include "util/file.h"
#include "util/probe.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(unlock_credential, "newfstatat");

#define NAME_FIELD "name"
#define FIRST_NAME "virtcrypt-master-key"

enum { NAME_MAX_LEN = 255, READ_MAX = 4096 };

/* As systemd has them, without what a shell or a line of a log would trip over. */
static bool
is_credential_name(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= NAME_MAX_LEN && name[0] != '.' &&
           strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") == len;
}

static struct secret_buf *
check_size(struct secret_buf *take_bytes, const char *name, GError **error)
{
    g_autoptr(secret_buf_t) bytes = take_bytes;

    if (secret_buf_len(bytes) != SLOT_KEY_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the credential '%s' has %zu bytes instead of %d; make it anew by 'head -c %d "
                  "/dev/urandom | systemd-creds encrypt --name=%s - FILE'",
                  name, secret_buf_len(bytes), SLOT_KEY_SIZE, SLOT_KEY_SIZE, name);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

/* In virtcrypt's unit it is missing if that of the credentials has failed. */
static int
open_folder(const char *path, const char *name, GError **error)
{
    g_autoptr(GError) failure = NULL;
    int fd = file_open_dir(path, false, 0, &failure);

    if (fd >= 0)
        return fd;
    if (error_get_errno(failure) == ENOENT)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "systemd could give this service no credentials, so '%s' is not there (%s is "
                  "missing): see 'systemctl status virtcrypt-credentials'; once that is mended "
                  "'systemctl restart virtcrypt-secretd'",
                  name, path);
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    return -1;
}

/* What a probe works with; `dir` is as it was handed to the service. */
struct look {
    char *dir;
    const char *name; /* of the credential: `own_name`, or one of our own */
    char *own_name;
    struct secret_buf *bytes;
    GError *problem;
};

static void
free_look(void *data)
{
    struct look *look = data;

    g_free(look->dir);
    g_free(look->own_name);
    secret_buf_free(look->bytes);
    g_clear_error(&look->problem);
    g_free(look);
}

static void
read_in_folder(void *data)
{
    struct look *look = data;
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) dir_fd = open_folder(look->dir, look->name, &look->problem);
    struct secret_buf *bytes;

    if (dir_fd < 0)
        return;
    bytes = file_read_secret(dir_fd, look->name, READ_MAX, &failure);
    if (bytes)
        look->bytes = check_size(bytes, look->name, &look->problem);
    else if (error_get_errno(failure) == ENOENT)
        error_set(&look->problem, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "this service was not given the credential '%s'; see CREDENTIALS in "
                  "virtcrypt-secretd(8)",
                  look->name);
    else
        g_propagate_prefixed_error(&look->problem, g_steal_pointer(&failure),
                                   "the credential '%s': ", look->name);
}

/* Within the context's time: by a unit of the operator's own the folder may be anywhere. */
static struct look *
run_look(const struct unlock_context *context, const char *name, void (*run)(void *data),
         GError **error)
{
    struct look *look = g_new0(struct look, 1);
    g_autofree char *object =
        name ? g_strdup_printf("the credential '%s' in %s", name, context->credentials_dir)
             : g_strdup_printf("the folder of credentials %s", context->credentials_dir);
    const struct probe probe = {
        .object = object,
        .timeout_ms = context->timeout_ms,
        .cancel = context->cancel,
        .run = run,
        .free_data = free_look,
    };

    look->dir = g_strdup(context->credentials_dir);
    look->own_name = g_strdup(name);
    look->name = look->own_name;
    return probe_run(&probe, look, error);
}

static struct secret_buf *
read_credential(const struct unlock_context *context, const char *name, GError **error)
{
    struct secret_buf *bytes = NULL;
    struct look *look;

    if (!context->credentials_dir) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "this service was started without credentials ($CREDENTIALS_DIRECTORY is not "
                  "set); '%s' is needed, see CREDENTIALS in virtcrypt-secretd(8)",
                  name);
        return NULL;
    }
    look = run_look(context, name, read_in_folder, error);
    if (!look)
        return NULL;
    bytes = g_steal_pointer(&look->bytes);
    if (!bytes)
        g_propagate_error(error, g_steal_pointer(&look->problem));
    free_look(look);
    return bytes;
}

static struct secret_buf *
credential_open(const struct unlock_context *context, const struct slot *slot,
                const struct secret_buf *secret, GError **error)
{
    const char *name = fields_get(slot->fields, NAME_FIELD);

    if (!name || !is_credential_name(name)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the name of a credential has letters, digits, '_', '-' and '.', and no '.' at "
                  "its start");
        return NULL;
    }
    return read_credential(context, name, error);
}

static bool
is_missing(const char *path)
{
    struct stat info;

    return lstat(path, &info) != 0 && errno == ENOENT;
}

static void
find_in_folder(void *data)
{
    static const char *const names[] = {FIRST_NAME, "secrets-encryption-key"};
    struct look *look = data;

    /* There may be one: its use says that it could not be had. */
    if (is_missing(look->dir))
        look->name = names[0];
    for (size_t i = 0; i < G_N_ELEMENTS(names) && !look->name; i++) {
        g_autofree char *path = g_build_filename(look->dir, names[i], NULL);

        if (!is_missing(path))
            look->name = names[i];
    }
}

const char *
unlock_find_credential(const struct unlock_context *context)
{
    const char *name = NULL;
    struct look *look;

    if (!context->credentials_dir)
        return NULL;
    look = run_look(context, NULL, find_in_folder, NULL);
    if (!look)
        return FIRST_NAME; /* as if it were missing */
    name = look->name;
    free_look(look);
    return name;
}

/* A credential is the operator's to make and to replace: renewing keeps it. */
static struct secret_buf *
credential_enroll(const struct unlock_context *context, struct slot *slot,
                  const struct secret_buf *secret, GError **error)
{
    if (!fields_get(slot->fields, NAME_FIELD)) {
        const char *name = unlock_find_credential(context);

        if (!name) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                      "this service was given neither the credential 'virtcrypt-master-key' nor "
                      "'secrets-encryption-key'; name another, or see CREDENTIALS in "
                      "virtcrypt-secretd(8)");
            return NULL;
        }
        if (!fields_set(slot->fields, NAME_FIELD, name, error))
            return NULL;
    }
    return credential_open(context, slot, secret, error);
}

static const char *const name_fields[] = {NAME_FIELD, NULL};

const struct unlock_method unlock_method_credential = {
    .method = SLOT_CREDENTIAL,
    .name = "credential",
    .open = credential_open,
    .enroll = credential_enroll,
    .asked_fields = name_fields,
    .shown_fields = name_fields,
    .unique_field = NAME_FIELD,
};
