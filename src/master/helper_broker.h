/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the broker: a process of one thread that starts virtcrypt-unlock-helper when it is asked
 * to, hands over the socket, and ends what takes too long. What it can be asked is an operation and
 * a time, nothing else: not the program, no path, no word of its own. It sees neither requests nor
 * answers.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

struct helper_broker_params {
    int fd;                         /* SOCK_SEQPACKET; its end is the broker's end */
    const char *program;            /* the helper's path */
    const char *const *environment; /* the helper's, up to a NULL */
    pid_t parent;
};

/* In the forked child: closes all but `fd`, and serves it. Ends with its parent. */
G_GNUC_NORETURN void helper_broker_run(const struct helper_broker_params *params);
