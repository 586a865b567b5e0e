/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: taking over the values in libvirt's files, many at a time: read and sealed on all
 * processors, committed in the store's batches, read back, and wiped with one flush for all. The
 * order of these steps is the safety of it: at every instant the value is whole in one of the two
 * files. Of two files of a secret the newer one comes first.
 */
#include "secret/libvirt_value.h"
#include "secret/service_index.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"
#include "util/parallel.h"

enum { BATCH_MAX = 1024 };

/* So many files are tried to find out whether libvirt's key is the right one. */
enum { TRIAL_MAX = 256 };

/* One import: all files of some secrets. */
struct import {
    struct secret_service *service;
    struct libvirt_key *key; /* NULL: no file needs it */
    GHashTable *closed;      /* set of struct uuid: the newer file can't be opened now */
    GHashTable *sealed;      /* of a dry run: uuid to the value that UUID.key would have (GBytes) */
    GArray *reports;         /* of struct secret_import_report, or NULL */
    bool is_dry;
    bool trusts_key;
    bool is_settled; /* what is committed is where it belongs on disk, not in memory alone */
    size_t finished;
};

/* ---- which files ---- */

static bool
exists(const struct import *import, const struct uuid *uuid, enum store_kind kind)
{
    return clear_value_exists(store_dir_fd(import->service->store), uuid, kind);
}

/* Adds the newer files of these secrets to `first`, and where there are two the older to `second`
 * (arrays of struct clear_value_file). */
static void
list_files(const struct import *import, const GArray *uuids, GArray *first, GArray *second)
{
    for (guint i = 0; i < uuids->len; i++) {
        const struct uuid *uuid = &g_array_index(uuids, struct uuid, i);
        bool has_base64 = exists(import, uuid, STORE_BASE64);
        bool has_aes256cbc = exists(import, uuid, STORE_AES256CBC);
        struct clear_value_file file = {*uuid, has_base64 ? STORE_BASE64 : STORE_AES256CBC};
        struct clear_value_file other = file;

        if (!has_base64 && !has_aes256cbc)
            continue;
        if (has_base64 && has_aes256cbc) {
            file.kind = clear_value_newer(store_dir_fd(import->service->store), uuid);
            other.kind = file.kind == STORE_BASE64 ? STORE_AES256CBC : STORE_BASE64;
            g_array_append_val(second, other);
        }
        g_array_append_val(first, file);
    }
}

/* ---- libvirt's key ---- */

struct trial {
    int dir_fd;
    const struct libvirt_key *key;
    const GPtrArray *files; /* of const struct clear_value_file */
    gint counts[LIBVIRT_VALUE_UNKNOWN + 1];
};

static void
try_one(size_t index, void *opaque)
{
    struct trial *trial = opaque;
    const struct clear_value_file *file = trial->files->pdata[index];

    g_atomic_int_inc(&trial->counts[libvirt_value_try(trial->dir_fd, &file->uuid, trial->key)]);
}

static void
add_encrypted(GPtrArray *files, const GArray *from)
{
    for (guint i = 0; i < from->len && files->len < TRIAL_MAX; i++) {
        struct clear_value_file *file = &g_array_index(from, struct clear_value_file, i);

        if (file->kind == STORE_AES256CBC)
            g_ptr_array_add(files, file);
    }
}

static void
find_key(struct import *import, const GArray *first, const GArray *second)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new();
    struct trial trial = {.dir_fd = store_dir_fd(import->service->store), .files = files};

    add_encrypted(files, first);
    add_encrypted(files, second);
    if (files->len == 0)
        return;
    import->key = libvirt_key_find(import->service->libvirt_conf, import->service->credentials_dir);
    if (!import->key->bytes)
        return;
    trial.key = import->key;
    parallel_run(files->len, try_one, &trial);
    libvirt_key_weigh(import->key, (size_t)trial.counts[LIBVIRT_VALUE_OPENS],
                      (size_t)trial.counts[LIBVIRT_VALUE_FAILS]);
    if (import->trusts_key)
        libvirt_key_vouch(import->key);
}

/* ---- reports ---- */

static void
clear_report(void *element)
{
    struct secret_import_report *report = element;

    g_free(report->file);
    g_free(report->problem);
}

GArray *
service_import_reports_new(void)
{
    GArray *reports = g_array_new(FALSE, TRUE, sizeof(struct secret_import_report));

    g_array_set_clear_func(reports, clear_report);
    return reports;
}

void
service_import_add_report(GArray *reports, const struct uuid *uuid, enum store_kind kind,
                          enum secret_import_action action, const char *problem)
{
    char name[STORE_NAME_SIZE];
    const struct secret_import_report report = {
        .secret = *uuid,
        .file = g_strdup(store_parts_name(uuid, kind, name)),
        .action = action,
        .problem = g_strdup(problem),
    };

    g_array_append_val(reports, report);
}

