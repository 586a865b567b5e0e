/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a secret service on a real store in a temporary folder, for tests: changes that wait for
 * their end, what it told its listeners, what it logged, and its files.
 */
#pragma once

#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "secret/service.h"
#include "util/log.h"

#define UUID_1 "11111111-1111-4111-8111-111111111111"
#define UUID_2 "22222222-2222-4222-8222-222222222222"
#define UUID_3 "33333333-3333-4333-8333-333333333333"
#define UUID_4 "44444444-4444-4444-8444-444444444444"

struct custodian {
    struct folder folder;  /* of all */
    struct folder secrets; /* UUID.xml and so on */
    char *journal_dir;
    char *guests_dir;
    char *audit;
    char *master_key;
    char *slots;
    char *index;
    char *generations;
    struct unlock_context unlock;
    char *libvirt_conf;          /* libvirt's secret.conf */
    unsigned int index_delay;    /* s */
    unsigned int rotation_delay; /* s */
    enum secret_readback readback;
    bool without_disk;
    struct loop *loop;
    struct secret_service *service;
    GString *events; /* "defined UUID\n" and so on */
};

/* How a change ended. */
struct outcome {
    unsigned int calls;
    GError *error;
    struct uuid uuid;
    GString *order; /* or NULL: gets `name` when it ends */
    const char *name;
};

static inline void
outcome_clear(struct outcome *outcome)
{
    g_clear_error(&outcome->error);
}

typedef struct outcome outcome_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(outcome_t, outcome_clear)

static inline void
custodian_note_event(void *opaque, enum secret_event_id event, int detail,
                     const struct secret_def *def)
{
    struct custodian *test = opaque;
    char uuid[UUID_TEXT_SIZE];

    g_string_append_printf(test->events, "%s %s\n",
                           event == SECRET_EVENT_VALUE_CHANGED ? "value"
                           : detail == SECRET_EVENT_DEFINED    ? "defined"
                                                               : "undefined",
                           uuid_format(&def->uuid, uuid));
}

static inline void
custodian_open(struct custodian *test)
{
    g_autoptr(GError) error = NULL;
    struct secret_service_params params = {
        .loop = test->loop,
        .libvirt_conf = test->libvirt_conf,
        .dir = test->without_disk ? NULL : test->secrets.path,
        .journal_dir = test->journal_dir,
        .guests_dir = test->guests_dir,
        .audit = test->audit,
        .generations_path = test->generations,
        .rotation_delay = test->rotation_delay,
        .slots_path = test->slots,
        .key_file = test->master_key,
        .unlock = &test->unlock,
        .index_path = test->index,
        .index_delay = test->index_delay,
        .readback = test->readback,
        .on_event = custodian_note_event,
        .opaque = test,
    };

    test->service = secret_service_new(&params, &error);
    g_assert_no_error(error);
}

static inline void
custodian_close(struct custodian *test)
{
    secret_service_free(g_steal_pointer(&test->service));
}

static inline void
custodian_reopen(struct custodian *test)
{
    custodian_close(test);
    custodian_open(test);
}

/* Without a service yet: files can be put first. */
static inline void
custodian_init(struct custodian *test)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *log = NULL;

    folder_init(&test->folder);
    test->secrets.path = folder_path(&test->folder, "secrets");
    g_assert_cmpint(mkdir(test->secrets.path, 0700), ==, 0);
    test->secrets.fd = open(test->secrets.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    test->journal_dir = folder_path(&test->folder, "journal");
    test->guests_dir = folder_path(&test->folder, "qemu/keys");
    test->audit = folder_path(&test->folder, "lib/audit.log");
    test->master_key = folder_path(&test->folder, "master.key");
    test->slots = folder_path(&test->folder, "master.slots");
    test->index = folder_path(&test->folder, "index");
    test->generations = folder_path(&test->folder, "generations");
    test->unlock.timeout_ms = 10000;
    test->libvirt_conf = folder_path(&test->folder, "secret.conf");
    test->index_delay = 3600;
    test->rotation_delay = 86400;
    test->readback = SECRET_READBACK_ANY;
    test->events = g_string_new(NULL);
    log = g_strdup_printf("1:file:%s/log", test->folder.path);
    g_assert_true(log_set_outputs(log, &error));
    test->loop = loop_new(&error);
    g_assert_no_error(error);
}

