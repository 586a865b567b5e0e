/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the log's level and outputs. This is process state, and the only module besides main.c that
 * has any.
 */
#include "util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "util/error.h"

struct output {
    enum log_level level;
    void (*write)(struct output *output, enum log_level level, const char *function, int line,
                  const char *text);
    FILE *file;
    char *ident;
};

static GMutex lock;
static enum log_level lowest = LOG_LEVEL_WARN;
static GPtrArray *outputs; /* NULL: the default, stderr */

static const struct {
    const char *name;
    int priority; /* of syslog(3) */
} levels[] = {
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_WARN] = {"warning", LOG_WARNING},
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
};

static void
write_to_stream(struct output *output, enum log_level level, const char *function, int line,
                const char *text)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");

    fprintf(output->file, "%s.%03d+0000: %ld: %s : %s:%d : %s\n", stamp,
            g_date_time_get_microsecond(now) / 1000, syscall(SYS_gettid), levels[level].name,
            function, line, text);
    fflush(output->file);
}

static void
write_to_journal(struct output *output, enum log_level level, const char *function, int line,
                 const char *text)
{
    g_autofree char *priority = g_strdup_printf("%d", levels[level].priority);
    g_autofree char *line_text = g_strdup_printf("%d", line);
    const GLogField fields[] = {
        {"MESSAGE", text, -1},
        {"PRIORITY", priority, -1},
        {"CODE_FUNC", function, -1},
        {"CODE_LINE", line_text, -1},
        {"SYSLOG_IDENTIFIER", g_get_prgname(), -1},
    };

    g_log_writer_journald(G_LOG_LEVEL_MESSAGE, fields, G_N_ELEMENTS(fields), NULL);
}

static void
write_to_syslog(struct output *output, enum log_level level, const char *function, int line,
                const char *text)
{
    syslog(levels[level].priority, "%s:%d : %s", function, line, text);
}

static void
output_free(void *opaque)
{
    struct output *output = opaque;

    if (output->file && output->file != stderr)
        fclose(output->file);
    g_free(output->ident);
    g_free(output);
}

/* Reads one "LEVEL:KIND[:ARGUMENT]". */
static struct output *
parse_output(const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 3);
    guint count = g_strv_length(parts);
    g_autofree struct output *output = g_new0(struct output, 1);

    if (count < 2 || strlen(parts[0]) != 1 || parts[0][0] < '1' || parts[0][0] > '4') {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "log output '%s' is not of the form LEVEL:DESTINATION with a level of 1 to 4",
                  text);
        return NULL;
    }
    output->level = (enum log_level)(parts[0][0] - '0');
    if (g_str_equal(parts[1], "stderr") && count == 2) {
        output->write = write_to_stream;
        output->file = stderr;
    } else if (g_str_equal(parts[1], "journald") && count == 2) {
        output->write = write_to_journal;
    } else if (g_str_equal(parts[1], "syslog") && count == 3) {
        output->write = write_to_syslog;
        output->ident = g_strdup(parts[2]);
    } else if (g_str_equal(parts[1], "file") && count == 3) {
        output->write = write_to_stream;
        output->file = fopen(parts[2], "ae");
        if (!output->file) {
            error_set_errno(error, ERROR_FROM_CONF, errno, "cannot open the log file %s", parts[2]);
            return NULL;
        }
    } else {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "log output '%s' is none of stderr, journald, syslog:NAME, file:PATH", text);
        return NULL;
    }
    return g_steal_pointer(&output);
}

void
log_set_level(enum log_level level)
{
    g_mutex_lock(&lock);
    lowest = level;
    g_mutex_unlock(&lock);
}

bool
log_set_outputs(const char *text, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(text, " \t", -1);
    g_autoptr(GPtrArray) parsed = g_ptr_array_new_with_free_func(output_free);
    GPtrArray *old;

    for (char **word = words; *word; word++) {
        struct output *output;

        if (**word == '\0')
            continue;
        output = parse_output(*word, error);
        if (!output)
            return false;
        if (output->ident)
            openlog(output->ident, LOG_PID, LOG_DAEMON);
        g_ptr_array_add(parsed, output);
    }
    g_mutex_lock(&lock);
    old = outputs;
    outputs = parsed->len > 0 ? g_ptr_array_ref(parsed) : NULL;
    g_mutex_unlock(&lock);
    if (old)
        g_ptr_array_unref(old);
    return true;
}

static void
write_to_default(enum log_level level, const char *function, int line, const char *text)
{
    struct output output = {.level = LOG_LEVEL_DEBUG, .file = stderr};

    if (g_log_writer_is_journald(STDERR_FILENO))
        write_to_journal(&output, level, function, line, text);
    else
        write_to_stream(&output, level, function, line, text);
}

void
log_line(enum log_level level, const char *function, int line, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if (level < lowest)
        return;
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_mutex_lock(&lock);
    if (!outputs)
        write_to_default(level, function, line, text);
    for (guint i = 0; outputs && i < outputs->len; i++) {
        struct output *output = g_ptr_array_index(outputs, i);

        if (level >= output->level)
            output->write(output, level, function, line, text);
    }
    g_mutex_unlock(&lock);
}
