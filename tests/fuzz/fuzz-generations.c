/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Files of key-encryption generations from hostile bytes: nothing opens but the golden file (the
 * one of tests/unit/test-secret-generations.c, which the corpus starts from). What is refused comes
 * with an error that names the file.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "secret/generations.h"
#include "util/error.h"

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
    g_autoptr(GError) error = NULL;
    g_autoptr(generations_t) generations = NULL;

    if (!master) {
        g_autofree char *folder = g_dir_make_tmp("virtcrypt-fuzz-XXXXXX", NULL);

        master = new_key();
        path = g_build_filename(folder, "generations", NULL);
        atexit(remove_file);
    }
    put_file(path, input, len);
    generations = generations_open(path, master, NULL, &error);
    if (!generations)
        check(strstr(error->message, path) != NULL || strstr(error->message, "generations"));
    else
        /* Nothing but what was made with the key. */
        check(len == 140 && generations_number(generations) == 4 &&
              generations_is_rotating(generations));
    return 0;
}
