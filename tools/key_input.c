/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: key_input.h.
 */
#include "tools/key_input.h"

#include <string.h>
#include <unistd.h>

#include "tools/secret_input.h"
#include "tools/terminal.h"
#include "util/error.h"

/* From a pipe or a file: all of it, without a line break at the end, which echo and here-documents
 * add. Whoever pipes a key is not asked, even where there is a terminal. */
static struct secret_buf *
read_standard_input(GError **error)
{
    struct secret_buf *key = secret_buf_read_fd(STDIN_FILENO, SECRET_VALUE_MAX, error);
    size_t len = key ? secret_buf_len(key) : 0;

    if (len > 0 && secret_buf_bytes(key)[len - 1] == '\n')
        secret_buf_truncate(key, len - 1);
    return key;
}

struct secret_buf *
key_input_read(const char *path, const char *prompt, const char *again, GError **error)
{
    g_autoptr(secret_buf_t) key = NULL;

    if (strcmp(path, "-") != 0)
        key = secret_input_read_file(path, false, error);
    else if (isatty(STDIN_FILENO))
        key = terminal_ask(prompt, again, SECRET_VALUE_MAX, error);
    else
        key = read_standard_input(error);
    if (key && secret_buf_len(key) == 0) {
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "The key is empty");
        return NULL;
    }
    return g_steal_pointer(&key);
}

void
key_word_free(struct key_word *word)
{
    if (!word)
        return;
    g_free(word->volume);
    g_free(word->path);
    g_free(word);
}

static void
free_word(void *opaque)
{
    key_word_free(opaque);
}

/* VOLUME ends at the first '='. */
static struct key_word *
parse_word(const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    struct key_word *word;

    /* What is wrong may be a key that was taken for an argument: it is not printed. */
    if (!equals || equals == text || !equals[1]) {
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "option --key takes VOLUME=FILE, VOLUME=- or VOLUME=generate");
        return NULL;
    }
    word = g_new0(struct key_word, 1);
    word->volume = g_strndup(text, (gsize)(equals - text));
    if (strcmp(equals + 1, "generate") != 0)
        word->path = g_strdup(equals + 1);
    return word;
}

static bool
check_repetition(const GPtrArray *words, const struct key_word *added, GError **error)
{
    for (guint i = 0; i < words->len; i++) {
        const struct key_word *word = g_ptr_array_index(words, i);

        if (strcmp(word->volume, added->volume) == 0) {
            error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                      "option --key names a key of the volume '%s' twice", added->volume);
            return false;
        }
        if (g_strcmp0(word->path, "-") == 0 && g_strcmp0(added->path, "-") == 0) {
            error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                      "standard input holds one key, not those of the volumes '%s' and '%s': use a "
                      "file",
                      word->volume, added->volume);
            return false;
        }
    }
    return true;
}

GPtrArray *
key_input_parse_words(char *const *texts, size_t count, GError **error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(free_word);

    for (size_t i = 0; i < count; i++) {
        g_autoptr(key_word_t) word = parse_word(texts[i], error);

        if (!word || !check_repetition(words, word, error))
            return NULL;
        g_ptr_array_add(words, g_steal_pointer(&word));
    }
    return g_steal_pointer(&words);
}
