/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: output.h.
 */
#include "tools/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "util/error.h"
#include "util/file.h"
#include "util/uuid.h"

static void
print_line(const char *kind, const char *text)
{
    fflush(stdout); /* so that both streams are in order where they meet */
    fprintf(stderr, "%s: %s\n", kind, text);
}

static void
print_error_line(const char *text)
{
    print_line("error", text);
}

void
output_warning(const char *text)
{
    print_line("warning", text);
}

void
output_note(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    print_line("note", text);
}

bool
output_error(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    print_error_line(text);
    return false;
}

bool
output_gerror(const GError *error)
{
    g_autofree char *text = error_describe(error);

    print_error_line(text);
    return false;
}

bool
output_failure(const GError *error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    print_error_line(text);
    return output_gerror(error);
}

bool
output_secret(const struct secret_buf *value, GError **error)
{
    if (fflush(stdout) == 0 &&
        file_write_all(STDOUT_FILENO, secret_buf_bytes(value), secret_buf_len(value)))
        return true;
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot write the value");
    return false;
}

/* One cell as it can be printed, and the columns that takes. Bytes that are no printable character
 * in this locale become \xNN. */
struct cell {
    char *text;
    size_t width;
};

static void
cell_clear(void *opaque)
{
    struct cell *cell = opaque;

    g_free(cell->text);
}

static struct cell
printable_cell(const char *bytes)
{
    g_autoptr(GString) text = g_string_new(NULL);
    size_t left = strlen(bytes);
    size_t width = 0;
    mbstate_t state = {0};

    while (left > 0) {
        wchar_t character;
        size_t used = mbrtowc(&character, bytes, left, &state);
        bool is_whole = used > 0 && used <= left;

        if (is_whole && iswprint((wint_t)character)) {
            g_string_append_len(text, bytes, (gssize)used);
            width += (size_t)MAX(wcwidth(character), 0);
        } else {
            used = is_whole ? used : 1;
            for (size_t i = 0; i < used; i++)
                g_string_append_printf(text, "\\x%02x", (guchar)bytes[i]);
            width += 4 * used;
            state = (mbstate_t){0};
        }
        bytes += used;
        left -= used;
    }
    return (struct cell){.text = g_strdup(text->str), .width = width};
}

static GArray *
printable_cells(const GPtrArray *cells)
{
    GArray *printable = g_array_sized_new(FALSE, FALSE, sizeof(struct cell), cells->len);

    g_array_set_clear_func(printable, cell_clear);
    for (guint i = 0; i < cells->len; i++) {
        struct cell cell = printable_cell(g_ptr_array_index(cells, i));

        g_array_append_val(printable, cell);
    }
    return printable;
}

static void
print_row(const GArray *cells, guint first, const size_t *widths, guint column_count)
{
    for (guint i = 0; i < column_count; i++) {
        const struct cell *cell = &g_array_index(cells, struct cell, first + i);
        bool is_last = i + 1 == column_count;

        printf(" %s%*s", cell->text, is_last ? 0 : (int)(widths[i] - cell->width + 2), "");
    }
    putchar('\n');
}

void
output_table(const GPtrArray *cells, guint column_count, bool is_quiet)
{
    g_autoptr(GArray) printable = printable_cells(cells);
    g_autofree size_t *widths = g_new0(size_t, column_count);
    size_t line = 0;

    for (guint i = is_quiet ? column_count : 0; i < printable->len; i++) {
        size_t *width = &widths[i % column_count];

        *width = MAX(*width, g_array_index(printable, struct cell, i).width);
    }
    for (guint i = 0; i < column_count; i++)
        line += widths[i] + 3;
    for (guint first = 0; first < printable->len; first += column_count) {
        if (first == 0 && is_quiet)
            continue;
        print_row(printable, first, widths, column_count);
        for (size_t i = 0; first == 0 && i < line; i++)
            putchar('-');
        if (first == 0)
            putchar('\n');
    }
}

char *
output_format_uuid(const uint8_t *bytes)
{
    struct uuid uuid;
    char text[UUID_TEXT_SIZE];

    memcpy(uuid.bytes, bytes, sizeof(uuid.bytes));
    return g_strdup(uuid_format(&uuid, text));
}

char *
output_format_time(int64_t seconds)
{
    g_autoptr(GDateTime) time = seconds > 0 ? g_date_time_new_from_unix_utc(seconds) : NULL;

    return time ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ") : NULL;
}

void
output_append_json(GString *json, const char *text)
{
    g_autofree char *valid = text ? g_utf8_make_valid(text, -1) : NULL;

    if (!valid) {
        g_string_append(json, "null");
        return;
    }
    g_string_append_c(json, '"');
    for (const char *c = valid; *c; c++) {
        if (*c == '"' || *c == '\\')
            g_string_append_printf(json, "\\%c", *c);
        else if ((guchar)*c < 0x20)
            g_string_append_printf(json, "\\u%04x", (unsigned int)*c);
        else
            g_string_append_c(json, *c);
    }
    g_string_append_c(json, '"');
}

void
output_append_json_object(GString *json, const struct output_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        g_string_append_printf(json, "%s\"%s\": ", i > 0 ? ", " : "{", members[i].name);
        output_append_json(json, members[i].text);
    }
    g_string_append_c(json, '}');
}

void
output_json_array(const GPtrArray *entries, void (*append)(GString *json, const void *entry))
{
    g_autoptr(GString) json = g_string_new("[");

    for (guint i = 0; i < entries->len; i++) {
        g_string_append(json, i > 0 ? ",\n  " : "\n  ");
        append(json, g_ptr_array_index(entries, i));
    }
    printf("%s%s]\n", json->str, entries->len > 0 ? "\n" : "");
}
