/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: uses.h. A volume that somebody uses has a file DIR/POOL/VOLUME.uses, one line a user:
 *
 *     guest UUID rw|ro SINCE NAME      SINCE: seconds of this host's boot clock
 *     manual - rw|ro SINCE -
 *
 * with the name escaped as g_strescape does. Users of a stream are in memory alone: a daemon that
 * starts has none. The folder lives in /run, so files are replaced, but need not be flushed.
 */
#include "storage/uses.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

#define SUFFIX ".uses"

enum { DIR_MODE = 0700, FILE_MODE = 0600, FILE_MAX = 1024 * 1024, FIELD_COUNT = 5 };

static const char *const kind_names[] = {"guest", "manual", "stream"};

struct use {
    struct storage_user user;
    gint64 since_s;
};

struct volume_uses {
    char *pool;
    char *volume;
    GPtrArray *users; /* of struct use, never empty */
};

struct storage_uses {
    char *dir;
    GMutex mutex;
    GHashTable *volumes; /* "POOL/VOLUME" -> struct volume_uses */
};

static void
use_free(void *opaque)
{
    struct use *use = opaque;

    g_free(use->user.name);
    g_free(use);
}

static void
volume_uses_free(void *opaque)
{
    struct volume_uses *volume = opaque;

    g_free(volume->pool);
    g_free(volume->volume);
    g_ptr_array_unref(volume->users);
    g_free(volume);
}

void
storage_use_place_free(struct storage_use_place *place)
{
    if (!place)
        return;
    g_free(place->pool);
    g_free(place->volume);
    g_free(place);
}

/* Goes on over daemons' restarts and never jumps. */
static gint64
boot_clock_s(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

static struct volume_uses *
find(struct storage_uses *uses, const char *pool, const char *volume)
{
    g_autofree char *place = g_strdup_printf("%s/%s", pool, volume);

    return g_hash_table_lookup(uses->volumes, place);
}

static struct volume_uses *
find_or_add(struct storage_uses *uses, const char *pool, const char *volume)
{
    struct volume_uses *found = find(uses, pool, volume);

    if (found)
        return found;
    found = g_new0(struct volume_uses, 1);
    found->pool = g_strdup(pool);
    found->volume = g_strdup(volume);
    found->users = g_ptr_array_new_with_free_func(use_free);
    g_hash_table_insert(uses->volumes, g_strdup_printf("%s/%s", pool, volume), found);
    return found;
}

static void
drop_if_empty(struct storage_uses *uses, struct volume_uses *volume)
{
    g_autofree char *place = g_strdup_printf("%s/%s", volume->pool, volume->volume);

    if (volume->users->len == 0)
        g_hash_table_remove(uses->volumes, place);
}

static bool
is_same_user(const struct storage_user *a, const struct storage_user *b)
{
    return a->kind == b->kind &&
           (a->kind == STORAGE_USER_MANUAL || uuid_equal(&a->guest, &b->guest));
}

static struct use *
find_use(const struct volume_uses *volume, const struct storage_user *user)
{
    for (guint i = 0; volume && i < volume->users->len; i++) {
        struct use *use = volume->users->pdata[i];

        if (is_same_user(&use->user, user))
            return use;
    }
    return NULL;
}

static void
add_use(struct volume_uses *volume, const struct storage_user *user, gint64 since_s)
{
    struct use *use = g_new0(struct use, 1);

    use->user = *user;
    use->user.name = g_strdup(user->name);
    use->since_s = since_s;
    g_ptr_array_add(volume->users, use);
}

/* ---- files ---- */

static void
format_use(GString *text, const struct use *use)
{
    g_autofree char *name = g_strescape(use->user.name ? use->user.name : "-", NULL);
    char uuid[UUID_TEXT_SIZE] = "-";

    if (use->user.kind == STORAGE_USER_STREAM)
        return;
    if (use->user.kind == STORAGE_USER_GUEST)
        uuid_format(&use->user.guest, uuid);
    g_string_append_printf(text, "%s %s %s %" G_GINT64_FORMAT " %s\n", kind_names[use->user.kind],
                           uuid, use->user.is_readonly ? "ro" : "rw", use->since_s, name);
}

static bool
save(struct storage_uses *uses, const struct volume_uses *volume, GError **error)
{
    g_autofree char *dir = g_build_filename(uses->dir, volume->pool, NULL);
    g_autofree char *file = g_strconcat(volume->volume, SUFFIX, NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(file_fd) fd = file_open_dir(dir, true, DIR_MODE, error);

    if (fd < 0)
        return false;
    for (guint i = 0; i < volume->users->len; i++)
        format_use(text, volume->users->pdata[i]);
    if (text->len > 0)
        return file_replace(fd, file, text->str, text->len, FILE_MODE, error);
    if (unlinkat(fd, file, 0) == 0 || errno == ENOENT)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "can't remove %s/%s", dir, file);
    return false;
}

static bool
parse_use(const char *line, struct storage_user *user, gint64 *ret_since_s)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", FIELD_COUNT);

    if (g_strv_length(fields) != FIELD_COUNT)
        return false;
    if (strcmp(fields[0], kind_names[STORAGE_USER_GUEST]) == 0)
        user->kind = STORAGE_USER_GUEST;
    else if (strcmp(fields[0], kind_names[STORAGE_USER_MANUAL]) == 0)
        user->kind = STORAGE_USER_MANUAL;
    else
        return false;
    if (user->kind == STORAGE_USER_GUEST && !uuid_parse(fields[1], &user->guest))
        return false;
    user->is_readonly = strcmp(fields[2], "ro") == 0;
    *ret_since_s = g_ascii_strtoll(fields[3], NULL, 10);
    if (user->kind == STORAGE_USER_GUEST)
        user->name = g_strcompress(fields[4]);
    return true;
}

