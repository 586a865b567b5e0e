/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what becomes of the secrets that were made for a guest which was being defined, or was
 * arriving, when it turns out whether it is there. Inside src/guest only.
 */
#pragma once

#include "guest/service_state.h"

enum guest_keep {
    GUEST_KEEP_NONE,  /* the guest is not there */
    GUEST_KEEP_NAMED, /* those that its definition names */
    GUEST_KEEP_ALL,
};

struct guest_settlement {
    enum guest_keep keep;
    const GArray *named; /* of struct uuid; NAMED alone */
    const char *reason;  /* of erasing, for the audit */
};

/* Keys that are kept become BOUND and are owned by the guest; made ones that are not kept are
 * erased, and others that were to be bound are dropped from the record. Changes *record, which the
 * caller puts. May be repeated after a failure, which leaves the rest for the next time. */
bool guest_made_keys_settle(struct guest_service *service, struct guest_record *record,
                            const struct guest_settlement *settlement, GError **error);
