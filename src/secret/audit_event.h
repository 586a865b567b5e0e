/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a line of the audit says (docs/audit.md): the members that store_change.audit takes.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "util/uuid.h"

/* Of a reason, in bytes; the rest of it is cut off. */
enum { AUDIT_REASON_MAX = 1024 };

struct audit_event {
    const char *event;         /* "undefine", "erase", "unbind", "bind", ... */
    const struct uuid *secret; /* or NULL: it is about none */
    const struct uuid *guests; /* those that it is about; an error if more than STORE_OWNERS_MAX */
    size_t guest_count;
    const char *reason;
    uint64_t generation; /* of the value */
};

/* With the time of now and a fresh id. The caller frees it. */
char *audit_event_members(const struct audit_event *event, GError **error);
