/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: store backup: the daemon's copy of the store becomes a file, whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/protocol/virtcrypt_store_client.h"
#include "tools/job.h"
#include "tools/output.h"
#include "tools/virsh-store-commands.h"
#include "util/error.h"
#include "util/file.h"

enum { FILE_MODE = 0600, MAGIC_SIZE = 8 };

static const char magic[MAGIC_SIZE] = {'V', 'C', 'B', 'A', 'C', 'K', 'U', 'P'};

/* The file in the making: FILE.new, beside FILE. */
struct output {
    const char *path;
    char *name;
    char *new_name;
    file_fd dir_fd;
    file_fd fd; /* -1: there is nothing to take back */
};

static void
output_file_clear(struct output *output)
{
    if (output->fd >= 0)
        unlinkat(output->dir_fd, output->new_name, 0);
    file_fd_clear(&output->fd);
    file_fd_clear(&output->dir_fd);
    g_free(output->name);
    g_free(output->new_name);
}

typedef struct output output_file_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(output_file_t, output_file_clear)

/* Whether what has that name may go: it is a backup, or the beginning of one. */
static bool
check_replaceable(const struct output *output, const char *name, GError **error)
{
    g_auto(file_fd) fd =
        openat(output->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char found[MAGIC_SIZE];
    struct stat info;
    ssize_t got = 0;

    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        got = pread(fd, found, sizeof(found), 0);
    else
        got = -1;
    if (got == 0 || (got == MAGIC_SIZE && memcmp(found, magic, MAGIC_SIZE) == 0))
        return true;
    error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_INVALID,
              "%s is there already, and is no backup: name another file, or remove it", name);
    return false;
}

static bool
open_output(struct output *output, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(output->path);

    output->name = g_path_get_basename(output->path);
    output->new_name = g_strconcat(output->name, ".new", NULL);
    output->dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (output->dir_fd < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot open the folder %s", folder);
        return false;
    }
    if (!check_replaceable(output, output->name, error) ||
        !check_replaceable(output, output->new_name, error))
        return false;
    unlinkat(output->dir_fd, output->new_name, 0);
    output->fd = openat(output->dir_fd, output->new_name,
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (output->fd >= 0)
        return true;
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot make the file %s.new", output->path);
    return false;
}

static bool
set_write_error(const struct output *output, GError **error)
{
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot write the file %s", output->path);
    return false;
}

/* COMMIT POINT: the rename. */
static bool
commit_output(struct output *output, GError **error)
{
    if (fsync(output->fd) < 0 ||
        renameat(output->dir_fd, output->new_name, output->dir_fd, output->name) < 0)
        return set_write_error(output, error);
    file_fd_clear(&output->fd);
    return file_sync_dir(output->dir_fd, error);
}

/* The part of the copy from `at` on; *ret_len bytes were written. */
static bool
copy_part(struct rpc_client *client, const struct output *output, uint64_t at, uint32_t *ret_len,
          GError **error)
{
    const struct virtcrypt_store_backup_read_args call = {.at = at,
                                                          .max = VIRTCRYPT_STORE_CHUNK_MAX};
    struct virtcrypt_store_backup_read_ret part = {0};
    bool is_good;

    if (!virtcrypt_store_backup_read_call(client, &call, &part, error))
        return false;
    is_good =
        file_write_all(output->fd, part.bytes, part.bytes_len) || set_write_error(output, error);
    *ret_len = part.bytes_len;
    virtcrypt_store_backup_read_ret_clear(&part);
    return is_good;
}

static bool
copy_all(struct session *session, const struct output *output, uint64_t size, GError **error)
{
    g_auto(job_t) job = {.interrupts = -1};
    bool is_good = job_begin(&job, "Back up", session->is_quiet, error);
    uint64_t at = 0;

    while (is_good && at < size) {
        uint32_t len = 0;

        is_good = copy_part(session->client, output, at, &len, error);
        at += len;
        if (is_good && (len == 0 || at > size)) {
            error_set(error, ERROR_FROM_RPC, ERROR_RPC,
                      "the daemon's backup is not of the size "
                      "that it said");
            is_good = false;
        } else if (is_good && job_take_interrupt(&job)) {
            error_set(error, ERROR_FROM_NONE, ERROR_OPERATION_ABORTED, "interrupted");
            is_good = false;
        }
        if (is_good)
            job_show(&job, (uint32_t)(at * 1000 / size));
    }
    job_end_line(&job);
    return is_good;
}

static void
print_lost(const struct virtcrypt_store_backup_begin_ret *begun)
{
    for (uint32_t i = 0; i < begun->lost_len; i++) {
        g_autofree char *text = g_strdup_printf("not in the backup: %s: %s", begun->lost[i].file,
                                                begun->lost[i].problem);

        output_warning(text);
    }
}

static bool
back_up(struct session *session, struct output *output,
        struct virtcrypt_store_backup_begin_ret *ret_begun, GError **error)
{
    return open_output(output, error) &&
           virtcrypt_store_backup_begin_call(session->client, ret_begun, error) &&
           copy_all(session, output, ret_begun->size, error) && commit_output(output, error);
}

bool
virsh_store_backup(struct session *session, const struct command_args *args)
{
    g_auto(output_file_t) output = {.dir_fd = -1, .fd = -1};
    struct virtcrypt_store_backup_begin_ret begun = {0};
    g_autoptr(GError) error = NULL;
    char *path = NULL;
    bool is_done;

    if (!command_get_text(args, "file", &path, &error))
        return output_gerror(error);
    output.path = path;
    is_done = back_up(session, &output, &begun, &error);
    if (is_done) {
        print_lost(&begun);
        if (!session->is_quiet)
            printf("%u secrets were backed up to %s\n", begun.secrets, path);
    } else {
        output_failure(error, "Failed to back the store up to %s", path);
    }
    virtcrypt_store_backup_begin_ret_clear(&begun);
    return is_done;
}
