/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Keys that options name. Reading from a terminal is tested by tests/e2e/test-virtcrypt-values.py.
 */
#include <string.h>

#include "expect.h"
#include "folder.h"
#include "tools/key_input.h"
#include "util/error.h"

static char *const good[] = {
    (char *)"vda=/etc/key", (char *)"/images/a.qcow2=-", (char *)"default/b=generate",
    (char *)"vdb=a=b",      (char *)"vdc=./generate",
};

static void
test_each_form_of_a_key_is_understood(void)
{
    static const char *const volumes[] = {"vda", "/images/a.qcow2", "default/b", "vdb", "vdc"};
    static const char *const paths[] = {"/etc/key", "-", NULL, "a=b", "./generate"};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) words = key_input_parse_words(good, G_N_ELEMENTS(good), &error);

    g_assert_no_error(error);
    g_assert_cmpuint(words->len, ==, G_N_ELEMENTS(volumes));
    for (guint i = 0; i < words->len; i++) {
        const struct key_word *word = g_ptr_array_index(words, i);

        g_assert_cmpstr(word->volume, ==, volumes[i]);
        g_assert_cmpstr(word->path, ==, paths[i]);
    }
}

static void
test_no_key_is_no_mistake(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) words = key_input_parse_words(NULL, 0, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(words->len, ==, 0);
}

static void
expect_refusal(const char *const *texts, size_t count, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) words = key_input_parse_words((char *const *)texts, count, &error);

    g_assert_null(words);
    g_assert_cmpint(error_get_code(error), ==, ERROR_INVALID_ARG);
    g_assert_nonnull(strstr(error->message, text));
}

static void
test_a_word_that_may_be_a_key_itself_is_not_printed(void)
{
    static const char *const bad[] = {"hunter2", "=hunter2", "vda="};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        expect_refusal(&bad[i], 1, "--key takes VOLUME=FILE, VOLUME=- or VOLUME=generate");
}

static void
test_a_volume_has_one_key(void)
{
    static const char *const twice[] = {"vda=a", "vdb=b", "vda=generate"};

    expect_refusal(twice, G_N_ELEMENTS(twice), "names a key of the volume 'vda' twice");
}

static void
test_standard_input_holds_one_key(void)
{
    static const char *const twice[] = {"vda=-", "vdb=-"};

    expect_refusal(twice, G_N_ELEMENTS(twice), "not those of the volumes 'vda' and 'vdb'");
}

static void
test_a_file_is_the_key_as_it_is(void)
{
    struct folder folder;
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) key = NULL;

    folder_init(&folder);
    path = folder_path(&folder, "key");
    folder_put_text(&folder, "key", "a key\n");
    key = key_input_read(path, "?", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(key), secret_buf_len(key), "a key\n", 6);
    folder_clear(&folder);
}

static void
test_an_empty_file_is_no_key(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(key_input_read("/dev/null", "?", NULL, &error));
    g_assert_cmpstr(error->message, ==, "The key is empty");
}

#define ADD(name) g_test_add_func("/tools/key_input/" #name, name)
int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_each_form_of_a_key_is_understood);
    ADD(test_no_key_is_no_mistake);
    ADD(test_a_word_that_may_be_a_key_itself_is_not_printed);
    ADD(test_a_volume_has_one_key);
    ADD(test_standard_input_holds_one_key);
    ADD(test_a_file_is_the_key_as_it_is);
    ADD(test_an_empty_file_is_no_key);
    return g_test_run();
}
