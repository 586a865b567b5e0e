/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: survey.h.
 */
#include "guest/survey.h"

#include "guest/domain_files.h"
#include "util/error.h"

/* What is known of one secret: sets of struct uuid, of guests. */
struct users {
    struct uuid secret; /* the key */
    GHashTable *owners;
    GHashTable *referrers;
};

struct guest_survey {
    struct guest_service *service;
    GArray *with_value;      /* ascending */
    GHashTable *users;       /* by secret */
    GHashTable *owned;       /* guest -> array of struct uuid */
    GArray *nothing;         /* for guests that are not there */
    GPtrArray *all;          /* or NULL */
    GHashTable *references;  /* guest -> array of struct guest_reference */
    GHashTable *partial;     /* set of guests of which that is not all */
    GHashTable *definitions; /* of libvirt's files; NULL: not read yet */
    char *hold;
};

/* ---- sets ---- */

static void
users_free(void *opaque)
{
    struct users *users = opaque;

    g_hash_table_unref(users->owners);
    g_hash_table_unref(users->referrers);
    g_free(users);
}

static GHashTable *
set_new(void)
{
    return g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
}

static void
set_add(GHashTable *set, const struct uuid *uuid)
{
    if (!g_hash_table_contains(set, uuid))
        g_hash_table_add(set, g_memdup2(uuid, sizeof(*uuid)));
}

static const struct users *
find_users(const struct guest_survey *survey, const struct uuid *secret)
{
    return g_hash_table_lookup(survey->users, secret);
}

static struct users *
take_users(struct guest_survey *survey, const struct uuid *secret)
{
    struct users *users = g_hash_table_lookup(survey->users, secret);

    if (users)
        return users;
    users = g_new0(struct users, 1);
    users->secret = *secret;
    users->owners = set_new();
    users->referrers = set_new();
    g_hash_table_insert(survey->users, &users->secret, users);
    return users;
}

/* ---- the custodian's answers ---- */

static void
add_owner(struct guest_survey *survey, const struct uuid *secret, const struct uuid *guest)
{
    struct users *users = take_users(survey, secret);
    GArray *owned = g_hash_table_lookup(survey->owned, guest);

    if (g_hash_table_contains(users->owners, guest))
        return;
    set_add(users->owners, guest);
    if (!owned) {
        owned = g_array_new(FALSE, FALSE, sizeof(struct uuid));
        g_hash_table_insert(survey->owned, g_memdup2(guest, sizeof(*guest)), owned);
    }
    g_array_append_vals(owned, secret, 1);
}

static void
drop_owner(struct guest_survey *survey, const struct uuid *secret, const struct uuid *guest)
{
    struct users *users = take_users(survey, secret);
    GArray *owned = g_hash_table_lookup(survey->owned, guest);

    g_hash_table_remove(users->owners, guest);
    for (guint i = 0; owned && i < owned->len; i++) {
        if (uuid_equal(&g_array_index(owned, struct uuid, i), secret)) {
            g_array_remove_index(owned, i);
            break;
        }
    }
}

static void
forget_owners(struct guest_survey *survey)
{
    struct users *users;
    GHashTableIter iter;

    g_hash_table_iter_init(&iter, survey->users);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&users))
        g_hash_table_remove_all(users->owners);
    g_hash_table_remove_all(survey->owned);
}

bool
guest_survey_renew_owners(struct guest_survey *survey, GError **error)
{
    const struct guest_custodian *custodian = &survey->service->custodian;
    g_autoptr(GArray) bindings = custodian->list(custodian->opaque, error);

    if (!bindings)
        return false;
    forget_owners(survey);
    for (guint i = 0; i < bindings->len; i++) {
        const struct guest_binding *binding = &g_array_index(bindings, struct guest_binding, i);

        add_owner(survey, &binding->secret, &binding->guest);
    }
    return true;
}

static void
free_array(void *array)
{
    g_array_unref(array);
}

static void
free_pointers(void *array)
{
    g_ptr_array_unref(array);
}

struct guest_survey *
guest_survey_new(struct guest_service *service, GError **error)
{
    g_autoptr(guest_survey_t) survey = g_new0(struct guest_survey, 1);
    const struct guest_custodian *custodian = &service->custodian;

    survey->service = service;
    survey->users = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, NULL, users_free);
    survey->owned = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, free_array);
    survey->references =
        g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, free_pointers);
    survey->partial = set_new();
    survey->nothing = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    survey->with_value = custodian->list_with_value(custodian->opaque, error);
    if (!survey->with_value || !guest_survey_renew_owners(survey, error))
        return NULL;
    return g_steal_pointer(&survey);
}

