/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a daemon's event loop: epoll, timers, signals, and work handed in from other threads.
 * One thread runs it and every callback; only loop_post may be called from elsewhere. It is not
 * GLib's main loop because that costs more system calls for each request than the request does
 * (see docs/hacking.md).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch;
struct loop_group;
struct loop_timer;

typedef void (*loop_fd_func)(uint32_t epoll_events, void *opaque);
typedef void (*loop_func)(void *opaque);
typedef void (*loop_signal_func)(int signum, void *opaque);

struct loop *loop_new(GError **error);
void loop_free(struct loop *loop);

/* Runs until loop_quit; at once over if that was called already. */
void loop_run(struct loop *loop);
void loop_quit(struct loop *loop);

/* Watches `fd` (not owned) for EPOLL* `events`. A watch may be freed within any callback. */
struct loop_watch *loop_watch_new(struct loop *loop, int fd, uint32_t events, loop_fd_func func,
                                  void *opaque, GError **error);
void loop_watch_update(struct loop_watch *watch, uint32_t events);
void loop_watch_free(struct loop_watch *watch);

/* Watches that take turns: all of a group together come up as often as one other watch, so that
 * many busy ones keep nobody else waiting. It is freed after its watches, within any callback. */
struct loop_group *loop_group_new(struct loop *loop, GError **error);
void loop_group_free(struct loop_group *group);
struct loop_watch *loop_group_watch(struct loop_group *group, int fd, uint32_t events,
                                    loop_fd_func func, void *opaque, GError **error);

/* Calls `func` every `interval_ms` until freed. A timer may be freed within any callback. */
struct loop_timer *loop_timer_new(struct loop *loop, unsigned int interval_ms, loop_func func,
                                  void *opaque);
void loop_timer_free(struct loop_timer *timer);

/* Calls `func` once in the loop's thread, after what is being dispatched now. Thread-safe. */
void loop_post(struct loop *loop, loop_func func, void *opaque);

/* Blocks `signum` in this thread and those started later, and calls `func` when it arrives. */
bool loop_add_signal(struct loop *loop, int signum, loop_signal_func func, void *opaque,
                     GError **error);

typedef struct loop loop_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(loop_t, loop_free)
