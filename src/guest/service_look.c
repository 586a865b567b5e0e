/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: lists of guests and of their keys, as records, custodian and libvirt have them now. A guest
 * of which libvirt can't be asked is in the list, too: its state is not known.
 */
#include "guest/service.h"

#include "guest/autostart.h"
#include "guest/survey.h"
#include "util/error.h"

struct view {
    struct guest_service *service;
    struct guest_survey *survey;
    bool is_known;       /* libvirt answered */
    GHashTable *seen;    /* by uuid: struct guest_seen of the survey */
    GHashTable *records; /* by uuid: struct guest_record of `listed` */
    GPtrArray *listed;
    GArray *guests; /* of struct uuid, ascending */
};

static void
view_clear(struct view *view)
{
    guest_survey_free(view->survey);
    g_hash_table_unref(view->seen);
    g_hash_table_unref(view->records);
    g_ptr_array_unref(view->listed);
    g_array_unref(view->guests);
}

static void
add_guest(struct view *view, GHashTable *added, const struct uuid *guest)
{
    if (g_hash_table_add(added, (void *)guest))
        g_array_append_vals(view->guests, guest, 1);
}

static void
collect_guests(struct view *view)
{
    g_autoptr(GHashTable) added = g_hash_table_new(uuid_hash_key, uuid_equal_key);
    g_autoptr(GArray) owners = guest_survey_list_owners(view->survey);
    const GPtrArray *all = guest_survey_all(view->survey);

    for (guint i = 0; all && i < all->len; i++) {
        struct guest_seen *seen = all->pdata[i];

        g_hash_table_insert(view->seen, &seen->uuid, seen);
        add_guest(view, added, &seen->uuid);
    }
    for (guint i = 0; i < view->listed->len; i++) {
        struct guest_record *record = view->listed->pdata[i];

        g_hash_table_insert(view->records, &record->uuid, record);
        add_guest(view, added, &record->uuid);
    }
    for (guint i = 0; i < owners->len; i++)
        add_guest(view, added, &g_array_index(owners, struct uuid, i));
    g_array_sort(view->guests, uuid_compare_key);
}

static bool
view_init(struct view *view, struct guest_service *service, GError **error)
{
    struct guest_survey *survey = guest_survey_new(service, error);

    if (!survey)
        return false;
    *view = (struct view){.service = service, .survey = survey};
    view->seen = g_hash_table_new(uuid_hash_key, uuid_equal_key);
    view->records = g_hash_table_new(uuid_hash_key, uuid_equal_key);
    view->listed = guest_records_list(service->records);
    view->guests = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    view->is_known =
        guest_service_check_libvirt(service, NULL) && guest_survey_look_at_all(survey, NULL);
    collect_guests(view);
    return true;
}

/* When it is taken, or 0. */
static int64_t
erase_time(const struct guest_service *service, const struct guest_record *record,
           const struct guest_key *key)
{
    bool has_moved = record->state == GUEST_STATE_MIGRATED && key->has_remote_copy;

    if (key->state != GUEST_KEY_WAITING)
        return 0;
    return key->since +
           (has_moved ? service->conf->erase_delay_migrated : service->conf->erase_delay_undefine);
}

/* ---- guests ---- */

static void
free_entry(void *opaque)
{
    struct guest_entry *entry = opaque;

    g_free(entry->name);
    g_free(entry);
}

static const char *
state_of(const struct view *view, const struct guest_seen *seen, const struct guest_record *record)
{
    static const char *const kept[GUEST_STATE_LAST] = {
        [GUEST_STATE_UNDEFINED] = "undefined",    [GUEST_STATE_MIGRATED] = "migrated",
        [GUEST_STATE_DEFINING] = "being defined", [GUEST_STATE_ARRIVING] = "arriving",
        [GUEST_STATE_LEAVING] = "leaving",
    };
    const char *waiting = NULL;
    bool is_under_way =
        record && (record->state == GUEST_STATE_DEFINING || record->state == GUEST_STATE_ARRIVING ||
                   record->state == GUEST_STATE_LEAVING);

    if (is_under_way || (!seen && record && kept[record->state]))
        return kept[record->state];
    if (seen && !seen->is_active && view->service->autostart)
        waiting = guest_autostart_state(view->service->autostart, &seen->uuid);
    if (waiting)
        return waiting;
    if (seen)
        return seen->is_active ? "running" : "shut off";
    return view->is_known ? "undefined" : "unknown";
}

