/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Indexes of generations from hostile bytes: none opens but the golden file (the one of
 * tests/unit/test-secret-value_index.c, which the corpus starts from). What is refused is empty and
 * says what is wrong with it.
 */
#include <string.h>

#include "secret/value_index.h"
#include "target_file.h"
#include "target_key.h"

/* Of the two secrets of the golden file. */
static bool
has_floors(const struct value_index *index, uint64_t of_first, uint64_t of_last)
{
    static const struct uuid first = {{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99,
                                       0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};
    struct uuid last;

    memset(last.bytes, 0xff, sizeof(last.bytes));
    return value_index_floor(index, &first) == of_first &&
           value_index_floor(index, &last) == of_last;
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    static struct master_key *master;
    const char *path = target_file_put("index", input, len);
    g_autoptr(value_index_t) index = NULL;
    enum value_index_state state;

    if (!master)
        master = target_key_new();
    index = value_index_open(&(struct value_index_params){.path = path, .master = master}, &state);
    if (state == VALUE_INDEX_GOOD)
        /* Nothing but what was made with the key. */
        check(len == 140 && has_floors(index, 7, (uint64_t)1 << 40) && !value_index_problem(index));
    else
        check(state == VALUE_INDEX_DAMAGED && has_floors(index, 0, 0) &&
              strstr(value_index_problem(index), path));
    return 0;
}
