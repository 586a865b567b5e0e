/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: records.h. Files are DIR/POOL/VOLUME.xml; the memory holds each of them, and an index of
 * the paths by which clients name volumes.
 */
#include "storage/records.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

#define SUFFIX     ".xml"
#define CIPHERTEXT ".crypt"

enum { DIR_MODE = 0700, FILE_MODE = 0600, LOOP_MAJOR = 7, LOOP_PATH_MAX = 4096 };

struct entry {
    char *place;                  /* "POOL/VOLUME", the key */
    struct volume_record *record; /* NULL: unreadable */
    char *reason;                 /* then why */
};

struct storage_records {
    char *dir;
    char *device_dir;
    GMutex mutex;
    GHashTable *by_place;           /* owns the entries */
    GHashTable *by_path;            /* path -> entry */
    gint version;                   /* of the contents */
    storage_records_func on_change; /* or NULL */
    void *on_change_opaque;
};

static void
entry_free(void *opaque)
{
    struct entry *entry = opaque;

    volume_record_free(entry->record);
    g_free(entry->place);
    g_free(entry->reason);
    g_free(entry);
}

static char *
make_place(const char *pool, const char *name)
{
    return g_strdup_printf("%s/%s", pool, name);
}

char *
storage_records_alias(const struct volume_record *record)
{
    g_autofree char *container = g_strconcat(record->name, CIPHERTEXT, NULL);
    g_autofree char *base = g_path_get_basename(record->device);
    g_autofree char *parent = g_path_get_dirname(record->device);

    if (record->kind != VOLUME_KIND_DM_CRYPT || strcmp(base, container) != 0)
        return NULL;
    return g_build_filename(parent, record->name, NULL);
}

char *
storage_records_link(const struct storage_records *records, const struct volume_record *record)
{
    return record->kind == VOLUME_KIND_DM_CRYPT
               ? g_build_filename(records->device_dir, record->pool, record->name, NULL)
               : NULL;
}

/* Takes `path`. */
static void
index_path(struct storage_records *records, char *path, struct entry *entry, bool is_added)
{
    struct entry *known = path ? g_hash_table_lookup(records->by_path, path) : NULL;

    if (path && is_added && !known) {
        g_hash_table_insert(records->by_path, path, entry);
        return;
    }
    if (known == entry && known && !is_added)
        g_hash_table_remove(records->by_path, path);
    g_free(path);
}

static void
index_entry(struct storage_records *records, struct entry *entry, bool is_added)
{
    const struct volume_record *record = entry->record;

    if (!record)
        return;
    index_path(records, g_strdup(record->device), entry, is_added);
    index_path(records, g_strdup(record->path), entry, is_added);
    index_path(records, storage_records_link(records, record), entry, is_added);
    index_path(records, storage_records_alias(record), entry, is_added);
}

static void
drop_entry(struct storage_records *records, const char *place)
{
    struct entry *entry = g_hash_table_lookup(records->by_place, place);

    if (!entry)
        return;
    g_atomic_int_inc(&records->version);
    index_entry(records, entry, false);
    g_hash_table_remove(records->by_place, place);
}

/* Takes `record` and `reason`. */
static void
put_entry(struct storage_records *records, const char *pool, const char *name,
          struct volume_record *record, char *reason)
{
    struct entry *entry = g_new0(struct entry, 1);

    g_atomic_int_inc(&records->version);
    entry->place = make_place(pool, name);
    entry->record = record;
    entry->reason = reason;
    drop_entry(records, entry->place);
    g_hash_table_insert(records->by_place, entry->place, entry);
    index_entry(records, entry, true);
}

static struct volume_record *
read_record(int pool_fd, const char *file, const char *pool, const char *name, GError **error)
{
    g_autoptr(GBytes) xml = file_read(pool_fd, file, VOLUME_RECORD_XML_MAX, error);
    g_autoptr(volume_record_t) record = NULL;

    if (!xml)
        return NULL;
    record = volume_record_parse(g_bytes_get_data(xml, NULL), g_bytes_get_size(xml), error);
    if (!record)
        return NULL;
    if (strcmp(record->pool, pool) != 0 || strcmp(record->name, name) != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "it is the record of volume '%s' of pool "
                  "'%s'",
                  record->name, record->pool);
        return NULL;
    }
    return g_steal_pointer(&record);
}

static void
load_record(struct storage_records *records, int pool_fd, const char *pool, const char *file)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL;
    struct volume_record *record;

    if (!g_str_has_suffix(file, SUFFIX) || strlen(file) == strlen(SUFFIX))
        return;
    name = g_strndup(file, strlen(file) - strlen(SUFFIX));
    record = read_record(pool_fd, file, pool, name, &error);
    if (!record)
        log_error("the record %s/%s/%s can't be read: %s", records->dir, pool, file,
                  error->message);
    put_entry(records, pool, name, record, record ? NULL : g_strdup(error->message));
}

