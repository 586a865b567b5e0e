/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the list of what is in the folder: one pass, no system call for a file of ours.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret/store_files.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

/* So many foreign names are logged one by one, and the others are counted. */
enum { FOREIGN_LOGGED_MAX = 10 };

enum { UUID_TEXT_LEN = UUID_TEXT_SIZE - 1 };

struct listing {
    int dir_fd;
    bool remove_staged;
    GArray *entries; /* one for each file, then merged */
    unsigned int foreign;
};

typedef DIR *dir_stream;

static void
dir_stream_clear(dir_stream *stream)
{
    if (*stream)
        closedir(*stream);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(dir_stream, dir_stream_clear)

/* libvirt and we write a uuid in this one way; another spelling is another's file. */
static bool
parse_stem(const char *name, struct uuid *ret_uuid)
{
    char stem[UUID_TEXT_SIZE];
    char canonical[UUID_TEXT_SIZE];
    struct uuid uuid;

    if (strnlen(name, UUID_TEXT_LEN) < UUID_TEXT_LEN)
        return false;
    memcpy(stem, name, UUID_TEXT_LEN);
    stem[UUID_TEXT_LEN] = '\0';
    if (!uuid_parse(stem, &uuid) || strcmp(uuid_format(&uuid, canonical), stem) != 0)
        return false;
    *ret_uuid = uuid;
    return true;
}

static bool
is_regular(int dir_fd, const struct dirent *item)
{
    struct stat info;

    if (item->d_type != DT_UNKNOWN)
        return item->d_type == DT_REG;
    return fstatat(dir_fd, item->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode);
}

static void
note_foreign(struct listing *listing, const char *name)
{
    if (listing->foreign++ < FOREIGN_LOGGED_MAX)
        log_warn("%s in the folder of secrets is no file of a secret; it is left alone", name);
}

static void
remove_staged(const struct listing *listing, const char *name)
{
    if (listing->remove_staged && unlinkat(listing->dir_fd, name, 0) < 0)
        log_warn("cannot remove %s, which an interrupted change left: %s", name, strerror(errno));
}

static void
add_item(struct listing *listing, const struct dirent *item)
{
    struct store_entry entry = {0};
    const char *suffix;

    if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
        return;
    if (!parse_stem(item->d_name, &entry.uuid)) {
        note_foreign(listing, item->d_name);
        return;
    }
    suffix = item->d_name + UUID_TEXT_LEN;
    entry.has_xml = strcmp(suffix, ".xml") == 0;
    entry.has_key = strcmp(suffix, ".key") == 0;
    entry.has_base64 = strcmp(suffix, ".base64") == 0;
    if (entry.has_xml || entry.has_key || entry.has_base64)
        g_array_append_val(listing->entries, entry);
    else if ((strcmp(suffix, ".xml.new") == 0 || strcmp(suffix, ".key.new") == 0) &&
             is_regular(listing->dir_fd, item))
        remove_staged(listing, item->d_name);
    else
        note_foreign(listing, item->d_name);
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
    }
    g_array_set_size(entries, merged);
}

static bool
read_names(struct listing *listing, GError **error)
{
    g_auto(file_fd) fd = openat(listing->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(dir_stream) stream = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *item;

    if (!stream) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot list the folder of secrets");
        return false;
    }
    (void)g_steal_fd(&fd); /* the stream has it now */
    errno = 0;
    while ((item = readdir(stream))) {
        add_item(listing, item);
        errno = 0;
    }
    if (errno == 0)
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot list the folder of secrets");
    return false;
}

GArray *
store_files_list(int dir_fd, bool remove_staged_files, GError **error)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(struct store_entry));
    struct listing listing = {dir_fd, remove_staged_files, entries, 0};

    if (!read_names(&listing, error))
        return NULL;
    if (listing.foreign > FOREIGN_LOGGED_MAX)
        log_warn("and %u more names in the folder of secrets that are no files of secrets",
                 listing.foreign - FOREIGN_LOGGED_MAX);
    merge_entries(entries);
    return g_steal_pointer(&entries);
}
