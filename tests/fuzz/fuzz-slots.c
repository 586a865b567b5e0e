/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Files of slots from hostile bytes (the corpus starts from the golden file of
 * tests/unit/slots_golden.h): what is refused comes with an error, what is read is written again as
 * it was, no slot opens to another master key, and the tag is right for the golden bytes alone.
 */
#include <string.h>

#include "master/slots.h"
#include "target.h"
#include "util/error.h"

enum { TAG_SIZE = 32, GOLDEN_SIZE = 409 };

static struct secret_buf *
new_bytes(uint8_t first, uint8_t step)
{
    struct secret_buf *bytes = secret_buf_new(MASTER_KEY_SIZE, NULL);

    for (size_t i = 0; i < MASTER_KEY_SIZE; i++)
        secret_buf_writable(bytes)[i] = (uint8_t)(first + i * step);
    return bytes;
}

/* The same bytes but for the tag, which is of another key than who wrote the input may have had. */
static void
check_written_again(struct slots *slots, const struct master_key *master, const uint8_t *input,
                    size_t len)
{
    uint8_t id[MASTER_KEY_ID_SIZE];
    g_autoptr(GBytes) again = NULL;
    uint8_t *bytes;
    gsize again_len;

    memcpy(id, slots->master_key_id, sizeof(id));
    memcpy(slots->master_key_id, master_key_id(master), sizeof(id));
    again = slots_format(slots, master, NULL);
    check(again != NULL);
    bytes = g_bytes_unref_to_data(g_steal_pointer(&again), &again_len);
    memcpy(bytes + 24, id, sizeof(id));
    check(again_len == len && memcmp(bytes, input, len - TAG_SIZE) == 0);
    g_free(bytes);
    memcpy(slots->master_key_id, id, sizeof(id));
}

static void
check_slots(const struct slots *slots, const struct master_key *master,
            const struct secret_buf *slot_key)
{
    for (guint i = 0; i < slots->slots->len; i++) {
        const struct slot *slot = slots->slots->pdata[i];
        g_autoptr(GError) error = NULL;
        g_autoptr(master_key_t) opened = slots_unwrap(slots, slot, slot_key, &error);
        g_autofree char *description = slot_describe(slot);

        check(slots_find(slots, &slot->id) == slot && *description);
        if (opened)
            check(secret_buf_equal(master_key_bytes(opened), master_key_bytes(master)));
        else
            check(error_is(error, ERROR_INVALID_SECRET));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    static struct master_key *master;
    static struct secret_buf *slot_key;
    g_autoptr(GError) error = NULL;
    g_autoptr(slots_t) slots = NULL;

    if (!master) {
        master = master_key_new(new_bytes(0, 1), NULL);
        slot_key = new_bytes(0xc1, 0);
    }
    slots = slots_parse(input, len, &error);
    check(slots
              ? !error
              : error_is(error, ERROR_INVALID_SECRET) || error_is(error, ERROR_CONFIG_UNSUPPORTED));
    check(!slots_authenticate(input, len, master, NULL) || len == GOLDEN_SIZE);
    if (!slots)
        return 0;
    check_slots(slots, master, slot_key);
    if (slots->has_previous)
        master_key_free(slots_open_previous(slots, master, NULL));
    check_written_again(slots, master, input, len);
    return 0;
}
