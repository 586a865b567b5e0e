/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading the syntax of configuration files. What libvirtd takes is taken, what it refuses is
 * refused with the same words, as observed on libvirt 9.0.0: there are no escapes within strings, a
 * list may span lines but holds no comments, a semicolon ends a setting as a line end does.
 */
#include "conf/conf_file.h"

#include <string.h>

#include "util/error.h"

struct entry {
    struct conf_value value;
    char *key;
    char *text;
    char **texts;
};

struct conf_file {
    char *name;
    GPtrArray *entries; /* struct entry */
    GHashTable *by_key; /* borrows key and value of the entry */
};

struct reader {
    const char *name;
    const char *next;
    const char *end;
    unsigned int line;
};

static void
entry_free(void *opaque)
{
    struct entry *entry = opaque;

    g_free(entry->key);
    g_free(entry->text);
    g_strfreev(entry->texts);
    g_free(entry);
}

typedef struct entry entry_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(entry_t, entry_free)

static bool
fail(const struct reader *in, const char *reason, GError **error)
{
    error_set(error, ERROR_FROM_CONF, ERROR_CONF_SYNTAX, "%s:%u: %s", in->name, in->line, reason);
    return false;
}

/* The next character; NUL at the end, which the text itself never holds. */
static char
peek(const struct reader *in)
{
    return in->next < in->end ? *in->next : '\0';
}

static bool
is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static void
advance(struct reader *in, size_t len)
{
    for (; len > 0; len--) {
        if (*in->next++ == '\n')
            in->line++;
    }
}

static void
skip_blanks(struct reader *in, bool with_line_ends)
{
    while (peek(in) == ' ' || peek(in) == '\t' || (with_line_ends && is_line_end(peek(in))))
        advance(in, 1);
}

static void
skip_comment(struct reader *in)
{
    if (peek(in) != '#')
        return;
    while (in->next < in->end && !is_line_end(peek(in)))
        advance(in, 1);
}

static char *
read_key(struct reader *in, GError **error)
{
    const char *start = in->next;

    if (!g_ascii_isalpha(peek(in))) {
        fail(in, "expecting a name", error);
        return NULL;
    }
    while (g_ascii_isalnum(peek(in)) || peek(in) == '_')
        advance(in, 1);
    return g_strndup(start, (gsize)(in->next - start));
}

static bool
read_number(struct reader *in, int64_t *ret_number, GError **error)
{
    g_autofree char *digits = NULL;
    const char *start = in->next;

    if (peek(in) == '-' || peek(in) == '+')
        advance(in, 1);
    if (!g_ascii_isdigit(peek(in)))
        return fail(in, "unterminated number", error);
    while (g_ascii_isdigit(peek(in)))
        advance(in, 1);
    digits = g_strndup(start, (gsize)(in->next - start));
    if (!g_ascii_string_to_signed(*digits == '+' ? digits + 1 : digits, 10, G_MININT64, G_MAXINT64,
                                  ret_number, NULL))
        return fail(in, "the number is too large", error);
    return true;
}

static char *
read_string(struct reader *in, GError **error)
{
    const char quote = peek(in);
    size_t left = (size_t)(in->end - in->next);
    bool is_block = left >= 6 && strncmp(in->next, "\"\"\"", 3) == 0;
    size_t margin = is_block ? 3 : 1;
    const char *start = in->next + margin;
    const char *stop;
    char *text;

    if (is_block)
        stop = memmem(start, left - margin, "\"\"\"", 3);
    else
        stop = memchr(start, quote, left - margin);
    if (!stop || (!is_block && memchr(start, '\n', (size_t)(stop - start)))) {
        fail(in, "unterminated string", error);
        return NULL;
    }
    text = g_strndup(start, (gsize)(stop - start));
    advance(in, (size_t)(stop - in->next) + margin);
    return text;
}

static char *
read_list_item(struct reader *in, GError **error)
{
    if (peek(in) == '"' || peek(in) == '\'')
        return read_string(in, error);
    fail(in, "expecting a value: a \"string\" of the list", error);
    return NULL;
}

