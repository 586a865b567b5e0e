/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guests that libvirt should have started at boot, and could not since the master key was
 * locked: who they are, in a file that is gone with the boot, and their start after the unlock.
 * libvirt tries an autostart once in a boot, so nobody else does it. A thread of its own, which
 * ends when there is nothing more to wait for, and lets a custodian with nothing to do end when no
 * guest waits.
 *
 * Invariants: they are looked for once in a boot, after libvirt has tried; a guest is started once,
 * and taken off the list before; one that runs, is defined no more, or was started and stopped by
 * somebody else is not started.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

struct guest_service;
struct guest_autostart;

/* `path` is the file, below the run folder; the service has its connection to libvirt. */
struct guest_autostart *guest_autostart_new(struct guest_service *service, const char *path);
/* Nothing is begun any more. */
void guest_autostart_stop(struct guest_autostart *autostart);
/* Waits for what is under way: calls with a bound. */
void guest_autostart_free(struct guest_autostart *autostart);

/* libvirt said that it was started. Does not wait. */
void guest_autostart_note_started(struct guest_autostart *autostart, const struct uuid *guest);

/* NULL: it does not wait; else its state in lists: "waiting for unlock", or, once the master key is
 * unlocked and guests are not started by themselves, "waiting for start". */
const char *guest_autostart_state(struct guest_autostart *autostart, const struct uuid *guest);
/* Those that wait (array of struct uuid, ascending). */
GArray *guest_autostart_list(struct guest_autostart *autostart);
