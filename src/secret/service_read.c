/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which of the files that may hold a secret's value counts: UUID.key and a copy of each guest
 * that owns it. All are written in one change and so agree, unless a program or a person put files
 * back. The newest one that opens counts then; older ones are named, to be written anew; one that
 * does not open is named, and left. Any thread may call it.
 */
#include "secret/service_read.h"

#include <errno.h>

#include "secret/sealed.h"
#include "util/error.h"

/* One of those files. */
struct copy {
    const struct uuid *owner; /* NULL: UUID.key */
    GBytes *sealed;           /* NULL: not there, or not readable */
    uint64_t generation;
    bool is_good;
    bool is_other; /* good, with another value than an earlier one of the same generation */
    char *problem; /* with !is_good, if it is there */
};

struct choice {
    const struct service_source *source;
    struct copy *copies; /* the owners' in their order, then UUID.key */
    size_t count;
    const struct copy *best;
    struct secret_buf *value; /* of `best`, if it was opened */
    bool has_foreign;
};

void
service_reading_clear(struct service_reading *reading)
{
    secret_value_clear(&reading->value);
    g_clear_pointer(&reading->stale, owners_free);
    g_clear_pointer(&reading->problems, g_ptr_array_unref);
    *reading = (struct service_reading){0};
}

/* What an unauthenticated header says may be anything, and the next one has to be greater: nobody
 * sets a value as often as that. */
enum { PLAUSIBLE_BITS = 56 };

static uint64_t
read_generation(GBytes *sealed)
{
    gsize len = 0;
    const void *bytes = g_bytes_get_data(sealed, &len);
    uint64_t generation = 0;

    if (!sealed_parse_generation(bytes, len, &generation) || generation >> PLAUSIBLE_BITS)
        return 0;
    return generation;
}

static bool
is_foreign(const struct generations *generations, GBytes *sealed)
{
    gsize len = 0;
    const void *bytes = g_bytes_get_data(sealed, &len);
    const uint8_t *id = sealed_master_key_id(bytes, len);

    return id && !generations_find(generations, id);
}

static void
read_copy(struct choice *choice, struct copy *copy)
{
    struct store *store = choice->source->store;
    const struct uuid *uuid = &choice->source->def->uuid;
    g_autoptr(GError) error = NULL;

    copy->sealed = copy->owner ? store_read_owned_key(store, uuid, copy->owner, &error)
                               : store_read_key(store, uuid, &error);
    if (copy->sealed)
        copy->generation = read_generation(copy->sealed);
    else if (copy->owner || error_get_errno(error) != ENOENT)
        copy->problem = g_strdup(error->message);
}

static bool
is_known(const struct service_source *source, const struct copy *copy)
{
    return source->known && g_bytes_equal(copy->sealed, source->known);
}

/* Good, and the one that counts so far, if it is better than that. */
static void
open_copy(struct choice *choice, struct copy *copy)
{
    const struct generations *generations = choice->source->generations;
    const struct sealed_binding binding = {choice->source->def, copy->owner};
    g_autoptr(GError) error = NULL;
    gsize len = 0;
    const void *bytes = g_bytes_get_data(copy->sealed, &len);
    g_autoptr(secret_buf_t) value =
        sealed_parse(generations_key_of(generations, bytes, len), &binding, bytes, len, &error);
    const struct copy *best = choice->best;

    if (!value) {
        choice->has_foreign |= is_foreign(generations, copy->sealed);
        copy->problem = g_strdup(error->message);
        return;
    }
    copy->is_good = true;
    sealed_parse_generation(bytes, len, &copy->generation);
    if (best && best->generation > copy->generation)
        return;
    if (best && best->generation == copy->generation) {
        copy->is_other = !secret_buf_equal(value, choice->value);
        if (copy->is_other || !is_known(choice->source, copy))
            return;
    }
    choice->best = copy;
    secret_buf_free(choice->value);
    choice->value = g_steal_pointer(&value);
}

/* Locked: nothing can be proven, and the newest one is kept until it can. */
static void
take_unproven(struct choice *choice, struct copy *copy)
{
    if (!choice->best || choice->best->generation < copy->generation)
        choice->best = copy;
}

