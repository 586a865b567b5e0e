/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: store export: without a daemon, as virtcrypt-recover.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "recover/libvirt_export.h"
#include "secret/libvirt_key.h"
#include "tools/output.h"
#include "tools/unlock_input.h"
#include "tools/virsh-store-commands.h"
#include "util/error.h"

/* What the options say. */
struct request {
    char *dir; /* or NULL */
    struct secret_buf *key;
    bool skips_lost;
};

static void
request_clear(struct request *request)
{
    secret_buf_free(request->key);
}

typedef struct request request_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(request_t, request_clear)

static bool
get_libvirt_key(const struct command_args *args, struct request *request, GError **error)
{
    char *path = NULL;

    if (!command_get_text(args, "key", &path, error))
        return false;
    if (!path && !command_has(args, "aes256cbc"))
        return true;
    if (!path || !command_has(args, "aes256cbc")) {
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "Options --aes256cbc and --key need one another");
        return false;
    }
    request->key = libvirt_key_read_file(path, error);
    return request->key != NULL;
}

static bool
get_request(const struct command_args *args, struct request *request)
{
    g_autoptr(GError) error = NULL;

    if (!command_get_text(args, "dir", &request->dir, &error) ||
        !get_libvirt_key(args, request, &error))
        return output_gerror(error);
    request->skips_lost = command_has(args, "skip-lost");
    return true;
}

static void
print_losses(const GPtrArray *losses)
{
    for (guint i = 0; i < losses->len; i++)
        output_warning(losses->pdata[i]);
}

/* `daemons`: the folder that daemons use. */
static void
print_done(const struct request *request, const char *daemons,
           const struct libvirt_export_result *result)
{
    const char *dir = request->dir ? request->dir : daemons;

    printf("%zu definitions and %zu values were written to %s%s and read back.\n"
           "virtcrypt's own files are as they were. ",
           result->definitions, result->values, dir, request->key ? "" : ", the values in clear,");
    if (strcmp(dir, daemons) != 0)
        printf("Nothing wipes what is in %s: that is for\nyou to do.\n", dir);
    else
        printf(
            "To go back to libvirt's driver now, see\n"
            "docs/leaving.md: disable virtcrypt-secretd and virtcryptd, uninstall the connector, "
            "start\n"
            "libvirtd, try a guest, and remove virtcrypt's files last. If virtcrypt-secretd is\n"
            "started again instead, it seals and wipes what is in %s.\n",
            dir);
}

static bool export(struct offline_store *store, const struct request *request, bool is_quiet)
{
    const struct libvirt_export params = {.dir = request->dir, .key = request->key};
    const char *daemons = offline_store_paths(store)->secrets_dir;
    g_autoptr(GPtrArray) losses = libvirt_export_find_losses(store);
    struct libvirt_export_result result;
    g_autoptr(GError) error = NULL;

    print_losses(losses);
    if (losses->len > 0 && !request->skips_lost)
        return output_error("%u problems, and nothing was written: put them right, or leave out "
                            "what can't be read by --skip-lost",
                            losses->len);
    if (!libvirt_export_run(store, &params, &result, &error))
        return output_failure(error, "Failed to export to %s",
                              request->dir ? request->dir : daemons);
    if (!is_quiet)
        print_done(request, daemons, &result);
    return true;
}

bool
virsh_store_export(struct session *session, const struct command_args *args)
{
    const struct offline_params params = {.is_session = geteuid() != 0};
    g_auto(unlock_input_t) input = {0};
    g_auto(request_t) request = {0};
    g_autoptr(offline_store_t) store = NULL;
    g_autoptr(GError) error = NULL;

    if (!unlock_input_begin(&input, args, &error))
        return output_gerror(error);
    if (!get_request(args, &request))
        return false;
    store = offline_store_open(&params, &error);
    if (!store)
        return output_failure(error, "Failed to open the store");
    if (!unlock_input_run_store(&input, store, &error))
        return output_failure(error, "Failed to unlock the store");
    return export(store, &request, session->is_quiet);
}
