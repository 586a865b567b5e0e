/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening the store, reading it, and handing changes to the worker.
 */
#include "secret/store.h"

#include <errno.h>
#include <sys/file.h>

#include "secret/audit_reader.h"
#include "secret/store_files.h"
#include "secret/store_folders.h"
#include "secret/store_overlay.h"
#include "secret/store_worker.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(store, "flock");

enum { DIR_MODE = 0700 };

struct store {
    file_fd dir_fd;
    char *guests_dir; /* or NULL */
    struct overlay *overlay;
    GRWLock contents; /* of files; see store_files_new */
    /* What was there at start, until it is asked for or something changes. */
    GArray *first_list;
    GArray *first_owned;
    char *owned_problem; /* or NULL */
    struct audit_reader *audit;
    struct worker *worker;
};

bool
store_lock_folder(int dir_fd, const char *dir, GError **error)
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
read_list(const struct store *store, enum store_files_look look, GError **error)
{
    g_autoptr(GArray) entries = store_files_list(store->dir_fd, look, error);

    if (entries)
        overlay_amend(store->overlay, entries);
    return g_steal_pointer(&entries);
}

static GArray *
read_owned(struct store *store, enum store_files_look look, GError **error)
{
    char *problem = NULL;
    g_autoptr(GArray) owned = store_files_list_owned(store->guests_dir, look, &problem, error);

    if (owned)
        overlay_amend_owned(store->overlay, owned);
    if (look != STORE_FILES_MISS_NONE) {
        g_free(store->owned_problem);
        store->owned_problem = problem;
    }
    return g_steal_pointer(&owned);
}

struct store *
store_open(const struct store_params *params, GError **error)
{
    g_autoptr(store_t) store = g_new0(struct store, 1);
    struct committer *committer;

    store->overlay = overlay_new();
    store->guests_dir = g_strdup(params->guests_dir);
    store->audit = audit_reader_new(params->audit);
    g_rw_lock_init(&store->contents);
    store->dir_fd = file_open_dir(params->dir, true, DIR_MODE, error);
    if (store->dir_fd < 0 || !store_lock_folder(store->dir_fd, params->dir, error))
        return NULL;
    committer = committer_open(store->dir_fd, &store->contents, params, store->overlay, error);
    if (!committer)
        return NULL;
    store->worker = worker_new(committer, params->loop, error);
    if (!store->worker)
        return NULL;
    store->first_list = read_list(store, STORE_FILES_AT_START, error);
    if (!store->first_list)
        return NULL;
    store->first_owned = read_owned(store, STORE_FILES_AT_START, error);
    return store->first_owned ? g_steal_pointer(&store) : NULL;
}

static void
forget_first_lists(struct store *store)
{
    g_clear_pointer(&store->first_list, g_array_unref);
    g_clear_pointer(&store->first_owned, g_array_unref);
}

void
store_free(struct store *store)
{
    if (!store)
        return;
    worker_free(store->worker);
    forget_first_lists(store);
    overlay_free(store->overlay);
    audit_reader_free(store->audit);
    file_fd_clear(&store->dir_fd);
    g_rw_lock_clear(&store->contents);
    g_free(store->guests_dir);
    g_free(store->owned_problem);
    g_free(store);
}

GArray *
store_list(struct store *store, GError **error)
{
    if (store->first_list)
        return g_steal_pointer(&store->first_list);
    return read_list(store, STORE_FILES_AGAIN, error);
}

GArray *
store_list_owned(struct store *store, GError **error)
{
    if (store->first_owned)
        return g_steal_pointer(&store->first_owned);
    return read_owned(store, STORE_FILES_AGAIN, error);
}

const char *
store_owned_problem(const struct store *store)
{
    return store->owned_problem;
}

bool
store_list_all(struct store *store, GArray **ret_entries, GArray **ret_owned, GError **error)
{
    g_autoptr(GArray) entries = read_list(store, STORE_FILES_MISS_NONE, error);
    GArray *owned = entries ? read_owned(store, STORE_FILES_MISS_NONE, error) : NULL;

    if (!owned)
        return false;
    *ret_entries = g_steal_pointer(&entries);
    *ret_owned = owned;
    return true;
}

static void
set_no_file(GError **error, const struct uuid *guest, const char *name)
{
    char path[STORE_PATH_SIZE];

    error_set_errno(error, ERROR_FROM_SECRET, ENOENT, "cannot open the file %s",
                    store_parts_path(guest, name, path));
}

static GBytes *
read_content(struct store *store, int dir_fd, const char *name, size_t max, GError **error)
{
    GBytes *content;

    g_rw_lock_reader_lock(&store->contents);
    content = file_read(dir_fd, name, max, error);
    g_rw_lock_reader_unlock(&store->contents);
    return content;
}

static GBytes *
read_part(struct store *store, const struct uuid *uuid, enum store_kind kind, size_t max,
          GError **error)
{
    char name[STORE_NAME_SIZE];
    GBytes *content = NULL;

    store_parts_name(uuid, kind, name);
    switch (overlay_find(store->overlay, uuid, kind, &content)) {
    case STORE_WRITE:
        return content;
    case STORE_REMOVE:
        set_no_file(error, NULL, name);
        return NULL;
    case STORE_KEEP:
        break;
    }
    return read_content(store, store->dir_fd, name, max, error);
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

GBytes *
store_read_owned_key(struct store *store, const struct uuid *secret, const struct uuid *guest,
                     GError **error)
{
    g_auto(file_fd) guests_fd = -1;
    g_auto(file_fd) fd = -1;
    char name[STORE_NAME_SIZE];
    char folder[UUID_TEXT_SIZE];
    GBytes *content = NULL;
    enum store_action action = overlay_find_owned(store->overlay, secret, guest, &content);

    store_parts_name(secret, STORE_KEY, name);
    if (action == STORE_WRITE)
        return content;
    if (action == STORE_REMOVE || !store->guests_dir) {
        set_no_file(error, guest, name);
        return NULL;
    }
    guests_fd = store_folders_open_guests(store->guests_dir, error);
    if (guests_fd >= 0)
        fd = store_folders_open_guest(guests_fd, uuid_format(guest, folder), error);
    if (fd >= 0)
        content = read_content(store, fd, name, STORE_KEY_MAX, error);
    if (!content)
        g_prefix_error(error, "guest %s: ", uuid_format(guest, folder));
    return content;
}

GPtrArray *
store_read_audit(struct store *store, uint64_t from, size_t max, bool *ret_more, GError **error)
{
    return audit_reader_read(store->audit, from, max, ret_more, error);
}

int
store_dir_fd(const struct store *store)
{
    return store->dir_fd;
}

void
store_submit(struct store *store, struct store_change *change, store_done_func done, void *opaque)
{
    forget_first_lists(store);
    worker_submit(store->worker, change, done, opaque);
}

bool
store_commit(struct store *store, struct store_change *change, GError **error)
{
    forget_first_lists(store);
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

bool
store_replace_kept(struct store *store, const struct store_kept_work *work, guint *ret_count,
                   GError **error)
{
    return store_kept_replace(store->dir_fd, store->guests_dir, work, ret_count, error);
}