static void
count_keys(const struct view *view, const struct guest_record *record, struct guest_entry *entry)
{
    for (guint i = 0; i < record->keys->len; i++) {
        const struct guest_key *key = record->keys->pdata[i];
        int64_t at = erase_time(view->service, record, key);

        if (key->origin == GUEST_KEY_REFUSED)
            continue;
        entry->keys++;
        if (key->state == GUEST_KEY_ORPHANED)
            entry->orphaned++;
        if (at != 0 && (entry->erase_at == 0 || at < entry->erase_at))
            entry->erase_at = at;
    }
}

static unsigned int
count_missing(const struct view *view, const struct guest_seen *seen)
{
    bool is_partial;
    const GPtrArray *references = guest_survey_references(view->survey, seen, &is_partial, NULL);
    unsigned int missing = 0;

    for (guint i = 0; references && i < references->len; i++)
        missing += ((const struct guest_reference *)references->pdata[i])->has_value ? 0 : 1;
    return missing;
}

static struct guest_entry *
describe_guest(const struct view *view, const struct uuid *guest)
{
    const struct guest_seen *seen = g_hash_table_lookup(view->seen, guest);
    const struct guest_record *record = g_hash_table_lookup(view->records, guest);
    struct guest_entry *entry = g_new0(struct guest_entry, 1);
    char uuid[UUID_TEXT_SIZE];

    entry->uuid = *guest;
    entry->name = g_strdup(seen ? seen->name : record ? record->name : uuid_format(guest, uuid));
    entry->state = state_of(view, seen, record);
    entry->is_persistent = seen && seen->is_persistent;
    if (record)
        count_keys(view, record, entry);
    else
        entry->keys = guest_survey_owned(view->survey, guest)->len;
    if (seen)
        entry->missing = count_missing(view, seen);
    return entry;
}

GPtrArray *
guest_service_list(struct guest_service *service, GError **error)
{
    GPtrArray *entries;
    struct view view;

    if (!view_init(&view, service, error))
        return NULL;
    entries = g_ptr_array_new_with_free_func(free_entry);
    for (guint i = 0; i < view.guests->len; i++)
        g_ptr_array_add(entries,
                        describe_guest(&view, &g_array_index(view.guests, struct uuid, i)));
    view_clear(&view);
    return entries;
}

/* ---- keys ---- */

struct key_filter {
    const struct uuid *guest;
    char *volume; /* path, or as it was given; NULL: all */
    bool is_orphaned;
};

static void
free_key_entry(void *opaque)
{
    struct guest_key_entry *entry = opaque;

    g_free(entry->guest_name);
    g_free(entry->volume);
    g_free(entry->reason);
    g_free(entry);
}

static const char *
key_state_of(const struct view *view, const struct uuid *guest, const struct guest_key *key)
{
    if (key->state == GUEST_KEY_WAITING)
        return "waiting";
    if (key->state == GUEST_KEY_ORPHANED)
        return "orphaned";
    return guest_survey_is_owner(view->survey, &key->secret, guest) ? "bound" : "missing";
}

static void
add_key(const struct view *view, const struct key_filter *filter, const struct guest_record *record,
        const struct guest_key *key, GPtrArray *entries)
{
    const struct guest_seen *seen = g_hash_table_lookup(view->seen, &record->uuid);
    struct guest_key_entry *entry;

    if (key->origin == GUEST_KEY_REFUSED ||
        (filter->volume && g_strcmp0(filter->volume, key->volume) != 0) ||
        (filter->is_orphaned && key->state != GUEST_KEY_ORPHANED))
        return;
    entry = g_new0(struct guest_key_entry, 1);
    entry->secret = key->secret;
    entry->guest = record->uuid;
    entry->guest_name = g_strdup(seen ? seen->name : record->name);
    entry->volume = g_strdup(key->volume);
    entry->origin = guest_key_origin_name(key->origin);
    entry->state = key_state_of(view, &record->uuid, key);
    entry->erase_at = erase_time(view->service, record, key);
    entry->reason = g_strdup(key->reason);
    g_ptr_array_add(entries, entry);
}

