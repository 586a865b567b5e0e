/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a file as a block device: attached to a loop device that the kernel detaches by itself when
 * its last user closes it, so that a process that is killed leaves none behind.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Held by its descriptor until cleared, and by whoever else has opened `path` (a mapping). */
struct loop_device {
    int fd;
    char path[32]; /* "/dev/loop3" */
};
#define LOOP_DEVICE_NONE                                                                           \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Attaches the file at `path`, with direct I/O where its file system can. A file that is attached
 * already, by somebody else: ERROR_RESOURCE_BUSY naming the device. */
bool loop_device_attach(const char *path, bool readonly, struct loop_device *ret_loop,
                        GError **error);
void loop_device_clear(struct loop_device *loop);

/* The loop device that the file at `path` is attached to ("/dev/loop3"), or NULL. */
char *loop_device_find(const char *path);

/* After the file at `path` has changed its size: its loop device, if there is one, follows. */
bool loop_device_update_size(const char *path, GError **error);

typedef struct loop_device loop_device_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(loop_device_t, loop_device_clear)
