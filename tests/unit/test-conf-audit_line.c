/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lines of the audit: the manual's example byte by byte, and what is noticed of any change to them.
 */
#include "conf/audit_line.h"
#include "expect.h"

#define ID_1 "00000000-0000-4000-8000-000000000001"
#define ID_2 "00000000-0000-4000-8000-000000000002"

#define MEMBERS_1 "\"event\":\"erase\",\"id\":\"" ID_1 "\""
#define MEMBERS_2                                                                                  \
    "\"event\":\"unbind\",\"id\":\"" ID_2 "\",\"reason\":\"said \\\"id\\\":\\\"x\\\"\""

/* printf '%s' '{"seq":0,"event":"erase","id":"...1","prev":"00...0"' | sha256sum */
#define ZEROS  "0000000000000000000000000000000000000000000000000000000000000000"
#define HASH_1 "9201be626a183c643cdd609230ad43aee13a7273c149b34f960e6899e2fa3aac"
#define LINE_1 "{\"seq\":0," MEMBERS_1 ",\"prev\":\"" ZEROS "\",\"hash\":\"" HASH_1 "\"}"

struct lines {
    char *first;
    char *second;
};

static struct lines
make_lines(void)
{
    struct audit_line_chain chain;
    struct lines lines;

    audit_line_chain_init(&chain);
    lines.first = audit_line_format(&chain, MEMBERS_1);
    lines.second = audit_line_format(&chain, MEMBERS_2);
    return lines;
}

static void
free_lines(struct lines *lines)
{
    g_free(lines->first);
    g_free(lines->second);
}

static bool
verify(struct audit_line_chain *chain, const char *line, GError **error)
{
    return audit_line_verify(chain, line, strlen(line), error);
}

