/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Files of key-encryption generations from hostile bytes: nothing opens but the golden file (the
 * one of tests/unit/test-secret-generations.c, which the corpus starts from). What is refused comes
 * with an error that names the file.
 */
#include <string.h>

#include "secret/generations.h"
#include "target_file.h"
#include "target_key.h"
#include "util/error.h"

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    static struct master_key *master;
    const char *path = target_file_put("generations", input, len);
    g_autoptr(GError) error = NULL;
    g_autoptr(generations_t) generations = NULL;

    if (!master)
        master = target_key_new();
    generations = generations_open(path, master, NULL, &error);
    if (!generations)
        check(strstr(error->message, path) != NULL || strstr(error->message, "generations"));
    else
        /* Nothing but what was made with the key. */
        check(len == 140 && generations_number(generations) == 4 &&
              generations_is_rotating(generations));
    return 0;
}
