/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt's system token: made once, shared by whoever comes later, never from a file that others
 * could have made or read.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "rpc/system_token.h"

struct fixture {
    struct folder folder;
    char *path; /* of the folder with the token */
    int dir_fd;
};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    folder_init(&on->folder);
    on->path = folder_path(&on->folder, "libvirt/common");
    on->dir_fd = -1;
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    if (on->dir_fd >= 0)
        close(on->dir_fd);
    folder_clear(&on->folder);
    g_free(on->path);
}

static char *
token_path(struct fixture *on)
{
    return g_build_filename(on->path, "system.token", NULL);
}

static void
put_token(struct fixture *on, const char *text, mode_t mode)
{
    g_autofree char *path = token_path(on);

    g_assert_cmpint(g_mkdir_with_parents(on->path, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, mode), ==, 0);
}

static void
expect_refusal(struct fixture *on, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(rpc_system_token_open(on->path, &error));
    expect_error_part(error, code, ERROR_FROM_IDENTITY, part);
}

static void
test_token_is_made_once(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) first = rpc_system_token_open(on->path, &error);
    g_autoptr(secret_buf_t) second = rpc_system_token_open(on->path, &error);
    g_autofree char *path = token_path(on);
    struct stat folder;
    struct stat file;

    g_assert_no_error(error);
    g_assert_cmpuint(secret_buf_len(first), ==, 32);
    g_assert_true(secret_buf_equal(first, second));
    for (size_t i = 0; i < 32; i++)
        g_assert_nonnull(strchr("0123456789abcdef", secret_buf_bytes(first)[i]));
    g_assert_cmpint(stat(on->path, &folder), ==, 0);
    g_assert_cmpint(folder.st_mode & 07777, ==, 0700);
    g_assert_cmpint(stat(path, &file), ==, 0);
    g_assert_cmpint(file.st_mode & 07777, ==, 0600);
    g_assert_cmpint(file.st_size, ==, 32);
}

static void
test_tokens_differ(struct fixture *on, gconstpointer unused)
{
    g_autofree char *other = folder_path(&on->folder, "other");
    g_autoptr(secret_buf_t) first = rpc_system_token_open(on->path, NULL);
    g_autoptr(secret_buf_t) second = rpc_system_token_open(other, NULL);

    g_assert_false(secret_buf_equal(first, second));
}

static void
test_token_of_another_daemon_is_read(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) token = NULL;

    put_token(on, "0123456789abcdef0123456789abcdef", 0600);
    token = rpc_system_token_open(on->path, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(token), secret_buf_len(token),
                    "0123456789abcdef0123456789abcdef", 32);
}

static void
test_empty_file_is_filled(struct fixture *on, gconstpointer unused)
{
    g_autoptr(secret_buf_t) token = NULL;

    put_token(on, "", 0644);
    token = rpc_system_token_open(on->path, NULL);
    g_assert_nonnull(token);
    g_assert_cmpuint(secret_buf_len(token), ==, 32);
}

static void
test_bad_content_is_refused(struct fixture *on, gconstpointer content)
{
    put_token(on, content, 0600);
    expect_refusal(on, ERROR_OPERATION_INVALID,
                   "does not hold 32 hexadecimal characters; stop libvirt's daemons");
}

static void
test_file_open_to_others_is_refused(struct fixture *on, gconstpointer unused)
{
    put_token(on, "0123456789abcdef0123456789abcdef", 0644);
    expect_refusal(on, ERROR_OPERATION_INVALID, "is open to others (mode 0644)");
}

static void
test_symbolic_link_is_refused(struct fixture *on, gconstpointer unused)
{
    g_autofree char *path = token_path(on);

    folder_put_text(&on->folder, "elsewhere", "0123456789abcdef0123456789abcdef");
    g_assert_cmpint(g_mkdir_with_parents(on->path, 0700), ==, 0);
    g_assert_cmpint(symlink("../../elsewhere", path), ==, 0);
    expect_refusal(on, ERROR_SYSTEM, "cannot open the file");
}

static void
test_folder_in_place_of_the_file_is_refused(struct fixture *on, gconstpointer unused)
{
    g_autofree char *path = token_path(on);

    g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
    expect_refusal(on, ERROR_SYSTEM, "cannot open the file");
}

static void
test_file_of_another_user_is_refused(struct fixture *on, gconstpointer unused)
{
    g_autofree char *path = token_path(on);

    if (geteuid() != 0) {
        g_test_skip("needs root to give a file away");
        return;
    }
    put_token(on, "0123456789abcdef0123456789abcdef", 0600);
    g_assert_cmpint(chown(path, 65534, 0), ==, 0);
    expect_refusal(on, ERROR_OPERATION_INVALID, "belongs to user 65534");
}

#define ADD_AS(label, name, data)                                                                  \
    g_test_add("/rpc/system_token/" label, struct fixture, data, set_up, test_##name, tear_down)
#define ADD(name) ADD_AS(#name, name, NULL)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(token_is_made_once);
    ADD(tokens_differ);
    ADD(token_of_another_daemon_is_read);
    ADD(empty_file_is_filled);
    ADD_AS("short_content_is_refused", bad_content_is_refused, "0123456789abcdef");
    ADD_AS("long_content_is_refused", bad_content_is_refused, "0123456789abcdef0123456789abcdef\n");
    ADD_AS("foreign_content_is_refused", bad_content_is_refused,
           "0123456789abcdef0123456789abcdeg");
    ADD(file_open_to_others_is_refused);
    ADD(symbolic_link_is_refused);
    ADD(folder_in_place_of_the_file_is_refused);
    ADD(file_of_another_user_is_refused);
    return g_test_run();
}
