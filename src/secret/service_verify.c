/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: that look. A change that is being applied meanwhile makes a file newer than what is in
 * memory, never older, and is no finding.
 */
#include "secret/service_verify.h"

#include <errno.h>
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_index.h"
#include "secret/service_master_work.h"
#include "secret/service_state.h"
#include "util/error.h"

struct service_finding *
service_finding_new(const char *file, const char *problem)
{
    struct service_finding *finding = g_new(struct service_finding, 1);

    *finding = (struct service_finding){g_strdup(file), g_strdup(problem)};
    return finding;
}

static void
free_finding(void *element)
{
    struct service_finding *finding = element;

    g_free(finding->file);
    g_free(finding->problem);
    g_free(finding);
}

GPtrArray *
service_findings_new(void)
{
    return g_ptr_array_new_with_free_func(free_finding);
}

void
service_verification_clear(struct service_verification *verification)
{
    g_clear_pointer(&verification->findings, g_ptr_array_unref);
}

static void
note(struct service_verification *verification, const char *file, const char *problem)
{
    g_ptr_array_add(verification->findings, service_finding_new(file, problem));
}

/* ---- files that no secret stands for ---- */

static void
add_unknown_entry(GPtrArray *unknown, const struct store_entry *entry)
{
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *file =
        g_strconcat(uuid_format(&entry->uuid, uuid), entry->has_xml ? ".xml" : ".key", NULL);

    if (!entry->has_xml && !entry->has_key)
        return;
    g_ptr_array_add(
        unknown, service_finding_new(file, entry->has_xml
                                               ? "its definition can't be read: put a good copy of "
                                                 "the file back and reload the daemon"
                                               : "there is no definition of that secret: put its "
                                                 ".xml file back, or remove the .key file"));
}

static void
add_strays(GPtrArray *unknown, const struct uuid *uuid, const GArray *guests)
{
    char secret[UUID_TEXT_SIZE];
    char guest[UUID_TEXT_SIZE];

    uuid_format(uuid, secret);
    for (guint i = 0; i < owners_count(guests); i++) {
        g_autofree char *file =
            g_strdup_printf("%s/%s.key", uuid_format(owners_at(guests, i), guest), secret);

        g_ptr_array_add(unknown, service_finding_new(
                                     file, "a guest's copy of a secret that is not defined: put "
                                           "the secret's .xml file back, or remove the copy"));
    }
}

GPtrArray *
service_find_unknown(struct secret_service *service, GError **error)
{
    g_autoptr(GPtrArray) unknown = service_findings_new();
    g_autoptr(GArray) entries = store_list(service->store, error);
    const char *problem = store_owned_problem(service->store);
    GHashTableIter iter;
    void *uuid;
    void *guests;

    if (!entries)
        return NULL;
    for (guint i = 0; i < entries->len; i++) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i);

        if (!registry_find(service->registry, &entry->uuid))
            add_unknown_entry(unknown, entry);
    }
    g_hash_table_iter_init(&iter, service->strays);
    while (g_hash_table_iter_next(&iter, &uuid, &guests)) {
        if (!registry_find(service->registry, uuid))
            add_strays(unknown, uuid, guests);
    }
    if (problem)
        g_ptr_array_add(unknown, service_finding_new("guests' keys", problem));
    return g_steal_pointer(&unknown);
}

/* ---- the store's own files ---- */

/* `is_known`: what it held is in memory. */
static void
note_damaged(struct service_verification *verification, const char *path, const char *problem,
             bool is_known)
{
    g_autofree char *text =
        is_known ? g_strdup_printf("%s, or reload the daemon, which writes it again", problem)
                 : g_strdup(problem);

    note(verification, path, text);
}

/* Not while a thread may be writing them: to read them finishes what a crash left of a write. */
static void
verify_slots(const struct secret_service *service, struct service_verification *verification)
{
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(slots_t) slots = NULL;
    const char *path = service->slots.path;

    if (service_master_is_busy(service))
        return;
    slots = slots_read(path, &bytes, &error);
    verification->checked++;
    if (slots && !master_key_equal_id(service->master_key, slots->master_key_id))
        note(verification, path,
             "it has another master key than the one in use: put the newest copy of the file back");
    else if (!slots || !slots_authenticate(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                                           service->master_key, &error))
        note_damaged(
            verification, path, error->message,
            service->slots.slots && !service->slots.problem &&
                (error_is(error, ERROR_INVALID_SECRET) || error_get_errno(error) == ENOENT));
}

