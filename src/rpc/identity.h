/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: who is at the other end of a connection: the kernel's word (SO_PEERCRED), what a trusted
 * peer forwarded for somebody else (CONNECT_SET_IDENTITY), and whether it showed the system token.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct rpc_identity {
    uid_t peer_uid; /* by the kernel; never changes */
    gid_t peer_gid;
    pid_t peer_pid;
    unsigned long long peer_start_time; /* of /proc/PID/stat field 22; 0 if unknown */
    bool forwarded; /* a set-identity call was accepted; the claimed fields below hold */
    bool has_claimed_uid;
    uid_t claimed_uid;
    bool elevated; /* the system token was shown, and was right */
};
