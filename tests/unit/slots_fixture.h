/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: master keys, slot keys and slots for tests of slots.
 */
#pragma once

#include "expect.h"
#include "master/unlock.h"

/* `len` bytes, each `byte`. */
static inline struct secret_buf *
slots_fixture_bytes(uint8_t byte, size_t len)
{
    g_autoptr(GError) error = NULL;
    struct secret_buf *bytes = secret_buf_new(len, &error);

    g_assert_no_error(error);
    memset(secret_buf_writable(bytes), byte, len);
    return bytes;
}

static inline struct secret_buf *
slots_fixture_text(const char *text)
{
    return secret_buf_new_from(text, strlen(text), NULL);
}

/* The key 00 01 02 ... 1f of docs/sealed-format.md. */
static inline struct master_key *
slots_fixture_master(void)
{
    struct secret_buf *bytes = slots_fixture_bytes(0, MASTER_KEY_SIZE);

    for (size_t i = 0; i < MASTER_KEY_SIZE; i++)
        secret_buf_writable(bytes)[i] = (uint8_t)i;
    return master_key_new(bytes, NULL);
}

static inline struct master_key *
slots_fixture_other_master(uint8_t byte)
{
    return master_key_new(slots_fixture_bytes(byte, MASTER_KEY_SIZE), NULL);
}

static inline void
slots_fixture_expect_key(const struct master_key *key, const struct master_key *expected)
{
    g_assert_nonnull(key);
    g_assert_true(secret_buf_equal(master_key_bytes(key), master_key_bytes(expected)));
}

/* A slot of `slots` that opens by SLOT_KEY_SIZE bytes `byte`. Borrowed. */
static inline struct slot *
slots_fixture_add(struct slots *slots, const char *label, uint8_t byte,
                  const struct master_key *master)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) slot_key = slots_fixture_bytes(byte, SLOT_KEY_SIZE);
    struct slot *slot = slot_new(SLOT_RECOVERY, label, &error);
    struct uuid id;

    g_assert_no_error(error);
    g_assert_true(fields_set(slot->fields, "number", "7", NULL));
    slot_wrap(slot, slot_key, master, &error);
    g_assert_no_error(error);
    id = slot->id;
    slots_put(slots, slot, &error);
    g_assert_no_error(error);
    return slots_find(slots, &id);
}
