/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: log lines of a daemon, in libvirt's form and with libvirt's levels, filters and outputs
 * (log_level, log_filters and log_outputs of libvirtd.conf). A line stays one line: control
 * characters, which may come from a client, are written as escapes. Never pass key bytes here.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum log_level {
    LOG_LEVEL_DEBUG = 1,
    LOG_LEVEL_INFO = 2,
    LOG_LEVEL_WARN = 3,
    LOG_LEVEL_ERROR = 4,
};

/* Lines below `level` are dropped, unless a filter says otherwise. The start value is
 * LOG_LEVEL_WARN, to stderr (as journal records when stderr is the journal's socket). */
void log_set_level(enum log_level level);

/* Replaces the filters by `filters`, in libvirt's syntax: space-separated "LEVEL:MATCH". Lines from
 * a source ("rpc.server" for src/rpc/server.c) or function that contains MATCH, which may hold the
 * wildcards of fnmatch(3), are dropped below that LEVEL instead of log_set_level's; the first
 * filter that matches counts. Nothing changes on an error. */
bool log_set_filters(const char *filters, GError **error);

/* Whether log_set_filters would take `filters`. */
bool log_check_filters(const char *filters, GError **error);

/* Replaces the outputs by `outputs`, in libvirt's syntax: space-separated "LEVEL:stderr",
 * "LEVEL:journald", "LEVEL:syslog:NAME", "LEVEL:file:PATH". Nothing changes on an error. */
bool log_set_outputs(const char *outputs, GError **error);

/* Whether log_set_outputs would take `outputs`, if it can open the files. */
bool log_check_outputs(const char *outputs, GError **error);

/* `file` is the source's __FILE__. */
void log_line(enum log_level level, const char *file, const char *function, int line,
              const char *format, ...) G_GNUC_PRINTF(5, 6);

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __FILE__, __func__, __LINE__, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __FILE__, __func__, __LINE__, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __FILE__, __func__, __LINE__, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __FILE__, __func__, __LINE__, __VA_ARGS__)
