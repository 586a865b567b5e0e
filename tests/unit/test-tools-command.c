/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The option parser. That its texts are virsh's is compared with real virsh in
 * tests/e2e/test-virtcrypt.py.
 */
#include "expect.h"
#include "tools/command.h"

static const struct command paint = {
    .name = "paint",
    .options =
        {
            {"wall", OPTION_TEXT, OPTION_REQUIRED, ""},
            {"with", OPTION_TEXT, OPTION_NAMED_ONLY, ""},
            {"twice", OPTION_FLAG, 0, ""},
            {"litres", OPTION_NUMBER, 0, ""},
            {"layer", OPTION_TEXT, OPTION_REPEATED, ""},
        },
};

/* Parses `line`, whose words are separated by single blanks ("" stands for an empty one). */
static bool
parse(const char *line, struct command_args *ret_args, GError **error)
{
    static char *words[16]; /* args point into them until the next call */
    g_auto(GStrv) split = g_strsplit(line, " ", -1);
    guint count = 0;

    for (guint i = 0; i < G_N_ELEMENTS(words); i++)
        g_clear_pointer(&words[i], g_free);
    for (guint i = 0; split[i] && *line; i++)
        words[count++] = g_strdup(strcmp(split[i], "\"\"") == 0 ? "" : split[i]);
    return command_parse(&paint, words, ret_args, error);
}

static void
expect_text(const struct command_args *args, const char *name, const char *wanted)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    g_assert_true(command_get_text(args, name, &text, &error));
    g_assert_cmpstr(text, ==, wanted);
}

static void
test_options_are_taken_in_every_form(void)
{
    static const char *const lines[] = {
        "--wall north --with red --twice", "--wall=north --with=red --twice",
        "north --twice --with red",        "--twice --with=red north",
        "--twice --with red -- north",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        struct command_args args;
        g_autoptr(GError) error = NULL;

        parse(lines[i], &args, &error);
        g_assert_no_error(error);
        expect_text(&args, "wall", "north");
        expect_text(&args, "with", "red");
        g_assert_true(command_has(&args, "twice"));
        g_assert_false(command_has(&args, "litres"));
    }
}

static void
test_a_word_alone_goes_to_the_next_option_that_takes_one(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;
    int litres = -1;

    g_assert_true(parse("north 5", &args, &error));
    expect_text(&args, "wall", "north");
    expect_text(&args, "with", NULL);
    g_assert_true(command_get_number(&args, "litres", 1, 9, &litres, &error));
    g_assert_cmpint(litres, ==, 5);
}

static void
test_words_after_two_dashes_are_no_options(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("-- --twice", &args, &error));
    expect_text(&args, "wall", "--twice");
    g_assert_false(command_has(&args, "twice"));
}

static void
test_a_value_may_look_like_an_option(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("--wall --twice", &args, &error));
    expect_text(&args, "wall", "--twice");
}

static void
test_a_value_may_hold_an_equals_sign(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("--wall=a=b", &args, &error));
    expect_text(&args, "wall", "a=b");
}

static void
expect_layers(const struct command_args *args, const char *const *wanted, size_t wanted_count)
{
    g_autoptr(GError) error = NULL;
    char *const *texts = NULL;
    size_t count = 0;

    g_assert_true(command_get_texts(args, "layer", &texts, &count, &error));
    g_assert_cmpuint(count, ==, wanted_count);
    for (size_t i = 0; i < wanted_count; i++)
        g_assert_cmpstr(texts[i], ==, wanted[i]);
}

static void
test_an_option_that_can_be_repeated_keeps_all_values_in_order(void)
{
    static const char *const wanted[] = {"red", "blue=x", "red"};
    struct command_args args;
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("--layer red north --layer=blue=x --layer red", &args, &error));
    g_assert_no_error(error);
    expect_text(&args, "wall", "north");
    expect_layers(&args, wanted, G_N_ELEMENTS(wanted));
    g_assert_true(parse("north", &args, &error));
    g_assert_false(command_has(&args, "layer"));
    expect_layers(&args, NULL, 0);
}

static void
test_a_word_alone_is_never_a_value_of_a_repeated_option(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;

    g_assert_false(parse("north 5 red", &args, &error));
    g_assert_cmpstr(error->message, ==, "unexpected data 'red'");
}

static void
test_an_empty_value_of_a_repeated_option_is_refused(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;
    char *const *texts = NULL;
    size_t count = 0;

    g_assert_true(parse("north --layer= --layer red", &args, &error));
    g_assert_false(command_get_texts(&args, "layer", &texts, &count, &error));
    g_assert_cmpstr(error->message, ==, "Failed to get option 'layer': Option argument is empty");
}

static void
test_repetition_ends_somewhere(void)
{
    static char option[] = "--layer=red";
    static char wall[] = "north";
    static char *words[COMMAND_REPEATS_MAX + 3];
    struct command_args args;
    g_autoptr(GError) error = NULL;

    words[0] = wall;
    for (int i = 1; i <= COMMAND_REPEATS_MAX; i++)
        words[i] = option;
    g_assert_true(command_parse(&paint, words, &args, &error));
    words[COMMAND_REPEATS_MAX + 1] = option;
    g_assert_false(command_parse(&paint, words, &args, &error));
    g_assert_cmpstr(error->message, ==, "option --layer is there more than 256 times");
}

static void
test_help_needs_no_required_option(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("--help", &args, &error));
    g_assert_true(args.wants_help);
}

