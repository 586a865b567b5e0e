/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: records.h. Files are DIR/UUID.xml; the memory holds each of them.
 */
#include "guest/records.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "guest/volume.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/parallel.h"

#define SUFFIX ".xml"

enum { DIR_MODE = 0700, FILE_MODE = 0600 };

struct entry {
    struct uuid uuid;            /* the key */
    struct guest_record *record; /* NULL: unreadable */
    char *reason;                /* then why */
};

struct guest_records {
    char *dir;
    GMutex mutex;
    GHashTable *by_uuid; /* owns the entries */
    bool has_nameless;   /* a record whose file's name is no UUID: of whom, is not known */
};

static void
entry_free(void *opaque)
{
    struct entry *entry = opaque;

    guest_record_free(entry->record);
    g_free(entry->reason);
    g_free(entry);
}

/* Takes `record` and `reason`. */
static void
put_entry(struct guest_records *records, const struct uuid *uuid, struct guest_record *record,
          char *reason)
{
    struct entry *entry = g_new(struct entry, 1);

    entry->uuid = *uuid;
    entry->record = record;
    entry->reason = reason;
    g_hash_table_replace(records->by_uuid, &entry->uuid, entry);
}

static struct guest_record *
read_record(int dir_fd, const char *file, const struct uuid *uuid, GError **error)
{
    g_autoptr(GBytes) xml = file_read(dir_fd, file, GUEST_RECORD_XML_MAX, error);
    g_autoptr(guest_record_t) record = NULL;
    char other[UUID_TEXT_SIZE];

    if (!xml)
        return NULL;
    record = guest_record_parse(g_bytes_get_data(xml, NULL), g_bytes_get_size(xml), error);
    if (!record)
        return NULL;
    if (!uuid_equal(&record->uuid, uuid)) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML, "it is the record of guest %s",
                  uuid_format(&record->uuid, other));
        return NULL;
    }
    return g_steal_pointer(&record);
}

/* False unless `file` is what we call the record of a guest. */
static bool
parse_file_name(const char *file, struct uuid *ret_uuid)
{
    g_autofree char *name = g_strndup(file, strlen(file) - strlen(SUFFIX));
    char text[UUID_TEXT_SIZE];

    return uuid_parse(name, ret_uuid) && strcmp(uuid_format(ret_uuid, text), name) == 0;
}

static void
load_record(struct guest_records *records, int dir_fd, const char *file)
{
    g_autoptr(GError) error = NULL;
    struct guest_record *record;
    struct uuid uuid;

    if (!g_str_has_suffix(file, SUFFIX))
        return;
    if (!parse_file_name(file, &uuid)) {
        log_error("the record %s/%s is not named by the UUID of a guest: no key is erased until it "
                  "is, or is taken away, and virtcryptd restarted",
                  records->dir, file);
        records->has_nameless = true;
        return;
    }
    record = read_record(dir_fd, file, &uuid, &error);
    if (!record)
        log_error("the record %s/%s can't be read: %s", records->dir, file, error->message);
    put_entry(records, &uuid, record, record ? NULL : g_strdup(error->message));
}

struct guest_records *
guest_records_new(const char *dir, GError **error)
{
    g_auto(file_fd) dir_fd = file_open_dir(dir, true, DIR_MODE, error);
    g_autoptr(GPtrArray) files = dir_fd < 0 ? NULL : file_list_names(dir_fd, error);
    struct guest_records *records;

    if (!files) {
        g_prefix_error(error, "%s: ", dir);
        return NULL;
    }
    records = g_new0(struct guest_records, 1);
    records->dir = g_strdup(dir);
    g_mutex_init(&records->mutex);
    records->by_uuid = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, NULL, entry_free);
    for (guint i = 0; i < files->len; i++)
        load_record(records, dir_fd, files->pdata[i]);
    return records;
}

void
guest_records_free(struct guest_records *records)
{
    if (!records)
        return;
    g_hash_table_destroy(records->by_uuid);
    g_mutex_clear(&records->mutex);
    g_free(records->dir);
    g_free(records);
}

/* Borrowed; NULL without an error if there is none. Hold the lock. */
static const struct guest_record *
find_record(struct guest_records *records, const struct uuid *guest, GError **error)
{
    const struct entry *entry = g_hash_table_lookup(records->by_uuid, guest);
    char uuid[UUID_TEXT_SIZE];

    if (!entry || entry->record)
        return entry ? entry->record : NULL;
    uuid_format(guest, uuid);
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
              "the record of guest %s can't be read (%s): mend %s/%s%s and restart virtcryptd",
              uuid, entry->reason, records->dir, uuid, SUFFIX);
    return NULL;
}

struct guest_record *
guest_records_get(struct guest_records *records, const struct uuid *guest, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    const struct guest_record *record = find_record(records, guest, error);

    return record ? guest_record_copy(record) : NULL;
}

static int
compare_records(const void *a, const void *b)
{
    const struct guest_record *one = *(struct guest_record *const *)a;
    const struct guest_record *other = *(struct guest_record *const *)b;

    return memcmp(one->uuid.bytes, other->uuid.bytes, sizeof(one->uuid.bytes));
}

static void
free_record(void *record)
{
    guest_record_free(record);
}