static inline void
custodian_clear(struct custodian *test)
{
    custodian_close(test);
    loop_free(test->loop);
    g_assert_true(log_set_outputs("1:stderr", NULL));
    close(test->secrets.fd);
    folder_clear(&test->folder);
    g_free(test->secrets.path);
    g_free(test->journal_dir);
    g_free(test->guests_dir);
    g_free(test->audit);
    g_free(test->master_key);
    g_free(test->slots);
    g_free(test->index);
    g_free(test->generations);
    g_free(test->libvirt_conf);
    g_string_free(test->events, TRUE);
}

static inline struct uuid
uuid_of(const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

static inline void
outcome_note(void *opaque, const struct secret_def *def, const GError *error)
{
    struct outcome *outcome = opaque;

    g_assert_true((def == NULL) == (error != NULL));
    outcome->calls++;
    outcome->error = error ? g_error_copy(error) : NULL;
    if (def)
        outcome->uuid = def->uuid;
    if (outcome->order)
        g_string_append_printf(outcome->order, "%s ", outcome->name);
}

static inline struct secret_def *
def_of(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct secret_def *def = secret_def_parse(xml, strlen(xml), false, &error);

    g_assert_no_error(error);
    return def;
}

/* "UUID volume /a private" and so on, in any order after the uuid; "-" for a uuid made by us. */
static inline char *
xml_of(const char *words)
{
    g_auto(GStrv) word = g_strsplit(words, " ", -1);
    struct secret_def def = {.uuid = uuid_of(word[0])};

    for (char **next = word + 1; *next; next++) {
        if (g_str_equal(*next, "private"))
            def.is_private = true;
        else if (g_str_equal(*next, "ephemeral"))
            def.is_ephemeral = true;
        else if (g_str_has_prefix(*next, "about:"))
            def.description = *next + strlen("about:");
        else
            def.usage_id = *next;
        for (int type = SECRET_USAGE_VOLUME; type < SECRET_USAGE_LAST; type++) {
            if (!g_str_equal(*next, secret_usage_type_name((enum secret_usage_type)type)))
                continue;
            def.usage_type = (enum secret_usage_type)type;
            def.usage_id = NULL;
        }
    }
    return secret_def_format(&def);
}

static inline void
start_define(struct custodian *test, const char *words, struct outcome *outcome)
{
    g_autofree char *xml = xml_of(words);

    secret_service_define(test->service, def_of(xml), outcome_note, outcome);
}

static inline void
start_set_value(struct custodian *test, const char *uuid, const char *value,
                struct outcome *outcome)
{
    struct uuid id = uuid_of(uuid);

    secret_service_set_value(test->service, &id, secret_buf_new_from(value, strlen(value), NULL),
                             outcome_note, outcome);
}

static inline void
start_undefine(struct custodian *test, const char *uuid, struct outcome *outcome)
{
    struct uuid id = uuid_of(uuid);

    secret_service_undefine(test->service, &id, outcome_note, outcome);
}

/* Waits for it; NULL or the error. */
static inline GError *
end_change(struct custodian *test, struct outcome *outcome)
{
    secret_service_drain(test->service);
    g_assert_cmpuint(outcome->calls, ==, 1);
    return g_steal_pointer(&outcome->error);
}

static inline GError *
try_define(struct custodian *test, const char *words)
{
    struct outcome outcome = {0};

    start_define(test, words, &outcome);
    return end_change(test, &outcome);
}

static inline GError *
try_set_value(struct custodian *test, const char *uuid, const char *value)
{
    struct outcome outcome = {0};

    start_set_value(test, uuid, value, &outcome);
    return end_change(test, &outcome);
}

static inline GError *
try_undefine(struct custodian *test, const char *uuid)
{
    struct outcome outcome = {0};

    start_undefine(test, uuid, &outcome);
    return end_change(test, &outcome);
}

static inline void
define(struct custodian *test, const char *words)
{
    g_autoptr(GError) error = try_define(test, words);

    g_assert_no_error(error);
}

static inline void
set_value(struct custodian *test, const char *uuid, const char *value)
{
    g_autoptr(GError) error = try_set_value(test, uuid, value);

    g_assert_no_error(error);
}

static inline void
undefine(struct custodian *test, const char *uuid)
{
    g_autoptr(GError) error = try_undefine(test, uuid);

    g_assert_no_error(error);
}

static const struct secret_reader libvirtd_reader = {.is_elevated = true};

static inline struct secret_buf *
get_value(struct custodian *test, const char *uuid, const struct secret_reader *reader,
          GError **error)
{
    struct uuid id = uuid_of(uuid);

    return secret_service_get_value(test->service, &id, reader, error);
}

/* A guest would get this value. */
static inline void
expect_value(struct custodian *test, const char *uuid, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = get_value(test, uuid, &libvirtd_reader, &error);

    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), expected, strlen(expected));
}

