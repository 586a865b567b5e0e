/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the call that checks the files, a bounded step at a time.
 */
#include <string.h>

#include "secret/dispatch_store.h"
#include "secret/service_verify.h"

struct virtcrypt_store_finding *
dispatch_verify_pack(const GPtrArray *findings, uint32_t *ret_len)
{
    uint32_t len = MIN(findings->len, VIRTCRYPT_STORE_PAGE_MAX);
    struct virtcrypt_store_finding *packed = g_new0(struct virtcrypt_store_finding, len);

    for (uint32_t i = 0; i < len; i++) {
        const struct service_finding *finding = findings->pdata[i];
        guint others = findings->len - i;

        packed[i].file = g_strdup(finding->file);
        packed[i].problem = i + 1 == len && others > 1
                                ? g_strdup_printf("there are %u others that are not named", others)
                                : g_strdup(finding->problem);
    }
    *ret_len = len;
    return packed;
}

enum rpc_outcome
dispatch_verify(struct rpc_call *call, void *opaque, const struct virtcrypt_store_verify_args *args,
                struct virtcrypt_store_verify_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    g_auto(service_verification_t) verification = {0};
    struct uuid after;

    if (!dispatch_check_local_root(dispatch, call, "check the store's files", error) ||
        !dispatch_check_page(args->max, "secrets", error))
        return RPC_FAILED;
    if (args->after)
        memcpy(after.bytes, args->after, sizeof(after.bytes));
    if (!secret_service_verify(dispatch->service, args->after ? &after : NULL, args->max,
                               &verification, error))
        return RPC_FAILED;
    ret->checked = verification.checked;
    ret->findings = dispatch_verify_pack(verification.findings, &ret->findings_len);
    if (verification.has_last)
        ret->last = g_memdup2(verification.last.bytes, sizeof(verification.last.bytes));
    ret->more = verification.more;
    return RPC_DONE;
}
