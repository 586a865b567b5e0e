/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which guests run, and with which disks, by libvirt's own files RUNSTATEDIR/libvirt/qemu/
 * NAME.xml. libvirtd is never asked: it may be waiting for us.
 */
#pragma once

#include <glib.h>

#include "conf/domain_disks.h"

/* Of struct domain_disks. A file that can't be read is an error naming it: what its guest uses is
 * not known. No folder: no guests. */
GPtrArray *storage_guests_list(const char *state_dir, GError **error);

/* The first running guest that has the volume, or the image or device `path` (links and other names
 * of it count as well), among its disks, or NULL. Borrowed from `guests`. */
const struct domain_disks *storage_guests_find_user(GPtrArray *guests, const char *pool,
                                                    const char *volume, const char *path);
