/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what libvirt calls the hook for (https://libvirt.org/hooks.html), and what is done then.
 */
#pragma once

#include <stdbool.h>

enum hook_action {
    HOOK_NOTHING,
    HOOK_PREPARE,   /* open what the guest needs; a failure stops its start */
    HOOK_RECONNECT, /* the same for a guest that runs: libvirt would kill it if the hook failed */
    HOOK_RELEASE,   /* close it again */
};

/* Of libvirt's second and third argument. What is not known is nothing. */
enum hook_action hook_calls_find(const char *operation, const char *suboperation);
