/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the master key of a custodian's store as its file of slots has it, for tests.
 */
#pragma once

#include "custodian.h"

static inline struct slots *
read_slots(const struct custodian *test)
{
    g_autoptr(GError) error = NULL;
    struct slots *slots = slots_read(test->slots, NULL, &error);

    g_assert_no_error(error);
    return slots;
}

/* As a start would open it. */
static inline struct master_key *
open_master(const struct custodian *test)
{
    g_autoptr(slots_t) slots = read_slots(test);
    g_autoptr(GError) error = NULL;
    struct master_key *master = unlock_any(&test->unlock, slots, NULL, NULL, &error);

    g_assert_no_error(error);
    return master;
}

/* Writes slots with `count` key files, in the folder of all, of a key that is not in use. */
static inline void
put_slots(const struct custodian *test, const struct master_key *master, unsigned int count)
{
    g_autoptr(slots_t) slots = slots_new(master);
    g_autoptr(GError) error = NULL;

    for (unsigned int i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("other-%u.key", i);
        g_autofree char *path = folder_path(&test->folder, name);
        struct slot *slot = slot_new(SLOT_KEY_FILE, NULL, NULL);

        g_assert_true(fields_set(slot->fields, "path", path, NULL));
        unlock_add_slot(&test->unlock, slots, slot, NULL, master, &error);
        g_assert_no_error(error);
    }
    slots_write(test->slots, slots, master, &error);
    g_assert_no_error(error);
    unlock_settle(&test->unlock, slots);
}

/* Another master key's slots take the place of those that there are; returns these. */
static inline GBytes *
replace_slots(const struct custodian *test)
{
    g_autoptr(master_key_t) other = master_key_new_random(NULL);
    GBytes *before = folder_get(&test->folder, "master.slots");

    put_slots(test, other, 1);
    return before;
}

static inline void
put_back_slots(const struct custodian *test, GBytes *slots)
{
    folder_put(&test->folder, "master.slots", g_bytes_get_data(slots, NULL),
               g_bytes_get_size(slots));
}
