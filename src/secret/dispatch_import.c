/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the call that takes over libvirt's files. It keeps the loop busy for a page of them, as a
 * reload does for all.
 */
#include <string.h>

#include "secret/dispatch_store.h"
#include "secret/service_import.h"
#include "util/error.h"

static const char *const actions[] = {
    [SECRET_IMPORT_SEAL] = "import",
    [SECRET_IMPORT_WIPE] = "wipe",
    [SECRET_IMPORT_KEEP] = "keep",
};
G_STATIC_ASSERT(G_N_ELEMENTS(actions) == SECRET_IMPORT_ACTION_LAST);

/* A secret has two files at most. */
enum { FILES_OF_SECRET = 2 };

static uint8_t *
copy_uuid(const struct uuid *uuid)
{
    return g_memdup2(uuid->bytes, sizeof(uuid->bytes));
}

enum rpc_outcome
dispatch_import(struct rpc_call *call, void *opaque, const struct virtcrypt_store_import_args *args,
                struct virtcrypt_store_import_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct secret_import import = {.is_dry = args->dry_run, .trusts_key = args->trust_key};
    g_autoptr(GArray) reports = NULL;
    struct uuid after;

    if (!dispatch_check_local_root(dispatch, call, "take over libvirt's values", error) ||
        !dispatch_check_page(args->max, "secrets", error))
        return RPC_FAILED;
    if (args->after) {
        memcpy(after.bytes, args->after, sizeof(after.bytes));
        import.after = &after;
    }
    import.max = MIN(args->max, VIRTCRYPT_STORE_PAGE_MAX / FILES_OF_SECRET);
    reports = secret_service_import(dispatch->service, &import, error);
    if (!reports)
        return RPC_FAILED;
    ret->more = import.has_more;
    ret->last = import.has_last ? (void *)copy_uuid(&import.last) : NULL;
    ret->files_len = reports->len;
    ret->files = g_new0(struct virtcrypt_store_clear, reports->len);
    for (guint i = 0; i < reports->len; i++) {
        struct secret_import_report *report =
            &g_array_index(reports, struct secret_import_report, i);

        memcpy(ret->files[i].secret, report->secret.bytes, sizeof(report->secret.bytes));
        ret->files[i].file = g_steal_pointer(&report->file);
        ret->files[i].action = g_strdup(actions[report->action]);
        ret->files[i].problem = g_steal_pointer(&report->problem);
    }
    return RPC_DONE;
}
