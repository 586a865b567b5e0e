/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the order of steps. Invariant: a journal record is forgotten only when its effect is on
 * disk. What a failed write or flush left behind is never built upon: the journal is emptied, after
 * its committed records were carried out once more where needed, before anything else is committed.
 */
#include "secret/store_committer.h"

#include "secret/store_change.h"
#include "util/error.h"
#include "util/log.h"

struct committer {
    struct journal *journal;
    struct store_files *files;
    bool must_redo;       /* a committed change may not be in place, or not whole on disk */
    bool must_checkpoint; /* the journal may hold records that must not count */
};

void
committer_free(struct committer *committer)
{
    if (!committer)
        return;
    journal_free(committer->journal);
    store_files_free(committer->files);
    g_free(committer);
}

static void
free_change(void *opaque)
{
    struct store_change *change = opaque;

    store_change_clear(change);
    g_free(change);
}

static void
take_newer(enum store_action *action, GBytes **content, enum store_action newer_action,
           GBytes **newer_content)
{
    if (newer_action == STORE_KEEP)
        return;
    g_clear_pointer(content, g_bytes_unref);
    *content = g_steal_pointer(newer_content);
    *action = newer_action;
}

/* Of several changes to one file only the last one counts. */
static bool
collect_record(const void *record, size_t len, void *opaque, GError **error)
{
    GHashTable *changes = opaque;
    g_auto(store_change_t) change = {0};
    struct store_change *known;

    if (!store_change_parse(record, len, &change)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "a record of the journal is whole but no change to a secret");
        return false;
    }
    known = g_hash_table_lookup(changes, &change.uuid);
    if (!known) {
        known = g_new0(struct store_change, 1);
        known->uuid = change.uuid;
        g_hash_table_insert(changes, &known->uuid, known);
    }
    take_newer(&known->xml_action, &known->xml, change.xml_action, &change.xml);
    take_newer(&known->key_action, &known->key, change.key_action, &change.key);
    return true;
}

/* Carries out all committed records, wherever they are interrupted. */
static bool
redo_records(struct committer *committer, GError **error)
{
    g_autoptr(GHashTable) changes =
        g_hash_table_new_full(uuid_hash_key, uuid_equal_key, NULL, free_change);
    GHashTableIter iter;
    gpointer change;

    if (!journal_replay(committer->journal, collect_record, changes, error))
        return false;
    g_hash_table_iter_init(&iter, changes);
    while (g_hash_table_iter_next(&iter, NULL, &change)) {
        if (!store_files_redo(committer->files, change, error))
            return false;
        if (store_files_want_flush(committer->files) && !store_files_flush(committer->files, error))
            return false;
    }
    return true;
}

bool
committer_checkpoint(struct committer *committer, GError **error)
{
    if (committer->must_redo && !redo_records(committer, error))
        return false;
    if (!store_files_flush(committer->files, error)) {
        committer->must_redo = true;
        return false;
    }
    committer->must_redo = false;
    if (!journal_is_clean(committer->journal) && !journal_reset(committer->journal, error)) {
        committer->must_checkpoint = true;
        return false;
    }
    committer->must_checkpoint = false;
    return true;
}

struct committer *
committer_open(int dir_fd, struct journal *take_journal, GError **error)
{
    g_autoptr(committer_t) committer = g_new0(struct committer, 1);

    committer->journal = take_journal;
    committer->files = store_files_new(dir_fd);
    committer->must_redo = true;
    if (!committer_checkpoint(committer, error))
        return NULL;
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

/* A failure is no error of the change: it is committed, and the next checkpoint repeats this. */
static void
apply_group(struct committer *committer, GPtrArray *group)
{
    for (guint i = 0; i < group->len; i++) {
        const struct commit_item *item = g_ptr_array_index(group, i);
        g_autoptr(GError) error = NULL;

        if (!store_files_apply(committer->files, &item->change, &error)) {
            log_error("%s; the change is in the journal, and is tried again", error->message);
            committer->must_redo = true;
        }
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
    g_prefix_error(error, "nothing was changed, since an earlier change could not be finished: ");
    return false;
}

static bool
add_to_group(struct committer *committer, GPtrArray *group, struct commit_item *item,
             GError **error)
{
    g_autoptr(GBytes) record = NULL;

    if (!store_change_check(&item->change, error))
        return false;
    if (!journal_has_room(committer->journal, store_change_record_size(&item->change))) {
        finish_group(committer, group);
        committer->must_checkpoint = true;
    }
    if (!is_ready(committer, error) || !store_files_stage(committer->files, &item->change, error))
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
    return journal_is_half_full(committer->journal) || store_files_want_flush(committer->files);
}
