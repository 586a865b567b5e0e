/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the log's level, filters and outputs. This is process state, and the only module besides
 * main.c that has any.
 */
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "util/error.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(log, "openat close write socket connect sendmsg sendto");

struct record {
    enum log_level level;
    const char *source;
    const char *function;
    int line;
    const char *text;
};

struct output {
    enum log_level level;
    void (*write)(struct output *output, const struct record *record);
    FILE *file;
    char *path;  /* of the file to open, NULL for none */
    char *ident; /* of syslog, which keeps the pointer */
};

struct filter {
    enum log_level level;
    char *pattern;
};

static GMutex lock; /* guards all below; `threshold` is also read without it */
static enum log_level default_level = LOG_LEVEL_WARN;
static gint threshold = LOG_LEVEL_WARN; /* the lowest level that any line may pass */
static GPtrArray *filters;              /* struct filter; NULL: none */
static GPtrArray *outputs;              /* struct output; NULL: the default, stderr */

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
write_to_stream(struct output *output, const struct record *record)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");

    fprintf(output->file, "%s.%03d+0000: %ld: %s : %s:%d : %s\n", stamp,
            g_date_time_get_microsecond(now) / 1000, syscall(SYS_gettid),
            levels[record->level].name, record->function, record->line, record->text);
    fflush(output->file);
}

static void
write_to_journal(struct output *output, const struct record *record)
{
    g_autofree char *priority = g_strdup_printf("%d", levels[record->level].priority);
    g_autofree char *line = g_strdup_printf("%d", record->line);
    const char *program = g_get_prgname();
    const GLogField fields[] = {
        {"MESSAGE", record->text, -1},
        {"PRIORITY", priority, -1},
        {"CODE_FILE", record->source, -1},
        {"CODE_FUNC", record->function, -1},
        {"CODE_LINE", line, -1},
        {"SYSLOG_IDENTIFIER", program ? program : "virtcrypt", -1},
    };

    g_log_writer_journald(G_LOG_LEVEL_MESSAGE, fields, G_N_ELEMENTS(fields), NULL);
}

static void
write_to_syslog(struct output *output, const struct record *record)
{
    syslog(levels[record->level].priority, "%s:%d : %s", record->function, record->line,
           record->text);
}

static void
output_free(void *opaque)
{
    struct output *output = opaque;

    if (output->file && output->file != stderr)
        fclose(output->file);
    g_free(output->path);
    g_free(output->ident);
    g_free(output);
}

typedef struct output output_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(output_t, output_free)

static void
filter_free(void *opaque)
{
    struct filter *filter = opaque;

    g_free(filter->pattern);
    g_free(filter);
}

static bool
parse_level(const char *text, enum log_level *ret_level)
{
    if (strlen(text) != 1 || *text < '1' || *text > '4')
        return false;
    *ret_level = (enum log_level)(*text - '0');
    return true;
}

static FILE *
open_log_file(const char *path, GError **error)
{
    g_autofree char *absolute = g_canonicalize_filename(path, NULL);
    int fd = open(absolute, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "a") : NULL;

    if (!file)
        error_set_errno(error, ERROR_FROM_CONF, errno, "cannot open the log file %s", absolute);
    return file;
}

static bool
set_destination(struct output *output, const char *text, const char *kind, const char *argument,
                GError **error)
{
    bool takes_argument = g_str_equal(kind, "syslog") || g_str_equal(kind, "file");

    if (!takes_argument && !g_str_equal(kind, "stderr") && !g_str_equal(kind, "journald")) {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "Invalid log destination '%s' for log output '%s': it is none of stderr, "
                  "journald, syslog:NAME, file:PATH",
                  kind, text);
        return false;
    }
    if (takes_argument != (argument && *argument)) {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "Log output '%s' does not meet the format requirements for destination type "
                  "'%s'",
                  text, kind);
        return false;
    }
    output->write = write_to_stream;
    if (g_str_equal(kind, "journald")) {
        output->write = write_to_journal;
    } else if (g_str_equal(kind, "syslog")) {
        output->write = write_to_syslog;
        output->ident = g_strdup(argument);
    } else if (g_str_equal(kind, "file")) {
        output->path = g_strdup(argument);
    } else {
        output->file = stderr;
    }
    return true;
}

