/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which of libvirt's files an import that was asked for looks at, a page at a time, and what
 * is said of those that it does not touch.
 */
#include "secret/service_import.h"

#include "secret/service_state.h"
#include "util/error.h"

static bool
check_service(const struct secret_service *service, GError **error)
{
    if (!service->store) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_UNSUPPORTED,
                  "this daemon keeps nothing on disk");
        return false;
    }
    if (service->locked_reason) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "values can't be sealed while the daemon is locked: %s", service->locked_reason);
        return false;
    }
    return true;
}

/* Definitions and sealed values, without taking anything over. */
static void
load_again(struct secret_service *service)
{
    service->defers_import = true;
    secret_service_reload(service);
    service->defers_import = false;
}

static void
keep(GArray *reports, const struct store_entry *entry, const char *problem)
{
    static const enum store_kind kinds[] = {STORE_BASE64, STORE_AES256CBC};

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i] == STORE_BASE64 ? entry->has_base64 : entry->has_aes256cbc)
            service_import_add_report(reports, &entry->uuid, kinds[i], SECRET_IMPORT_KEEP, problem);
    }
}

/* Why its files are not looked at, or NULL. */
static const char *
find_problem(const struct secret_service *service, const struct store_entry *entry)
{
    const struct secret *secret = registry_find(service->registry, &entry->uuid);

    if (!secret && entry->has_xml)
        return "its definition is not loaded: an import that is no dry run loads it, or the log "
               "says why it can't be";
    if (!secret)
        return "there is no definition of it (.xml)";
    if (secret->def->is_ephemeral)
        return "there is an ephemeral secret of this uuid";
    return NULL;
}

/* By secret, and of one the newer file first. */
static int
compare_reports(gconstpointer a, gconstpointer b)
{
    const struct secret_import_report *left = a;
    const struct secret_import_report *right = b;

    return uuid_compare(&left->secret, &right->secret);
}

static void
import_page(struct secret_service *service, struct secret_import *import, const GArray *entries,
            GArray *reports)
{
    g_autoptr(GArray) uuids = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    size_t count = 0;

    for (guint i = 0; i < entries->len; i++) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i);
        const char *problem;

        if ((!entry->has_base64 && !entry->has_aes256cbc) ||
            (import->after && uuid_compare(&entry->uuid, import->after) <= 0))
            continue;
        if (count++ == import->max) {
            import->has_more = true;
            break;
        }
        problem = find_problem(service, entry);
        if (problem)
            keep(reports, entry, problem);
        else
            g_array_append_val(uuids, entry->uuid);
        import->last = entry->uuid;
        import->has_last = true;
    }
    service_import_reported(service, uuids, import, reports);
    g_array_sort(reports, compare_reports);
}

GArray *
secret_service_import(struct secret_service *service, struct secret_import *import, GError **error)
{
    g_autoptr(GArray) reports = service_import_reports_new();
    g_autoptr(GArray) entries = NULL;

    if (!check_service(service, error))
        return NULL;
    secret_service_drain(service);
    if (!import->is_dry && !import->after)
        load_again(service);
    if (!check_service(service, error))
        return NULL;
    entries = store_list(service->store, error);
    if (!entries)
        return NULL;
    import_page(service, import, entries, reports);
    return g_steal_pointer(&reports);
}
