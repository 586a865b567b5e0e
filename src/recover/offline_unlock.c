/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the trying of slots with their paths below another root. A slot's fields are authenticated,
 * so a method is given a changed copy, and the slot key that it finds opens the slot as it is.
 */
#include "recover/offline_unlock.h"

#include "util/error.h"

void
offline_keys_clear(struct offline_keys *keys)
{
    g_clear_pointer(&keys->index, value_index_free);
    g_clear_pointer(&keys->generations, generations_free);
    g_clear_pointer(&keys->previous, master_key_free);
    g_clear_pointer(&keys->master, master_key_free);
    g_clear_pointer(&keys->slots_bytes, g_bytes_unref);
    g_clear_pointer(&keys->slots, slots_free);
}

void
offline_unlock_read(const struct offline_paths *paths, struct offline_keys *keys,
                    GPtrArray *problems)
{
    g_autoptr(GError) error = NULL;

    if (!slots_exists(paths->slots))
        return;
    keys->slots = slots_read(paths->slots, &keys->slots_bytes, &error);
    if (!keys->slots)
        g_ptr_array_add(problems, g_strdup(error->message));
}

static bool
needs_person(const struct slot *slot)
{
    const struct unlock_method *method = unlock_method_of(slot->method);

    return method && method->needs_person;
}

bool
offline_unlock_slots_need_person(const struct slots *slots, const struct offline_key *key)
{
    const struct slot *named;

    if (key->key_file)
        return false;
    if (key->slot) {
        named = slots_find_named(slots, key->slot, NULL);
        return named && needs_person(named);
    }
    for (guint i = 0; i < slots->slots->len; i++) {
        if (needs_person(slots->slots->pdata[i]))
            return true;
    }
    return false;
}

bool
offline_unlock_needs_person(const struct offline_keys *keys, const struct offline_key *key)
{
    return keys->slots && offline_unlock_slots_need_person(keys->slots, key);
}

/* ---- one slot ---- */

static struct slot *
relocate(const struct offline_paths *paths, const struct slot *slot, const char *key_file,
         GError **error)
{
    g_autoptr(slot_t) moved = slot_copy(slot);
    const char *path = fields_get(moved->fields, "path");
    g_autofree char *there = NULL;

    if (slot->method != SLOT_KEY_FILE || (!path && !key_file))
        return g_steal_pointer(&moved);
    there =
        key_file ? g_canonicalize_filename(key_file, NULL) : offline_paths_relocate(paths, path);
    return fields_set(moved->fields, "path", there, error) ? g_steal_pointer(&moved) : NULL;
}

static struct master_key *
open_slot(const struct offline_paths *paths, const struct unlock_context *context,
          const struct slots *slots, const struct slot *slot, const struct offline_key *key,
          GError **error)
{
    const struct unlock_method *method = unlock_method_of(slot->method);
    g_autoptr(slot_t) moved = NULL;
    g_autoptr(secret_buf_t) slot_key = NULL;

    if (!method) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_UNSUPPORTED,
                  "its method is not known to this program");
        return NULL;
    }
    if (method->needs_person && !key->secret) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "it needs its passphrase");
        return NULL;
    }
    moved = relocate(paths, slot, key->key_file, error);
    if (moved)
        slot_key = method->open(context, moved, method->needs_person ? key->secret : NULL, error);
    return slot_key ? slots_unwrap(slots, slot, slot_key, error) : NULL;
}

static bool
is_wanted(const struct slot *slot, const struct slot *named, const struct offline_key *key)
{
    if (named)
        return slot == named;
    return !key->key_file || slot->method == SLOT_KEY_FILE;
}

struct master_key *
offline_unlock_slots(const struct offline_paths *paths, const struct unlock_context *context,
                     const struct slots *slots, const struct offline_key *key,
                     struct uuid *ret_opener, GError **error)
{
    const struct slot *named = NULL;
    g_autoptr(GString) tried = g_string_new(NULL);

    if (key->slot) {
        named = slots_find_named(slots, key->slot, error);
        if (!named)
            return NULL;
    }
    for (guint i = 0; i < slots->slots->len; i++) {
        const struct slot *slot = slots->slots->pdata[i];
        g_autoptr(GError) problem = NULL;
        g_autofree char *name = NULL;
        struct master_key *master;

        if (!is_wanted(slot, named, key))
            continue;
        master = open_slot(paths, context, slots, slot, key, &problem);
        if (master) {
            if (ret_opener)
                *ret_opener = slot->id;
            return master;
        }
        name = slot_describe(slot);
        g_string_append_printf(tried, "%s%s: %s", tried->len > 0 ? "; " : "", name,
                               problem->message);
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID, "no slot opens (%s)",
              tried->len > 0 ? tried->str : "there is none of that kind");
    return NULL;
}

/* ---- the bare master key, as stores of before slots have it in a file ---- */