/* Reads one "LEVEL:KIND[:ARGUMENT]"; opens nothing. */
static struct output *
parse_output(const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 3);
    g_autoptr(output_t) output = g_new0(struct output, 1);

    if (g_strv_length(parts) < 2) {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "Malformed format for log output '%s': it is not LEVEL:DESTINATION", text);
        return NULL;
    }
    if (!parse_level(parts[0], &output->level)) {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "Invalid log priority '%s' for log output '%s': it is not 1 to 4", parts[0],
                  text);
        return NULL;
    }
    if (!set_destination(output, text, parts[1], parts[2], error))
        return NULL;
    return g_steal_pointer(&output);
}

/* Reads one "LEVEL:MATCH". */
static struct filter *
parse_filter(const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 2);
    enum log_level level;
    struct filter *filter;

    if (g_strv_length(parts) < 2) {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "Malformed format for filter '%s': it is not LEVEL:MATCH", text);
        return NULL;
    }
    if (!parse_level(parts[0], &level)) {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "Invalid priority '%s' for filter '%s': it is not 1 to 4", parts[0], text);
        return NULL;
    }
    if (parts[1][0] == '\0' || parts[1][0] == '+') {
        error_set(error, ERROR_FROM_CONF, ERROR_INVALID_ARG,
                  "Invalid match string '%s' for filter '%s'%s", parts[1], text,
                  parts[1][0] == '+' ? ": there are no stack traces here, remove the '+'" : "");
        return NULL;
    }
    filter = g_new0(struct filter, 1);
    filter->level = level;
    filter->pattern = g_strdup_printf("*%s*", parts[1]);
    return filter;
}

/* The words of `text`, each read by `parse`; NULL when one is wrong. */
static GPtrArray *
parse_words(const char *text, void *(*parse)(const char *word, GError **error),
            GDestroyNotify destroy, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(text, " \t\n", -1);
    g_autoptr(GPtrArray) parsed = g_ptr_array_new_with_free_func(destroy);

    for (char **word = words; *word; word++) {
        void *item = **word ? parse(*word, error) : NULL;

        if (**word && !item)
            return NULL;
        if (item)
            g_ptr_array_add(parsed, item);
    }
    return g_steal_pointer(&parsed);
}

static void *
parse_output_word(const char *word, GError **error)
{
    return parse_output(word, error);
}

static void *
parse_filter_word(const char *word, GError **error)
{
    return parse_filter(word, error);
}

/* Call with the lock held. */
static void
update_threshold(void)
{
    enum log_level lowest = default_level;

    for (guint i = 0; filters && i < filters->len; i++) {
        const struct filter *filter = g_ptr_array_index(filters, i);

        lowest = MIN(lowest, filter->level);
    }
    g_atomic_int_set(&threshold, (gint)lowest);
}

void
log_set_level(enum log_level level)
{
    g_mutex_lock(&lock);
    default_level = level;
    update_threshold();
    g_mutex_unlock(&lock);
}

bool
log_check_filters(const char *text, GError **error)
{
    g_autoptr(GPtrArray) parsed = parse_words(text, parse_filter_word, filter_free, error);

    return parsed != NULL;
}

bool
log_set_filters(const char *text, GError **error)
{
    g_autoptr(GPtrArray) parsed = parse_words(text, parse_filter_word, filter_free, error);
    GPtrArray *old;

    if (!parsed)
        return false;
    g_mutex_lock(&lock);
    old = filters;
    filters = parsed->len > 0 ? g_ptr_array_ref(parsed) : NULL;
    update_threshold();
    g_mutex_unlock(&lock);
    if (old)
        g_ptr_array_unref(old);
    return true;
}