static void
verify_generations(const struct secret_service *service, struct service_verification *verification)
{
    const char *path = service->generations_path;
    g_autoptr(GError) error = NULL;
    enum generations_look look = generations_look(service->generations, &error);

    verification->checked++;
    if (look == GENERATIONS_GONE)
        note(verification, path, "it is gone: reload the daemon, which writes it again");
    else if (look != GENERATIONS_GOOD)
        note_damaged(verification, path, error->message, look == GENERATIONS_DAMAGED);
}

static bool
verify_store(struct secret_service *service, struct service_verification *verification,
             GError **error)
{
    g_autoptr(GPtrArray) unknown = service_find_unknown(service, error);

    if (!unknown)
        return false;
    verify_slots(service, verification);
    verify_generations(service, verification);
    if (secret_service_rollback_problem(service))
        note(verification, "index", secret_service_rollback_problem(service));
    g_ptr_array_extend_and_steal(verification->findings, g_steal_pointer(&unknown));
    return true;
}

/* ---- one secret ---- */

static void
verify_definition(const struct secret_service *service, const struct secret *secret,
                  struct service_verification *verification)
{
    char file[UUID_TEXT_SIZE + 8];
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) xml = store_read_xml(service->store, &secret->def->uuid, &error);
    g_autoptr(secret_def_t) def = NULL;

    verification->checked++;
    uuid_format(&secret->def->uuid, file);
    memcpy(file + UUID_TEXT_SIZE - 1, ".xml", sizeof(".xml"));
    if (xml)
        def = secret_def_parse(g_bytes_get_data(xml, NULL), g_bytes_get_size(xml), false, &error);
    if (!def)
        note(verification, file, error->message);
    else if (!sealed_is_bound_alike(def, secret->def))
        note(verification, file,
             "it is another definition than the one in use: put the newest copy of the file back, "
             "or define the secret again");
}

static void
note_stale(struct service_verification *verification, const char *uuid, const GArray *stale)
{
    char guest[UUID_TEXT_SIZE];

    for (guint i = 0; i < owners_count(stale); i++) {
        g_autofree char *file =
            g_strdup_printf("%s/%s.key", uuid_format(owners_at(stale, i), guest), uuid);

        note(verification, file,
             "it is older than another copy: reload the daemon, which writes it anew");
    }
}

static void
verify_value(const struct secret_service *service, const struct secret *secret,
             struct service_verification *verification)
{
    const struct service_source source = {
        .store = service->store,
        .generations = service->generations,
        .index = service_index_get(service),
        .def = secret->def,
        .owners = secret->owners,
    };
    g_auto(service_reading_t) reading = {0};
    char uuid[UUID_TEXT_SIZE];

    if (!secret->value.is_stored)
        return;
    service_read(&source, &reading);
    verification->checked += 1 + owners_count(secret->owners);
    uuid_format(&secret->def->uuid, uuid);
    if (reading.value.unavailable)
        note(verification, uuid, reading.value.unavailable);
    else if (!reading.value.is_stored)
        note(verification, uuid,
             "its value is gone from the disk, and in memory alone: put a good copy of its .key "
             "file back, or set the value again");
    else if (reading.value.generation < secret->value.generation)
        note(verification, uuid,
             "its file is older than the value in use: put the newest copy of its .key file back, "
             "or set the value again");
    for (guint i = 0; reading.problems && i < reading.problems->len; i++)
        note(verification, uuid, reading.problems->pdata[i]);
    note_stale(verification, uuid, reading.stale);
}

bool
secret_service_verify(struct secret_service *service, const struct uuid *after, size_t max,
                      struct service_verification *ret_verification, GError **error)
{
    g_auto(service_verification_t) verification = {.findings = service_findings_new()};
    g_autoptr(GPtrArray) page = NULL;
    guint i;

    if (!service->store || service->locked_reason) {
        error_set(error, ERROR_FROM_SECRET,
                  service->store ? ERROR_OPERATION_INVALID : ERROR_OPERATION_UNSUPPORTED,
                  "the files can't be checked: %s",
                  service->store ? service->locked_reason : "this daemon keeps nothing on disk");
        return false;
    }
    if (!after && !verify_store(service, &verification, error))
        return false;
    page = registry_page(service->registry, after, max + 1);
    for (i = 0; i < MIN(page->len, max) && verification.checked < SERVICE_VERIFY_FILES; i++) {
        const struct secret *secret = page->pdata[i];

        verification.last = secret->def->uuid;
        verification.has_last = true;
        if (!service_keeps(service, secret->def))
            continue;
        verify_definition(service, secret, &verification);
        verify_value(service, secret, &verification);
    }
    verification.more = i < page->len;
    *ret_verification = verification;
    verification.findings = NULL;
    return true;
}
