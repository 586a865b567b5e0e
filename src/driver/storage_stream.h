/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: mapped volumes that are open for an upload or a download, until virtcryptd has closed them.
 * libvirt tells the client that its stream has ended before that.
 */
#pragma once

struct storage_streams;

struct storage_streams *storage_streams_new(void);

/* Waits, within a bound, until the volumes of all ended streams are closed: so that who changes one
 * after its upload does not find it in use. */
void storage_streams_wait(struct storage_streams *streams);
