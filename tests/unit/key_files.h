/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a custodian of keys for tests, in the place of virtcrypt-secretd: a folder with a file
 * UUID for each secret, its usage in the first line and its value behind it. It can be away.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "storage/keys.h"
#include "util/error.h"
#include "util/file.h"

enum { KEY_FILE_MAX = 128 * 1024 };

struct key_files {
    int fd; /* of the folder */
    bool is_away;
    unsigned int fetched; /* how many values were given out */
};

static inline bool
key_files_check(const struct key_files *files, GError **error)
{
    if (!files->is_away)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_NO_CONNECT,
              "virtcrypt-secretd does not answer: start it");
    return false;
}

static inline char *
key_files_usage(const struct key_files *files, const char *name)
{
    g_autoptr(GBytes) content = file_read(files->fd, name, KEY_FILE_MAX, NULL);
    const char *bytes = content ? g_bytes_get_data(content, NULL) : NULL;
    const char *end = bytes ? memchr(bytes, '\n', g_bytes_get_size(content)) : NULL;

    return end ? g_strndup(bytes, (gsize)(end - bytes)) : NULL;
}

static inline struct secret_buf *
key_files_get(void *opaque, const struct uuid *uuid, GError **error)
{
    struct key_files *files = opaque;
    char name[UUID_TEXT_SIZE];
    g_autoptr(GBytes) content = NULL;
    const char *bytes, *end;
    gsize len;

    if (!key_files_check(files, error))
        return NULL;
    content = file_read(files->fd, uuid_format(uuid, name), KEY_FILE_MAX, NULL);
    bytes = content ? g_bytes_get_data(content, &len) : NULL;
    end = bytes ? memchr(bytes, '\n', len) : NULL;
    if (!end) {
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no secret with matching uuid '%s'",
                  name);
        return NULL;
    }
    files->fetched++;
    return secret_buf_new_from(end + 1, len - (gsize)(end + 1 - bytes), error);
}

static inline bool
key_files_find(void *opaque, const char *usage, struct uuid *ret_uuid, GError **error)
{
    struct key_files *files = opaque;
    int fd = openat(files->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(fd);
    const struct dirent *entry;
    bool is_found = false;

    g_assert_nonnull(dir);
    if (!key_files_check(files, error)) {
        closedir(dir);
        return false;
    }
    while (!is_found && (entry = readdir(dir))) {
        g_autofree char *other = key_files_usage(files, entry->d_name);

        is_found = g_strcmp0(other, usage) == 0 && uuid_parse(entry->d_name, ret_uuid);
    }
    closedir(dir);
    if (!is_found)
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no secret with matching usage '%s'",
                  usage);
    return is_found;
}

static inline bool
key_files_put(void *opaque, const struct uuid *uuid, const char *usage, const char *description,
              const struct secret_buf *value, GError **error)
{
    struct key_files *files = opaque;
    g_autoptr(GByteArray) content = g_byte_array_new();
    char name[UUID_TEXT_SIZE];
    struct uuid known;

    g_assert_nonnull(strstr(description, "by virtcrypt"));
    if (!key_files_check(files, error))
        return false;
    if (key_files_find(files, usage, &known, NULL)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "usage '%s' is taken", usage);
        return false;
    }
    g_byte_array_append(content, (const guint8 *)usage, (guint)strlen(usage));
    g_byte_array_append(content, (const guint8 *)"\n", 1);
    g_byte_array_append(content, secret_buf_bytes(value), (guint)secret_buf_len(value));
    return file_replace(files->fd, uuid_format(uuid, name), content->data, content->len, 0600,
                        error);
}

static inline bool
key_files_remove(void *opaque, const struct uuid *uuid, const char *reason, GError **error)
{
    struct key_files *files = opaque;
    char name[UUID_TEXT_SIZE];

    g_assert_cmpuint(strlen(reason), >, 0);
    if (!key_files_check(files, error))
        return false;
    return unlinkat(files->fd, uuid_format(uuid, name), 0) == 0 || errno == ENOENT;
}

static inline struct storage_keys
key_files_table(struct key_files *files)
{
    const struct storage_keys keys = {
        .opaque = files,
        .get = key_files_get,
        .find_by_usage = key_files_find,
        .put = key_files_put,
        .remove = key_files_remove,
    };

    return keys;
}