static void
load_volume(struct storage_uses *uses, int dir_fd, const char *pool, const char *file)
{
    g_autofree char *name = g_strndup(file, strlen(file) - strlen(SUFFIX));
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) text = file_read(dir_fd, file, FILE_MAX, &error);
    g_autofree char *terminated = NULL;
    g_auto(GStrv) lines = NULL;
    struct volume_uses *volume;

    if (!text) {
        log_error("%s/%s/%s can't be read: %s", uses->dir, pool, file, error->message);
        return;
    }
    terminated = g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
    lines = g_strsplit(terminated, "\n", -1);
    volume = find_or_add(uses, pool, name);
    for (guint i = 0; lines[i]; i++) {
        struct storage_user user = {0};
        gint64 since_s = 0;

        if (parse_use(lines[i], &user, &since_s))
            add_use(volume, &user, since_s);
        else if (lines[i][0] != '\0')
            log_error("%s/%s/%s has a line that is no use; it is left out", uses->dir, pool, file);
        g_free(user.name);
    }
    drop_if_empty(uses, volume);
}

static void
load_pool(struct storage_uses *uses, const char *pool)
{
    g_autofree char *path = g_build_filename(uses->dir, pool, NULL);
    g_auto(file_fd) fd = file_open_dir(path, false, 0, NULL);
    g_autoptr(GDir) dir = fd < 0 ? NULL : g_dir_open(path, 0, NULL);
    const char *file;

    while (dir && (file = g_dir_read_name(dir))) {
        if (g_str_has_suffix(file, SUFFIX))
            load_volume(uses, fd, pool, file);
    }
}

struct storage_uses *
storage_uses_new(const char *dir, GError **error)
{
    g_auto(file_fd) fd = file_open_dir(dir, true, DIR_MODE, error);
    g_autoptr(GDir) pools = fd < 0 ? NULL : g_dir_open(dir, 0, error);
    struct storage_uses *uses;
    const char *pool;

    if (!pools)
        return NULL;
    uses = g_new0(struct storage_uses, 1);
    uses->dir = g_strdup(dir);
    g_mutex_init(&uses->mutex);
    uses->volumes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, volume_uses_free);
    while ((pool = g_dir_read_name(pools)))
        load_pool(uses, pool);
    return uses;
}

void
storage_uses_free(struct storage_uses *uses)
{
    if (!uses)
        return;
    g_hash_table_destroy(uses->volumes);
    g_mutex_clear(&uses->mutex);
    g_free(uses->dir);
    g_free(uses);
}

/* ---- users ---- */

bool
storage_uses_add(struct storage_uses *uses, const char *pool, const char *volume,
                 const struct storage_user *user, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->mutex);
    struct volume_uses *found = find_or_add(uses, pool, volume);
    struct use *use = find_use(found, user);
    bool was_readonly = use && use->user.is_readonly;

    if (use)
        use->user.is_readonly = was_readonly && user->is_readonly;
    else
        add_use(found, user, boot_clock_s());
    if (save(uses, found, error))
        return true;
    if (use)
        use->user.is_readonly = was_readonly;
    else
        g_ptr_array_set_size(found->users, (gint)found->users->len - 1);
    drop_if_empty(uses, found);
    return false;
}