static void
add_report(const struct import *import, const struct clear_value *clear,
           enum secret_import_action action, const char *problem)
{
    if (import->reports)
        service_import_add_report(import->reports, &clear->def->uuid, clear->kind, action, problem);
}

static void
report_judged(const struct import *import, const struct clear_value *clear)
{
    if (clear->verdict == CLEAR_VALUE_KEEP)
        add_report(import, clear, SECRET_IMPORT_KEEP, clear->problem);
    else if (clear->verdict == CLEAR_VALUE_IMPORT)
        add_report(import, clear, SECRET_IMPORT_SEAL, NULL);
    else if (clear->verdict == CLEAR_VALUE_WIPE)
        add_report(import, clear, SECRET_IMPORT_WIPE, NULL);
}

static void
report_wiped(const struct import *import, const struct clear_value *clear, bool is_wiped)
{
    if (is_wiped)
        add_report(import, clear, clear->is_committed ? SECRET_IMPORT_SEAL : SECRET_IMPORT_WIPE,
                   NULL);
    else
        add_report(import, clear, SECRET_IMPORT_KEEP,
                   "its value is sealed, and the file could not be overwritten or removed; the "
                   "daemon's log says why");
}

/* ---- a batch ---- */

static struct clear_value *
clear_at(const GArray *clears, size_t index)
{
    return &g_array_index(clears, struct clear_value, index);
}

static void
clear_element(void *element)
{
    clear_value_clear(element);
}

/* What guests own is compared with what one of them has on disk. */
static void
note_owner(const struct import *import, struct clear_value *clear, const struct secret *secret)
{
    const struct secret_value *value = &secret->value;
    g_autoptr(GBytes) copy = NULL;

    clear->is_owned = secret->owners != NULL;
    clear->owner = value->owner;
    if (!clear->is_owned || !value->sealed || !value->owner || !import->is_settled)
        return;
    copy = store_read_owned_key(import->service->store, &secret->def->uuid, value->owner, NULL);
    clear->has_copy = copy && g_bytes_equal(copy, value->sealed);
}

static GArray *
list_clear_values(const struct import *import, const struct clear_value_file *files, size_t count)
{
    const struct secret_service *service = import->service;
    GArray *clears = g_array_new(FALSE, TRUE, sizeof(struct clear_value));

    g_array_set_clear_func(clears, clear_element);
    g_array_set_size(clears, (guint)count);
    for (size_t i = 0; i < count; i++) {
        const struct secret *secret = registry_find(service->registry, &files[i].uuid);
        struct clear_value *clear = clear_at(clears, i);

        clear->dir_fd = store_dir_fd(service->store);
        clear->kind = files[i].kind;
        clear->libvirt_key = import->key;
        clear->is_behind = g_hash_table_contains(import->closed, &files[i].uuid);
        clear->generations = service->generations;
        note_owner(import, clear, secret);
        clear->def = secret_def_copy(secret->def);
        clear->known = g_hash_table_lookup(import->sealed, &files[i].uuid);
        clear->is_planned = clear->known != NULL;
        if (!clear->known)
            clear->known = secret->value.sealed;
        if (clear->known)
            g_bytes_ref(clear->known);
        clear->generation = service_last_generation(service, &files[i].uuid, secret);
    }
    return clears;
}

static void
judge(size_t index, void *opaque)
{
    clear_value_judge(clear_at(opaque, index));
}

static void
verify(size_t index, void *opaque)
{
    struct clear_value *clear = clear_at(opaque, index);

    if (clear->is_committed)
        clear_value_verify(clear);
}

static void
refuse(struct clear_value *clear, const GError *error)
{
    char name[STORE_NAME_SIZE];

    clear->verdict = CLEAR_VALUE_KEEP;
    clear->problem =
        g_strdup_printf("%s could not be sealed (%s); it is left as it is",
                        store_parts_name(&clear->def->uuid, clear->kind, name), error->message);
}

static void
on_committed(void *opaque, const GError *error)
{
    struct clear_value *clear = opaque;

    if (error)
        refuse(clear, error);
    clear->is_committed = !error;
}

static void
submit(struct secret_service *service, GArray *clears)
{
    for (guint i = 0; i < clears->len; i++) {
        struct clear_value *clear = clear_at(clears, i);
        struct store_change change = {.uuid = clear->def->uuid, .key_action = STORE_WRITE};
        g_autoptr(GError) error = NULL;

        if (clear->verdict != CLEAR_VALUE_IMPORT)
            continue;
        if (!clear_value_keep_replaced(clear->dir_fd, &clear->def->uuid, &error)) {
            refuse(clear, error);
            continue;
        }
        change.key = g_bytes_ref(clear->sealed);
        store_submit(service->store, &change, on_committed, clear);
    }
}

