/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the list of guests' copies: what is in the folders of guests.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "secret/store_files.h"
#include "secret/store_folders.h"
#include "secret/store_names.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(store_list_owned, "unlinkat");

static const char what[] = "the folder of guests' keys";

struct listing {
    int guests_fd;
    bool remove_staged;
    bool misses_none;
    GError *failure; /* the first one */
    GArray *owned;
    struct store_names_foreign foreign;
    /* Of the guest's folder that is being listed. */
    struct uuid guest;
    const char *guest_name;
    int guest_fd;
};

static void
add_file(void *opaque, const struct dirent *item)
{
    struct listing *listing = opaque;
    struct store_owned owned = {.guest = listing->guest};
    const char *suffix = "";
    bool is_ours = store_names_parse(item->d_name, &owned.secret, &suffix);

    if (is_ours && strcmp(suffix, ".key") == 0) {
        g_array_append_val(listing->owned, owned);
    } else if (is_ours && strcmp(suffix, ".key.new") == 0 &&
               store_names_is_regular(listing->guest_fd, item)) {
        if (listing->remove_staged)
            store_names_remove_staged(listing->guest_fd, item->d_name);
    } else {
        store_names_note_foreign(&listing->foreign, listing->guest_name, item->d_name);
    }
}

/* A folder with nothing in it says nothing: an interrupted change left it. */
static void
remove_empty(const struct listing *listing)
{
    if (unlinkat(listing->guests_fd, listing->guest_name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY &&
        errno != EEXIST)
        log_warn("cannot remove the empty folder %s, which an interrupted change left: %s",
                 listing->guest_name, strerror(errno));
}

/* A link is not followed; but what is behind it may be the keys of that guest, moved away. */
static bool
may_have_keys(const struct listing *listing, const struct dirent *item)
{
    return store_names_is_folder(listing->guests_fd, item) ||
           store_names_is_link(listing->guests_fd, item);
}

static void
add_guest(void *opaque, const struct dirent *item)
{
    struct listing *listing = opaque;
    g_autoptr(GError) error = NULL;
    g_auto(file_fd) fd = -1;
    const char *suffix = "";
    guint known = listing->owned->len;

    if (!store_names_parse(item->d_name, &listing->guest, &suffix) || *suffix != '\0' ||
        !may_have_keys(listing, item)) {
        store_names_note_foreign(&listing->foreign, NULL, item->d_name);
        return;
    }
    fd = store_folders_open_guest(listing->guests_fd, item->d_name, &error);
    /* Its last key was removed at this moment. */
    if (fd < 0 && error_get_errno(error) == ENOENT)
        return;
    listing->guest_fd = fd;
    listing->guest_name = item->d_name;
    if (fd >= 0 && store_names_foreach(fd, item->d_name, add_file, listing, &error)) {
        if (listing->remove_staged && listing->owned->len == known)
            remove_empty(listing);
        return;
    }
    if (!listing->misses_none)
        log_error("%s: %s; the keys of that guest are not known", what, error->message);
    if (!listing->failure)
        listing->failure = g_steal_pointer(&error);
}

int
store_files_compare_owned(gconstpointer a, gconstpointer b)
{
    const struct store_owned *left = a;
    const struct store_owned *right = b;
    int order = memcmp(left->secret.bytes, right->secret.bytes, sizeof(left->secret.bytes));

    return order != 0 ? order
                      : memcmp(left->guest.bytes, right->guest.bytes, sizeof(left->guest.bytes));
}

GArray *
store_files_list_owned(const char *guests_dir, enum store_files_look look, char **ret_problem,
                       GError **error)
{
    g_autoptr(GArray) owned = g_array_new(FALSE, FALSE, sizeof(struct store_owned));
    bool misses_none = look == STORE_FILES_MISS_NONE;
    struct listing listing = {.remove_staged = look == STORE_FILES_AT_START,
                              .misses_none = misses_none,
                              .owned = owned,
                              .foreign = {.what = what, .is_silent = misses_none}};
    g_autoptr(GError) failure = NULL;
    g_autoptr(GError) missed = NULL;
    bool is_listed;
    g_auto(file_fd) fd = guests_dir ? store_folders_open_guests(guests_dir, &failure) : -1;

    *ret_problem = NULL;
    listing.guests_fd = fd;
    if (!guests_dir || (fd < 0 && error_get_errno(failure) == ENOENT))
        return g_steal_pointer(&owned);
    if (fd < 0) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    is_listed = store_names_foreach(fd, what, add_guest, &listing, error);
    missed = listing.failure;
    if (!is_listed)
        return NULL;
    if (missed && misses_none) {
        g_propagate_error(error, g_steal_pointer(&missed));
        return NULL;
    }
    *ret_problem = missed ? g_strdup(missed->message) : NULL;
    store_names_sum_up_foreign(&listing.foreign);
    g_array_sort(owned, store_files_compare_owned);
    return g_steal_pointer(&owned);
}
