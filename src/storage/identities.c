/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: identities.h. Asking each time what all volumes lead to would take as long as there are
 * volumes, for each disk of each guest that is none of them.
 */
#include "storage/identities.h"

#include <linux/major.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { FRESH_MS = 1000 };

/* Of a file, or of a device. */
struct identity {
    dev_t dev;
    ino_t ino; /* 0: `dev` is a block device's own number */
};

struct storage_identities {
    struct storage_records *records;
    GMutex mutex;
    GHashTable *volumes; /* struct identity -> struct volume_record; NULL: not found out yet */
    int version;         /* of the records then */
    gint64 found_at;     /* monotonic */
};

static guint
hash_identity(gconstpointer key)
{
    const struct identity *identity = key;

    return (guint)(identity->dev * 31 + identity->ino);
}

static gboolean
equal_identities(gconstpointer a, gconstpointer b)
{
    const struct identity *left = a;
    const struct identity *right = b;

    return left->dev == right->dev && left->ino == right->ino;
}

static void
free_record(void *record)
{
    volume_record_free(record);
}

static bool
identify(const char *path, struct identity *ret_identity)
{
    struct stat info;

    if (stat(path, &info) != 0 || (!S_ISBLK(info.st_mode) && !S_ISREG(info.st_mode)))
        return false;
    *ret_identity = (struct identity){info.st_dev, info.st_ino};
    if (S_ISBLK(info.st_mode))
        *ret_identity = (struct identity){.dev = info.st_rdev};
    return true;
}

static void
add(GHashTable *volumes, const char *path, const struct volume_record *record)
{
    struct identity identity;

    if (path && identify(path, &identity) && !g_hash_table_contains(volumes, &identity))
        g_hash_table_insert(volumes, g_memdup2(&identity, sizeof(identity)),
                            volume_record_copy(record));
}

/* With the mutex held. */
static void
renew(struct storage_identities *identities)
{
    g_autoptr(GPtrArray) list = NULL;

    g_clear_pointer(&identities->volumes, g_hash_table_unref);
    identities->version = storage_records_version(identities->records);
    list = storage_records_list(identities->records, NULL);
    identities->volumes =
        g_hash_table_new_full(hash_identity, equal_identities, g_free, free_record);
    for (guint i = 0; i < list->len; i++) {
        const struct volume_record *record = list->pdata[i];
        g_autofree char *link = storage_records_link(identities->records, record);

        add(identities->volumes, record->device, record);
        add(identities->volumes, link, record);
    }
    identities->found_at = g_get_monotonic_time();
}

static bool
is_fresh(const struct storage_identities *identities)
{
    return identities->volumes &&
           identities->version == storage_records_version(identities->records) &&
           g_get_monotonic_time() - identities->found_at < FRESH_MS * G_TIME_SPAN_MILLISECOND;
}

struct volume_record *
storage_identities_find(struct storage_identities *identities, const char *path)
{
    struct volume_record *named = storage_records_get_by_name(identities->records, path);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = NULL;
    const struct volume_record *record;
    struct identity identity;

    if (named || !identify(path, &identity))
        return named;
    locker = g_mutex_locker_new(&identities->mutex);
    if (!is_fresh(identities))
        renew(identities);
    record = g_hash_table_lookup(identities->volumes, &identity);
    if (!record && identity.ino == 0 && major(identity.dev) == LOOP_MAJOR)
        return storage_records_get_by_path(identities->records, path, NULL); /* what is below it */
    return record ? volume_record_copy(record) : NULL;
}

struct storage_identities *
storage_identities_new(struct storage_records *records)
{
    struct storage_identities *identities = g_new0(struct storage_identities, 1);

    identities->records = records;
    g_mutex_init(&identities->mutex);
    return identities;
}

void
storage_identities_free(struct storage_identities *identities)
{
    if (!identities)
        return;
    g_clear_pointer(&identities->volumes, g_hash_table_unref);
    g_mutex_clear(&identities->mutex);
    g_free(identities);
}
