/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a temporary folder for a test, and its files as bytes.
 */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

struct folder {
    char *path;
    int fd;
};

static inline void
folder_init(struct folder *folder)
{
    g_autoptr(GError) error = NULL;

    folder->path = g_dir_make_tmp("virtcrypt-XXXXXX", &error);
    g_assert_no_error(error);
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(folder->fd, >=, 0);
}

static inline void
folder_remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
            folder_remove_tree(child);
        else
            g_unlink(child);
    }
    g_rmdir(path);
}

static inline void
folder_clear(struct folder *folder)
{
    close(folder->fd);
    folder_remove_tree(folder->path);
    g_free(folder->path);
}

static inline char *
folder_path(const struct folder *folder, const char *name)
{
    return g_build_filename(folder->path, name, NULL);
}

static inline void
folder_put(const struct folder *folder, const char *name, const void *bytes, size_t len)
{
    int fd = openat(folder->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, bytes, len), ==, (ssize_t)len);
    close(fd);
}

static inline void
folder_put_text(const struct folder *folder, const char *name, const char *text)
{
    folder_put(folder, name, text, strlen(text));
}

/* The content, or NULL if there is no such file. */
static inline GBytes *
folder_get(const struct folder *folder, const char *name)
{
    g_autofree char *path = folder_path(folder, name);
    char *content = NULL;
    gsize len = 0;

    if (!g_file_get_contents(path, &content, &len, NULL))
        return NULL;
    return g_bytes_new_take(content, len);
}

static inline void
folder_expect(const struct folder *folder, const char *name, GBytes *expected)
{
    g_autoptr(GBytes) content = folder_get(folder, name);

    g_assert_nonnull(content);
    g_assert_cmpmem(g_bytes_get_data(content, NULL), g_bytes_get_size(content),
                    g_bytes_get_data(expected, NULL), g_bytes_get_size(expected));
}

static inline void
folder_expect_none(const struct folder *folder, const char *name)
{
    g_autofree char *path = folder_path(folder, name);

    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS) ||
                   g_file_test(path, G_FILE_TEST_IS_SYMLINK));
}

static inline guint
folder_count(const struct folder *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder->path, 0, NULL);
    guint count = 0;

    while (g_dir_read_name(dir))
        count++;
    return count;
}
