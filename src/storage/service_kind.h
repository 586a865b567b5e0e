/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: of which kind a new volume is, and its complete encryption but for the secret. What can't
 * be done is an error that says what can. Inside src/storage only.
 */
#pragma once

#include "storage/service_plan.h"

/* By the XML's <encryption>, else the pool's policy, else the source. Sets plan->record's kind and
 * encryption, and the format of plan->def. */
bool service_kind_choose(struct service_plan *plan, enum pool_policy policy, GError **error);
