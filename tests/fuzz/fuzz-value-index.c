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
        check(len == 140 && value_index_count(index) == 2 && !value_index_problem(index));
    else
        check(state == VALUE_INDEX_DAMAGED && value_index_count(index) == 0 &&
              strstr(value_index_problem(index), path));
    return 0;
}
