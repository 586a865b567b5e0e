/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Indexes of generations from hostile bytes: none opens but the golden file (the one of
 * tests/unit/test-secret-value_index.c, which the corpus starts from). What is refused is empty and
 * says what is wrong with it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "secret/value_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

static void
check(bool holds)
{
    if (!holds)
        abort();
}

static struct master_key *
new_key(void)
{
    uint8_t raw[MASTER_KEY_SIZE];

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)i;
    return master_key_new(secret_buf_take_bytes(raw, sizeof(raw), NULL), NULL);
}

static void
put_file(const char *path, const uint8_t *input, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    check(fd >= 0 && write(fd, input, len) == (ssize_t)len);
    close(fd);
}

static char *path;

static void
remove_file(void)
{
    g_autofree char *folder = g_path_get_dirname(path);

    unlink(path);
    rmdir(folder);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    static struct master_key *master;
    g_autoptr(value_index_t) index = NULL;
    enum value_index_state state;

    if (!master) {
        g_autofree char *folder = g_dir_make_tmp("virtcrypt-fuzz-XXXXXX", NULL);

        master = new_key();
        path = g_build_filename(folder, "index", NULL);
        atexit(remove_file);
    }
    put_file(path, input, len);
    index = value_index_open(&(struct value_index_params){.path = path, .master = master}, &state);
    if (state == VALUE_INDEX_GOOD)
        /* Nothing but what was made with the key. */
        check(len == 140 && value_index_count(index) == 2 && !value_index_problem(index));
    else
        check(state == VALUE_INDEX_DAMAGED && value_index_count(index) == 0 &&
              strstr(value_index_problem(index), path));
    return 0;
}
