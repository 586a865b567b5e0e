/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a custodian of guests' keys for tests: the secrets of key_files.h, and a folder with a file
 * for each that guests own, their uuids in it. A file of owners counts if its secret is there.
 */
#pragma once

#include "folder.h"
#include "guest/custodian.h"
#include "key_files.h"

enum { OWNER_FILE_MAX = 64 * 1024 };

struct owner_files {
    struct key_files *keys;
    const struct folder *folder;
    char *reason; /* of the last that was taken */
    bool refuses_put;
    bool loses_answer; /* a put is done, and fails */
};

/* The uuids in the file, as lines; "" for none. */
static inline char *
owner_files_read(const struct owner_files *files, const struct uuid *secret)
{
    char name[UUID_TEXT_SIZE];
    g_autoptr(GBytes) content =
        file_read(files->folder->fd, uuid_format(secret, name), OWNER_FILE_MAX, NULL);

    return content ? g_strndup(g_bytes_get_data(content, NULL), g_bytes_get_size(content))
                   : g_strdup("");
}

static inline void
owner_files_write(const struct owner_files *files, const struct uuid *secret, const char *owners)
{
    char name[UUID_TEXT_SIZE];
    g_autoptr(GError) error = NULL;

    file_replace(files->folder->fd, uuid_format(secret, name), owners, strlen(owners), 0600,
                 &error);
    g_assert_no_error(error);
}

static inline bool
owner_files_has(const struct owner_files *files, const struct uuid *secret)
{
    char name[UUID_TEXT_SIZE];

    return faccessat(files->keys->fd, uuid_format(secret, name), F_OK, 0) == 0;
}

static inline bool
owner_files_is_owner(const struct owner_files *files, const struct uuid *secret,
                     const struct uuid *guest)
{
    g_autofree char *owners = owner_files_read(files, secret);
    char text[UUID_TEXT_SIZE];

    return owner_files_has(files, secret) && strstr(owners, uuid_format(guest, text));
}

/* ---- the table ---- */

