/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the tests of LUKS share: containers in a temporary folder, keys, and the tools of
 * others that judge what we wrote.
 */
#pragma once

#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"
#include "folder.h"
#include "storage/luks.h"

/* 256 bits as base64url, like a generated key. */
static const char luks_key_text[] = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k";
static const char luks_other_text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

struct luks_fixture {
    struct folder folder;
    char *path; /* a sparse file of 64 MiB */
    char *key_path;
    struct secret_buf *key;
    struct secret_buf *other;
    struct luks_place place;
};

static inline void
luks_fixture_make_file(const struct luks_fixture *fixture, const char *name, uint64_t size)
{
    int fd = openat(fixture->folder.fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    close(fd);
}

static inline void
luks_fixture_init(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    folder_init(&fixture->folder);
    fixture->path = folder_path(&fixture->folder, "container");
    fixture->key_path = folder_path(&fixture->folder, "key");
    luks_fixture_make_file(fixture, "container", 64 * 1024 * 1024);
    folder_put_text(&fixture->folder, "key", luks_key_text);
    fixture->key = secret_buf_new_from(luks_key_text, strlen(luks_key_text), &error);
    g_assert_no_error(error);
    fixture->other = secret_buf_new_from(luks_other_text, strlen(luks_other_text), &error);
    g_assert_no_error(error);
    fixture->place = (struct luks_place){.device = fixture->path};
}

static inline void
luks_fixture_clear(struct luks_fixture *fixture, gconstpointer unused)
{
    secret_buf_free(fixture->key);
    secret_buf_free(fixture->other);
    g_free(fixture->path);
    g_free(fixture->key_path);
    folder_clear(&fixture->folder);
}

/* Runs a tool of others by the shell, which test data are safe for: its output (both streams), and
 * whether it ended with 0. */
static inline bool luks_fixture_run(char **ret_output, const char *format, ...) G_GNUC_PRINTF(2, 3);
static inline bool
luks_fixture_run(char **ret_output, const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *command = NULL;
    g_autofree char *script = NULL;
    g_autofree char *output = NULL;
    const char *argv[] = {"timeout", "50", "sh", "-c", NULL, NULL};
    va_list arguments;
    int status;

    va_start(arguments, format);
    command = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    script = g_strconcat(command, " 2>&1", NULL);
    argv[4] = script;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, NULL, &status,
                 &error);
    g_assert_no_error(error);
    g_test_message("%s: %s", command, output);
    if (ret_output)
        *ret_output = g_steal_pointer(&output);
    return g_spawn_check_wait_status(status, NULL);
}

static inline void
luks_fixture_format(const struct luks_fixture *fixture, enum luks_type type)
{
    const struct luks_format_params params = {.type = type, .kdf = LUKS_KDF_FULL_ENTROPY};
    g_autoptr(GError) error = NULL;

    luks_format(&fixture->place, &params, fixture->key, &error);
    g_assert_no_error(error);
}
