/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the list of what is in the folder of secrets.
 */
#include <string.h>

#include "secret/store_files.h"
#include "secret/store_names.h"

static const char what[] = "the folder of secrets";

struct listing {
    int dir_fd;
    bool remove_staged;
    GArray *entries; /* one for each file, then merged */
    struct store_names_foreign foreign;
};

static void
add_item(void *opaque, const struct dirent *item)
{
    struct listing *listing = opaque;
    struct store_entry entry = {0};
    const char *suffix;

    if (!store_names_parse(item->d_name, &entry.uuid, &suffix)) {
        store_names_note_foreign(&listing->foreign, NULL, item->d_name);
        return;
    }
    entry.has_xml = strcmp(suffix, ".xml") == 0;
    entry.has_key = strcmp(suffix, ".key") == 0;
    entry.has_base64 = strcmp(suffix, ".base64") == 0;
    entry.has_aes256cbc = strcmp(suffix, ".aes256cbc") == 0;
    if (entry.has_xml || entry.has_key || entry.has_base64 || entry.has_aes256cbc) {
        g_array_append_val(listing->entries, entry);
    } else if ((strcmp(suffix, ".xml.new") == 0 || strcmp(suffix, ".key.new") == 0) &&
               store_names_is_regular(listing->dir_fd, item)) {
        if (listing->remove_staged)
            store_names_remove_staged(listing->dir_fd, item->d_name);
    } else {
        store_names_note_foreign(&listing->foreign, NULL, item->d_name);
    }
}

int
store_files_compare(gconstpointer a, gconstpointer b)
{
    const struct store_entry *left = a;
    const struct store_entry *right = b;

    return memcmp(left->uuid.bytes, right->uuid.bytes, sizeof(left->uuid.bytes));
}

/* One entry for each uuid. */
static void
merge_entries(GArray *entries)
{
    struct store_entry *all = (struct store_entry *)entries->data;
    guint merged = 0;

    g_array_sort(entries, store_files_compare);
    for (guint i = 0; i < entries->len; i++) {
        if (merged == 0 || !uuid_equal(&all[merged - 1].uuid, &all[i].uuid)) {
            all[merged++] = all[i];
            continue;
        }
        all[merged - 1].has_xml |= all[i].has_xml;
        all[merged - 1].has_key |= all[i].has_key;
        all[merged - 1].has_base64 |= all[i].has_base64;
        all[merged - 1].has_aes256cbc |= all[i].has_aes256cbc;
    }
    g_array_set_size(entries, merged);
}

GArray *
store_files_list(int dir_fd, enum store_files_look look, GError **error)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(struct store_entry));
    struct listing listing = {dir_fd,
                              look == STORE_FILES_AT_START,
                              entries,
                              {.what = what, .is_silent = look == STORE_FILES_MISS_NONE}};

    if (!store_names_foreach(dir_fd, what, add_item, &listing, error))
        return NULL;
    store_names_sum_up_foreign(&listing.foreign);
    merge_entries(entries);
    return g_steal_pointer(&entries);
}
