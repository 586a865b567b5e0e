/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is decided on a guest's start while virtcryptd can't be reached: by files alone. A
 * guest that has nothing to do with virtcrypt must start as if virtcrypt were not there.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/domain_disks.h"

struct hook_folders {
    const char *volumes_dir;    /* records: SYSCONFDIR/libvirt/virtcrypt/volumes */
    const char *pool_state_dir; /* libvirt's: RUNSTATEDIR/libvirt/storage */
    const char *device_dir;     /* /dev/virtcrypt */
};

/* Whether the guest may start without virtcryptd. An error names the disk, and why not. */
bool hook_offline_check(const struct hook_folders *folders, const struct domain_disks *guest,
                        GError **error);