static inline GArray *
owner_files_all(const struct owner_files *files)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    DIR *dir = fdopendir(openat(files->keys->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const struct dirent *entry;
    struct uuid uuid;

    g_assert_nonnull(dir);
    while ((entry = readdir(dir))) {
        if (uuid_parse(entry->d_name, &uuid))
            g_array_append_val(all, uuid);
    }
    closedir(dir);
    return all;
}

static inline int
owner_files_compare(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static inline GArray *
owner_files_with_value(void *opaque, GError **error)
{
    struct owner_files *files = opaque;
    GArray *all;

    if (!key_files_check(files->keys, error))
        return NULL;
    all = owner_files_all(files);
    g_array_sort(all, owner_files_compare);
    return all;
}

static inline GArray *
owner_files_list(void *opaque, GError **error)
{
    struct owner_files *files = opaque;
    g_autoptr(GArray) all = owner_files_with_value(files, error);
    GArray *bindings;

    if (!all)
        return NULL;
    bindings = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    for (guint i = 0; i < all->len; i++) {
        struct guest_binding binding = {.secret = g_array_index(all, struct uuid, i)};
        g_autofree char *owners = owner_files_read(files, &binding.secret);
        g_auto(GStrv) lines = g_strsplit(owners, "\n", -1);

        for (char **line = lines; *line; line++) {
            if (uuid_parse(*line, &binding.guest))
                g_array_append_val(bindings, binding);
        }
    }
    return bindings;
}

static inline void
owner_files_free_error(void *error)
{
    if (error)
        g_error_free(error);
}

static inline GError *
owner_files_bind_one(struct owner_files *files, const struct guest_binding *binding)
{
    g_autofree char *owners = owner_files_read(files, &binding->secret);
    g_autofree char *more = NULL;
    char text[UUID_TEXT_SIZE];
    GError *error = NULL;

    if (!owner_files_has(files, &binding->secret)) {
        error_set(&error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no such secret");
        return error;
    }
    if (!strstr(owners, uuid_format(&binding->guest, text))) {
        more = g_strdup_printf("%s%s\n", owners, text);
        owner_files_write(files, &binding->secret, more);
    }
    return NULL;
}

static inline bool
owner_files_bind(void *opaque, const GArray *bindings, GPtrArray **ret_errors, GError **error)
{
    struct owner_files *files = opaque;

    if (!key_files_check(files->keys, error))
        return false;
    *ret_errors = g_ptr_array_new_with_free_func(owner_files_free_error);
    for (guint i = 0; i < bindings->len; i++)
        g_ptr_array_add(*ret_errors, owner_files_bind_one(
                                         files, &g_array_index(bindings, struct guest_binding, i)));
    return true;
}

static inline void
owner_files_note(struct owner_files *files, const char *reason)
{
    g_free(files->reason);
    files->reason = g_strdup(reason);
}

static inline bool
owner_files_unbind(void *opaque, const GArray *bindings, const char *reason, GPtrArray **ret_errors,
                   GError **error)
{
    struct owner_files *files = opaque;

    if (!key_files_check(files->keys, error))
        return false;
    owner_files_note(files, reason);
    *ret_errors = g_ptr_array_new_with_free_func(owner_files_free_error);
    for (guint i = 0; i < bindings->len; i++) {
        const struct guest_binding *binding = &g_array_index(bindings, struct guest_binding, i);
        g_autofree char *owners = owner_files_read(files, &binding->secret);
        char text[UUID_TEXT_SIZE];
        g_auto(GStrv) parts = g_strsplit(owners, uuid_format(&binding->guest, text), -1);
        g_autofree char *less = g_strjoinv("", parts);

        owner_files_write(files, &binding->secret, less);
        g_ptr_array_add(*ret_errors, NULL);
    }
    return true;
}

static inline bool
owner_files_erase(void *opaque, const struct uuid *secret, const struct uuid *guest,
                  const char *reason, GError **error)
{
    struct owner_files *files = opaque;
    char name[UUID_TEXT_SIZE];

    owner_files_note(files, reason);
    if (!key_files_check(files->keys, error))
        return false;
    unlinkat(files->keys->fd, uuid_format(secret, name), 0);
    unlinkat(files->folder->fd, uuid_format(secret, name), 0);
    return true;
}

static inline bool
owner_files_put(void *opaque, const struct secret_def *def, const struct secret_buf *value,
                const struct uuid *owners, size_t owner_count, GError **error)
{
    struct owner_files *files = opaque;
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autoptr(GByteArray) content = g_byte_array_new();
    char name[UUID_TEXT_SIZE];

    if (!key_files_check(files->keys, error))
        return false;
    if (files->refuses_put || owner_files_has(files, &def->uuid)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "it can't be put");
        return false;
    }
    for (size_t i = 0; i < owner_count; i++)
        g_string_append_printf(lines, "%s\n", uuid_format(&owners[i], name));
    owner_files_write(files, &def->uuid, lines->str);
    g_byte_array_append(content, (const guint8 *)def->usage_id, (guint)strlen(def->usage_id));
    g_byte_array_append(content, (const guint8 *)"\n", 1);
    g_byte_array_append(content, secret_buf_bytes(value), (guint)secret_buf_len(value));
    if (!file_replace(files->keys->fd, uuid_format(&def->uuid, name), content->data, content->len,
                      0600, error))
        return false;
    if (!files->loses_answer)
        return true;
    error_set(error, ERROR_FROM_RPC, ERROR_RPC, "the answer was lost");
    return false;
}

static inline struct secret_buf *
owner_files_get(void *opaque, const struct uuid *secret, GError **error)
{
    return key_files_get(((struct owner_files *)opaque)->keys, secret, error);
}

static inline struct secret_def *
owner_files_find(void *opaque, const struct uuid *secret, GError **error)
{
    struct owner_files *files = opaque;
    struct secret_def *def;
    char name[UUID_TEXT_SIZE];

    if (!key_files_check(files->keys, error))
        return NULL;
    if (!owner_files_has(files, secret)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no such secret");
        return NULL;
    }
    def = g_new0(struct secret_def, 1);
    def->uuid = *secret;
    def->usage_type = SECRET_USAGE_VOLUME;
    def->usage_id = key_files_usage(files->keys, uuid_format(secret, name));
    def->is_private = true;
    return def;
}

static inline bool
owner_files_find_usage(void *opaque, enum secret_usage_type type, const char *usage,
                       struct uuid *ret_uuid, GError **error)
{
    g_assert_cmpint(type, ==, SECRET_USAGE_VOLUME);
    return key_files_find(((struct owner_files *)opaque)->keys, usage, ret_uuid, error);
}

static inline struct guest_custodian
owner_files_table(struct owner_files *files)
{
    const struct guest_custodian custodian = {
        .opaque = files,
        .list = owner_files_list,
        .bind = owner_files_bind,
        .unbind = owner_files_unbind,
        .erase = owner_files_erase,
        .put = owner_files_put,
        .get = owner_files_get,
        .find = owner_files_find,
        .find_usage = owner_files_find_usage,
        .list_with_value = owner_files_with_value,
    };

    return custodian;
}
