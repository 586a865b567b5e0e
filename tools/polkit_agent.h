/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a polkit agent for the terminal, as pkttyagent is: it asks for a password when the daemon
 * lets polkit decide and no desktop has an agent.
 */
#pragma once

#include <glib.h>

struct polkit_agent;

/* Starts it and waits until it is registered, up to a bound. */
struct polkit_agent *polkit_agent_start(GError **error);

/* Ends it; NULL is allowed. */
void polkit_agent_free(struct polkit_agent *agent);

typedef struct polkit_agent polkit_agent_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(polkit_agent_t, polkit_agent_free)
