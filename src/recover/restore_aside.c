/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: those renames. Which folder they go to is no state of its own: the last one, unless
 * something in it is of that name already.
 */
#include "recover/restore_aside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "secret/store_files.h"
#include "util/error.h"
#include "util/file.h"

enum { FOLDER_MODE = 0700, FOLDERS_MAX = 10000 };

#define ASIDE_PREFIX "replaced-"

/* ---- what is there ---- */

static bool
count_entries(const char *dir, guint *count, GError **error)
{
    g_auto(file_fd) dir_fd = -1;
    g_autoptr(GArray) entries = NULL;

    if (!file_may_exist(dir))
        return true;
    dir_fd = file_open_dir(dir, false, 0, error);
    if (dir_fd >= 0)
        entries = store_files_list(dir_fd, STORE_FILES_MISS_NONE, error);
    if (!entries)
        return false;
    *count += entries->len;
    return true;
}

static bool
count_copies(const char *dir, guint *count, GError **error)
{
    g_autofree char *problem = NULL;
    g_autoptr(GArray) owned = NULL;

    if (!file_may_exist(dir))
        return true;
    owned = store_files_list_owned(dir, STORE_FILES_MISS_NONE, &problem, error);
    if (!owned)
        return false;
    *count += owned->len;
    return true;
}

bool
restore_aside_count(const struct offline_paths *paths, guint *ret_count, GError **error)
{
    guint count = 0;

    if (!count_entries(paths->secrets_dir, &count, error) ||
        !count_copies(paths->guests_dir, &count, error))
        return false;
    *ret_count = count;
    return true;
}

/* ---- out of the way ---- */

struct item {
    char *path;
    const char *name; /* aside */
};

static void
clear_item(void *element)
{
    struct item *item = element;

    g_free(item->path);
}

static void
add_item(GArray *items, const char *path, const char *suffix, const char *name)
{
    struct item item = {g_strconcat(path, suffix, NULL), name};

    if (file_may_exist(item.path))
        g_array_append_val(items, item);
    else
        g_free(item.path);
}

/* All that is there, in the order in which it goes. */
static GArray *
find_items(const struct offline_paths *paths)
{
    GArray *items = g_array_new(FALSE, FALSE, sizeof(struct item));

    g_array_set_clear_func(items, clear_item);
    add_item(items, paths->slots, "", "master.slots");
    add_item(items, paths->slots, ".new", "master.slots.new");
    add_item(items, paths->generations, "", "generations");
    add_item(items, paths->generations, ".new", "generations.new");
    add_item(items, paths->generations, ".due", "generations.due");
    add_item(items, paths->index, "", "index");
    add_item(items, paths->index, ".new", "index.new");
    add_item(items, paths->journal_dir, "", "journal");
    add_item(items, paths->secrets_dir, "", "secrets");
    add_item(items, paths->guests_dir, "", "keys");
    return items;
}

static char *
aside_path(const struct offline_paths *paths, unsigned int number)
{
    g_autofree char *name = g_strdup_printf(ASIDE_PREFIX "%u", number);

    return g_build_filename(paths->virtcrypt_dir, name, NULL);
}

static bool
has_any(const char *folder, const GArray *items)
{
    for (guint i = 0; i < items->len; i++) {
        g_autofree char *path =
            g_build_filename(folder, g_array_index(items, struct item, i).name, NULL);

        if (file_may_exist(path))
            return true;
    }
    return false;
}

/* The last folder with room for all of them, or the next one. */
static char *
choose_folder(const struct offline_paths *paths, const GArray *items)
{
    unsigned int next = 1;

    for (; next < FOLDERS_MAX; next++) {
        g_autofree char *path = aside_path(paths, next);

        if (!file_may_exist(path))
            break;
    }
    if (next > 1) {
        g_autofree char *last = aside_path(paths, next - 1);

        if (!has_any(last, items))
            return g_steal_pointer(&last);
    }
    return aside_path(paths, next);
}

static bool
move_item(const struct item *item, int folder_fd, const char *folder, GError **error)
{
    g_autofree char *parent = NULL;
    g_auto(file_fd) parent_fd = -1;

    if (renameat2(AT_FDCWD, item->path, folder_fd, item->name, RENAME_NOREPLACE) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno,
                        "cannot put %s aside to %s (if it is a file system of its own, empty it by "
                        "hand)",
                        item->path, folder);
        return false;
    }
    parent = g_path_get_dirname(item->path);
    parent_fd = file_open_dir(parent, false, 0, error);
    return parent_fd >= 0 && file_sync_dir(parent_fd, error) && file_sync_dir(folder_fd, error);
}

bool
restore_aside_move(const struct offline_paths *paths, char **ret_folder, GError **error)
{
    g_autoptr(GArray) items = find_items(paths);
    g_autofree char *folder = NULL;
    g_auto(file_fd) folder_fd = -1;

    if (items->len == 0) {
        *ret_folder = NULL;
        return true;
    }
    folder = choose_folder(paths, items);
    folder_fd = file_open_dir(folder, true, FOLDER_MODE, error);
    if (folder_fd < 0)
        return false;
    for (guint i = 0; i < items->len; i++) {
        if (!move_item(&g_array_index(items, struct item, i), folder_fd, folder, error))
            return false;
    }
    *ret_folder = g_steal_pointer(&folder);
    return true;
}
