/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: that privacy: the daemons' own.
 */
#include "recover/offline_process.h"

#include "daemon/process.h"

void
offline_process_harden(void)
{
    daemon_process_harden(0);
}
