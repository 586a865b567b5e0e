/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the running virtcryptd: its service and server, in the order in which they start and end.
 * What all daemons of ours share is in src/daemon.
 */
#pragma once

#include "daemon/program.h"

extern const struct daemon_program virtcryptd_program;
