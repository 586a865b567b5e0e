/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as libvirt_export.h says.
 */
#include "recover/libvirt_export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "secret/libvirt_cipher.h"
#include "secret/libvirt_value.h"
#include "util/base64.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

/* One export under way. */
struct run {
    struct offline_store *store;
    const struct libvirt_export *params;
    struct libvirt_key key; /* borrows params->key */
    enum store_kind kind;   /* of values */
    const char *dir;
    int dir_fd;
    GPtrArray *written; /* names of files that this call wrote */
    struct libvirt_export_result result;
};

static const char *
find_loss(const struct offline_secret *secret)
{
    return secret->def ? offline_store_find_loss(secret) : secret->problem;
}

GPtrArray *
libvirt_export_find_losses(const struct offline_store *store)
{
    GPtrArray *losses = g_ptr_array_new_with_free_func(g_free);
    const GPtrArray *problems = offline_store_problems(store);

    for (guint i = 0; i < problems->len; i++)
        g_ptr_array_add(losses, g_strdup(problems->pdata[i]));
    for (guint i = 0; i < offline_store_count(store); i++) {
        const struct offline_secret *secret = offline_store_at(store, i);
        const char *loss = find_loss(secret);
        char uuid[UUID_TEXT_SIZE];

        if (loss)
            g_ptr_array_add(
                losses, g_strdup_printf("%s: %s", uuid_format(&secret->entry.uuid, uuid), loss));
    }
    return losses;
}

static bool
has_value(const struct offline_secret *secret)
{
    return secret->entry.has_key || secret->owners;
}

/* ---- each secret ---- */

static bool
for_each(struct run *run,
         bool (*func)(struct run *run, const struct offline_secret *secret, GError **error),
         GError **error)
{
    for (guint i = 0; i < offline_store_count(run->store); i++) {
        const struct offline_secret *secret = offline_store_at(run->store, i);

        if (!find_loss(secret) && !func(run, secret, error))
            return false;
    }
    return true;
}

static void
set_in_the_way(const struct run *run, const char *name, GError **error)
{
    error_set(
        error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
        "%s is in the way in %s: it is not what would be written; import it, or take it away, "
        "and nothing was changed till then",
        name, run->dir);
}