static char **
read_list(struct reader *in, GError **error)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    advance(in, 1);
    skip_blanks(in, true);
    while (peek(in) != ']') {
        char *text;

        if (in->next == in->end) {
            fail(in, "list is not closed with ]", error);
            return NULL;
        }
        text = read_list_item(in, error);
        if (!text)
            return NULL;
        g_ptr_array_add(texts, text);
        skip_blanks(in, true);
        if (peek(in) == ',') {
            advance(in, 1);
            skip_blanks(in, true);
        } else if (peek(in) != ']' && in->next < in->end) {
            fail(in, "expecting a separator in list", error);
            return NULL;
        }
    }
    advance(in, 1);
    g_ptr_array_add(texts, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&texts), FALSE);
}

static bool
read_value(struct reader *in, struct entry *entry, GError **error)
{
    char c = peek(in);

    if (c == '"' || c == '\'') {
        entry->text = read_string(in, error);
        entry->value.type = CONF_STRING;
        return entry->text != NULL;
    }
    if (c == '[') {
        entry->texts = read_list(in, error);
        entry->value.type = CONF_LIST;
        return entry->texts != NULL;
    }
    if (c == '-' || c == '+' || g_ascii_isdigit(c)) {
        entry->value.type = CONF_INT;
        return read_number(in, &entry->value.number, error);
    }
    return fail(in, "expecting a value: a number, a \"string\" or a [\"list\"]", error);
}

/* One `key = value`, up to and with its separator. */
static struct entry *
read_entry(struct reader *in, GError **error)
{
    g_autoptr(entry_t) entry = g_new0(struct entry, 1);

    entry->value.line = in->line;
    entry->key = read_key(in, error);
    if (!entry->key)
        return NULL;
    skip_blanks(in, false);
    if (peek(in) != '=') {
        fail(in, "expecting an assignment", error);
        return NULL;
    }
    advance(in, 1);
    skip_blanks(in, false);
    if (!read_value(in, entry, error))
        return NULL;
    skip_blanks(in, false);
    skip_comment(in);
    if (in->next < in->end && peek(in) != ';' && !is_line_end(peek(in))) {
        fail(in, "expecting a separator", error);
        return NULL;
    }
    if (in->next < in->end)
        advance(in, 1);
    entry->value.key = entry->key;
    entry->value.text = entry->text;
    entry->value.texts = (const char *const *)entry->texts;
    return g_steal_pointer(&entry);
}

static bool
add_entry(struct conf_file *conf, struct entry *entry, GError **error)
{
    const struct conf_value *before = g_hash_table_lookup(conf->by_key, entry->key);

    if (before) {
        error_set(error, ERROR_FROM_CONF, ERROR_CONF_SYNTAX,
                  "%s:%u: %s is set in line %u already; remove one of them", conf->name,
                  entry->value.line, entry->key, before->line);
        entry_free(entry);
        return false;
    }
    g_ptr_array_add(conf->entries, entry);
    g_hash_table_insert(conf->by_key, entry->key, &entry->value);
    return true;
}

struct conf_file *
conf_file_parse(const char *name, const char *text, size_t len, GError **error)
{
    g_autoptr(conf_file_t) conf = g_new0(struct conf_file, 1);
    struct reader in = {.name = name, .next = text, .end = text + len, .line = 1};

    conf->name = g_strdup(name);
    conf->entries = g_ptr_array_new_with_free_func(entry_free);
    conf->by_key = g_hash_table_new(g_str_hash, g_str_equal);
    if (memchr(text, '\0', len)) {
        error_set(error, ERROR_FROM_CONF, ERROR_CONF_SYNTAX, "%s: the file holds a zero byte",
                  name);
        return NULL;
    }
    for (;;) {
        struct entry *entry;

        skip_blanks(&in, true);
        if (in.next == in.end)
            return g_steal_pointer(&conf);
        if (peek(&in) == '#') {
            skip_comment(&in);
            continue;
        }
        entry = read_entry(&in, error);
        if (!entry || !add_entry(conf, entry, error))
            return NULL;
    }
}

void
conf_file_free(struct conf_file *conf)
{
    if (!conf)
        return;
    g_hash_table_unref(conf->by_key);
    g_ptr_array_unref(conf->entries);
    g_free(conf->name);
    g_free(conf);
}

const char *
conf_file_name(const struct conf_file *conf)
{
    return conf->name;
}

size_t
conf_file_count(const struct conf_file *conf)
{
    return conf->entries->len;
}

const struct conf_value *
conf_file_value(const struct conf_file *conf, size_t index)
{
    const struct entry *entry = g_ptr_array_index(conf->entries, index);

    return &entry->value;
}
