/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the configuration file and the log's settings.
 */
#include "daemon/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>

#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

enum { CONFIG_SIZE_MAX = 1024 * 1024 };

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Sets *ret_text to NULL if there is no file and that is all right. A symbolic link is followed, as
 * administrators use them for configuration. */
static bool
read_text(const struct daemon_settings_source *source, GBytes **ret_text, GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autofree char *folder = NULL;
    g_autofree char *name = NULL;
    g_autofree char *resolved = realpath(source->path, NULL);
    g_auto(file_fd) dir_fd = -1;

    if (!resolved) {
        if (errno == ENOENT && source->may_be_missing)
            return true;
        error_set_errno(error, ERROR_FROM_CONF, errno, "cannot read the configuration file %s",
                        source->path);
        return false;
    }
    folder = g_path_get_dirname(resolved);
    name = g_path_get_basename(resolved);
    dir_fd = file_open_dir(folder, false, 0, &reason);
    if (dir_fd >= 0)
        *ret_text = file_read(dir_fd, name, CONFIG_SIZE_MAX, &reason);
    if (!*ret_text) {
        error_set(error, ERROR_FROM_CONF, (enum error_code)error_get_code(reason),
                  "cannot read the configuration file %s: %s", source->path, reason->message);
        return false;
    }
    return true;
}

static bool
apply_file(struct daemon_conf *conf, const struct daemon_settings_source *source,
           GPtrArray *warnings, GError **error)
{
    g_autoptr(GBytes) text = NULL;
    g_autoptr(conf_file_t) file = NULL;
    const char *start;
    gsize len;

    if (!read_text(source, &text, error))
        return false;
    if (!text)
        return true;
    start = g_bytes_get_data(text, &len);
    file = conf_file_parse(source->path, start ? start : "", len, error);
    return file && daemon_conf_apply(conf, file, warnings, error);
}

/* With nowhere to write to, lines go where other daemons of this host have theirs. */
static char *
default_outputs(const struct daemon_settings_source *source)
{
    if (!source->background)
        return NULL;
    return g_file_test(JOURNAL_SOCKET, G_FILE_TEST_EXISTS)
               ? g_strdup("1:journald")
               : g_strdup_printf("1:syslog:%s", daemon_conf_program_name(source->program));
}

static bool
apply_log(const struct daemon_conf *conf, const struct daemon_settings_source *source,
          GError **error)
{
    g_autofree char *outputs =
        conf->log_outputs ? g_strdup(conf->log_outputs) : default_outputs(source);

    if (!log_set_filters(conf->log_filters ? conf->log_filters : "", error) ||
        !log_set_outputs(outputs ? outputs : "", error)) {
        g_prefix_error(error, "%s: log_outputs: ", source->path);
        return false;
    }
    log_set_level(source->verbose ? MIN((enum log_level)conf->log_level, LOG_LEVEL_INFO)
                                  : (enum log_level)conf->log_level);
    return true;
}

struct daemon_conf *
daemon_settings_read(const struct daemon_settings_source *source, GError **error)
{
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(source->program, source->session);
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);

    if (!apply_file(conf, source, warnings, error) || !apply_log(conf, source, error))
        return NULL;
    for (guint i = 0; i < warnings->len; i++)
        log_warn("%s", (const char *)g_ptr_array_index(warnings, i));
    return g_steal_pointer(&conf);
}