static bool
is_there(const struct run *run, const char *name)
{
    return faccessat(run->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Whether the file has that value. */
static bool
has_same_value(const struct run *run, const struct offline_secret *secret,
               const struct secret_buf *value)
{
    enum libvirt_value_content content;
    g_autoptr(secret_buf_t) found =
        libvirt_value_read(run->dir_fd, &secret->entry.uuid, run->kind, &run->key, &content, NULL);

    return found && secret_buf_equal(found, value);
}

static bool
has_same_xml(const struct run *run, const struct offline_secret *secret)
{
    char name[STORE_NAME_SIZE];
    g_autofree char *xml = secret_def_format(secret->def);
    g_autoptr(GBytes) found = file_read(
        run->dir_fd, store_parts_name(&secret->entry.uuid, STORE_XML, name), STORE_XML_MAX, NULL);
    g_autoptr(secret_def_t) def = found ? secret_def_parse(g_bytes_get_data(found, NULL),
                                                           g_bytes_get_size(found), false, NULL)
                                        : NULL;
    g_autofree char *other = def ? secret_def_format(def) : NULL;

    return g_strcmp0(xml, other) == 0;
}

/* Nothing that is there may be replaced, but what an export that was interrupted wrote. */
static bool
check_place(struct run *run, const struct offline_secret *secret, GError **error)
{
    enum store_kind other = run->kind == STORE_BASE64 ? STORE_AES256CBC : STORE_BASE64;
    char name[STORE_NAME_SIZE];
    g_autoptr(secret_buf_t) value = NULL;

    if (is_there(run, store_parts_name(&secret->entry.uuid, STORE_XML, name)) &&
        !has_same_xml(run, secret)) {
        set_in_the_way(run, name, error);
        return false;
    }
    if (is_there(run, store_parts_name(&secret->entry.uuid, other, name))) {
        set_in_the_way(run, name, error);
        return false;
    }
    if (!is_there(run, store_parts_name(&secret->entry.uuid, run->kind, name)))
        return true;
    value = has_value(secret) ? offline_store_open_value(run->store, secret, NULL) : NULL;
    if (value && has_same_value(run, secret, value))
        return true;
    set_in_the_way(run, name, error);
    return false;
}

static bool
add_to_audit(struct run *run, const struct offline_secret *secret, GError **error)
{
    g_autofree char *reason =
        g_strdup_printf("written to %s in libvirt's own layout, by an export", run->dir);
    const struct audit_event event = {
        .event = "export",
        .secret = &secret->entry.uuid,
        .reason = reason,
        .generation = secret->reading.value.generation,
    };

    return !has_value(secret) || offline_store_audit(run->store, &event, error);
}

static bool
write_file(struct run *run, const char *name, const void *bytes, size_t len, GError **error)
{
    if (is_there(run, name))
        return true;
    g_ptr_array_add(run->written, g_strdup(name));
    return file_replace(run->dir_fd, name, bytes, len, FILE_MODE, error);
}

static bool
write_value(struct run *run, const struct offline_secret *secret, GError **error)
{
    g_autoptr(secret_buf_t) value = offline_store_open_value(run->store, secret, error);
    g_autoptr(secret_buf_t) text = NULL;
    g_autoptr(GBytes) encrypted = NULL;
    char name[STORE_NAME_SIZE];

    if (!value)
        return false;
    store_parts_name(&secret->entry.uuid, run->kind, name);
    if (run->kind == STORE_BASE64) {
        text = base64_encode_secret(value, error);
        return text && write_file(run, name, secret_buf_bytes(text), secret_buf_len(text), error);
    }
    encrypted = libvirt_cipher_encrypt(run->params->key, value, error);
    return encrypted && write_file(run, name, g_bytes_get_data(encrypted, NULL),
                                   g_bytes_get_size(encrypted), error);
}

/* The value first: libvirt reads it when it finds the definition. */
static bool
write_secret(struct run *run, const struct offline_secret *secret, GError **error)
{
    g_autofree char *xml = secret_def_format(secret->def);
    char name[STORE_NAME_SIZE];

    if (has_value(secret) && !write_value(run, secret, error))
        return false;
    return write_file(run, store_parts_name(&secret->entry.uuid, STORE_XML, name), xml, strlen(xml),
                      error);
}

static bool
verify_secret(struct run *run, const struct offline_secret *secret, GError **error)
{
    g_autoptr(secret_buf_t) value = NULL;
    char uuid[UUID_TEXT_SIZE];

    if (has_value(secret)) {
        value = offline_store_open_value(run->store, secret, error);
        if (!value)
            return false;
    }
    if (!has_same_xml(run, secret) || (value && !has_same_value(run, secret, value))) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "the files of secret %s in %s are others than were written when they are read "
                  "back",
                  uuid_format(&secret->entry.uuid, uuid), run->dir);
        return false;
    }
    run->result.definitions++;
    run->result.values += value != NULL;
    return true;
}

/* ---- the whole ---- */

static void
undo(struct run *run)
{
    for (guint i = 0; i < run->written->len; i++) {
        g_autoptr(GError) error = NULL;

        if (!file_wipe(run->dir_fd, run->written->pdata[i], &error))
            log_error("what the export wrote is left behind: %s", error->message);
    }
}

bool
libvirt_export_run(struct offline_store *store, const struct libvirt_export *params,
                   struct libvirt_export_result *ret_result, GError **error)
{
    g_autoptr(GPtrArray) written = g_ptr_array_new_with_free_func(g_free);
    struct run run = {
        .store = store,
        .params = params,
        /* What is compared is what was just written: nothing has to be guessed about the key. */
        .key = {.bytes = (struct secret_buf *)params->key,
                .source = (char *)"of the export",
                .trust = LIBVIRT_KEY_PROVEN},
        .kind = params->key ? STORE_AES256CBC : STORE_BASE64,
        .dir = params->dir ? params->dir : offline_store_paths(store)->secrets_dir,
        .written = written,
    };
    g_auto(file_fd) dir_fd = file_open_dir(run.dir, true, FOLDER_MODE, error);

    if (dir_fd < 0)
        return false;
    run.dir_fd = dir_fd;
    if (!for_each(&run, check_place, error) || !for_each(&run, add_to_audit, error))
        return false;
    if (!for_each(&run, write_secret, error) || !for_each(&run, verify_secret, error)) {
        undo(&run);
        return false;
    }
    *ret_result = run.result;
    return true;
}