bool
service_take_clear(struct clear_value *clear, struct secret_value *value)
{
    char uuid[UUID_TEXT_SIZE];

    value->is_clear = false;
    if (clear->is_committed) {
        struct secret_value sealed = {.sealed = g_bytes_ref(clear->sealed),
                                      .generation = clear->generation + 1,
                                      .is_stored = true};

        secret_value_replace(value, &sealed);
    }
    if (clear->verdict == CLEAR_VALUE_KEEP)
        log_error("%s", clear->problem);
    if (clear->verdict == CLEAR_VALUE_KEEP && clear->is_useless && !value->unavailable)
        value->unavailable =
            g_strdup_printf("the value of secret %s can't be taken over from libvirt's file: %s; "
                            "put a good copy back and reload the daemon, or set the value again",
                            uuid_format(&clear->def->uuid, uuid), clear->problem);
    return clear->verdict == CLEAR_VALUE_WIPE;
}

static GArray *
begin_batch(struct import *import, const struct clear_value_file *files, size_t count)
{
    GArray *clears = list_clear_values(import, files, count);

    parallel_run(count, judge, clears);
    for (guint i = 0; i < clears->len; i++) {
        const struct clear_value *clear = clear_at(clears, i);

        if (clear->is_closed)
            g_hash_table_add(import->closed, g_memdup2(&clear->def->uuid, sizeof(struct uuid)));
        if (!import->is_dry)
            continue;
        report_judged(import, clear);
        if (clear->verdict == CLEAR_VALUE_IMPORT)
            g_hash_table_insert(import->sealed, g_memdup2(&clear->def->uuid, sizeof(struct uuid)),
                                g_bytes_ref(clear->sealed));
    }
    if (!import->is_dry)
        submit(import->service, clears);
    return clears;
}

/* Its changes have ended. Takes it. */
static void
end_batch(struct import *import, GArray *take_clears)
{
    struct secret_service *service = import->service;
    g_autoptr(GArray) clears = take_clears;
    g_autofree struct clear_value_file *files = g_new(struct clear_value_file, clears->len);
    g_autofree struct clear_value **owners = g_new(struct clear_value *, clears->len);
    g_autofree bool *wiped = g_new(bool, clears->len);
    size_t count = 0;

    if (import->is_dry)
        return;
    parallel_run(clears->len, verify, clears);
    for (guint i = 0; i < clears->len; i++) {
        struct clear_value *clear = clear_at(clears, i);
        struct secret *secret = registry_find(service->registry, &clear->def->uuid);
        bool is_void = service_take_clear(clear, &secret->value);

        if (clear->is_committed)
            service_index_follow(service, &clear->def->uuid, false);
        if (is_void) {
            owners[count] = clear;
            files[count++] = (struct clear_value_file){clear->def->uuid, clear->kind};
        } else if (clear->verdict == CLEAR_VALUE_KEEP) {
            report_judged(import, clear);
        }
    }
    clear_value_wipe(store_dir_fd(service->store), files, count, wiped);
    for (size_t i = 0; i < count; i++) {
        report_wiped(import, owners[i], wiped[i]);
        import->finished += wiped[i];
    }
}

/* ---- the whole ---- */

static void
run_pass(struct import *import, const GArray *files)
{
    GArray *previous = NULL;

    /* One batch is wiped while the store commits the next one. */
    for (guint at = 0; at < files->len; at += BATCH_MAX) {
        GArray *batch = begin_batch(import, &g_array_index(files, struct clear_value_file, at),
                                    MIN(files->len - at, BATCH_MAX));

        if (previous)
            end_batch(import, previous);
        store_drain(import->service->store);
        previous = batch;
    }
    if (previous)
        end_batch(import, previous);
}

static void
free_bytes(void *bytes)
{
    g_bytes_unref(bytes);
}

void
service_import_reported(struct secret_service *service, const GArray *uuids,
                        const struct secret_import *asked, GArray *reports)
{
    g_autoptr(GArray) first = g_array_new(FALSE, FALSE, sizeof(struct clear_value_file));
    g_autoptr(GArray) second = g_array_new(FALSE, FALSE, sizeof(struct clear_value_file));
    struct import import = {
        .service = service,
        .closed = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL),
        .sealed = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, free_bytes),
        .reports = reports,
        .is_dry = asked->is_dry,
        .trusts_key = asked->trusts_key,
    };

    list_files(&import, uuids, first, second);
    find_key(&import, first, second);
    import.is_settled = first->len > 0 && store_checkpoint(service->store, NULL);
    run_pass(&import, first);
    run_pass(&import, second);
    if (import.finished > 0)
        log_warn("%zu values that libvirt kept are sealed now, and its files with them are "
                 "overwritten and removed; backups, snapshots and spare blocks may still have them",
                 import.finished);
    libvirt_key_free(import.key);
    g_hash_table_unref(import.closed);
    g_hash_table_unref(import.sealed);
}

void
service_import(struct secret_service *service, const GArray *uuids)
{
    static const struct secret_import by_itself = {0};

    if (!service->defers_import) {
        service_import_reported(service, uuids, &by_itself, NULL);
        return;
    }
    for (guint i = 0; i < uuids->len; i++)
        registry_find(service->registry, &g_array_index(uuids, struct uuid, i))->value.is_clear =
            true;
}