static void
load_pool(struct storage_records *records, int dir_fd, const char *pool)
{
    g_auto(file_fd) pool_fd = openat(dir_fd, pool, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GError) error = NULL;

    if (pool_fd < 0) {
        if (errno != ENOTDIR && errno != ELOOP)
            log_error("the folder %s/%s can't be opened: %s", records->dir, pool,
                      g_strerror(errno));
        return;
    }
    files = file_list_names(pool_fd, &error);
    if (!files)
        log_error("%s/%s: %s", records->dir, pool, error->message);
    for (guint i = 0; files && i < files->len; i++)
        load_record(records, pool_fd, pool, files->pdata[i]);
}

struct storage_records *
storage_records_new(const char *dir, const char *device_dir, GError **error)
{
    g_auto(file_fd) dir_fd = file_open_dir(dir, true, DIR_MODE, error);
    g_autoptr(GPtrArray) pools = dir_fd < 0 ? NULL : file_list_names(dir_fd, error);
    struct storage_records *records;

    if (!pools) {
        g_prefix_error(error, "%s: ", dir);
        return NULL;
    }
    records = g_new0(struct storage_records, 1);
    records->dir = g_strdup(dir);
    records->device_dir = g_strdup(device_dir);
    g_mutex_init(&records->mutex);
    records->by_place = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    records->by_path = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < pools->len; i++)
        load_pool(records, dir_fd, pools->pdata[i]);
    return records;
}

void
storage_records_free(struct storage_records *records)
{
    if (!records)
        return;
    g_hash_table_destroy(records->by_path);
    g_hash_table_destroy(records->by_place);
    g_mutex_clear(&records->mutex);
    g_free(records->dir);
    g_free(records->device_dir);
    g_free(records);
}

struct volume_record *
storage_records_get(struct storage_records *records, const char *pool, const char *name,
                    GError **error)
{
    g_autofree char *place = make_place(pool, name);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    const struct entry *entry = g_hash_table_lookup(records->by_place, place);

    if (!entry) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL,
                  "no storage vol with matching name '%s'", name);
        return NULL;
    }
    if (!entry->record) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
                  "the record of volume '%s' of pool '%s' can't be read (%s): mend %s/%s/%s%s and "
                  "restart virtcryptd",
                  name, pool, entry->reason, records->dir, pool, name, SUFFIX);
        return NULL;
    }
    return volume_record_copy(entry->record);
}

/* The file under a loop device, so that a container can't be handed on by another name. */
static bool
stat_under_loop(const struct stat *loop, struct stat *ret_info)
{
    g_autofree char *where = g_strdup_printf("/sys/dev/block/%u:%u/loop/backing_file",
                                             major(loop->st_rdev), minor(loop->st_rdev));
    g_autofree char *backing = NULL;
    gsize len;

    if (!g_file_get_contents(where, &backing, &len, NULL) || len > LOOP_PATH_MAX)
        return false;
    g_strchomp(backing);
    return stat(backing, ret_info) == 0;
}

static bool
is_same(const struct stat *info, const char *path)
{
    struct stat other;

    if (!path || stat(path, &other) != 0)
        return false;
    if (S_ISBLK(info->st_mode))
        return S_ISBLK(other.st_mode) && info->st_rdev == other.st_rdev;
    return info->st_dev == other.st_dev && info->st_ino == other.st_ino;
}

static struct volume_record *
look_up_path(struct storage_records *records, const char *path, bool *ret_is_device)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    const struct entry *entry = g_hash_table_lookup(records->by_path, path);

    if (!entry)
        return NULL;
    *ret_is_device = strcmp(entry->record->device, path) == 0;
    return volume_record_copy(entry->record);
}

/* By what the path leads to; links and other names of a device or a file do not matter. Not under
 * the lock: a file system whose server does not answer keeps a look-up waiting, and is not to keep
 * those of all other volumes. */
static struct volume_record *
find_by_identity(struct storage_records *records, const char *path, bool *ret_is_device)
{
    g_autoptr(GPtrArray) list = NULL;
    struct stat info;
    struct stat under;

    if (stat(path, &info) != 0 || (!S_ISBLK(info.st_mode) && !S_ISREG(info.st_mode)))
        return NULL;
    if (S_ISBLK(info.st_mode) && major(info.st_rdev) == LOOP_MAJOR &&
        stat_under_loop(&info, &under))
        info = under;
    list = storage_records_list(records, NULL);
    for (guint i = 0; i < list->len; i++) {
        const struct volume_record *record = list->pdata[i];
        g_autofree char *link = storage_records_link(records, record);

        *ret_is_device = is_same(&info, record->device);
        if (*ret_is_device || is_same(&info, link))
            return volume_record_copy(record);
    }
    return NULL;
}

struct volume_record *
storage_records_get_by_name(struct storage_records *records, const char *path)
{
    g_autofree char *clean = g_canonicalize_filename(path, "/");
    bool is_device;

    return look_up_path(records, clean, &is_device);
}

