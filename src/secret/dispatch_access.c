/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which callers count as root on this host.
 */
#include "secret/dispatch.h"
#include "util/error.h"

/* Only the kernel's word makes somebody local root. libvirtd lets each of its clients, also a
 * read-only one, set the identity that it forwards: what it says is no proof of anything. */
bool
dispatch_is_local_root(const struct dispatch *dispatch, struct rpc_call *call)
{
    const struct rpc_identity *identity =
        rpc_connection_get_identity(rpc_call_get_connection(call));
    bool is_claimed_root = dispatch->believes_claims && identity->has_claimed_uid &&
                           identity->claimed_uid == dispatch->root_uid;
    bool is_own_word = !identity->forwarded || is_claimed_root;

    return identity->peer_uid == dispatch->root_uid && is_own_word;
}

bool
dispatch_check_local_root(const struct dispatch *dispatch, struct rpc_call *call, const char *what,
                          GError **error)
{
    if (dispatch_is_local_root(dispatch, call))
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_DENIED,
              "only root on this host may %s, by the program virtcrypt, and not through another "
              "daemon",
              what);
    return false;
}