void
guest_survey_free(struct guest_survey *survey)
{
    if (!survey)
        return;
    g_hash_table_unref(survey->users);
    g_hash_table_unref(survey->owned);
    g_hash_table_unref(survey->references);
    g_clear_pointer(&survey->partial, g_hash_table_unref);
    g_clear_pointer(&survey->nothing, g_array_unref);
    g_clear_pointer(&survey->with_value, g_array_unref);
    g_clear_pointer(&survey->all, g_ptr_array_unref);
    g_clear_pointer(&survey->definitions, g_hash_table_unref);
    g_free(survey->hold);
    g_free(survey);
}

/* ---- libvirt's answers ---- */

void
guest_survey_forget(struct guest_survey *survey, const struct uuid *guest)
{
    const GPtrArray *references = g_hash_table_lookup(survey->references, guest);

    for (guint i = 0; references && i < references->len; i++) {
        const struct guest_reference *reference = references->pdata[i];

        g_hash_table_remove(take_users(survey, &reference->secret)->referrers, guest);
    }
    g_hash_table_remove(survey->references, guest);
    g_hash_table_remove(survey->partial, guest);
}

const GPtrArray *
guest_survey_references(struct guest_survey *survey, const struct guest_seen *seen,
                        bool *ret_partial, GError **error)
{
    GPtrArray *references = g_hash_table_lookup(survey->references, &seen->uuid);
    bool is_partial = false;

    if (references) {
        *ret_partial = g_hash_table_contains(survey->partial, &seen->uuid);
        return references;
    }
    references = guest_references_of(survey->service, seen, survey->with_value, &is_partial, error);
    if (!references)
        return NULL;
    if (is_partial)
        set_add(survey->partial, &seen->uuid);
    *ret_partial = is_partial;
    g_hash_table_insert(survey->references, g_memdup2(&seen->uuid, sizeof(seen->uuid)), references);
    for (guint i = 0; i < references->len; i++) {
        const struct guest_reference *reference = references->pdata[i];

        set_add(take_users(survey, &reference->secret)->referrers, &seen->uuid);
    }
    return references;
}

bool
guest_survey_look_at_all(struct guest_survey *survey, GError **error)
{
    struct guest_service *service = survey->service;
    g_autoptr(GArray) listed G_GNUC_UNUSED = guest_service_take_changed(service);

    survey->all = guest_libvirt_list(service->libvirt, error);
    if (!survey->all)
        return false;
    if (guest_records_has_unreadable(service->records))
        survey->hold = g_strdup("the record of a guest can't be read (see the log of virtcryptd's "
                                "start)");
    for (guint i = 0; i < survey->all->len; i++) {
        const struct guest_seen *seen = survey->all->pdata[i];
        g_autoptr(GError) failure = NULL;
        bool is_partial;

        if (!guest_survey_references(survey, seen, &is_partial, &failure) && !survey->hold)
            survey->hold = g_strdup_printf("what guest '%s' uses is not known: %s", seen->name,
                                           failure->message);
    }
    return true;
}

static bool
catch_up_with(struct guest_survey *survey, const struct uuid *guest, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(guest_seen_t) seen = guest_libvirt_find(survey->service->libvirt, guest, &failure);
    bool is_partial;

    guest_survey_forget(survey, guest);
    if (seen)
        return guest_survey_references(survey, seen, &is_partial, error) != NULL;
    if (error_is(failure, ERROR_NO_DOMAIN))
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

bool
guest_survey_catch_up(struct guest_survey *survey, GError **error)
{
    g_autoptr(GArray) changed = guest_service_take_changed(survey->service);

    if (!changed)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
                  "too many guests have changed meanwhile");
    for (guint i = 0; changed && i < changed->len; i++) {
        if (!catch_up_with(survey, &g_array_index(changed, struct uuid, i), error))
            return false;
    }
    return changed != NULL;
}

const GPtrArray *
guest_survey_all(const struct guest_survey *survey)
{
    return survey->all;
}

const char *
guest_survey_hold(const struct guest_survey *survey)
{
    return survey->all ? survey->hold : "not all guests were looked at";
}

bool
guest_survey_has_definition(struct guest_survey *survey, const struct uuid *guest, bool *ret_has,
                            GError **error)
{
    if (!survey->definitions)
        survey->definitions = guest_domain_files_read(survey->service->domain_dir, error);
    if (!survey->definitions)
        return false;
    *ret_has = g_hash_table_contains(survey->definitions, guest);
    return true;
}

/* ---- questions ---- */