/* Not even a guest gets it. */
static inline void
expect_no_value(struct custodian *test, const char *uuid, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) value = get_value(test, uuid, &libvirtd_reader, &error);

    g_assert_null(value);
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
}

static inline void
expect_defined(struct custodian *test, const char *words)
{
    g_autofree char *expected = xml_of(words);
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;
    struct uuid uuid;
    g_autofree char *text = g_strndup(words, UUID_TEXT_SIZE - 1);

    uuid = uuid_of(text);
    g_assert_nonnull(secret_service_find(test->service, &uuid, &error));
    g_assert_no_error(error);
    xml = secret_def_format(secret_service_find(test->service, &uuid, NULL));
    g_assert_cmpstr(xml, ==, expected);
}

static inline void
expect_undefined(struct custodian *test, const char *uuid)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf("no secret with matching uuid '%s'", uuid);
    struct uuid id = uuid_of(uuid);

    g_assert_null(secret_service_find(test->service, &id, &error));
    expect_error(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, text);
}

/* What happened since the last call. */
static inline void
expect_events(struct custodian *test, const char *expected)
{
    g_assert_cmpstr(test->events->str, ==, expected);
    g_string_truncate(test->events, 0);
}

static inline char *
read_log(const struct custodian *test)
{
    g_autofree char *path = folder_path(&test->folder, "log");
    char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static inline void
expect_logged(const struct custodian *test, const char *part)
{
    g_autofree char *log = read_log(test);

    if (!strstr(log, part))
        g_error("'%s' is not in the log:\n%s", part, log);
}

static inline void
expect_not_logged(const struct custodian *test, const char *part)
{
    g_autofree char *log = read_log(test);

    if (strstr(log, part))
        g_error("'%s' is in the log:\n%s", part, log);
}

/* Puts a definition on disk, as an administrator would. */
static inline void
put_xml(const struct custodian *test, const char *words)
{
    g_autofree char *name = g_strdup_printf("%.36s.xml", words);
    g_autofree char *xml = xml_of(words);

    folder_put_text(&test->secrets, name, xml);
}

/* The sealed value of UUID_1, as it was at another time. */
static inline void
put_first_key(const struct custodian *test, GBytes *content)
{
    folder_put(&test->secrets, UUID_1 ".key", g_bytes_get_data(content, NULL),
               g_bytes_get_size(content));
}

/* Leaves a store with that value of UUID_1. */
static inline void
prepare_sealed(struct custodian *test, const char *value)
{
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, value);
    custodian_close(test);
}

/* For g_test_add: a service that is open, where UUID_1 has the value "first". */
static inline void
custodian_set_up_first(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "first");
}

static inline void
custodian_tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}
