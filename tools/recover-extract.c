/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: virtcrypt-recover's extract. Nobody sees the value before its line is in the audit.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tools/output.h"
#include "tools/recover-commands.h"
#include "util/error.h"
#include "util/file.h"

enum { FILE_MODE = 0600 };

/* Where the value goes. */
struct target {
    const char *path; /* NULL: standard output */
    file_fd fd;       /* of that file */
    bool is_kept;
};

/* A file that did not get its value goes. */
static void
target_clear(struct target *target)
{
    if (target->fd >= 0 && !target->is_kept)
        unlink(target->path);
    file_fd_clear(&target->fd);
}

typedef struct target target_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(target_t, target_clear)

static bool
check_terminal(const struct target *target, const struct command_args *args, GError **error)
{
    if (target->path || !isatty(STDOUT_FILENO))
        return true;
    if (command_has(args, "force")) {
        output_warning("the value is shown on the terminal, whose window may keep it");
        return true;
    }
    error_set(
        error, ERROR_FROM_NONE, ERROR_OPERATION_INVALID,
        "standard output is a terminal, whose window may keep what is shown: give a file with "
        "--output, or --force");
    return false;
}

static bool
open_target(struct target *target, GError **error)
{
    if (!target->path)
        return true;
    target->fd =
        open(target->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (target->fd >= 0)
        return true;
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot make the file %s", target->path);
    return false;
}

static bool
write_audit(struct offline_store *store, const struct offline_secret *secret, const char *path,
            GError **error)
{
    g_autofree char *reason =
        path ? g_strdup_printf("virtcrypt-recover wrote the value to %s", path)
             : g_strdup("virtcrypt-recover wrote the value to standard output");
    const struct audit_event event = {
        .event = "extract",
        .secret = &secret->entry.uuid,
        .reason = reason,
        .generation = secret->reading.value.generation,
    };

    if (offline_store_audit(store, &event, error))
        return true;
    g_prefix_error(error, "the store's audit can't be written, and no value is given without a "
                          "line in it (on a medium that is read-only work on a copy): ");
    return false;
}

static bool
write_value(struct target *target, const struct secret_buf *value, GError **error)
{
    if (!target->path)
        return output_secret(value, error);
    if (file_write_all(target->fd, secret_buf_bytes(value), secret_buf_len(value)) &&
        fsync(target->fd) == 0) {
        target->is_kept = true;
        return true;
    }
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot write the file %s", target->path);
    return false;
}

static bool
extract(struct recover *recover, const struct command_args *args, struct target *target,
        GError **error)
{
    const struct offline_secret *secret;
    g_autoptr(secret_buf_t) value = NULL;
    char *name = NULL;

    if (!command_get_text(args, "secret", &name, error))
        return false;
    secret = offline_store_find(recover->store, name, error);
    if (secret)
        value = offline_store_open_value(recover->store, secret, error);
    return value && open_target(target, error) &&
           write_audit(recover->store, secret, target->path, error) &&
           write_value(target, value, error);
}

bool
recover_extract(struct recover *recover, const struct command_args *args)
{
    g_auto(target_t) target = {.fd = -1};
    g_autoptr(GError) error = NULL;
    char *path = NULL;

    recover->status = RECOVER_USAGE;
    if (!command_get_text(args, "output", &path, &error))
        return output_gerror(error);
    target.path = path && strcmp(path, "-") != 0 ? path : NULL;
    if (!check_terminal(&target, args, &error))
        return output_gerror(error);
    if (!recover_open(recover, args, false))
        return false;
    if (extract(recover, args, &target, &error))
        return true;
    recover->status = RECOVER_FAILED;
    return output_failure(error, "Failed to extract the value");
}
