/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: store restore: without a daemon, and what of a backup can be restored.
 */
#include <stdio.h>
#include <unistd.h>

#include "recover/restore.h"
#include "tools/output.h"
#include "tools/unlock_input.h"
#include "tools/virsh-store-commands.h"

struct restoring {
    struct offline_paths *paths;
    struct backup_reader *reader;
    struct master_key *master;
};

static void
restoring_clear(struct restoring *restoring)
{
    master_key_free(restoring->master);
    backup_reader_free(restoring->reader);
    offline_paths_free(restoring->paths);
}

typedef struct restoring restoring_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(restoring_t, restoring_clear)

static bool
unlock(void *opaque, const struct unlock_context *context, const struct offline_key *key,
       GError **error)
{
    struct restoring *restoring = opaque;

    restoring->master = offline_unlock_slots(
        restoring->paths, context, backup_reader_slots(restoring->reader), key, NULL, error);
    return restoring->master != NULL;
}

static bool
needs_person(void *opaque, const struct offline_key *key)
{
    const struct restoring *restoring = opaque;

    return offline_unlock_slots_need_person(backup_reader_slots(restoring->reader), key);
}

static bool
open_backup(struct restoring *restoring, struct unlock_input *input, const char *path,
            GError **error)
{
    const struct unlock_target target = {unlock, needs_person, restoring};

    restoring->paths = offline_paths_new(NULL, geteuid() != 0, error);
    if (!restoring->paths)
        return false;
    restoring->reader = backup_reader_open(path, error);
    return restoring->reader && unlock_input_run(input, &target, error) &&
           backup_reader_unlock(restoring->reader, restoring->master, error);
}

static void
print_losses(const struct restore_content *content)
{
    for (guint i = 0; content->damage && i < content->damage->len; i++) {
        g_autofree char *text =
            g_strdup_printf("in the backup: %s", (char *)content->damage->pdata[i]);

        output_warning(text);
    }
    for (guint i = 0; i < content->lost->len; i++) {
        g_autofree char *text =
            g_strdup_printf("not in the backup: %s", (char *)content->lost->pdata[i]);

        output_warning(text);
    }
}

static void
print_report(const struct restore_report *report, bool is_quiet)
{
    print_losses(&report->content);
    if (is_quiet)
        return;
    printf("%" G_GUINT64_FORMAT " secrets with %" G_GUINT64_FORMAT
           " values were restored, and %" G_GUINT64_FORMAT " copies for guests.\n",
           report->content.secrets, report->content.values, report->content.copies);
    if (report->aside)
        printf("What was there before is in %s.\n", report->aside);
    printf("Start virtcrypt-secretd; if no slot opens by itself on this host, run 'virtcrypt\n"
           "master unlock', then 'virtcrypt master add-slot' for this host.\n");
}

static bool
check(const struct restoring *restoring, const struct command_args *args, bool is_quiet)
{
    g_auto(restore_content_t) content = {0};
    g_autoptr(GError) error = NULL;

    if (!restore_content_check(restoring->reader, restoring->master, NULL,
                               command_has(args, "salvage"), &content, &error))
        return output_failure(error, "Failed to check the backup");
    print_losses(&content);
    if (!is_quiet)
        printf("%" G_GUINT64_FORMAT " secrets with %" G_GUINT64_FORMAT
               " values would be restored, and %" G_GUINT64_FORMAT " copies for guests.\n",
               content.secrets, content.values, content.copies);
    return !content.damage || content.damage->len == 0;
}

static bool
restore(const struct restoring *restoring, const struct command_args *args, bool is_quiet)
{
    const struct restore_params params = {
        .paths = restoring->paths,
        .reader = restoring->reader,
        .master = restoring->master,
        .replace = command_has(args, "replace"),
        .salvage = command_has(args, "salvage"),
    };
    g_auto(restore_report_t) report = {0};
    g_autoptr(GError) error = NULL;

    if (!restore_run(&params, &report, &error))
        return output_failure(error, "Failed to restore the store");
    print_report(&report, is_quiet);
    return true;
}

bool
virsh_store_restore(struct session *session, const struct command_args *args)
{
    g_auto(unlock_input_t) input = {0};
    g_auto(restoring_t) restoring = {0};
    g_autoptr(GError) error = NULL;
    char *path = NULL;

    if (!command_get_text(args, "file", &path, &error) || !unlock_input_begin(&input, args, &error))
        return output_gerror(error);
    if (!open_backup(&restoring, &input, path, &error))
        return output_failure(error, "Failed to open the backup %s", path);
    return command_has(args, "dry-run") ? check(&restoring, args, session->is_quiet)
                                        : restore(&restoring, args, session->is_quiet);
}