bool
storage_uses_remove(struct storage_uses *uses, const char *pool, const char *volume,
                    const struct storage_user *user, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->mutex);
    struct volume_uses *found = find(uses, pool, volume);
    struct use *use = find_use(found, user);
    bool is_saved;

    if (!use) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "volume '%s' of pool '%s' is not open for %s%s", volume, pool,
                  kind_names[user->kind], user->kind == STORAGE_USER_MANUAL ? " use" : "");
        return false;
    }
    g_ptr_array_remove(found->users, use);
    is_saved = save(uses, found, error);
    drop_if_empty(uses, found);
    return is_saved;
}

unsigned int
storage_uses_count(struct storage_uses *uses, const char *pool, const char *volume)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->mutex);
    const struct volume_uses *found = find(uses, pool, volume);

    return found ? found->users->len : 0;
}

bool
storage_uses_is_readonly(struct storage_uses *uses, const char *pool, const char *volume)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->mutex);
    const struct volume_uses *found = find(uses, pool, volume);

    for (guint i = 0; found && i < found->users->len; i++) {
        const struct use *use = found->users->pdata[i];

        if (!use->user.is_readonly)
            return false;
    }
    return found;
}

static void
describe_use(GString *text, const struct use *use)
{
    char uuid[UUID_TEXT_SIZE];

    switch (use->user.kind) {
    case STORAGE_USER_GUEST:
        g_string_append_printf(text, "guest '%s'",
                               use->user.name ? use->user.name
                                              : uuid_format(&use->user.guest, uuid));
        return;
    case STORAGE_USER_MANUAL:
        g_string_append(text, "virtcrypt vol-open");
        return;
    case STORAGE_USER_STREAM:
        g_string_append(text, "an upload or download");
    }
}

char *
storage_uses_describe(struct storage_uses *uses, const char *pool, const char *volume)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->mutex);
    const struct volume_uses *found = find(uses, pool, volume);
    GString *text;

    if (!found)
        return NULL;
    text = g_string_new(NULL);
    for (guint i = 0; i < found->users->len; i++) {
        if (i > 0)
            g_string_append(text, i + 1 < found->users->len ? ", " : " and ");
        describe_use(text, found->users->pdata[i]);
    }
    return g_string_free(text, FALSE);
}

static void
free_place(void *place)
{
    storage_use_place_free(place);
}

GPtrArray *
storage_uses_of_guest(struct storage_uses *uses, const struct uuid *guest)
{
    const struct storage_user user = {.kind = STORAGE_USER_GUEST, .guest = *guest};
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->mutex);
    GPtrArray *places = g_ptr_array_new_with_free_func(free_place);
    const struct volume_uses *volume;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, uses->volumes);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&volume)) {
        struct storage_use_place *place;

        if (!find_use(volume, &user))
            continue;
        place = g_new0(struct storage_use_place, 1);
        place->pool = g_strdup(volume->pool);
        place->volume = g_strdup(volume->volume);
        g_ptr_array_add(places, place);
    }
    return places;
}

static bool
is_missing(const struct use *use, GPtrArray *running, gint64 since_s)
{
    if (use->user.kind != STORAGE_USER_GUEST || use->since_s > since_s)
        return false;
    for (guint i = 0; i < running->len; i++) {
        if (uuid_equal(running->pdata[i], &use->user.guest))
            return false;
    }
    return true;
}

void
storage_uses_drop_missing(struct storage_uses *uses, GPtrArray *running, unsigned int grace_s)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->mutex);
    gint64 since_s = boot_clock_s() - grace_s;
    struct volume_uses *volume;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, uses->volumes);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&volume)) {
        guint before = volume->users->len;
        g_autoptr(GError) error = NULL;

        for (guint i = before; i-- > 0;) {
            if (is_missing(volume->users->pdata[i], running, since_s))
                g_ptr_array_remove_index(volume->users, i);
        }
        if (volume->users->len != before && !save(uses, volume, &error))
            log_warn("%s", error->message);
        if (volume->users->len == 0)
            g_hash_table_iter_remove(&iter);
    }
}
