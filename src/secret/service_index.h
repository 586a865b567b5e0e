/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the index of generations in the service: opened when the keys come, raised when values are
 * durable, and written some time later. The order is what keeps it from refusing a good value: what
 * it says is copied, then the store brings everything that was committed till then to its place on
 * disk, and then a thread writes the copy. So whatever is lost in a crash, but for what the disk
 * loses of itself, the file says no more than the values do. Loop's thread.
 */
#pragma once

#include "secret/service.h"
#include "secret/value_index.h"

struct index_keeper;

/* With a store. */
struct index_keeper *service_index_new(struct secret_service *service,
                                       const struct secret_service_params *params, GError **error);
/* After the store is closed: all is in its place. Writes what the file does not say yet. */
void service_index_free(struct index_keeper *keeper);

/* The keys are there: opens it. What is wrong with it is logged. `previous` (or NULL) is the master
 * key of before, if it is being replaced. */
void service_index_open(struct secret_service *service, const struct master_key *previous,
                        bool is_expected);
/* Writes it under the present master key; the one of before is not used any more. Waits for the
 * disk. */
bool service_index_rekey(struct secret_service *service, GError **error);
/* The keys go; no change is under way. Writes it first. */
void service_index_close(struct secret_service *service);

/* NULL: there is none, or the service is locked. Threads may ask it for floors while the loop waits
 * for them. */
const struct value_index *service_index_get(const struct secret_service *service);
/* 0: none. */
uint64_t service_index_floor(const struct secret_service *service, const struct uuid *uuid);

/* The same, to be changed; what follows is written soon. */
struct value_index *service_index_edit(struct secret_service *service);
void service_index_write_soon(struct secret_service *service);
/* The slots have changed. */
void service_index_note_slots(struct secret_service *service);
/* A line in the audit about the store as a whole. */
void service_index_note_in_audit(struct secret_service *service, const char *event,
                                 const char *reason);

/* A change of the secret is durable and visible; `is_removed`: nothing of it is on disk. */
void service_index_follow(struct secret_service *service, const struct uuid *uuid, bool is_removed);
/* Everything was loaded. */
void service_index_follow_all(struct secret_service *service);

/* Whatever was wrong with it is accepted. It is written soon. */
void service_index_accept(struct secret_service *service);
/* Whether the service is locked because the index is behind the TPM's counter; and that it is not
 * to be the next time. */
bool service_index_is_behind(const struct secret_service *service);
void service_index_accept_behind(struct secret_service *service);
