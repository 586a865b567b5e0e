/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: secrets on disk: UUID.xml (definition, as libvirt writes it) and UUID.key (sealed value) in
 * one folder, and the commit of changes to them. A change holds both files of one secret, so that
 * no kill leaves one without the other. Changes are committed by one worker thread in batches:
 *   1. new contents go to UUID.*.new     (a full disk shows here; nothing has changed)
 *   2. journal append, fdatasync         (COMMIT POINT of the batch)
 *   3. renames and unlinks               (repeated from the journal after a crash)
 *   4. now and then: flush, journal reset
 * It seals nothing and parses no XML.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/loop.h"
#include "util/uuid.h"

struct store;

/* What becomes of one file of a secret. */
enum store_action { STORE_KEEP, STORE_WRITE, STORE_REMOVE };

struct store_change {
    struct uuid uuid;
    enum store_action xml_action;
    GBytes *xml; /* with STORE_WRITE */
    enum store_action key_action;
    GBytes *key; /* with STORE_WRITE: sealed bytes */
};

struct store_entry {
    struct uuid uuid;
    bool has_xml;
    bool has_key;
    bool has_base64; /* a value in libvirt's own clear format, to be imported */
};

typedef void (*store_done_func)(void *opaque, GError *error); /* error NULL: committed */

/* Opens the folder (made with mode 0700) and its journal (below `journal_dir`, made too), replays
 * what a crash left, removes left-over *.new files, starts the worker. `loop` may be NULL: then
 * only store_commit works. */
struct store *store_open(const char *dir, const char *journal_dir, struct loop *loop,
                         GError **error);
/* Waits for submitted changes, flushes, resets the journal. Completions not yet delivered are
 * dropped. */
void store_free(struct store *store);

/* What is there, in no order: array of struct store_entry. Foreign names are logged and skipped. */
GArray *store_list(struct store *store, GError **error);
GBytes *store_read_xml(struct store *store, const struct uuid *uuid, GError **error);
/* ERROR_SYSTEM with errno ENOENT when there is none. */
GBytes *store_read_key(struct store *store, const struct uuid *uuid, GError **error);
int store_dir_fd(const struct store *store);

/* Queues a change, taking its contents (bytes are unreferenced later); `done` runs in the loop.
 * The caller has no two changes of one uuid under way. */
void store_submit(struct store *store, struct store_change *change, store_done_func done,
                  void *opaque);

/* The same and waits. For start-up. */
bool store_commit(struct store *store, struct store_change *change, GError **error);
