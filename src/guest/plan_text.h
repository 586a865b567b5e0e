/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: why a key is taken from a guest or held, for people and for the audit. An audit line has a
 * bound, so what others named is shortened.
 */
#pragma once

#include <stdbool.h>

#include "conf/guest_record.h"

/* Why a key of this guest is not wanted any more. Free, as below. */
char *guest_plan_describe_cause(const struct guest_record *record);
/* Why it is held; `is_manual`: it is even if its volume is gone. */
char *guest_plan_describe_hold(const struct guest_record *record, const struct guest_key *key,
                               bool is_manual);
