/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the file that the input of a fuzz target becomes, where the code takes a path. It goes with
 * the process.
 */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#include "target.h"

static char *target_file_path;

static inline void
target_file_remove(void)
{
    g_autofree char *folder = g_path_get_dirname(target_file_path);

    unlink(target_file_path);
    rmdir(folder);
}

/* Its path, which ends in `name`. */
static inline const char *
target_file_put(const char *name, const uint8_t *input, size_t len)
{
    int fd;

    if (!target_file_path) {
        g_autofree char *folder = g_dir_make_tmp("virtcrypt-fuzz-XXXXXX", NULL);

        target_file_path = g_build_filename(folder, name, NULL);
        atexit(target_file_remove);
    }
    fd = open(target_file_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(fd >= 0 && write(fd, input, len) == (ssize_t)len);
    close(fd);
    return target_file_path;
}
