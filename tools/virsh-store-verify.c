/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: store verify: step after step, and what was found.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_store_client.h"
#include "tools/output.h"
#include "tools/virsh-store-commands.h"
#include "util/error.h"
#include "util/uuid.h"

static void
finding_free(void *opaque)
{
    virtcrypt_store_finding_clear(opaque);
    g_free(opaque);
}

/* A server whose steps do not go forward would be asked for ever. */
static bool
check_order(const uint8_t *after, const struct virtcrypt_store_verify_ret *step, GError **error)
{
    bool is_forward = step->last && (!after || memcmp(after, step->last, sizeof(struct uuid)) < 0);

    if (is_forward || !step->more)
        return true;
    error_set(error, ERROR_FROM_RPC, ERROR_RPC, "the server's list is out of order");
    return false;
}

static bool
verify_all(struct session *session, GPtrArray *findings, uint64_t *checked, GError **error)
{
    struct virtcrypt_store_verify_args call = {.max = VIRTCRYPT_STORE_PAGE_MAX};
    bool has_more = true;
    bool is_good = true;

    while (is_good && has_more) {
        struct virtcrypt_store_verify_ret step = {0};

        if (!virtcrypt_store_verify_call(session->client, &call, &step, error)) {
            is_good = false;
            break;
        }
        is_good = check_order(call.after, &step, error);
        for (uint32_t i = 0; i < step.findings_len; i++) {
            g_ptr_array_add(findings, g_memdup2(&step.findings[i], sizeof(step.findings[i])));
            /* It is the list's now. */
            memset(&step.findings[i], 0, sizeof(step.findings[i]));
        }
        *checked += step.checked;
        has_more = step.more;
        g_free(call.after);
        call.after = g_steal_pointer(&step.last);
        virtcrypt_store_verify_ret_clear(&step);
    }
    g_free(call.after);
    return is_good;
}

static void
append_finding(GString *json, const void *entry)
{
    const struct virtcrypt_store_finding *finding = entry;
    const struct output_member members[] = {
        {"file", finding->file},
        {"problem", finding->problem},
    };

    output_append_json_object(json, members, G_N_ELEMENTS(members));
}

static void
print_findings(const GPtrArray *findings, uint64_t checked, bool is_quiet)
{
    for (guint i = 0; i < findings->len; i++) {
        const struct virtcrypt_store_finding *finding = findings->pdata[i];

        printf("%s: %s\n", finding->file, finding->problem);
    }
    if (!is_quiet)
        printf("%" G_GUINT64_FORMAT " files were checked, %u problems found\n", checked,
               findings->len);
}

bool
virsh_store_verify(struct session *session, const struct command_args *args)
{
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(finding_free);
    g_autoptr(GError) error = NULL;
    uint64_t checked = 0;
    bool is_good = verify_all(session, findings, &checked, &error);

    /* What was found until an error is told, too. */
    if (command_has(args, "json"))
        output_json_array(findings, append_finding);
    else if (is_good || findings->len > 0)
        print_findings(findings, checked, session->is_quiet);
    if (!is_good)
        return output_failure(error, "Failed to check the store's files");
    return findings->len == 0;
}
