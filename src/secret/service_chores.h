/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the service does by itself with the files of slots, which may be on a network mount
 * that is dead: in the thread of the master key (service_master_work.h), where it gives way to all
 * that clients want. Not for other modules.
 */
#pragma once

struct secret_service;

/* How long the loop waits for what takes a millisecond, as a rule. */
enum { CHORES_WAIT_MS = 250 };

/* After unlocking: puts in place or takes away what a kill has left of changes of slots. What this
 * does not come to is settled after the next start. */
void service_chores_settle(struct secret_service *service);
/* Whether the slot that unlocked this run still would, if that is known at once: what it needs may
 * be spoilt. */
void service_chores_check_opener(struct secret_service *service);
/* Waits a little for the end of what is under way of these. */
void service_chores_wait(struct secret_service *service);