static struct master_key *
read_bare(const struct offline_paths *paths, const struct unlock_context *context,
          const struct offline_key *key, GError **error)
{
    const struct unlock_method *method = unlock_method_of(SLOT_KEY_FILE);
    g_autoptr(slot_t) slot = slot_new(SLOT_KEY_FILE, NULL, error);
    g_autofree char *path =
        g_canonicalize_filename(key->key_file ? key->key_file : paths->key_file, NULL);
    struct secret_buf *bytes;

    if (!slot || !fields_set(slot->fields, "path", path, error))
        return NULL;
    bytes = method->open(context, slot, NULL, error);
    return bytes ? master_key_new(bytes, error) : NULL;
}

/* Also where the slots were lost, if the key file still is that of before there were any. */
static struct master_key *
open_bare(const struct offline_paths *paths, const struct unlock_context *context,
          const struct offline_key *key, const struct offline_keys *keys)
{
    g_autoptr(master_key_t) master = NULL;
    g_autoptr(GError) unused = NULL;

    if (key->slot)
        return NULL;
    master = read_bare(paths, context, key, &unused);
    if (master && keys->slots && !master_key_equal_id(master, keys->slots->master_key_id))
        return NULL;
    /* With no slots file, a slot's key file is a master key by nothing but its length. */
    if (master && !keys->slots && generations_exists(paths->generations)) {
        g_autoptr(generations_t) proof =
            generations_open(paths->generations, master, NULL, &unused);

        if (!proof)
            return NULL;
    }
    return g_steal_pointer(&master);
}

static struct master_key *
open_master(const struct offline_paths *paths, const struct unlock_context *context,
            const struct offline_key *key, struct offline_keys *keys, GError **error)
{
    g_autoptr(GError) failure = NULL;
    struct master_key *master = NULL;

    if (keys->slots) {
        master = offline_unlock_slots(paths, context, keys->slots, key, &keys->opener, &failure);
        keys->has_opener = master != NULL;
    }
    if (!master)
        master = open_bare(paths, context, key, keys);
    if (master)
        return master;
    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "there are no slots (%s) that can be read, and %s is not the master key of this "
                  "store: put a good copy of the slots back, or name the master key's file",
                  paths->slots, key->key_file ? key->key_file : paths->key_file);
    return NULL;
}

/* ---- what the master key opens ---- */

static void
open_previous(struct offline_keys *keys, GPtrArray *problems)
{
    g_autoptr(GError) error = NULL;

    if (!keys->slots || !keys->slots->has_previous)
        return;
    keys->previous = slots_open_previous(keys->slots, keys->master, &error);
    if (!keys->previous)
        g_ptr_array_add(
            problems, g_strdup_printf("the master key of before the rotation: %s", error->message));
}

static void
check_slots(const struct offline_paths *paths, struct offline_keys *keys, GPtrArray *problems)
{
    g_autoptr(GError) error = NULL;

    if (!keys->slots)
        return;
    keys->are_slots_good =
        slots_authenticate(g_bytes_get_data(keys->slots_bytes, NULL),
                           g_bytes_get_size(keys->slots_bytes), keys->master, &error);
    if (!keys->are_slots_good)
        g_ptr_array_add(problems, g_strdup_printf("%s: %s", paths->slots, error->message));
}

/* Without the file there still is what was sealed under the master key itself. */
static bool
open_generations(const struct offline_paths *paths, struct offline_keys *keys, GPtrArray *problems,
                 GError **error)
{
    g_autoptr(GError) problem = NULL;

    if (generations_exists(paths->generations)) {
        keys->generations =
            generations_open(paths->generations, keys->master, keys->previous, &problem);
        if (!keys->generations)
            g_ptr_array_add(problems, g_strdup(problem->message));
    }
    if (!keys->generations)
        keys->generations =
            generations_new_legacy(keys->previous ? keys->previous : keys->master, error);
    return keys->generations != NULL;
}

/* Which values were put back from an older backup. */
static void
open_index(const struct offline_paths *paths, struct offline_keys *keys, GPtrArray *problems)
{
    const struct value_index_params params = {
        .path = paths->index,
        .master = keys->master,
        .previous = keys->previous,
        .is_expected = keys->slots && keys->slots->flags & SLOTS_HAS_INDEX,
    };
    enum value_index_state state;
    const char *problem;

    keys->index = value_index_open(&params, &state);
    problem = value_index_problem(keys->index);
    if (problem)
        g_ptr_array_add(problems, g_strdup(problem));
}

bool
offline_unlock(const struct offline_paths *paths, const struct unlock_context *context,
               const struct offline_key *key, struct offline_keys *keys, GPtrArray *problems,
               GError **error)
{
    keys->master = open_master(paths, context, key, keys, error);
    if (!keys->master)
        return false;
    open_previous(keys, problems);
    check_slots(paths, keys, problems);
    open_index(paths, keys, problems);
    return open_generations(paths, keys, problems, error);
}
