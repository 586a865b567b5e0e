/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening the store, reading it, and handing changes to the worker.
 */
#include "secret/store.h"

#include <errno.h>
#include <sys/file.h>

#include "secret/store_overlay.h"
#include "secret/store_worker.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

enum { DIR_MODE = 0700 };

struct store {
    file_fd dir_fd;
    struct overlay *overlay;
    GRWLock contents;   /* of files; see store_files_new */
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

static GArray *
read_list(const struct store *store, bool remove_staged, GError **error)
{
    g_autoptr(GArray) entries = store_files_list(store->dir_fd, remove_staged, error);

    if (entries)
        overlay_amend(store->overlay, entries);
    return g_steal_pointer(&entries);
}

struct store *
store_open(const char *dir, const char *journal_dir, struct loop *loop, GError **error)
{
    g_autoptr(store_t) store = g_new0(struct store, 1);
    struct committer *committer;

    store->overlay = overlay_new();
    g_rw_lock_init(&store->contents);
    store->dir_fd = file_open_dir(dir, true, DIR_MODE, error);
    if (store->dir_fd < 0 || !lock_dir(store->dir_fd, dir, error))
        return NULL;
    committer = committer_open(store->dir_fd, &store->contents, journal_dir, store->overlay, error);
    if (!committer)
        return NULL;
    store->worker = worker_new(committer, loop, error);
    if (!store->worker)
        return NULL;
    store->first_list = read_list(store, true, error);
    return store->first_list ? g_steal_pointer(&store) : NULL;
}

void
store_free(struct store *store)
{
    if (!store)
        return;
    worker_free(store->worker);
    g_clear_pointer(&store->first_list, g_array_unref);
    overlay_free(store->overlay);
    file_fd_clear(&store->dir_fd);
    g_rw_lock_clear(&store->contents);
    g_free(store);
}

GArray *
store_list(struct store *store, GError **error)
{
    if (store->first_list)
        return g_steal_pointer(&store->first_list);
    return read_list(store, false, error);
}

static GBytes *
read_part(struct store *store, const struct uuid *uuid, enum store_kind kind, size_t max,
          GError **error)
{
    char name[STORE_NAME_SIZE];
    GBytes *content = NULL;

    store_files_name(uuid, kind, name);
    switch (overlay_find(store->overlay, uuid, kind, &content)) {
    case STORE_WRITE:
        return content;
    case STORE_REMOVE:
        error_set_errno(error, ERROR_FROM_SECRET, ENOENT, "cannot open the file %s", name);
        return NULL;
    case STORE_KEEP:
        break;
    }
    g_rw_lock_reader_lock(&store->contents);
    content = file_read(store->dir_fd, name, max, error);
    g_rw_lock_reader_unlock(&store->contents);
    return content;
}

GBytes *
store_read_xml(struct store *store, const struct uuid *uuid, GError **error)
{
    return read_part(store, uuid, STORE_XML, STORE_XML_MAX, error);
}

GBytes *
store_read_key(struct store *store, const struct uuid *uuid, GError **error)
{
    return read_part(store, uuid, STORE_KEY, STORE_KEY_MAX, error);
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

void
store_request_checkpoint(struct store *store, store_done_func done, void *opaque)
{
    worker_submit(store->worker, NULL, done, opaque);
}
