/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: secrets on disk: UUID.xml (definition, as libvirt writes it) and UUID.key (sealed value) in
 * one folder, the copies that guests own in another, the audit of what was erased, and the commit
 * of changes to them. A change holds all files of one secret, so that no kill leaves some without
 * the others. Changes are committed by one worker thread in batches:
 *   1. new contents go to UUID.*.new     (a full disk shows here; nothing has changed)
 *   2. journal append, fdatasync         (COMMIT POINT of the batch)
 *   3. renames and unlinks               (repeated from the journal after a crash)
 *   4. now and then: flush, journal reset
 * It seals nothing and parses no XML. Lists and reads see what step 3 has done, or was to do: while
 * a failing disk keeps it from that, they are served from memory.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/secret_def.h"
#include "secret/sealed.h"
#include "secret/store_kept.h"
#include "util/loop.h"
#include "util/uuid.h"

/* The largest files, in bytes: what the readers of their contents take. */
enum { STORE_XML_MAX = SECRET_DEF_XML_MAX, STORE_KEY_MAX = SEALED_SIZE_MAX };

struct store;

/* What becomes of one file of a secret. */
enum store_action { STORE_KEEP, STORE_WRITE, STORE_REMOVE };

/* A guest's copy: GUESTS-FOLDER/GUEST/UUID.key. */
struct store_owner_change {
    struct uuid guest;
    enum store_action action; /* WRITE or REMOVE */
    GBytes *key;              /* with STORE_WRITE */
};

enum { STORE_OWNERS_MAX = 1024 }; /* of a secret */

struct store_change {
    struct uuid uuid;
    enum store_action xml_action;
    GBytes *xml; /* with STORE_WRITE */
    enum store_action key_action;
    GBytes *key;    /* with STORE_WRITE: sealed bytes */
    GArray *owners; /* of struct store_owner_change, each guest once; NULL: no copy changes */
    char *audit; /* members of one JSON object, without braces, that are written to the audit when
                  * the change is committed, exactly once; NULL: none */
};

/* Keeps everybody else from the folder of secrets for as long as `dir_fd` is open: two that work on
 * it would undo each other's changes. A store has it locked. ERROR_RESOURCE_BUSY: somebody has. */
bool store_lock_folder(int dir_fd, const char *dir, GError **error);

/* Where it is. The paths are the caller's for the call. */
struct store_params {
    const char *dir;         /* of secrets */
    const char *journal_dir; /* of the journal */
    const char *guests_dir; /* of guests' copies, made when there is one; NULL: no guest owns any */
    const char *audit;      /* file of the audit; NULL: changes with an audit text are refused */
    struct loop *loop;      /* may be NULL: then only store_commit works */
};

struct store_entry {
    struct uuid uuid;
    bool has_xml;
    bool has_key;
    bool has_base64;    /* a value in libvirt's own clear format, to be imported */
    bool has_aes256cbc; /* the same, encrypted with libvirt's key */
};

/* That a guest has a copy of a secret's value. */
struct store_owned {
    struct uuid secret;
    struct uuid guest;
};

/* `error` is NULL when the change is committed, and borrowed. */
typedef void (*store_done_func)(void *opaque, const GError *error);

/* Opens the folder of secrets (made with mode 0700) and the journal (its folder is made too),
 * replays what a crash left, removes left-over UUID.*.new files and guests' folders with nothing in
 * them, starts the worker; so not before the process has forked. A damaged journal is put aside
 * (kept under another name) with a line in the log. While the journal can't be used or what it
 * holds can't be carried out (a full disk), the store can be read and each change is refused with
 * the reason; while the audit can't be used, each change that has a line for it.
 * ERROR_RESOURCE_BUSY when another process has this store open. */
struct store *store_open(const struct store_params *params, GError **error);
/* Waits for submitted changes, flushes, resets the journal. Completions not yet delivered are
 * dropped; see store_drain. */
void store_free(struct store *store);

/* What is there, in the order of uuids: array of struct store_entry. Foreign names are logged and
 * skipped; a link or a folder under a secret's name is listed, and reading it says what it is. */
GArray *store_list(struct store *store, GError **error);
GBytes *store_read_xml(struct store *store, const struct uuid *uuid, GError **error);
/* ERROR_SYSTEM with errno ENOENT when there is none. */
GBytes *store_read_key(struct store *store, const struct uuid *uuid, GError **error);

/* Guests' copies, in the order of secret and guest: array of struct store_owned. Names and links
 * as above; what can't be listed of a guest is logged and skipped. */
GArray *store_list_owned(struct store *store, GError **error);
/* What the last store_list_owned could not list, and why; NULL: nothing. Borrowed until the next
 * one. */
const char *store_owned_problem(const struct store *store);
/* Both, for who must miss none: foreign names are not logged again, and it is an error if something
 * can't be listed. */
bool store_list_all(struct store *store, GArray **ret_entries, GArray **ret_owned, GError **error);
/* Errors as of store_read_key. */
GBytes *store_read_owned_key(struct store *store, const struct uuid *secret,
                             const struct uuid *guest, GError **error);
int store_dir_fd(const struct store *store);

/* store_kept_replace on this store's folders. */
bool store_replace_kept(struct store *store, const struct store_kept_work *work, guint *ret_count,
                        GError **error);

/* Lines of the audit from number `from` (the first one is 0) as they are on disk, at most `max` and
 * not too long together; array of char *. *ret_more: others follow. */
GPtrArray *store_read_audit(struct store *store, uint64_t from, size_t max, bool *ret_more,
                            GError **error);

/* Queues a change, taking its contents (the caller's pointers to them become NULL); `done` runs in
 * the loop, never before this returns. The caller has no two changes of one uuid under way. After
 * an error nothing has changed, unless its text says that this is not known (the journal could not
 * be written). */
void store_submit(struct store *store, struct store_change *change, store_done_func done,
                  void *opaque);

/* The same and waits. For start-up. */
bool store_commit(struct store *store, struct store_change *change, GError **error);

/* Waits until everything submitted is committed or refused and calls what `done` functions are
 * due. In the loop's thread, before store_free. */
void store_drain(struct store *store);

/* Brings everything committed to its final place on disk, without need of the journal. Waits. */
bool store_checkpoint(struct store *store, GError **error);
/* The same without waiting: `done` runs in the loop. */
void store_request_checkpoint(struct store *store, store_done_func done, void *opaque);

typedef struct store store_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(store_t, store_free)
