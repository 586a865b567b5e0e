/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening the store, reading it, and handing changes to the worker.
 */
#include "secret/store.h"

#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "secret/store_change.h"
#include "secret/store_worker.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

enum { DIR_MODE = 0700, JOURNAL_CAPACITY = 2 * 1024 * 1024 };
/* The largest change fits, with its record's head. */
G_STATIC_ASSERT(JOURNAL_CAPACITY > STORE_CHANGE_HEAD_SIZE + STORE_XML_MAX + STORE_KEY_MAX + 4096);

#define JOURNAL_NAME "journal"
/* Damaged journals that are kept. */
enum { DAMAGED_MAX = 100 };

struct store {
    file_fd dir_fd;
    GArray *first_list; /* what was there at start, until it is asked for or something changes */
    struct worker *worker;
};

/* Two daemons on one folder would undo each other's changes. */
static bool
lock_dir(int dir_fd, const char *dir, GError **error)
{
    if (flock(dir_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK) {
        error_set(error, ERROR_FROM_SECRET, ERROR_RESOURCE_BUSY,
                  "the folder %s is in use by another process; is the daemon running already?",
                  dir);
        return false;
    }
    /* Some network file systems can't lock a folder; the journal's own lock still holds. */
    log_warn("cannot lock the folder %s: %s", dir, g_strerror(errno));
    return true;
}

/* Keeps the damaged journal under another name, so that the daemon can start. */
static bool
put_aside(int dir_fd, const char *journal_dir, const GError *reason, GError **error)
{
    for (unsigned int i = 1; i <= DAMAGED_MAX; i++) {
        char name[sizeof(JOURNAL_NAME) + 32];

        g_snprintf(name, sizeof(name), JOURNAL_NAME ".damaged.%u", i);
        if (renameat2(dir_fd, JOURNAL_NAME, dir_fd, name, RENAME_NOREPLACE) == 0) {
            log_error("%s; it is kept as %s/%s, and changes of the last moments before the "
                      "daemon's end may be missing: check the secrets that were changed then",
                      reason->message, journal_dir, name);
            return file_sync_dir(dir_fd, error);
        }
        if (errno != EEXIST) {
            error_set_errno(error, ERROR_FROM_SECRET, errno,
                            "cannot put the damaged journal in %s aside", journal_dir);
            return false;
        }
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there are %d damaged journals in %s; remove them", DAMAGED_MAX, journal_dir);
    return false;
}

static struct journal *
open_journal(const char *journal_dir, GError **error)
{
    g_auto(file_fd) dir_fd = file_open_dir(journal_dir, true, DIR_MODE, error);
    g_autoptr(GError) failure = NULL;
    struct journal *journal;

    if (dir_fd < 0)
        return NULL;
    journal = journal_open(dir_fd, JOURNAL_NAME, JOURNAL_CAPACITY, &failure);
    if (!journal && error_is(failure, ERROR_INVALID_SECRET)) {
        if (!put_aside(dir_fd, journal_dir, failure, error))
            return NULL;
        return journal_open(dir_fd, JOURNAL_NAME, JOURNAL_CAPACITY, error);
    }
    if (!journal)
        g_propagate_error(error, g_steal_pointer(&failure));
    return journal;
}

struct store *
store_open(const char *dir, const char *journal_dir, struct loop *loop, GError **error)
{
    g_autoptr(store_t) store = g_new0(struct store, 1);
    struct committer *committer;
    struct journal *journal;

    store->dir_fd = file_open_dir(dir, true, DIR_MODE, error);
    if (store->dir_fd < 0 || !lock_dir(store->dir_fd, dir, error))
        return NULL;
    journal = open_journal(journal_dir, error);
    if (!journal)
        return NULL;
    committer = committer_open(store->dir_fd, journal, error);
    if (!committer) {
        g_prefix_error(error,
                       "cannot finish the changes that the journal in %s holds: ", journal_dir);
        return NULL;
    }
    store->worker = worker_new(committer, loop, error);
    if (!store->worker)
        return NULL;
    store->first_list = store_files_list(store->dir_fd, true, error);
    return store->first_list ? g_steal_pointer(&store) : NULL;
}

void
store_free(struct store *store)
{
    if (!store)
        return;
    worker_free(store->worker);
    g_clear_pointer(&store->first_list, g_array_unref);
    file_fd_clear(&store->dir_fd);
    g_free(store);
}

GArray *
store_list(struct store *store, GError **error)
{
    if (store->first_list)
        return g_steal_pointer(&store->first_list);
    return store_files_list(store->dir_fd, false, error);
}

GBytes *
store_read_xml(struct store *store, const struct uuid *uuid, GError **error)
{
    char name[STORE_NAME_SIZE];

    return file_read(store->dir_fd, store_files_name(uuid, STORE_XML, name), STORE_XML_MAX, error);
}

GBytes *
store_read_key(struct store *store, const struct uuid *uuid, GError **error)
{
    char name[STORE_NAME_SIZE];

    return file_read(store->dir_fd, store_files_name(uuid, STORE_KEY, name), STORE_KEY_MAX, error);
}

int
store_dir_fd(const struct store *store)
{
    return store->dir_fd;
}

void
store_submit(struct store *store, struct store_change *change, store_done_func done, void *opaque)
{
    g_clear_pointer(&store->first_list, g_array_unref);
    worker_submit(store->worker, change, done, opaque);
}

bool
store_commit(struct store *store, struct store_change *change, GError **error)
{
    g_clear_pointer(&store->first_list, g_array_unref);
    return worker_run(store->worker, change, error);
}

void
store_drain(struct store *store)
{
    worker_drain(store->worker);
}

bool
store_checkpoint(struct store *store, GError **error)
{
    return worker_run(store->worker, NULL, error);
}
