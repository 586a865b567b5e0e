/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: log lines of a daemon, in libvirt's form and with libvirt's levels and outputs
 * (log_level and log_outputs of libvirtd.conf). Never pass key bytes here.
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

/* Lines below `level` are dropped. The start value is LOG_LEVEL_WARN, to stderr (as journal
 * records when stderr is the journal's socket). */
void log_set_level(enum log_level level);

/* Replaces the outputs by `outputs`, in libvirt's syntax: space-separated "LEVEL:stderr",
 * "LEVEL:journald", "LEVEL:syslog:NAME", "LEVEL:file:PATH". Nothing changes on an error. */
bool log_set_outputs(const char *outputs, GError **error);

void log_line(enum log_level level, const char *function, int line, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __func__, __LINE__, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __func__, __LINE__, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __func__, __LINE__, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __func__, __LINE__, __VA_ARGS__)
