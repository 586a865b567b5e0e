/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: store accept.
 */
#include <stdio.h>

#include "rpc/protocol/virtcrypt_store_client.h"
#include "tools/output.h"
#include "tools/virsh-secret-commands.h"
#include "tools/virsh-store-commands.h"

bool
virsh_store_accept(struct session *session, const struct command_args *args)
{
    struct virtcrypt_store_accept_args call = {0};
    struct virtcrypt_store_accept_ret ret = {0};
    g_auto(remote_nonnull_secret_t) secret = {0};
    g_autoptr(GError) error = NULL;
    bool has_secret = command_has(args, "secret");

    if (has_secret && !virsh_secret_lookup(session, args, &secret))
        return false;
    if (has_secret)
        call.secret = secret.uuid;
    if (!virtcrypt_store_accept_call(session->client, &call, &ret, &error))
        return output_failure(error, "Failed to accept %s",
                              has_secret ? "the value of the secret" : "what is on disk");
    if (!session->is_quiet)
        printf("%u values that were put back from an older backup are accepted.\n", ret.accepted);
    return true;
}