/* What the custodian says it owns though no record does (yet). */
static void
add_unrecorded(const struct view *view, const struct key_filter *filter, const struct uuid *guest,
               const struct guest_record *record, GPtrArray *entries)
{
    const GArray *owned = guest_survey_owned(view->survey, guest);
    char uuid[UUID_TEXT_SIZE];
    g_autoptr(guest_record_t) other =
        guest_record_new(guest, record ? record->name : uuid_format(guest, uuid), NULL);

    for (guint i = 0; i < owned->len; i++) {
        const struct uuid *secret = &g_array_index(owned, struct uuid, i);

        if (!record || !guest_record_find(record, secret))
            add_key(view, filter, other, guest_record_take(other, secret, GUEST_KEY_MANUAL),
                    entries);
    }
}

static int
compare_entries(gconstpointer a, gconstpointer b)
{
    const struct guest_key_entry *left = *(struct guest_key_entry *const *)a;
    const struct guest_key_entry *right = *(struct guest_key_entry *const *)b;
    int order = uuid_compare(&left->secret, &right->secret);

    return order != 0 ? order : uuid_compare(&left->guest, &right->guest);
}

/* POOL/VOLUME is the path of that volume of ours; everything else is as it is. */
static char *
find_path(struct guest_service *service, const char *volume)
{
    const char *slash = strchr(volume, '/');
    g_autoptr(storage_volume_t) found = NULL;
    g_autofree char *pool = NULL;

    if (!slash || slash == volume) {
        found = storage_service_get_by_path(service->storage, volume, NULL);
    } else {
        pool = g_strndup(volume, (gsize)(slash - volume));
        found = storage_service_get(service->storage, pool, slash + 1, NULL);
    }
    return g_strdup(found ? found->path : volume);
}

GPtrArray *
guest_service_list_keys(struct guest_service *service, const struct uuid *guest, const char *volume,
                        bool is_orphaned, GError **error)
{
    struct key_filter filter = {.guest = guest, .is_orphaned = is_orphaned};
    GPtrArray *entries;
    struct view view;

    if (!view_init(&view, service, error))
        return NULL;
    filter.volume = volume ? find_path(service, volume) : NULL;
    entries = g_ptr_array_new_with_free_func(free_key_entry);
    for (guint i = 0; i < view.guests->len; i++) {
        const struct uuid *uuid = &g_array_index(view.guests, struct uuid, i);
        const struct guest_record *record = g_hash_table_lookup(view.records, uuid);

        if (filter.guest && !uuid_equal(filter.guest, uuid))
            continue;
        for (guint k = 0; record && k < record->keys->len; k++)
            add_key(&view, &filter, record, record->keys->pdata[k], entries);
        add_unrecorded(&view, &filter, uuid, record, entries);
    }
    g_ptr_array_sort(entries, compare_entries);
    g_free(filter.volume);
    view_clear(&view);
    return entries;
}

/* ---- the status ---- */

void
guest_service_status(struct guest_service *service, struct guest_status *ret_status)
{
    g_autoptr(GPtrArray) records = guest_records_list(service->records);
    g_autoptr(GError) problem = NULL;
    struct guest_status status = {.guests = records->len};

    for (guint i = 0; i < records->len; i++) {
        const struct guest_record *record = records->pdata[i];

        for (guint k = 0; k < record->keys->len; k++) {
            const struct guest_key *key = record->keys->pdata[k];

            if (key->origin == GUEST_KEY_REFUSED)
                continue;
            status.keys++;
            status.orphaned += key->state == GUEST_KEY_ORPHANED ? 1 : 0;
            status.waiting += key->state == GUEST_KEY_WAITING ? 1 : 0;
        }
    }
    status.uri = g_strdup(service->conf->libvirt_uri);
    if (!guest_service_check_libvirt(service, &problem))
        status.problem = g_strdup(problem->message);
    *ret_status = status;
}

void
guest_status_clear(struct guest_status *status)
{
    g_clear_pointer(&status->uri, g_free);
    g_clear_pointer(&status->problem, g_free);
}

void
guest_service_autostart(struct guest_service *service, struct guest_autostart_status *ret_status)
{
    struct guest_autostart_status status = {.is_enabled = service->conf->autostart_after_unlock};
    g_autoptr(GArray) guests = service->autostart ? guest_autostart_list(service->autostart) : NULL;

    for (guint i = 0; guests && i < guests->len; i++) {
        const char *state =
            guest_autostart_state(service->autostart, &g_array_index(guests, struct uuid, i));

        status.waiting += state != NULL;
        status.is_unlocked = status.is_unlocked || g_strcmp0(state, "waiting for start") == 0;
    }
    *ret_status = status;
}