static char *
name_copy(const struct choice *choice, const struct copy *copy)
{
    char uuid[UUID_TEXT_SIZE];
    char guest[UUID_TEXT_SIZE];

    uuid_format(&choice->source->def->uuid, uuid);
    return copy->owner ? g_strdup_printf("%s/%s.key", uuid_format(copy->owner, guest), uuid)
                       : g_strdup_printf("%s.key", uuid);
}

/* There is a good one: what is wrong with the others. */
static void
note_others(const struct choice *choice, struct service_reading *reading)
{
    bool has_good_owner = false;

    for (size_t i = 0; i < choice->count; i++) {
        const struct copy *copy = &choice->copies[i];
        bool is_old = copy->generation < choice->best->generation;
        g_autofree char *name = name_copy(choice, copy);

        if (copy->problem) {
            g_ptr_array_add(reading->problems, g_strdup_printf("%s: %s", name, copy->problem));
        } else if (copy->is_other && !is_old) {
            /* Which one is right can't be said, so neither is overwritten by the other. */
            g_ptr_array_add(reading->problems,
                            g_strdup_printf("%s: it has another value of the same generation as "
                                            "the one in use",
                                            name));
        } else if (copy->is_good && copy->owner) {
            has_good_owner = true;
            if (is_old)
                owners_add(&reading->stale, copy->owner);
        } else if (copy->is_good) {
            /* UUID.key, the last one, goes where a guest's copy is sure to stay. */
            reading->has_stale_key = has_good_owner;
        }
    }
}

static void
note_unavailable(const struct choice *choice, struct service_reading *reading)
{
    for (size_t i = 0; i < choice->count; i++) {
        const struct copy *copy = &choice->copies[i];

        if (!copy->problem)
            continue;
        if (!reading->value.unavailable)
            reading->value.unavailable = g_strdup(copy->problem);
        reading->value.generation = MAX(reading->value.generation, copy->generation);
    }
    reading->is_foreign = choice->has_foreign;
}

/* The newest that there is was put back from a backup. */
static bool
is_too_old(const struct choice *choice)
{
    const struct service_source *source = choice->source;

    return source->generations && source->index &&
           choice->best->generation < value_index_floor(source->index, &source->def->uuid);
}

static void
note_old(const struct choice *choice, struct service_reading *reading)
{
    const struct service_source *source = choice->source;
    uint64_t floor = value_index_floor(source->index, &source->def->uuid);
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&source->def->uuid, uuid);
    reading->value.generation = choice->best->generation;
    reading->is_old = true;
    reading->value.unavailable = g_strdup_printf(
        "secret %s: its file has generation %" G_GUINT64_FORMAT ", but generation "
        "%" G_GUINT64_FORMAT " was stored: it was put back from an older backup; put the newest "
        "one back and reload the daemon, or accept it with 'virtcrypt store accept %s'",
        uuid, choice->best->generation, floor, uuid);
}

static void
clear_choice(struct choice *choice)
{
    for (size_t i = 0; i < choice->count; i++) {
        g_clear_pointer(&choice->copies[i].sealed, g_bytes_unref);
        g_free(choice->copies[i].problem);
    }
    g_free(choice->copies);
    secret_buf_free(choice->value);
}

void
service_read(const struct service_source *source, struct service_reading *ret_reading)
{
    guint owner_count = owners_count(source->owners);
    struct choice choice = {
        .source = source,
        .copies = g_new0(struct copy, owner_count + 1),
        .count = owner_count + 1,
    };

    service_reading_clear(ret_reading);
    ret_reading->problems = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < choice.count; i++) {
        struct copy *copy = &choice.copies[i];

        copy->owner = i < owner_count ? owners_at(source->owners, (guint)i) : NULL;
        read_copy(&choice, copy);
        ret_reading->value.is_stored |= copy->sealed || copy->problem;
        if (copy->sealed && source->generations)
            open_copy(&choice, copy);
        else if (copy->sealed)
            take_unproven(&choice, copy);
    }
    if (choice.best && is_too_old(&choice)) {
        note_old(&choice, ret_reading);
    } else if (choice.best) {
        ret_reading->value.sealed = g_bytes_ref(choice.best->sealed);
        ret_reading->value.owner = secret_value_owner(choice.best->owner);
        ret_reading->value.generation = choice.best->generation;
        if (source->generations)
            note_others(&choice, ret_reading);
    } else {
        note_unavailable(&choice, ret_reading);
    }
    clear_choice(&choice);
}
