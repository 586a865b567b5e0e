/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the order of steps. Invariant: a journal record is forgotten only when its effect is on
 * disk. What a failed write or flush left behind is never built upon: the journal is emptied, after
 * its committed records were carried out once more where needed, before anything else is committed.
 */
#include "secret/store_committer.h"

#include <string.h>

#include "secret/audit.h"
#include "secret/journal.h"
#include "secret/store_change.h"
#include "secret/store_journal.h"
#include "util/error.h"
#include "util/log.h"

struct committer {
    char *journal_dir;
    struct journal *journal; /* NULL while it can't be used */
    struct store_files *files;
    struct audit *audit;
    struct overlay *overlay; /* what must_redo is about, for readers */
    bool was_open;           /* readers know what the journal held at start */
    bool must_redo;          /* a committed change may not be in place, or not whole on disk */
    bool must_checkpoint;    /* the journal may hold records that must not count */
};

void
committer_free(struct committer *committer)
{
    if (!committer)
        return;
    journal_free(committer->journal);
    store_files_free(committer->files);
    audit_free(committer->audit);
    g_free(committer->journal_dir);
    g_free(committer);
}

static bool
collect_record(const void *record, size_t len, void *opaque, GError **error)
{
    g_auto(store_change_t) change = {0};

    if (!store_change_parse(record, len, &change)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "a record of the journal is whole but no change to a secret");
        return false;
    }
    overlay_add(opaque, &change);
    return true;
}

static bool
redo_change(const struct store_change *change, void *opaque, GError **error)
{
    struct committer *committer = opaque;

    return store_files_redo(committer->files, change, error) &&
           (!store_files_want_flush(committer->files) ||
            store_files_flush(committer->files, error));
}

/* Carries out all committed records, wherever they are interrupted. Of several changes to one file
 * only the last one counts. ERROR_INVALID_SECRET, after those before it were carried out, if there
 * is a record that is none. */
static bool
redo_records(struct committer *committer, GError **error)
{
    g_autoptr(overlay_t) changes = overlay_new();
    g_autoptr(overlay_t) nothing = overlay_new();
    g_autoptr(GPtrArray) audits = NULL;
    g_autoptr(GError) failure = NULL;

    if (!journal_replay(committer->journal, collect_record, changes, &failure) &&
        !error_is(failure, ERROR_INVALID_SECRET)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!journal_settle(committer->journal, error) ||
        !overlay_foreach(changes, redo_change, committer, error)) {
        overlay_assign(committer->overlay, changes);
        return false;
    }
    audits = overlay_list_audits(changes);
    overlay_assign(committer->overlay, nothing);
    if (!audit_redo(committer->audit, audits, error))
        return false;
    if (!failure)
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
open_journal(struct committer *committer, GError **error)
{
    committer->journal = store_journal_open(committer->journal_dir, error);
    if (!committer->journal)
        return false;
    if (committer->was_open || journal_is_empty(committer->journal))
        return true;
    /* The daemon has loaded what these changes would replace. */
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "the journal in %s holds changes from before the daemon's start: restart it",
              committer->journal_dir);
    g_clear_pointer(&committer->journal, journal_free);
    return false;
}

static bool
flush(struct committer *committer, GError **error)
{
    if (store_files_flush(committer->files, error) && audit_flush(committer->audit, error))
        return true;
    committer->must_redo = true;
    return false;
}

/* After those of its records that count were carried out. */
static bool
replace_journal(struct committer *committer, const GError *reason, GError **error)
{
    if (!flush(committer, error))
        return false;
    g_clear_pointer(&committer->journal, journal_free);
    return store_journal_put_aside(committer->journal_dir, reason, error) &&
           open_journal(committer, error);
}

static bool
redo(struct committer *committer, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (!redo_records(committer, &failure)) {
        if (error_is(failure, ERROR_INVALID_SECRET))
            return replace_journal(committer, failure, error);
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    return true;
}

bool
committer_checkpoint(struct committer *committer, GError **error)
{
    if ((!committer->journal && !open_journal(committer, error)) ||
        (committer->must_redo && !redo(committer, error)) || !flush(committer, error))
        return false;
    committer->must_redo = false;
    if (!journal_is_clean(committer->journal) && !journal_reset(committer->journal, error)) {
        committer->must_checkpoint = true;
        return false;
    }
    committer->must_checkpoint = false;
    return true;
}

struct committer *
committer_open(int dir_fd, GRWLock *contents, const struct store_params *params,
               struct overlay *overlay, GError **error)
{
    g_autoptr(committer_t) committer = g_new0(struct committer, 1);
    g_autoptr(GError) failure = NULL;

    committer->journal_dir = g_strdup(params->journal_dir);
    committer->files = store_files_new(dir_fd, params->guests_dir, contents);
    committer->audit = audit_new(params->audit);
    committer->overlay = overlay;
    committer->must_redo = true;
    committer->was_open = true;
    if (committer_checkpoint(committer, &failure))
        return g_steal_pointer(&committer);
    if (error_is(failure, ERROR_RESOURCE_BUSY)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    committer->was_open = committer->journal != NULL;
    log_error("%s; secrets can be read, and not changed until this is mended", failure->message);
    return g_steal_pointer(&committer);
}

/* The disk failed at the commit point. */
static void
give_up_group(struct committer *committer, GPtrArray *group, GError *failure)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < group->len; i++) {
        const struct commit_item *item = g_ptr_array_index(group, i);

        store_files_unstage(committer->files, &item->change);
    }
    committer->must_checkpoint = true;
    if (committer_checkpoint(committer, &error)) {
        g_prefix_error(&failure, "nothing was changed: ");
    } else {
        log_error("cannot bring the journal back in order: %s", error->message);
        g_prefix_error(&failure, "it is not known whether the change will be there after the "
                                 "daemon's next start, and no more changes are taken until the "
                                 "disk works: ");
    }
    for (guint i = 0; i < group->len; i++) {
        struct commit_item *item = g_ptr_array_index(group, i);

        item->error = g_error_copy(failure);
    }
    g_error_free(failure);
}

