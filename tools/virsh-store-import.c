/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: store import: page after page, and what became of each file.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_store_client.h"
#include "tools/output.h"
#include "tools/virsh-store-commands.h"
#include "util/error.h"
#include "util/uuid.h"

static void
file_free(void *opaque)
{
    virtcrypt_store_clear_clear(opaque);
    g_free(opaque);
}

/* A server whose pages do not go forward would be asked for ever. */
static bool
check_order(const uint8_t *after, const struct virtcrypt_store_import_ret *page, GError **error)
{
    bool is_forward = page->last && (!after || memcmp(after, page->last, sizeof(struct uuid)) < 0);

    if (is_forward || !page->more)
        return true;
    error_set(error, ERROR_FROM_RPC, ERROR_RPC, "the server's list is out of order");
    return false;
}

/* Adds what one call did; false at its error. */
static bool
add_page(struct rpc_client *client, struct virtcrypt_store_import_args *call, GPtrArray *files,
         bool *ret_more, GError **error)
{
    struct virtcrypt_store_import_ret page = {0};
    bool is_good;

    if (!virtcrypt_store_import_call(client, call, &page, error))
        return false;
    is_good = check_order(call->after, &page, error);
    for (uint32_t i = 0; i < page.files_len; i++) {
        g_ptr_array_add(files, g_memdup2(&page.files[i], sizeof(page.files[i])));
        /* It is the list's now. */
        memset(&page.files[i], 0, sizeof(page.files[i]));
    }
    *ret_more = page.more;
    g_free(call->after);
    call->after = g_steal_pointer(&page.last);
    virtcrypt_store_import_ret_clear(&page);
    return is_good;
}

static bool
import_all(struct session *session, const struct command_args *args, GPtrArray *files,
           GError **error)
{
    struct virtcrypt_store_import_args call = {
        .dry_run = command_has(args, "dry-run"),
        .trust_key = command_has(args, "trust-key"),
        .max = VIRTCRYPT_STORE_PAGE_MAX,
    };
    bool has_more = true;
    bool is_good = true;

    while (is_good && has_more)
        is_good = add_page(session->client, &call, files, &has_more, error);
    g_free(call.after);
    return is_good;
}

static void
append_file(GString *json, const void *entry)
{
    const struct virtcrypt_store_clear *file = entry;
    g_autofree char *secret = output_format_uuid(file->secret);
    const struct output_member members[] = {
        {"secret", secret},
        {"file", file->file},
        {"action", file->action},
        {"problem", file->problem},
    };

    output_append_json_object(json, members, G_N_ELEMENTS(members));
}

static bool
is_kept(const struct virtcrypt_store_clear *file)
{
    return strcmp(file->action, "keep") == 0;
}

static void
print_files(const GPtrArray *files, bool is_dry, bool is_quiet)
{
    static const char *const heads[] = {"File", "Action", "Kept because"};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
    guint kept = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
        g_ptr_array_add(cells, g_strdup(heads[i]));
    for (guint i = 0; i < files->len; i++) {
        const struct virtcrypt_store_clear *file = files->pdata[i];

        g_ptr_array_add(cells, g_strdup(file->file));
        g_ptr_array_add(cells, g_strdup(file->action));
        g_ptr_array_add(cells, g_strdup(file->problem ? file->problem : "-"));
        kept += is_kept(file);
    }
    output_table(cells, G_N_ELEMENTS(heads), is_quiet);
    if (!is_quiet)
        printf("\n%u files %s sealed and wiped, %u %s\n", files->len - kept,
               is_dry ? "would be" : "were", kept, is_dry ? "would be kept" : "are kept");
}

bool
virsh_store_import(struct session *session, const struct command_args *args)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(file_free);
    g_autoptr(GError) error = NULL;
    bool is_good = import_all(session, args, files, &error);

    /* What was done until an error is told, too. */
    if (command_has(args, "json"))
        output_json_array(files, append_file);
    else if (is_good || files->len > 0)
        print_files(files, command_has(args, "dry-run"), session->is_quiet);
    return is_good || output_failure(error, "Failed to import libvirt's values");
}
