/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: calls of the backends for images (storage/backend.h), from a command line, for
 * test-image.py. Keys come from files. It prints what was asked for, or "CODE: text" and ends with
 * status 1.
 */
#include <stdio.h>
#include <string.h>

#include "conf/volume_def.h"
#include "storage/backend.h"
#include "storage/image_qcow2.h"
#include "util/error.h"

enum { KEY_MAX = 65536 };

/* The command line. */
static struct {
    char *pool; /* a folder, or "vg:NAME" for a volume group */
    char *xml;
    char *device; /* one that is there already */
    char *key, *new_key, *backing_key, *source_key;
    char *source, *source_format;
    gboolean is_generated, preallocate, overwrites, shrink, is_creating;
    gint count, cancel_at, algorithm;
    gint64 capacity;
} options = {.count = 1, .cancel_at = -1, .source_format = NULL};

static const GOptionEntry entries[] = {
    {"pool", 0, 0, G_OPTION_ARG_STRING, &options.pool, NULL, NULL},
    {"xml", 0, 0, G_OPTION_ARG_STRING, &options.xml, NULL, NULL},
    {"device", 0, 0, G_OPTION_ARG_STRING, &options.device, NULL, NULL},
    {"key", 0, 0, G_OPTION_ARG_STRING, &options.key, NULL, NULL},
    {"new-key", 0, 0, G_OPTION_ARG_STRING, &options.new_key, NULL, NULL},
    {"backing-key", 0, 0, G_OPTION_ARG_STRING, &options.backing_key, NULL, NULL},
    {"source", 0, 0, G_OPTION_ARG_STRING, &options.source, NULL, NULL},
    {"source-format", 0, 0, G_OPTION_ARG_STRING, &options.source_format, NULL, NULL},
    {"source-key", 0, 0, G_OPTION_ARG_STRING, &options.source_key, NULL, NULL},
    {"generated", 0, 0, G_OPTION_ARG_NONE, &options.is_generated, NULL, NULL},
    {"preallocate", 0, 0, G_OPTION_ARG_NONE, &options.preallocate, NULL, NULL},
    {"overwrite", 0, 0, G_OPTION_ARG_NONE, &options.overwrites, NULL, NULL},
    {"shrink", 0, 0, G_OPTION_ARG_NONE, &options.shrink, NULL, NULL},
    {"creating", 0, 0, G_OPTION_ARG_NONE, &options.is_creating, NULL, NULL},
    {"count", 0, 0, G_OPTION_ARG_INT, &options.count, NULL, NULL},
    {"cancel-at", 0, 0, G_OPTION_ARG_INT, &options.cancel_at, NULL, NULL},
    {"algorithm", 0, 0, G_OPTION_ARG_INT, &options.algorithm, NULL, NULL},
    {"capacity", 0, 0, G_OPTION_ARG_INT64, &options.capacity, NULL, NULL},
    {NULL},
};

/* What the calls are about. */
struct subject {
    struct pool_def pool;
    struct volume_def *def;
    struct volume_record record;
    const struct backend *backend;
    struct secret_buf *key, *new_key, *backing_key, *source_key;
    struct storage_progress progress;
    gint is_done; /* atomic */
};

static bool
read_key(const char *path, struct secret_buf **ret_key, GError **error)
{
    FILE *file = path ? fopen(path, "re") : NULL;

    if (!path)
        return true;
    if (!file) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "no file %s", path);
        return false;
    }
    *ret_key = secret_buf_read_fd(fileno(file), KEY_MAX, error);
    fclose(file);
    return *ret_key != NULL;
}

static bool
init_subject(struct subject *subject, GError **error)
{
    struct volume_record *record = &subject->record;

    bool is_logical = g_str_has_prefix(options.pool, "vg:");

    subject->pool = (struct pool_def){
        .name = (char *)"pool",
        .type = is_logical ? POOL_TYPE_LOGICAL : POOL_TYPE_DIR,
        .type_name = (char *)(is_logical ? "logical" : "dir"),
        .source_name = is_logical ? options.pool + strlen("vg:") : NULL,
        .target_path = is_logical ? g_strdup_printf("/dev/%s", options.pool + strlen("vg:"))
                                  : g_strdup(options.pool),
    };
    subject->def = volume_def_parse(options.xml, strlen(options.xml), error);
    if (!subject->def)
        return false;
    record->pool = subject->pool.name;
    record->name = subject->def->name;
    record->kind =
        g_strcmp0(subject->def->format, "raw") == 0 ? VOLUME_KIND_RAW : VOLUME_KIND_QCOW2;
    record->state = options.is_creating ? VOLUME_STATE_CREATING : VOLUME_STATE_READY;
    record->is_made = !options.device;
    record->device = options.device
                         ? g_strdup(options.device)
                         : g_build_filename(subject->pool.target_path, record->name, NULL);
    record->path = g_strdup(record->device);
    record->temporary =
        options.device || is_logical ? NULL : image_qcow2_temporary_path(record->device);
    record->encryption = subject->def->encryption;
    subject->backend = record->kind == VOLUME_KIND_RAW ? &backend_raw : &backend_qcow2;
    return read_key(options.key, &subject->key, error) &&
           read_key(options.new_key, &subject->new_key, error) &&
           read_key(options.backing_key, &subject->backing_key, error) &&
           read_key(options.source_key, &subject->source_key, error);
}

