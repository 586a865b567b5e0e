/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the order of a restore. The slots file of the restored store is written first, under a name
 * that says that it is not finished; getting its own name, last, is the commit point.
 */
#include "recover/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/lock.h"
#include "recover/restore_aside.h"
#include "secret/audit_event.h"
#include "secret/store.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

#define RESTORING_SUFFIX ".restoring"

static const char lock_remedy[] = "it keeps the secrets of this host: stop it first";

void
restore_report_clear(struct restore_report *report)
{
    restore_content_clear(&report->content);
    g_clear_pointer(&report->aside, g_free);
}

struct restore {
    const struct restore_params *params;
    struct daemon_lock *lock; /* or NULL */
    file_fd secrets_fd;       /* of the folder that is put aside, locked; or -1 */
    file_fd dir_fd;           /* of the slots */
    char *name;               /* of the slots */
    char *restoring;          /* the name before the commit */
};

static void
restore_clear(struct restore *restore)
{
    file_fd_clear(&restore->dir_fd);
    file_fd_clear(&restore->secrets_fd);
    daemon_lock_free(restore->lock);
    g_free(restore->name);
    g_free(restore->restoring);
}

typedef struct restore restore_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(restore_t, restore_clear)

static bool
take_lock(struct restore *restore, GError **error)
{
    const char *path = restore->params->paths->driver_lock;

    if (!path)
        return true;
    restore->lock = daemon_lock_new(path, FOLDER_MODE, lock_remedy, error);
    return restore->lock != NULL;
}

/* A daemon of another root, container or session has its lock elsewhere, and this one, too. */
static bool
lock_secrets(struct restore *restore, GError **error)
{
    const char *dir = restore->params->paths->secrets_dir;
    g_autoptr(GError) failure = NULL;

    restore->secrets_fd = file_open_dir(dir, false, FOLDER_MODE, &failure);
    if (restore->secrets_fd >= 0)
        return store_lock_folder(restore->secrets_fd, dir, error);
    if (error_get_errno(failure) == ENOENT)
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
is_there(const struct restore *restore, const char *name)
{
    struct stat info;

    return fstatat(restore->dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* A restore that was not finished may be begun anew; secrets that somebody uses may not be put
 * aside without a word. */
static bool
check_place(const struct restore *restore, GError **error)
{
    bool is_unfinished = is_there(restore, restore->restoring) && !is_there(restore, restore->name);
    guint count = 0;

    if (!restore_aside_count(restore->params->paths, &count, error))
        return false;
    if (count == 0 || is_unfinished || restore->params->replace)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there are %u secrets here already: with --replace they are put aside, and this "
              "backup takes their place",
              count);
    return false;
}

/* What is restored has no index of generations; the first start makes one. */
static bool
write_slots(const struct restore *restore, GError **error)
{
    g_autoptr(slots_t) slots = slots_copy(backup_reader_slots(restore->params->reader));
    g_autoptr(GBytes) bytes = NULL;

    slots->flags &= ~(uint32_t)SLOTS_HAS_INDEX;
    slots->sequence++;
    bytes = slots_format(slots, restore->params->master, error);
    return bytes && file_replace(restore->dir_fd, restore->restoring, g_bytes_get_data(bytes, NULL),
                                 g_bytes_get_size(bytes), FILE_MODE, error);
}

static struct store *
open_store(const struct offline_paths *paths, GError **error)
{
    const struct store_params params = {
        .dir = paths->secrets_dir,
        .journal_dir = paths->journal_dir,
        .guests_dir = paths->guests_dir,
        .audit = paths->audit,
    };

    return store_open(&params, error);
}

/* What a crash left in the journal is carried out before that is put aside: without it the audit,
 * which goes on, might end in half a line that nothing explains. A store that is too damaged for
 * that is put aside as it is. */
static bool
settle_before(struct restore *restore, GError **error)
{
    const struct offline_paths *paths = restore->params->paths;
    g_autoptr(GError) failure = NULL;
    struct store *store;

    if (!g_file_test(paths->journal_dir, G_FILE_TEST_IS_DIR))
        return true;
    /* The store takes that lock for itself. */
    file_fd_clear(&restore->secrets_fd);
    store = open_store(paths, &failure);
    if (!store)
        log_warn("what the journal of before holds is not carried out: %s", failure->message);
    store_free(store);
    return lock_secrets(restore, error);
}

/* By the store, which has the audit's order and promises. */
static bool
write_audit(const struct restore *restore, const struct restore_content *content, GError **error)
{
    g_autofree char *reason =
        g_strdup_printf("a%s backup with %" G_GUINT64_FORMAT " secrets and %" G_GUINT64_FORMAT
                        " values takes the store's place",
                        content->damage && content->damage->len > 0 ? " damaged" : "",
                        content->secrets, content->values);
    const struct audit_event event = {.event = "restore", .reason = reason};
    g_autoptr(store_t) store = open_store(restore->params->paths, error);
    struct store_change change = {0};

    if (!store)
        return false;
    change.audit = audit_event_members(&event, error);
    return change.audit && store_commit(store, &change, error);
}

static bool
commit(const struct restore *restore, GError **error)
{
    if (renameat2(restore->dir_fd, restore->restoring, restore->dir_fd, restore->name,
                  RENAME_NOREPLACE) == 0)
        return file_sync_dir(restore->dir_fd, error);
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot put the slots (%s) in their place",
                    restore->params->paths->slots);
    return false;
}

static bool
put_in_place(const struct restore *restore, struct restore_report *report, GError **error)
{
    const struct restore_params *params = restore->params;

    return write_slots(restore, error) &&
           restore_aside_move(params->paths, &report->aside, error) &&
           restore_content_write(params->reader, params->master, params->paths, &params->progress,
                                 &report->content, error) &&
           write_audit(restore, &report->content, error) && commit(restore, error);
}

bool
restore_run(const struct restore_params *params, struct restore_report *ret_report, GError **error)
{
    g_auto(restore_t) restore = {.params = params, .secrets_fd = -1, .dir_fd = -1};
    g_auto(restore_report_t) report = {0};

    restore.name = g_path_get_basename(params->paths->slots);
    restore.restoring = g_strconcat(restore.name, RESTORING_SUFFIX, NULL);
    if (!take_lock(&restore, error) || !lock_secrets(&restore, error) ||
        !restore_content_check(params->reader, params->master, &params->progress, params->salvage,
                               &report.content, error))
        return false;
    restore.dir_fd = file_open_dir(params->paths->virtcrypt_dir, true, FOLDER_MODE, error);
    if (restore.dir_fd < 0 || !check_place(&restore, error) || !settle_before(&restore, error) ||
        !put_in_place(&restore, &report, error))
        return false;
    *ret_report = report;
    report = (struct restore_report){0};
    return true;
}
