/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the anchor of the index of generations: a counter in the TPM, of a tpm2 slot, which only
 * grows. The index has a counter, too, that is never behind it: a file with a higher one is durable
 * first, then the TPM's is advanced. An index that is behind was put back from a backup, with all
 * that is beside it: the daemon is locked then, until that is accepted. It is compared and advanced
 * at unlock, and advanced when values were changed, now and then and at an orderly end. The TPM is
 * asked in a thread; without it the daemon warns, and goes on. Loop's thread.
 */
#pragma once

#include "secret/service.h"
#include "secret/value_index.h"

struct anchor;

struct anchor *service_anchor_new(struct secret_service *service, struct loop *loop,
                                  GError **error);
void service_anchor_free(struct anchor *anchor);

/* The index was opened, or the slots have changed: compares, in a thread. */
void service_anchor_check(struct anchor *anchor);
/* The index is written. */
void service_anchor_note_written(struct anchor *anchor);
/* The keys go: what is under way is dropped. */
void service_anchor_stop(struct anchor *anchor);
/* The service ends, and `index`, which has just been written if it `has_changed`, is as it will
 * stay: the TPM's counter is advanced. Bounded. */
void service_anchor_finish(struct anchor *anchor, struct value_index *index, bool has_changed);

/* It locked the service. */
bool service_anchor_is_behind(const struct anchor *anchor);
/* The next check takes the index as it is. */
void service_anchor_accept(struct anchor *anchor);
/* Why the TPM is not asked, or NULL. */
const char *service_anchor_problem(const struct anchor *anchor);