/* syslog(3) has one connection and keeps its identity by pointer: the last syslog output's, or none
 * that would dangle. */
static void
open_syslog(const GPtrArray *set)
{
    closelog();
    for (guint i = 0; set && i < set->len; i++) {
        const struct output *output = g_ptr_array_index(set, i);

        if (output->ident)
            openlog(output->ident, LOG_PID, LOG_DAEMON);
    }
}

static bool
open_files(const GPtrArray *set, GError **error)
{
    for (guint i = 0; i < set->len; i++) {
        struct output *output = g_ptr_array_index(set, i);

        if (output->path) {
            output->file = open_log_file(output->path, error);
            if (!output->file)
                return false;
        }
    }
    return true;
}

bool
log_check_outputs(const char *text, GError **error)
{
    g_autoptr(GPtrArray) parsed = parse_words(text, parse_output_word, output_free, error);

    return parsed != NULL;
}

bool
log_set_outputs(const char *text, GError **error)
{
    g_autoptr(GPtrArray) parsed = parse_words(text, parse_output_word, output_free, error);
    GPtrArray *old;

    if (!parsed || !open_files(parsed, error))
        return false;
    g_mutex_lock(&lock);
    old = outputs;
    outputs = parsed->len > 0 ? g_ptr_array_ref(parsed) : NULL;
    open_syslog(outputs);
    g_mutex_unlock(&lock);
    if (old)
        g_ptr_array_unref(old);
    return true;
}

/* "rpc.server" for ".../src/rpc/server.c". */
static char *
name_source(const char *file)
{
    const char *below = g_strrstr(file, "src/");
    const char *start = below ? below + strlen("src/") : file;
    const char *dot = strrchr(start, '.');
    char *name = g_strndup(start, dot ? (gsize)(dot - start) : strlen(start));

    return g_strdelimit(name, "/", '.');
}

/* Call with the lock held. */
static bool
is_wanted(const struct record *record)
{
    for (guint i = 0; filters && i < filters->len; i++) {
        const struct filter *filter = g_ptr_array_index(filters, i);

        if (fnmatch(filter->pattern, record->source, 0) == 0 ||
            fnmatch(filter->pattern, record->function, 0) == 0)
            return record->level >= filter->level;
    }
    return record->level >= default_level;
}

/* Replaces control characters by escapes. */
static char *
escape_controls(const char *text)
{
    GString *out = g_string_sized_new(strlen(text) + 1);

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '\n')
            g_string_append(out, "\\n");
        else if ((c < 0x20 && c != '\t') || c == 0x7f)
            g_string_append_printf(out, "\\x%02x", c);
        else
            g_string_append_c(out, *text);
    }
    return g_string_free(out, FALSE);
}

static void
write_to_default(const struct record *record)
{
    struct output output = {.level = LOG_LEVEL_DEBUG, .file = stderr};

    if (g_log_writer_is_journald(STDERR_FILENO))
        write_to_journal(&output, record);
    else
        write_to_stream(&output, record);
}

/* Call with the lock held. */
static void
write_record(const struct record *record)
{
    if (!outputs)
        write_to_default(record);
    for (guint i = 0; outputs && i < outputs->len; i++) {
        struct output *output = g_ptr_array_index(outputs, i);

        if (record->level >= output->level)
            output->write(output, record);
    }
}

void
log_line(enum log_level level, const char *file, const char *function, int line, const char *format,
         ...)
{
    g_autofree char *source = NULL;
    g_autofree char *raw = NULL;
    g_autofree char *text = NULL;
    struct record record = {.level = level, .function = function, .line = line};
    va_list args;

    if ((gint)level < g_atomic_int_get(&threshold))
        return;
    va_start(args, format);
    raw = g_strdup_vprintf(format, args);
    va_end(args);
    text = escape_controls(raw);
    source = name_source(file);
    record.text = text;
    record.source = source;
    g_mutex_lock(&lock);
    if (is_wanted(&record))
        write_record(&record);
    g_mutex_unlock(&lock);
}