static void
note_failed_apply(struct committer *committer, const GError *error)
{
    log_error("%s; the change is in the journal, and is tried again", error->message);
    committer->must_redo = true;
}

/* A failure is no error of the change: it is committed, and the next checkpoint repeats this. */
static void
apply_group(struct committer *committer, GPtrArray *group)
{
    for (guint i = 0; i < group->len; i++) {
        const struct store_change *change =
            &((const struct commit_item *)g_ptr_array_index(group, i))->change;
        g_autoptr(GError) error = NULL;
        g_autoptr(GError) audit_error = NULL;

        if (!store_files_apply(committer->files, change, &error)) {
            overlay_add(committer->overlay, change);
            note_failed_apply(committer, error);
        }
        if (change->audit && !audit_append(committer->audit, change->audit, &audit_error))
            note_failed_apply(committer, audit_error);
    }
}

/* The commit point of the group's changes, which are staged and appended. */
static void
finish_group(struct committer *committer, GPtrArray *group)
{
    GError *failure = NULL;

    if (group->len == 0)
        return;
    if (journal_commit(committer->journal, &failure))
        apply_group(committer, group);
    else
        give_up_group(committer, group, failure);
    g_ptr_array_set_size(group, 0);
}

/* Nothing is committed on top of what went wrong before. */
static bool
is_ready(struct committer *committer, GError **error)
{
    if (!committer->must_redo && !committer->must_checkpoint)
        return true;
    if (committer_checkpoint(committer, error))
        return true;
    g_prefix_error(error, committer->journal ? "nothing was changed, since an earlier change could "
                                               "not be finished: "
                                             : "nothing was changed: ");
    return false;
}

static bool
check_fits(struct committer *committer, const struct store_change *change, GError **error)
{
    size_t size = store_change_record_size(change);
    guint owners = store_change_owner_count(change);
    char uuid[UUID_TEXT_SIZE];

    if (journal_fits(committer->journal, size))
        return true;
    if (owners > 0)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "a change of secret %s with the copies of %u guests has %zu bytes, more than the "
                  "journal in %s has room for: let fewer guests own it, or use a shorter value",
                  uuid_format(&change->uuid, uuid), owners, size, committer->journal_dir);
    else
        error_set(
            error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
            "the change is larger than the journal in %s, which another version made: stop the "
            "daemon, remove the journal and start again (a stopped daemon's journal is empty)",
            committer->journal_dir);
    return false;
}

static bool
add_to_group(struct committer *committer, GPtrArray *group, struct commit_item *item,
             GError **error)
{
    g_autoptr(GBytes) record = NULL;

    if (!store_change_check(&item->change, error))
        return false;
    if (committer->journal &&
        (!journal_has_room(committer->journal, store_change_record_size(&item->change)) ||
         !store_files_have_room(committer->files, &item->change))) {
        finish_group(committer, group);
        committer->must_checkpoint = true;
    }
    if (!is_ready(committer, error) || !check_fits(committer, &item->change, error) ||
        (item->change.audit &&
         !audit_prepare(committer->audit, strlen(item->change.audit), error)) ||
        !store_files_stage(committer->files, &item->change, error))
        return false;
    record = store_change_format(&item->change);
    journal_append(committer->journal, g_bytes_get_data(record, NULL), g_bytes_get_size(record));
    g_ptr_array_add(group, item);
    return true;
}

void
committer_commit(struct committer *committer, GPtrArray *items)
{
    g_autoptr(GPtrArray) group = g_ptr_array_new();

    for (guint i = 0; i < items->len; i++) {
        struct commit_item *item = g_ptr_array_index(items, i);

        add_to_group(committer, group, item, &item->error);
    }
    finish_group(committer, group);
}

bool
committer_needs_checkpoint(const struct committer *committer)
{
    return committer->must_redo || !journal_is_clean(committer->journal);
}

bool
committer_wants_checkpoint(const struct committer *committer)
{
    return (committer->journal && journal_is_half_full(committer->journal)) ||
           store_files_want_flush(committer->files);
}
