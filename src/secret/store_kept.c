/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as store_kept.h says. A file may be another name of a UUID.key that is in use, so it is
 * replaced and never written over.
 */
#include "secret/store_kept.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "secret/store.h"
#include "secret/store_folders.h"
#include "secret/store_names.h"
#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(store_kept, "unlinkat");

enum { FILE_MODE = 0600 };

#define NEW_SUFFIX ".new"

struct replacing {
    const struct store_kept_work *work;
    guint count;
    GError *failure; /* the first one; nothing is done after it */
    int guests_fd;
    int dir_fd; /* of the folder that is being looked through */
};

static bool
has_number(const char *suffix, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(suffix, prefix, len) == 0 && g_ascii_isdigit(suffix[len]);
}

static bool
is_kept(const char *name)
{
    struct uuid uuid;
    const char *suffix = "";

    return store_names_parse(name, &uuid, &suffix) &&
           (has_number(suffix, ".key.replaced-") || has_number(suffix, ".key.foreign."));
}

static void
replace(struct replacing *replacing, const char *name)
{
    g_autoptr(GBytes) content =
        file_read(replacing->dir_fd, name, STORE_KEY_MAX, &replacing->failure);
    g_autoptr(GBytes) changed = NULL;

    int errnum = content ? 0 : error_get_errno(replacing->failure);

    /* Removed at this moment, or larger than any sealed value. */
    if (errnum == ENOENT || errnum == 0)
        g_clear_error(&replacing->failure);
    if (!content ||
        !replacing->work->func(replacing->work->opaque, content, &changed, &replacing->failure) ||
        !changed)
        return;
    if (file_replace(replacing->dir_fd, name, g_bytes_get_data(changed, NULL),
                     g_bytes_get_size(changed), FILE_MODE, &replacing->failure))
        replacing->count++;
}

static void
look_at_file(void *opaque, const struct dirent *item)
{
    struct replacing *replacing = opaque;

    if (replacing->failure || replacing->count == replacing->work->max || !is_kept(item->d_name) ||
        !store_names_is_regular(replacing->dir_fd, item))
        return;
    if (g_str_has_suffix(item->d_name, NEW_SUFFIX))
        unlinkat(replacing->dir_fd, item->d_name, 0); /* what a crash left of a replacement */
    else
        replace(replacing, item->d_name);
}

static void
look_at_guest(void *opaque, const struct dirent *item)
{
    struct replacing *replacing = opaque;
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) fd = -1;

    if (replacing->failure || !store_names_is_folder(replacing->guests_fd, item))
        return;
    fd = store_folders_open_guest(replacing->guests_fd, item->d_name, &replacing->failure);
    if (fd < 0 && error_get_errno(replacing->failure) == ENOENT)
        g_clear_error(&replacing->failure);
    if (fd < 0)
        return;
    replacing->dir_fd = fd;
    if (!store_names_foreach(fd, item->d_name, look_at_file, replacing, &failure) &&
        !replacing->failure)
        replacing->failure = g_steal_pointer(&failure);
}

static void
look_at_guests(struct replacing *replacing, const char *guests_dir)
{
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) fd = store_folders_open_guests(guests_dir, &replacing->failure);

    if (fd < 0 && error_get_errno(replacing->failure) == ENOENT)
        g_clear_error(&replacing->failure);
    replacing->guests_fd = fd;
    if (fd >= 0 &&
        !store_names_foreach(fd, "the folder of guests' keys", look_at_guest, replacing,
                             &failure) &&
        !replacing->failure)
        replacing->failure = g_steal_pointer(&failure);
}

bool
store_kept_replace(int dir_fd, const char *guests_dir, const struct store_kept_work *work,
                   guint *ret_count, GError **error)
{
    struct replacing replacing = {.work = work, .dir_fd = dir_fd};
    g_autoptr(GError) failure = NULL;

    if (!store_names_foreach(dir_fd, "the folder of secrets", look_at_file, &replacing, &failure) &&
        !replacing.failure)
        replacing.failure = g_steal_pointer(&failure);
    if (guests_dir && !replacing.failure)
        look_at_guests(&replacing, guests_dir);
    if (replacing.failure) {
        g_propagate_error(error, replacing.failure);
        return false;
    }
    *ret_count = replacing.count;
    return true;
}
