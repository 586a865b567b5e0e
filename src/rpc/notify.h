/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: telling systemd how we are (sd_notify(3)), without libsystemd.
 */
#pragma once

/* Each does nothing if NOTIFY_SOCKET is not set; that systemd can't be told is logged. */
void rpc_notify_ready(void);
/* Before a reload, with the time that Type=notify-reload asks for; rpc_notify_ready ends it. */
void rpc_notify_reloading(void);
void rpc_notify_stopping(void);
