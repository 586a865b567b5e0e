/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: when guests are looked at: a thread that gathers events for a moment, remembers deadlines
 * and looks at everything at each connecting, at an interval and when asked. What a look is, it
 * does not know.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

struct guest_watch;

struct guest_watch_params {
    /* Looks at these (array of struct uuid), or at all with NULL. *ret_look_again: when it must be
     * looked at all again, in seconds since 1970; 0: not before something happens. */
    bool (*look)(void *opaque, const GArray *guests, int64_t *ret_look_again, GError **error);
    void *opaque;
    unsigned int interval_s; /* between looks at all without a reason */
    unsigned int retry_s;    /* after a look that failed */
};

struct guest_watch *guest_watch_new(const struct guest_watch_params *params);
/* No look begins any more, and who waits for one is told so. */
void guest_watch_stop(struct guest_watch *watch);
/* Waits for the look that is under way. */
void guest_watch_free(struct guest_watch *watch);

/* The rest never waits for a look, but for the last one. Connecting is a reason to look at all;
 * without a connection there are no looks. */
void guest_watch_set_connected(struct guest_watch *watch, bool is_connected);
void guest_watch_note_guest(struct guest_watch *watch, const struct uuid *guest);
void guest_watch_note_all(struct guest_watch *watch);
/* All must be looked at by then. */
void guest_watch_note_deadline(struct guest_watch *watch, int64_t at);
/* Looks at all and waits for it, within a bound; false with that look's error. */
bool guest_watch_look_now(struct guest_watch *watch, GError **error);
