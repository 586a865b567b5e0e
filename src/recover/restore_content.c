/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: that checking and writing. Files are made new and flushed all at once at the end: before
 * the slots are there nothing counts, so that the order among them does not matter.
 */
#include "recover/restore_content.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/secret_def.h"
#include "secret/generations.h"
#include "secret/sealed.h"
#include "secret/store_parts.h"
#include "util/error.h"
#include "util/file.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

static const char generations_name[] = "of the backup";

/* One run through the content. */
struct pass {
    const struct master_key *master;
    struct master_key *previous; /* of a rotation that was under way, or NULL */
    struct generations *generations;
    struct restore_content content;

    /* NULL: nothing is written */
    const struct offline_paths *paths;
    file_fd virtcrypt_fd;
    file_fd secrets_fd;
    file_fd guests_fd; /* -1 before the first guest */
};

void
restore_content_clear(struct restore_content *content)
{
    g_clear_pointer(&content->lost, g_ptr_array_unref);
    g_clear_pointer(&content->damage, g_ptr_array_unref);
}

static void
pass_clear(struct pass *pass)
{
    generations_free(pass->generations);
    master_key_free(pass->previous);
    restore_content_clear(&pass->content);
    file_fd_clear(&pass->virtcrypt_fd);
    file_fd_clear(&pass->secrets_fd);
    file_fd_clear(&pass->guests_fd);
}

typedef struct pass pass_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(pass_t, pass_clear)

/* ---- files ---- */

static bool
write_new(int dir_fd, const char *name, GBytes *content, GError **error)
{
    gsize len = 0;
    const void *bytes = g_bytes_get_data(content, &len);
    g_auto(file_fd) fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);

    if (fd >= 0 && file_write_all(fd, bytes, len))
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot write the file %s", name);
    return false;
}

static bool
write_copy(struct pass *pass, const struct uuid *guest, const char *name, GBytes *sealed,
           GError **error)
{
    char folder[UUID_TEXT_SIZE];
    g_auto(file_fd) fd = -1;

    if (pass->guests_fd < 0)
        pass->guests_fd = file_open_dir(pass->paths->guests_dir, true, FOLDER_MODE, error);
    if (pass->guests_fd < 0)
        return false;
    uuid_format(guest, folder);
    if (mkdirat(pass->guests_fd, folder, FOLDER_MODE) < 0 && errno != EEXIST) {
        error_set_errno(error, ERROR_FROM_SECRET, errno,
                        "cannot make the folder %s of guest's keys", folder);
        return false;
    }
    fd = openat(pass->guests_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno,
                        "cannot open the folder %s of guest's keys", folder);
        return false;
    }
    return write_new(fd, name, sealed, error);
}

/* The copy that it has is taken as it is; the others are sealed for their guests. */
static bool
write_copies(struct pass *pass, const struct backup_secret *secret, const struct secret_def *def,
             const struct secret_buf *value, GError **error)
{
    char name[STORE_NAME_SIZE];
    uint64_t generation = 0;

    store_parts_name(&secret->uuid, STORE_KEY, name);
    /* It was opened just now. */
    sealed_parse_generation(g_bytes_get_data(secret->sealed, NULL),
                            g_bytes_get_size(secret->sealed), &generation);
    for (uint32_t i = 0; i < secret->guest_count; i++) {
        const struct uuid *guest = &secret->guests[i];
        const struct sealed_binding binding = {def, guest};
        g_autoptr(GBytes) sealed = secret->has_owner && uuid_equal(guest, &secret->owner)
                                       ? g_bytes_ref(secret->sealed)
                                       : sealed_format(generations_current(pass->generations),
                                                       &binding, generation, value, error);

        if (!sealed || !write_copy(pass, guest, name, sealed, error))
            return false;
    }
    return true;
}

static bool
write_secret(struct pass *pass, const struct backup_secret *secret, const struct secret_def *def,
             const struct secret_buf *value, GError **error)
{
    char name[STORE_NAME_SIZE];

    if (!write_new(pass->secrets_fd, store_parts_name(&secret->uuid, STORE_XML, name), secret->xml,
                   error))
        return false;
    if (!value)
        return true;
    if (secret->guest_count > 0)
        return write_copies(pass, secret, def, value, error);
    return write_new(pass->secrets_fd, store_parts_name(&secret->uuid, STORE_KEY, name),
                     secret->sealed, error);
}

/* ---- records ---- */

static bool
take_generations(void *opaque, GBytes *bytes, GError **error)
{
    struct pass *pass = opaque;
    g_autofree char *name = NULL;

    pass->generations =
        generations_parse(generations_name, bytes, pass->master, pass->previous, error);
    if (!pass->generations || !pass->paths)
        return pass->generations != NULL;
    name = g_path_get_basename(pass->paths->generations);
    return write_new(pass->virtcrypt_fd, name, bytes, error);
}

static struct secret_def *
parse_definition(const struct backup_secret *secret, GError **error)
{
    g_autoptr(secret_def_t) def = secret_def_parse(g_bytes_get_data(secret->xml, NULL),
                                                   g_bytes_get_size(secret->xml), false, error);
    char uuid[UUID_TEXT_SIZE];

    if (!def)
        return NULL;
    if (!uuid_equal(&def->uuid, &secret->uuid)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the definition of secret %s in the backup is another secret's",
                  uuid_format(&secret->uuid, uuid));
        return NULL;
    }
    return g_steal_pointer(&def);
}