int
storage_records_version(struct storage_records *records)
{
    return g_atomic_int_get(&records->version);
}

struct volume_record *
storage_records_get_by_path(struct storage_records *records, const char *path, bool *ret_is_device)
{
    g_autofree char *clean = g_canonicalize_filename(path, "/");
    bool is_device = false;
    struct volume_record *record = look_up_path(records, clean, &is_device);

    if (!record)
        record = find_by_identity(records, clean, &is_device);
    if (record && ret_is_device)
        *ret_is_device = is_device && record->kind == VOLUME_KIND_DM_CRYPT;
    return record;
}

static int
compare_records(const void *a, const void *b)
{
    const struct volume_record *one = *(struct volume_record *const *)a;
    const struct volume_record *other = *(struct volume_record *const *)b;
    int pools = strcmp(one->pool, other->pool);

    return pools ? pools : strcmp(one->name, other->name);
}

static void
free_record(void *record)
{
    volume_record_free(record);
}

GPtrArray *
storage_records_list(struct storage_records *records, const char *pool)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    GPtrArray *list = g_ptr_array_new_with_free_func(free_record);
    const struct entry *entry;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, records->by_place);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        if (entry->record && (!pool || strcmp(pool, entry->record->pool) == 0))
            g_ptr_array_add(list, volume_record_copy(entry->record));
    }
    g_ptr_array_sort(list, compare_records);
    return list;
}

static bool
uses_secret(const struct volume_record *record, const struct uuid *uuid)
{
    return (record->encryption->secret_by == ENCRYPTION_SECRET_UUID &&
            uuid_equal(&record->encryption->secret_uuid, uuid)) ||
           (record->has_other_secret && uuid_equal(&record->other_secret, uuid));
}

/* One that can't be read may use any. */
static bool
may_use_secret(const struct entry *entry, const struct uuid *uuid)
{
    if (!entry->record)
        return true;
    return entry->record->state != VOLUME_STATE_DELETING && uses_secret(entry->record, uuid);
}

unsigned int
storage_records_count_secret(struct storage_records *records, const struct uuid *uuid,
                             const struct volume_record *except)
{
    g_autofree char *place = except ? make_place(except->pool, except->name) : NULL;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    const struct entry *entry;
    unsigned int count = 0;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, records->by_place);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        if (g_strcmp0(place, entry->place) != 0 && may_use_secret(entry, uuid))
            count++;
    }
    return count;
}

static int
open_pool_dir(struct storage_records *records, const char *pool, GError **error)
{
    g_autofree char *path = g_build_filename(records->dir, pool, NULL);

    return file_open_dir(path, true, DIR_MODE, error);
}

void
storage_records_set_watcher(struct storage_records *records, storage_records_func on_change,
                            void *opaque)
{
    records->on_change = on_change;
    records->on_change_opaque = opaque;
}

static void
tell(const struct storage_records *records)
{
    if (records->on_change)
        records->on_change(records->on_change_opaque);
}

bool
storage_records_put(struct storage_records *records, const struct volume_record *record,
                    GError **error)
{
    g_autofree char *xml = volume_record_format(record);
    g_autofree char *file = g_strconcat(record->name, SUFFIX, NULL);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    g_auto(file_fd) fd = open_pool_dir(records, record->pool, error);

    if (fd < 0 || !file_replace(fd, file, xml, strlen(xml), FILE_MODE, error)) {
        g_prefix_error(error, "can't write the record of volume '%s' of pool '%s': ", record->name,
                       record->pool);
        return false;
    }
    put_entry(records, record->pool, record->name, volume_record_copy(record), NULL);
    if (record->state == VOLUME_STATE_READY)
        tell(records);
    return true;
}

/* The last record's folder goes too: that it is there says that the pool has volumes of ours. */
static bool
remove_pool_dir(struct storage_records *records, const char *pool, GError **error)
{
    g_auto(file_fd) fd = file_open_dir(records->dir, false, DIR_MODE, error);

    if (fd < 0)
        return false;
    if (unlinkat(fd, pool, AT_REMOVEDIR) != 0)
        return true;
    return file_sync_dir(fd, error);
}

bool
storage_records_remove(struct storage_records *records, const char *pool, const char *name,
                       GError **error)
{
    g_autofree char *file = g_strconcat(name, SUFFIX, NULL);
    g_autofree char *place = make_place(pool, name);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    g_auto(file_fd) fd = open_pool_dir(records, pool, error);

    if (fd < 0)
        return false;
    if (unlinkat(fd, file, 0) != 0 && errno != ENOENT) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "can't remove %s/%s/%s", records->dir,
                        pool, file);
        return false;
    }
    if (!file_sync_dir(fd, error))
        return false;
    drop_entry(records, place);
    tell(records);
    return remove_pool_dir(records, pool, error);
}
