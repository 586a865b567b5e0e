/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: work of one owner that blocks, one piece at a time, each in a thread of its own, and the
 * way of its end back to the loop. The end of each piece is taken exactly once: by `ended` in the
 * loop, or by background_wait; what the loop has yet to report of an end that was taken is ignored.
 * It is not loop_post, because that cannot be taken back when the owner goes. All but `run` is
 * called in the loop's thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/loop.h"

struct background;

typedef void (*background_func)(void *opaque);

enum { BACKGROUND_NO_LIMIT = -1 };

/* `ended` is told in the loop of each end that nobody waited for; it may begin the next piece. */
struct background *background_new(struct loop *loop, background_func ended, void *opaque,
                                  GError **error);
/* Nobody is told any more. A piece that is under way goes on by itself, so all that it uses must
 * outlive it then; who cannot promise that waits first. */
void background_free(struct background *background);

/* Calls `run` with `work` in a thread called `name`, in which all signals are blocked. Not while
 * there is one whose end was not taken. */
bool background_begin(struct background *background, const char *name, background_func run,
                      void *work, GError **error);
/* Begun, and its end is not taken. */
bool background_is_busy(const struct background *background);
/* Waits for what is under way, if anything is, and takes its end: `ended` is not called for it.
 * False: it has not ended within `timeout_ms`, and is under way as before. */
bool background_wait(struct background *background, int timeout_ms);
