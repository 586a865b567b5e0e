/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pages of the audit, while it grows and whatever is in the file.
 */
#include "audit_fixture.h"

struct reading {
    struct fixture base;
    struct audit_reader *reader;
};

static void
set_up_reading(struct reading *test, gconstpointer unused)
{
    set_up(&test->base, NULL);
    test->reader = audit_reader_new(test->base.path);
}

static void
tear_down_reading(struct reading *test, gconstpointer unused)
{
    audit_reader_free(test->reader);
    tear_down(&test->base, NULL);
}

/* The numbers of the ids in a page, as "3 4 more". */
static void
expect_page(struct reading *test, uint64_t from, size_t max, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    bool more = false;
    g_autoptr(GPtrArray) lines = audit_reader_read(test->reader, from, max, &more, &error);

    g_assert_no_error(error);
    for (guint i = 0; i < lines->len; i++) {
        const char *line = g_ptr_array_index(lines, i);
        struct audit_line parsed = {0};

        g_assert_true(audit_line_parse(line, strlen(line), &parsed));
        g_string_append_printf(text, "%d ", atoi(parsed.id + 24));
    }
    g_string_append(text, more ? "more" : "");
    g_assert_cmpstr(text->str, ==, expected);
}

static void
test_no_file_has_no_lines(struct reading *test, gconstpointer unused)
{
    expect_page(test, 0, 10, "");
    expect_page(test, 5, 10, "");
}

static void
test_pages_follow_one_another(struct reading *test, gconstpointer unused)
{
    for (unsigned int i = 1; i <= 5; i++)
        append(&test->base, i);
    expect_page(test, 0, 2, "1 2 more");
    expect_page(test, 2, 2, "3 4 more");
    expect_page(test, 4, 2, "5 ");
    expect_page(test, 5, 2, "");
    append(&test->base, 6);
    expect_page(test, 5, 2, "6 ");
}

static void
test_pages_can_be_read_in_any_order(struct reading *test, gconstpointer unused)
{
    for (unsigned int i = 1; i <= 5; i++)
        append(&test->base, i);
    expect_page(test, 3, 10, "4 5 ");
    expect_page(test, 1, 1, "2 more");
    expect_page(test, 0, 5, "1 2 3 4 5 ");
    expect_page(test, 99, 5, "");
    expect_page(test, 4, 5, "5 ");
}

static void
test_a_file_that_was_begun_anew_is_read_from_its_start(struct reading *test, gconstpointer unused)
{
    append(&test->base, 1);
    append(&test->base, 2);
    expect_page(test, 0, 10, "1 2 ");
    g_assert_cmpint(g_remove(test->base.path), ==, 0);
    append(&test->base, 7);
    append(&test->base, 8);
    append(&test->base, 9);
    expect_page(test, 2, 10, "9 ");
}

static void
test_a_line_that_does_not_end_yet_is_none(struct reading *test, gconstpointer unused)
{
    g_autofree char *text = NULL;
    g_autofree char *half = NULL;

    append(&test->base, 1);
    append(&test->base, 2);
    text = get_text(&test->base);
    half = g_strndup(text, strlen(text) - 10);
    put_text(&test->base, half, -1);
    expect_page(test, 0, 10, "1 ");
    put_text(&test->base, text, -1);
    expect_page(test, 1, 10, "2 ");
}

/* It is shown to whoever verifies, however long it is. */
static void
test_a_foreign_line_is_read_and_cut(struct reading *test, gconstpointer unused)
{
    g_autofree char *mass = g_strnfill(3 * AUDIT_LINE_MAX, 'x');
    g_autofree char *text = g_strconcat(mass, "\nhello\n", NULL);
    g_autoptr(GPtrArray) lines = NULL;
    g_autoptr(GError) error = NULL;
    bool more = false;

    put_text(&test->base, text, -1);
    lines = audit_reader_read(test->reader, 0, 10, &more, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(lines->len, ==, 2);
    g_assert_cmpuint(strlen(g_ptr_array_index(lines, 0)), ==, AUDIT_LINE_MAX);
    g_assert_cmpstr(g_ptr_array_index(lines, 1), ==, "hello");
}

static void
test_a_page_has_a_bound_in_bytes(struct reading *test, gconstpointer unused)
{
    g_autofree char *line = g_strnfill(60000, 'x');
    g_autoptr(GString) text = g_string_new(NULL);
    uint64_t read = 0;
    bool more = true;

    for (unsigned int i = 0; i < 100; i++)
        g_string_append_printf(text, "%s\n", line);
    put_text(&test->base, text->str, -1);
    while (more) {
        g_autoptr(GPtrArray) lines = audit_reader_read(test->reader, read, 1000, &more, NULL);

        g_assert_cmpuint(lines->len, >, 0);
        g_assert_cmpuint(lines->len, <=, AUDIT_READER_BYTES_MAX / 60000 + 1);
        read += lines->len;
    }
    g_assert_cmpuint(read, ==, 100);
}

static void
test_a_link_is_not_followed(struct reading *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    bool more = false;

    put_text(&test->base, "", 0);
    g_assert_cmpint(g_remove(test->base.path), ==, 0);
    g_assert_cmpint(symlink("/etc/passwd", test->base.path), ==, 0);
    g_assert_null(audit_reader_read(test->reader, 0, 10, &more, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_NONE, "audit.log: ");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/audit_reader/" #name, struct reading, NULL, set_up_reading, test_##name,   \
               tear_down_reading)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(no_file_has_no_lines);
    ADD(pages_follow_one_another);
    ADD(pages_can_be_read_in_any_order);
    ADD(a_file_that_was_begun_anew_is_read_from_its_start);
    ADD(a_line_that_does_not_end_yet_is_none);
    ADD(a_foreign_line_is_read_and_cut);
    ADD(a_page_has_a_bound_in_bytes);
    ADD(a_link_is_not_followed);
    return g_test_run();
}
