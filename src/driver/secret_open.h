/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening a connection to the daemon within a bound. libvirt's own call waits for ever on a
 * daemon that takes connections and does not answer.
 */
#pragma once

#include "driver/secret_module.h"

/* Returns a connection on which a daemon that stops answering is noticed within
 * SECRET_OPEN_SILENCE_S, so that every call on it ends; the caller closes it. NULL with the
 * thread's libvirt error set; after SECRET_OPEN_BOUND_S at the latest. */
virConnectPtr secret_open(struct secret_module *module, bool read_only);

/* Whether anybody listens on the daemon's socket. Says nothing in any log and does not wait. */
bool secret_open_is_possible(const struct secret_module *module);

#define SECRET_OPEN_BOUND_S 10

/* libvirt's keepalive: pings after so many silent seconds, and so many may stay unanswered. */
#define SECRET_OPEN_PING_S    5
#define SECRET_OPEN_PINGS     2
#define SECRET_OPEN_SILENCE_S (SECRET_OPEN_PING_S * (SECRET_OPEN_PINGS + 1))