static void
expect_refused(struct audit_line_chain chain, const char *line, const char *part)
{
    struct audit_line_chain before = chain;
    g_autoptr(GError) error = NULL;

    g_assert_false(verify(&chain, line, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, part);
    g_assert_cmpuint(chain.next_seq, ==, before.next_seq);
    g_assert_cmpstr(chain.prev, ==, before.prev);
}

static void
test_a_line_has_the_bytes_of_the_manual(void)
{
    struct lines lines = make_lines();

    g_assert_cmpstr(lines.first, ==, LINE_1);
    free_lines(&lines);
}

static void
test_a_line_says_what_it_was_made_of(void)
{
    struct lines lines = make_lines();
    struct audit_line line = {0};

    g_assert_true(audit_line_parse(lines.second, strlen(lines.second), &line));
    g_assert_cmpuint(line.seq, ==, 1);
    g_assert_cmpstr(line.prev, ==, HASH_1);
    g_assert_cmpstr(line.id, ==, ID_2);
    free_lines(&lines);
}

static void
test_lines_that_follow_one_another_are_right(void)
{
    struct lines lines = make_lines();
    struct audit_line_chain chain;
    g_autoptr(GError) error = NULL;

    audit_line_chain_init(&chain);
    g_assert_true(verify(&chain, lines.first, &error));
    g_assert_true(verify(&chain, lines.second, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(chain.next_seq, ==, 2);
    free_lines(&lines);
}

static void
test_a_change_to_any_byte_is_noticed(void)
{
    struct lines lines = make_lines();
    size_t len = strlen(lines.first);

    for (size_t at = 0; at < len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            g_autofree char *spoilt = g_strdup(lines.first);
            struct audit_line_chain chain;

            audit_line_chain_init(&chain);
            spoilt[at] = (char)(spoilt[at] ^ (1 << bit));
            g_assert_false(audit_line_verify(&chain, spoilt, len, NULL));
        }
    }
    free_lines(&lines);
}

static void
test_a_cut_line_is_none(void)
{
    struct lines lines = make_lines();
    struct audit_line line;

    for (size_t len = 0; len < strlen(lines.first); len++)
        g_assert_false(audit_line_parse(lines.first, len, &line));
    free_lines(&lines);
}

static void
test_a_missing_line_is_noticed(void)
{
    struct lines lines = make_lines();
    struct audit_line_chain chain;

    audit_line_chain_init(&chain);
    expect_refused(chain, lines.second, "line 1 stands where 0 should");
    free_lines(&lines);
}

static void
test_a_replaced_line_is_noticed_at_the_next_one(void)
{
    struct lines lines = make_lines();
    struct audit_line_chain other;
    g_autofree char *replaced = NULL;

    audit_line_chain_init(&other);
    replaced = audit_line_format(&other, MEMBERS_2);
    g_assert_cmpstr(replaced, !=, lines.first);
    expect_refused(other, lines.second, "line 1 does not follow the line before it");
    free_lines(&lines);
}

static void
test_what_is_no_line_is_named_by_its_place(void)
{
    struct audit_line_chain chain;

    audit_line_chain_init(&chain);
    chain.next_seq = 7;
    expect_refused(chain, "hello", "the line that should have number 7 is no line of an audit");
}

static void
test_members_are_one_line_with_an_id(void)
{
    static const char *const bad[] = {
        "",
        "\"event\":\"erase\"",
        "\"id\":\"no uuid\"",
        "\"event\":\"erase\",\n\"id\":\"" ID_1 "\"",
        "{\"id\":\"" ID_1 "\"}",
        "\"id\":\"" ID_1,
        /* Within a string. */
        "\"reason\":\"\\\"id\\\":\\\"" ID_1 "\\\"\"",
    };
    g_autofree char *long_text = g_strnfill(AUDIT_MEMBERS_MAX, 'x');
    g_autofree char *too_long = g_strconcat("\"id\":\"" ID_1 "\",\"", long_text, "\"", NULL);

    g_assert_true(audit_line_are_members(MEMBERS_1));
    g_assert_true(audit_line_are_members(MEMBERS_2));
    g_assert_true(audit_line_are_members("\"id\":\"" ID_1 "\""));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(audit_line_are_members(bad[i]));
    g_assert_false(audit_line_are_members(too_long));
}

static void
test_the_longest_members_make_a_line_that_is_read_back(void)
{
    g_autoptr(GString) members = g_string_new("\"id\":\"" ID_1 "\",\"x\":\"");
    g_autofree char *line = NULL;
    struct audit_line_chain chain = {.next_seq = G_MAXUINT64 - 1};
    struct audit_line parsed;

    memset(chain.prev, 'a', sizeof(chain.prev) - 1);
    while (members->len < AUDIT_MEMBERS_MAX - 1)
        g_string_append_c(members, 'y');
    g_string_append_c(members, '"');
    line = audit_line_format(&chain, members->str);
    g_assert_true(audit_line_parse(line, strlen(line), &parsed));
    g_assert_cmpuint(parsed.seq, ==, G_MAXUINT64 - 1);
}

static void
test_any_text_becomes_a_json_string(void)
{
    g_autoptr(GString) text = g_string_new(NULL);

    audit_line_append_string(text, "a \"b\" \\ c\n\x1f\x7f \xc3\xa4 \xff");
    g_assert_cmpstr(text->str, ==,
                    "\"a \\\"b\\\" \\\\ c\\u000a\\u001f\\u007f \xc3\xa4 \xef\xbf\xbd\"");
}

#define ADD(name) g_test_add_func("/conf/audit_line/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_line_has_the_bytes_of_the_manual);
    ADD(a_line_says_what_it_was_made_of);
    ADD(lines_that_follow_one_another_are_right);
    ADD(a_change_to_any_byte_is_noticed);
    ADD(a_cut_line_is_none);
    ADD(a_missing_line_is_noticed);
    ADD(a_replaced_line_is_noticed_at_the_next_one);
    ADD(what_is_no_line_is_named_by_its_place);
    ADD(members_are_one_line_with_an_id);
    ADD(the_longest_members_make_a_line_that_is_read_back);
    ADD(any_text_becomes_a_json_string);
    return g_test_run();
}