static void
test_mistakes_are_told_as_virsh_tells_them(void)
{
    static const struct {
        const char *line;
        const char *text;
    } mistakes[] = {
        {"", "command 'paint' requires <wall> option"},
        {"--twice", "command 'paint' requires <wall> option"},
        {"--wall", "expected syntax: --wall <string>"},
        {"x --litres", "expected syntax: --litres <number>"},
        {"x --roof", "command 'paint' doesn't support option --roof"},
        {"x --roof=1", "command 'paint' doesn't support option --roof"},
        {"x --wal y", "command 'paint' doesn't support option --wal"},
        {"x --twice=1", "invalid '=' after option --twice"},
        {"x --help=1", "invalid '=' after option --help"},
        {"x --twice --twice", "option --twice already seen"},
        {"x --layer", "expected syntax: --layer <string>"},
        {"x --wall y", "option --wall already seen"},
        {"--help --help", "option --help already seen"},
        {"x 1 y", "unexpected data 'y'"},
        {"x 1 -y", "unexpected data '-y'"},
        {"x 1 --=y", "unexpected data '--=y'"},
        {"x 1 -- --help", "unexpected data '--help'"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(mistakes); i++) {
        struct command_args args;
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        g_assert_false(parse(mistakes[i].line, &args, &error));
        text = error_describe(error);
        g_assert_cmpstr(text, ==, mistakes[i].text);
    }
}

static void
test_an_empty_value_is_refused(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    g_assert_true(parse("\"\"", &args, &error));
    g_assert_false(command_get_text(&args, "wall", &text, &error));
    g_assert_cmpstr(error->message, ==, "Failed to get option 'wall': Option argument is empty");
}

static void
test_a_number_is_checked(void)
{
    static const char *const bad[] = {"\"\"", "x", "5x", "0", "10", "-1", "99999999999999999999"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *line = g_strconcat("north --litres ", bad[i], NULL);
        struct command_args args;
        g_autoptr(GError) error = NULL;
        int litres = 77;

        g_assert_true(parse(line, &args, &error));
        g_assert_false(command_get_number(&args, "litres", 1, 9, &litres, &error));
        g_assert_nonnull(
            strstr(error->message, "for <litres> option is malformed or out of range"));
        g_assert_cmpint(litres, ==, 77);
    }
}

static void
test_options_that_exclude_each_other_are_named(void)
{
    struct command_args args;
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("x --twice --with y", &args, &error));
    g_assert_true(command_check_exclusive(&args, "twice", "litres", &error));
    g_assert_false(command_check_exclusive(&args, "twice", "with", &error));
    g_assert_cmpstr(error->message, ==, "Options --twice and --with are mutually exclusive");
}

static void
test_a_command_is_found_in_its_group(void)
{
    const struct command_group groups[] = {{.commands = NULL, .count = 0},
                                           {.commands = &paint, .count = 1}};

    g_assert_true(command_find(groups, G_N_ELEMENTS(groups), "paint") == &paint);
    g_assert_null(command_find(groups, G_N_ELEMENTS(groups), "pain"));
}

static const struct command words_commands[] = {{.name = "lock"}, {.name = "door open"}};
static const struct command_group words_groups[] = {
    {"Other", "other", &paint, 1},
    {"Doors", "doors", words_commands, G_N_ELEMENTS(words_commands)},
};

static void
expect_words(const char *first, const char *second, const struct command *expected, size_t used)
{
    char *words[] = {(char *)first, (char *)second, NULL};
    size_t got = 0;

    g_assert_true(command_find_words(words_groups, 2, words, &got) == expected);
    if (expected)
        g_assert_cmpuint(got, ==, used);
}

static void
test_a_command_has_one_word_or_two(void)
{
    expect_words("paint", "open", &paint, 1);
    expect_words("lock", NULL, &words_commands[0], 1);
    expect_words("door", "open", &words_commands[1], 2);
    expect_words("door", NULL, NULL, 0);
    expect_words("door", "close", NULL, 0);
    expect_words("open", "door", NULL, 0);
}

static void
test_a_first_word_leads_to_its_group(void)
{
    g_assert_true(command_find_first_word(words_groups, 2, "door") == &words_groups[1]);
    g_assert_null(command_find_first_word(words_groups, 2, "doo"));
    g_assert_null(command_find_first_word(words_groups, 2, "lock"));
    g_assert_null(command_find_first_word(words_groups, 2, ""));
}

#define ADD(name) g_test_add_func("/tools/command/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_options_are_taken_in_every_form);
    ADD(test_a_word_alone_goes_to_the_next_option_that_takes_one);
    ADD(test_words_after_two_dashes_are_no_options);
    ADD(test_a_value_may_look_like_an_option);
    ADD(test_a_value_may_hold_an_equals_sign);
    ADD(test_an_option_that_can_be_repeated_keeps_all_values_in_order);
    ADD(test_a_word_alone_is_never_a_value_of_a_repeated_option);
    ADD(test_an_empty_value_of_a_repeated_option_is_refused);
    ADD(test_repetition_ends_somewhere);
    ADD(test_help_needs_no_required_option);
    ADD(test_mistakes_are_told_as_virsh_tells_them);
    ADD(test_an_empty_value_is_refused);
    ADD(test_a_number_is_checked);
    ADD(test_options_that_exclude_each_other_are_named);
    ADD(test_a_command_is_found_in_its_group);
    ADD(test_a_command_has_one_word_or_two);
    ADD(test_a_first_word_leads_to_its_group);
    return g_test_run();
}
