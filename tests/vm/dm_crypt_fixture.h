/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the tests of mappings share, which run in the machine alone.
 */
#pragma once

#include "../unit/luks_fixture.h"
#include "storage/loop_device.h"

enum { MIB = 1024 * 1024 };

G_GNUC_UNUSED static const struct encryption luks1 = {.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                                      .format = ENCRYPTION_FORMAT_LUKS};
G_GNUC_UNUSED static const struct encryption luks2 = {.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                                      .format = ENCRYPTION_FORMAT_LUKS2};
G_GNUC_UNUSED static const struct encryption plain = {.engine = ENCRYPTION_ENGINE_DM_CRYPT,
                                                      .format = ENCRYPTION_FORMAT_PLAIN};

static inline void
put_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, text, strlen(text), MIB), ==, (ssize_t)strlen(text));
    g_assert_cmpint(fsync(fd), ==, 0);
    close(fd);
}

static inline void
expect_text(const char *path, const char *text)
{
    char present[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, present, strlen(text), MIB), ==, (ssize_t)strlen(text));
    g_assert_cmpstr(present, ==, text);
    close(fd);
}

static inline void
expect_no_loop(const char *path)
{
    for (int i = 0; i < 100; i++) {
        g_autofree char *device = loop_device_find(path);

        if (!device)
            return;
        g_usleep(100 * 1000);
    }
    g_assert_not_reached();
}
