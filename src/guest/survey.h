/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what custodian and libvirt said at one moment: who owns which secret, who refers to it.
 * For one thread; kept up with what that thread changes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "guest/service_state.h"

struct guest_survey;

/* Asks the custodian for owners and values. */
struct guest_survey *guest_survey_new(struct guest_service *service, GError **error);
void guest_survey_free(struct guest_survey *survey);
/* Asks libvirt for all guests, and finds out what each refers to. What can't be found out of one of
 * them is no error, but a hold. */
bool guest_survey_look_at_all(struct guest_survey *survey, GError **error);
/* Finds out again what those guests refer to of which libvirt has reported something since then. */
bool guest_survey_catch_up(struct guest_survey *survey, GError **error);
/* Asks the custodian again who owns what. */
bool guest_survey_renew_owners(struct guest_survey *survey, GError **error);

/* Of struct guest_seen, in the order of uuids; NULL: libvirt was not asked for all. */
const GPtrArray *guest_survey_all(const struct guest_survey *survey);
/* Why nothing may be taken from anybody: not everything is known. NULL: it is. Borrowed. */
const char *guest_survey_hold(const struct guest_survey *survey);
/* References of a guest (array of struct guest_reference); those of guests that were not listed are
 * found out, and then belong to the survey. *ret_partial: there may be more. Borrowed. */
const GPtrArray *guest_survey_references(struct guest_survey *survey, const struct guest_seen *seen,
                                         bool *ret_partial, GError **error);
/* What was found out of that guest is old. */
void guest_survey_forget(struct guest_survey *survey, const struct uuid *guest);

bool guest_survey_is_owner(const struct guest_survey *survey, const struct uuid *secret,
                           const struct uuid *guest);
void guest_survey_set_owner(struct guest_survey *survey, const struct uuid *secret,
                            const struct uuid *guest, bool is_owner);
void guest_survey_set_erased(struct guest_survey *survey, const struct uuid *secret);
/* Secrets (array of struct uuid) that the guest owns; borrowed, never NULL. */
const GArray *guest_survey_owned(const struct guest_survey *survey, const struct uuid *guest);
/* Owners, ascending: array of struct uuid; never NULL. */
GArray *guest_survey_owners(const struct guest_survey *survey, const struct uuid *secret);
/* Guests but `guest` that own it. */
unsigned int guest_survey_count_other_owners(const struct guest_survey *survey,
                                             const struct uuid *secret, const struct uuid *guest);
/* Whether one of these owners has it for that volume. */
bool guest_survey_is_volume_elsewhere(const struct guest_survey *survey, const struct uuid *secret,
                                      const char *volume, const struct uuid *guest);
/* Whether any guest but `guest` that is there refers to it, owner or not. */
bool guest_survey_is_used_elsewhere(const struct guest_survey *survey, const struct uuid *secret,
                                    const struct uuid *guest);
/* A guest that is there and refers to it, or NULL. Borrowed. */
const struct guest_seen *guest_survey_find_referrer(const struct guest_survey *survey,
                                                    const struct uuid *secret);
/* Uuids (array of struct uuid) of all guests that own anything. */
GArray *guest_survey_list_owners(const struct guest_survey *survey);
/* Whether libvirt's own file of it is there, though it says that there is no such guest. */
bool guest_survey_has_definition(struct guest_survey *survey, const struct uuid *guest,
                                 bool *ret_has, GError **error);

typedef struct guest_survey guest_survey_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_survey_t, guest_survey_free)