GPtrArray *
guest_records_list(struct guest_records *records)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    GPtrArray *list = g_ptr_array_new_with_free_func(free_record);
    const struct entry *entry;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, records->by_uuid);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        if (entry->record)
            g_ptr_array_add(list, guest_record_copy(entry->record));
    }
    g_ptr_array_sort(list, compare_records);
    return list;
}

bool
guest_records_has_unreadable(struct guest_records *records)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    const struct entry *entry;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, records->by_uuid);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        if (!entry->record)
            return true;
    }
    return records->has_nameless;
}

static bool
is_of_another(const struct guest_key *key, const char *path)
{
    if (key->origin == GUEST_KEY_REFUSED)
        return false;
    return !key->volume || guest_key_has_several(key) ||
           (!guest_volume_is_same(key->volume, path) &&
            guest_volume_may_be_there(key->volume, key->place));
}

bool
guest_records_need_elsewhere(struct guest_records *records, const struct uuid *secret,
                             const char *path)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = NULL;
    const struct entry *entry;
    GHashTableIter iter;

    if (guest_records_has_unreadable(records))
        return true;
    locker = g_mutex_locker_new(&records->mutex);
    g_hash_table_iter_init(&iter, records->by_uuid);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&entry)) {
        const struct guest_key *key = guest_record_find(entry->record, secret);

        if (key && is_of_another(key, path))
            return true;
    }
    return false;
}

/* Hold the lock. False: the guest's record is one that can't be read, and is kept. */
static bool
check_readable(struct guest_records *records, const struct uuid *guest, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (find_record(records, guest, &failure) || !failure)
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

/* One file on its way. */
struct writing {
    const struct guest_record *record;
    struct guest_record *kept; /* what was written, read back: what can't be is not written */
    char *xml;
    char *file;
    GError *error;
};

struct writings {
    struct writing *list;
    int dir_fd;
};

static void
prepare(struct guest_records *records, struct writing *writing)
{
    char uuid[UUID_TEXT_SIZE];

    writing->xml = guest_record_format(writing->record);
    writing->file = g_strconcat(uuid_format(&writing->record->uuid, uuid), SUFFIX, NULL);
    writing->kept = guest_record_parse(writing->xml, strlen(writing->xml), &writing->error);
    if (!writing->kept)
        g_prefix_error(&writing->error, "can't write the record of guest %s: ", uuid);
    else
        check_readable(records, &writing->record->uuid, &writing->error);
}

static void
write_file(size_t index, void *opaque)
{
    const struct writings *writings = opaque;
    struct writing *writing = &writings->list[index];
    char uuid[UUID_TEXT_SIZE];

    if (!writing->error && !file_replace(writings->dir_fd, writing->file, writing->xml,
                                         strlen(writing->xml), FILE_MODE, &writing->error))
        g_prefix_error(&writing->error, "can't write the record of guest %s: ",
                       uuid_format(&writing->record->uuid, uuid));
}

static void
free_error(void *error)
{
    if (error)
        g_error_free(error);
}

/* Takes the error out. */
static GError *
end_writing(struct guest_records *records, struct writing *writing)
{
    if (!writing->error)
        put_entry(records, &writing->record->uuid, g_steal_pointer(&writing->kept), NULL);
    guest_record_free(writing->kept);
    g_free(writing->xml);
    g_free(writing->file);
    return writing->error;
}

GPtrArray *
guest_records_put_all(struct guest_records *records, const GPtrArray *changed)
{
    GPtrArray *errors = g_ptr_array_new_with_free_func(free_error);
    g_autofree struct writing *list = g_new0(struct writing, changed->len);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) dir_fd = file_open_dir(records->dir, true, DIR_MODE, &failure);
    struct writings writings = {.list = list, .dir_fd = dir_fd};

    for (guint i = 0; i < changed->len; i++) {
        list[i].record = changed->pdata[i];
        prepare(records, &list[i]);
        if (!list[i].error && failure)
            list[i].error = g_error_copy(failure);
    }
    parallel_run_waiting(changed->len, write_file, &writings);
    for (guint i = 0; i < changed->len; i++)
        g_ptr_array_add(errors, end_writing(records, &list[i]));
    return errors;
}

bool
guest_records_put(struct guest_records *records, const struct guest_record *record, GError **error)
{
    g_autoptr(GPtrArray) changed = g_ptr_array_new();
    g_autoptr(GPtrArray) errors = NULL;

    g_ptr_array_add(changed, (void *)record);
    errors = guest_records_put_all(records, changed);
    if (!errors->pdata[0])
        return true;
    g_propagate_error(error, g_error_copy(errors->pdata[0]));
    return false;
}

bool
guest_records_remove(struct guest_records *records, const struct uuid *guest, GError **error)
{
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *file = g_strconcat(uuid_format(guest, uuid), SUFFIX, NULL);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&records->mutex);
    g_auto(file_fd) fd = -1;

    if (!check_readable(records, guest, error))
        return false;
    fd = file_open_dir(records->dir, true, DIR_MODE, error);
    if (fd < 0)
        return false;
    if (unlinkat(fd, file, 0) != 0 && errno != ENOENT) {
        error_set_errno(error, ERROR_FROM_DOMAIN, errno, "can't remove %s/%s", records->dir, file);
        return false;
    }
    if (!file_sync_dir(fd, error))
        return false;
    g_hash_table_remove(records->by_uuid, guest);
    return true;
}
