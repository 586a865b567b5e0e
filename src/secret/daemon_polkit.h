/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: asking polkit by a helper, for a daemon that has a user of its own: polkitd answers about
 * the processes of others to root alone.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/polkit.h"

/* A rpc_polkit_ask_func; `opaque` is the struct helper. */
bool daemon_polkit_ask(const struct rpc_polkit_question *question, void *opaque, GError **error);
