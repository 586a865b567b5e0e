/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: audit_text.h. Within a string of JSON every quote has a backslash before it, so that what
 * looks like a member's name is one.
 */
#include "tools/audit_text.h"

#include <stdbool.h>
#include <string.h>

/* \uXXXX at `text`, after the backslash; the half of a pair is replaced. */
static bool
append_code_point(GString *plain, const char *text)
{
    gunichar code = 0;

    for (int i = 1; i <= 4; i++) {
        int digit = text[i] ? g_ascii_xdigit_value(text[i]) : -1;

        if (digit < 0)
            return false;
        code = code * 16 + (gunichar)digit;
    }
    g_string_append_unichar(plain, code > 0 && g_unichar_validate(code) ? code : 0xfffd);
    return true;
}

/* A string of JSON, from after its first quote; *ret_end is its last one. */
static char *
read_string(const char *text, const char **ret_end)
{
    static const char escapes[] = "bfnrt";
    static const char meanings[] = "\b\f\n\r\t";
    g_autoptr(GString) plain = g_string_new(NULL);

    for (; *text != '"'; text++) {
        const char *escape;

        if (!*text)
            return NULL;
        if (*text != '\\') {
            g_string_append_c(plain, *text);
            continue;
        }
        if (!*++text)
            return NULL;
        escape = strchr(escapes, *text);
        if (*text == 'u') {
            if (!append_code_point(plain, text))
                return NULL;
            text += 4;
        } else {
            g_string_append_c(plain, escape ? meanings[escape - escapes] : *text);
        }
    }
    *ret_end = text;
    return g_string_free(g_steal_pointer(&plain), FALSE);
}

/* An array of strings, from after its bracket. */
static char *
read_strings(const char *text)
{
    g_autoptr(GString) all = g_string_new(NULL);

    while (*text == '"') {
        const char *end = NULL;
        g_autofree char *one = read_string(text + 1, &end);

        if (!one)
            return NULL;
        g_string_append_printf(all, "%s%s", all->len > 0 ? "," : "", one);
        text = end[1] == ',' ? end + 2 : end + 1;
    }
    return *text == ']' ? g_string_free(g_steal_pointer(&all), FALSE) : NULL;
}

char *
audit_text_get(const char *line, const char *name)
{
    g_autofree char *head = g_strdup_printf("\"%s\":", name);
    const char *at = line;
    const char *end;

    /* What follows a backslash is inside of a string. */
    while ((at = strstr(at, head)) && (at == line || (at[-1] != ',' && at[-1] != '{')))
        at++;
    if (!at)
        return NULL;
    at += strlen(head);
    if (*at == '"')
        return read_string(at + 1, &end);
    if (*at == '[')
        return read_strings(at + 1);
    return g_ascii_isdigit(*at) ? g_strndup(at, strspn(at, "0123456789")) : NULL;
}