bool
guest_survey_is_owner(const struct guest_survey *survey, const struct uuid *secret,
                      const struct uuid *guest)
{
    const struct users *users = find_users(survey, secret);

    return users && g_hash_table_contains(users->owners, guest);
}

void
guest_survey_set_owner(struct guest_survey *survey, const struct uuid *secret,
                       const struct uuid *guest, bool is_owner)
{
    if (is_owner)
        add_owner(survey, secret, guest);
    else
        drop_owner(survey, secret, guest);
}

void
guest_survey_set_erased(struct guest_survey *survey, const struct uuid *secret)
{
    g_autoptr(GArray) owners = guest_survey_owners(survey, secret);

    for (guint i = 0; i < owners->len; i++)
        drop_owner(survey, secret, &g_array_index(owners, struct uuid, i));
    for (guint i = 0; i < survey->with_value->len; i++) {
        if (uuid_equal(&g_array_index(survey->with_value, struct uuid, i), secret)) {
            g_array_remove_index(survey->with_value, i);
            break;
        }
    }
}

const GArray *
guest_survey_owned(const struct guest_survey *survey, const struct uuid *guest)
{
    const GArray *owned = g_hash_table_lookup(survey->owned, guest);

    return owned ? owned : survey->nothing;
}

static GArray *
list_keys(GHashTable *table)
{
    GArray *uuids = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    GHashTableIter iter;
    void *uuid;

    if (!table)
        return uuids;
    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        g_array_append_vals(uuids, uuid, 1);
    g_array_sort(uuids, uuid_compare_key);
    return uuids;
}

GArray *
guest_survey_owners(const struct guest_survey *survey, const struct uuid *secret)
{
    const struct users *users = find_users(survey, secret);

    return list_keys(users ? users->owners : NULL);
}

GArray *
guest_survey_list_owners(const struct guest_survey *survey)
{
    return list_keys(survey->owned);
}

static unsigned int
count_others(GHashTable *guests, const struct uuid *guest)
{
    return g_hash_table_size(guests) - (g_hash_table_contains(guests, guest) ? 1 : 0);
}

unsigned int
guest_survey_count_other_owners(const struct guest_survey *survey, const struct uuid *secret,
                                const struct uuid *guest)
{
    const struct users *users = find_users(survey, secret);

    return users ? count_others(users->owners, guest) : 0;
}

static const struct guest_reference *
find_reference(const struct guest_survey *survey, const struct uuid *guest,
               const struct uuid *secret)
{
    const GPtrArray *references = g_hash_table_lookup(survey->references, guest);

    for (guint i = 0; references && i < references->len; i++) {
        const struct guest_reference *reference = references->pdata[i];

        if (uuid_equal(&reference->secret, secret))
            return reference;
    }
    return NULL;
}

/* As it is seen now; of a guest that is not there, or does not refer to it, as it was. */
static bool
has_for_volume(const struct guest_survey *survey, const struct uuid *guest,
               const struct uuid *secret, const char *volume)
{
    const struct guest_reference *reference = find_reference(survey, guest, secret);
    g_autoptr(guest_record_t) record = NULL;
    const struct guest_key *key;

    if (reference)
        return reference->has_more_volumes || g_strcmp0(reference->volume, volume) == 0;
    record = guest_records_get(survey->service->records, guest, NULL);
    key = record ? guest_record_find(record, secret) : NULL;
    return key && g_strcmp0(key->volume, volume) == 0;
}

bool
guest_survey_is_volume_elsewhere(const struct guest_survey *survey, const struct uuid *secret,
                                 const char *volume, const struct uuid *guest)
{
    const struct users *users = find_users(survey, secret);
    GHashTableIter iter;
    void *owner;

    if (!users)
        return false;
    g_hash_table_iter_init(&iter, users->owners);
    while (g_hash_table_iter_next(&iter, &owner, NULL)) {
        if (!uuid_equal(owner, guest) && has_for_volume(survey, owner, secret, volume))
            return true;
    }
    return false;
}

bool
guest_survey_is_used_elsewhere(const struct guest_survey *survey, const struct uuid *secret,
                               const struct uuid *guest)
{
    const struct users *users = find_users(survey, secret);

    return users && count_others(users->referrers, guest) > 0;
}

const struct guest_seen *
guest_survey_find_referrer(const struct guest_survey *survey, const struct uuid *secret)
{
    const struct users *users = find_users(survey, secret);

    for (guint i = 0; users && survey->all && i < survey->all->len; i++) {
        const struct guest_seen *seen = survey->all->pdata[i];

        if (g_hash_table_contains(users->referrers, &seen->uuid))
            return seen;
    }
    return NULL;
}