/* Whether the value is sealed for one of those that are to get it. */
static bool
check_owner(const struct backup_secret *secret, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    for (uint32_t i = 0; secret->has_owner && i <= secret->guest_count; i++) {
        if (i < secret->guest_count && uuid_equal(&secret->guests[i], &secret->owner))
            return true;
        if (i == secret->guest_count) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                      "the value of secret %s in the backup is of a guest that does not own it",
                      uuid_format(&secret->uuid, uuid));
            return false;
        }
    }
    return true;
}

/* *ret_value: NULL without one. */
static struct secret_def *
open_secret(const struct pass *pass, const struct backup_secret *secret,
            struct secret_buf **ret_value, GError **error)
{
    g_autoptr(secret_def_t) def = parse_definition(secret, error);
    const struct sealed_binding binding = {def, secret->has_owner ? &secret->owner : NULL};
    gsize len = 0;
    const void *bytes = secret->sealed ? g_bytes_get_data(secret->sealed, &len) : NULL;

    if (!def || !check_owner(secret, error))
        return NULL;
    if (bytes) {
        *ret_value = sealed_parse(generations_key_of(pass->generations, bytes, len), &binding,
                                  bytes, len, error);
        if (!*ret_value)
            return NULL;
    }
    return g_steal_pointer(&def);
}

static void
note_damage(struct pass *pass, const struct backup_secret *secret, const GError *failure)
{
    char uuid[UUID_TEXT_SIZE];

    g_ptr_array_add(
        pass->content.damage,
        g_strdup_printf("secret %s: %s", uuid_format(&secret->uuid, uuid), failure->message));
}

static bool
take_secret(void *opaque, const struct backup_secret *secret, GError **error)
{
    struct pass *pass = opaque;
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_def_t) def = open_secret(pass, secret, &value, &failure);

    if (!def && pass->content.damage) {
        note_damage(pass, secret, failure);
        return true;
    }
    if (!def) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (value) {
        pass->content.values++;
        pass->content.copies += secret->guest_count;
    }
    pass->content.secrets++;
    return !pass->paths || write_secret(pass, secret, def, value, error);
}

static bool
take_lost(void *opaque, const char *text, GError **error)
{
    struct pass *pass = opaque;

    g_ptr_array_add(pass->content.lost, g_strdup(text));
    return true;
}

static const struct backup_records_funcs records_funcs = {
    .generations = take_generations,
    .secret = take_secret,
    .lost = take_lost,
};

static bool
run(struct pass *pass, struct backup_reader *reader, const struct backup_progress *progress,
    bool salvage, GError **error)
{
    const struct slots *slots = backup_reader_slots(reader);

    pass->content.lost = g_ptr_array_new_with_free_func(g_free);
    pass->content.damage = salvage ? g_ptr_array_new_with_free_func(g_free) : NULL;
    if (slots->has_previous) {
        pass->previous = slots_open_previous(slots, pass->master, error);
        if (!pass->previous)
            return false;
    }
    return salvage ? backup_reader_salvage(reader, &records_funcs, pass, progress,
                                           pass->content.damage, error)
                   : backup_reader_run(reader, &records_funcs, pass, progress, error);
}

bool
restore_content_check(struct backup_reader *reader, const struct master_key *master,
                      const struct backup_progress *progress, bool salvage,
                      struct restore_content *ret_content, GError **error)
{
    g_auto(pass_t) pass = {.master = master, .virtcrypt_fd = -1, .secrets_fd = -1, .guests_fd = -1};
    g_autoptr(GError) failure = NULL;

    if (!run(&pass, reader, progress, salvage, &failure)) {
        if (salvage || !error_is(failure, ERROR_INVALID_SECRET))
            g_propagate_error(error, g_steal_pointer(&failure));
        else
            g_propagate_prefixed_error(
                error, g_steal_pointer(&failure),
                "nothing was changed (if there is no other backup, --salvage restores what is "
                "whole in this one): ");
        return false;
    }
    *ret_content = pass.content;
    pass.content.lost = pass.content.damage = NULL;
    return true;
}

static bool
flush(int fd, const char *dir, GError **error)
{
    if (fd < 0 || syncfs(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot flush the folder %s", dir);
    return false;
}

/* A medium that fails may give less the second time. */
static bool
check_same(const struct restore_content *written, const struct restore_content *checked,
           GError **error)
{
    if (written->secrets == checked->secrets && written->values == checked->values)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
              "the backup is read otherwise than a moment ago; copy it to another medium first");
    return false;
}

bool
restore_content_write(struct backup_reader *reader, const struct master_key *master,
                      const struct offline_paths *paths, const struct backup_progress *progress,
                      const struct restore_content *checked, GError **error)
{
    g_auto(pass_t) pass = {
        .master = master, .paths = paths, .virtcrypt_fd = -1, .secrets_fd = -1, .guests_fd = -1};

    pass.virtcrypt_fd = file_open_dir(paths->virtcrypt_dir, true, FOLDER_MODE, error);
    if (pass.virtcrypt_fd < 0)
        return false;
    pass.secrets_fd = file_open_dir(paths->secrets_dir, true, FOLDER_MODE, error);
    return pass.secrets_fd >= 0 && run(&pass, reader, progress, checked->damage != NULL, error) &&
           check_same(&pass.content, checked, error) &&
           flush(pass.secrets_fd, paths->secrets_dir, error) &&
           flush(pass.guests_fd, paths->guests_dir, error) &&
           flush(pass.virtcrypt_fd, paths->virtcrypt_dir, error);
}
