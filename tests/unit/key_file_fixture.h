/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: for tests of key files: a new master key without slots, and a slot for the file "key".
 */
#pragma once

#include "folder.h"
#include "slots_fixture.h"

struct fixture {
    struct folder folder;
    char *path;
    struct unlock_context context;
    struct master_key *master;
    struct slots *slots;
};

static inline void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->path = folder_path(&test->folder, "key");
    test->master = slots_fixture_master();
    test->slots = slots_new(test->master);
}

static inline void
tear_down(struct fixture *test, gconstpointer unused)
{
    slots_free(test->slots);
    master_key_free(test->master);
    g_free(test->path);
    folder_clear(&test->folder);
}

static inline struct slot *
new_slot(const char *path)
{
    struct slot *slot = slot_new(SLOT_KEY_FILE, NULL, NULL);

    g_assert_true(fields_set(slot->fields, "path", path, NULL));
    return slot;
}

static inline void
add(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    unlock_add_slot(&test->context, test->slots, new_slot(test->path), NULL, test->master, &error);
    g_assert_no_error(error);
}

static inline const struct slot *
first(const struct fixture *test)
{
    return test->slots->slots->pdata[0];
}

static inline void
expect_opens(struct fixture *test, const struct slots *slots, const struct master_key *master)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) opened = unlock_any(&test->context, slots, NULL, NULL, &error);

    g_assert_no_error(error);
    slots_fixture_expect_key(opened, master);
}