static void
clear_subject(struct subject *subject)
{
    g_free(subject->pool.target_path);
    g_free(subject->record.device);
    g_free(subject->record.path);
    g_free(subject->record.temporary);
    g_clear_pointer(&subject->def, volume_def_free);
    secret_buf_free(subject->key);
    secret_buf_free(subject->new_key);
    secret_buf_free(subject->backing_key);
    secret_buf_free(subject->source_key);
}

/* Wishes for the end as soon as so much is done. */
static gpointer
cancel_in_time(gpointer opaque)
{
    struct subject *subject = opaque;

    while (!g_atomic_int_get(&subject->is_done) &&
           g_atomic_int_get(&subject->progress.permille) < options.cancel_at)
        g_usleep(500);
    g_atomic_int_set(&subject->progress.is_cancelled, 1);
    return NULL;
}

static bool
create_one(struct subject *subject, GError **error)
{
    const struct backend_create_params params = {
        .pool = &subject->pool,
        .def = subject->def,
        .record = &subject->record,
        .key = subject->key,
        .key_is_generated = options.is_generated,
        .preallocate_metadata = options.preallocate,
        .overwrites = options.overwrites,
        .backing_key = subject->backing_key,
    };
    const struct backend_source source = {
        .path = options.source,
        .format = options.source_format,
        .is_luks = subject->source_key != NULL,
        .key = subject->source_key,
    };

    return subject->backend->check(&params, error) &&
           subject->backend->create(&params, options.source ? &source : NULL, &subject->progress,
                                    error);
}

/* With --count, NAME-0 and so on; prints how long each took. */
static bool
create(struct subject *subject, GError **error)
{
    g_autofree char *first = g_strdup(subject->record.device);

    for (gint i = 0; i < options.count; i++) {
        gint64 start = g_get_monotonic_time();

        if (options.count > 1) {
            g_free(subject->record.device);
            g_free(subject->record.temporary);
            subject->record.device = g_strdup_printf("%s-%d", first, i);
            subject->record.temporary = image_qcow2_temporary_path(subject->record.device);
        }
        if (!create_one(subject, error))
            return false;
        printf("%.4f\n", (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC);
    }
    return true;
}

static bool
describe(struct subject *subject, GError **error)
{
    g_autoptr(volume_def_t) def = subject->backend->describe(&subject->record, error);
    g_autofree char *xml = NULL;

    if (!def)
        return false;
    def->name = g_strdup(subject->record.name);
    xml = volume_def_format(def);
    fputs(xml, stdout);
    return true;
}

static bool
get_info(struct subject *subject, GError **error)
{
    struct backend_info info;

    if (!subject->backend->get_info(&subject->record, &info, error))
        return false;
    printf("%d %llu %llu %llu\n", (int)info.type, (unsigned long long)info.capacity,
           (unsigned long long)info.allocation, (unsigned long long)info.physical);
    return true;
}

static bool
check_key(struct subject *subject, GError **error)
{
    return subject->backend->check_key(&subject->record, subject->key, error);
}

static bool
add_key(struct subject *subject, GError **error)
{
    return subject->backend->add_key(&subject->record, subject->key, subject->new_key,
                                     options.is_generated, error);
}

static bool
remove_key(struct subject *subject, GError **error)
{
    return subject->backend->remove_key(&subject->record, subject->key, error);
}

static bool
resize(struct subject *subject, GError **error)
{
    const struct backend_resize_params params = {
        .pool = &subject->pool,
        .record = &subject->record,
        .capacity = (uint64_t)options.capacity,
        .preallocate = options.preallocate,
        .shrink = options.shrink,
        .key = subject->key,
    };

    return subject->backend->resize(&params, &subject->progress, error);
}

static bool
wipe(struct subject *subject, GError **error)
{
    return subject->backend->wipe(&subject->record, (unsigned int)options.algorithm, subject->key,
                                  options.is_generated, &subject->progress, error);
}

static bool
remove_volume(struct subject *subject, GError **error)
{
    return subject->backend->remove(&subject->pool, &subject->record, error);
}

static const struct {
    const char *name;
    bool (*call)(struct subject *subject, GError **error);
} calls[] = {
    {"create", create},       {"describe", describe}, {"info", get_info},
    {"check-key", check_key}, {"add-key", add_key},   {"remove-key", remove_key},
    {"resize", resize},       {"wipe", wipe},         {"remove", remove_volume},
};

static bool
run(const char *name, struct subject *subject, GError **error)
{
    GThread *canceller = NULL;
    bool done = false;

    if (!init_subject(subject, error))
        return false;
    if (options.cancel_at >= 0)
        canceller = g_thread_new("cancel", cancel_in_time, subject);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        if (strcmp(calls[i].name, name) == 0)
            done = calls[i].call(subject, error);
    }
    g_atomic_int_set(&subject->is_done, 1);
    if (canceller)
        g_thread_join(canceller);
    return done;
}

int
main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new("CALL");
    g_autoptr(GError) error = NULL;
    struct subject subject = {0};
    bool done;

    g_option_context_add_main_entries(context, entries, NULL);
    done = g_option_context_parse(context, &argc, &argv, &error) && argc == 2 &&
           run(argv[1], &subject, &error);
    if (!done)
        printf("%d: %s\n", error ? error_get_code(error) : 0, error ? error->message : "usage");
    clear_subject(&subject);
    return done ? 0 : 1;
}
