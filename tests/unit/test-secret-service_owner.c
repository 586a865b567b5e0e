/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Secrets that guests own: who gets a copy, when UUID.key goes and comes back, what changes of
 * definition and value do to copies, and what the audit says.
 */
#include "owned.h"

#include "conf/audit_line.h"

static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    custodian_open(test);
    define(test, UUID_1 " volume /a private");
    set_value(test, UUID_1, "first");
    expect_events(test, "defined " UUID_1 "\nvalue " UUID_1 "\n");
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

static void
expect_refused(GError *take_error, enum error_code code, const char *part)
{
    g_autoptr(GError) error = take_error;

    expect_error_part(error, code, ERROR_FROM_SECRET, part);
}

/* ---- bind, unbind ---- */

static void
test_the_first_bind_puts_a_copy_in_the_place_of_the_key(struct custodian *test,
                                                        gconstpointer unused)
{
    g_assert_true(has_key(test, UUID_1));
    bind_to(test, UUID_1, GUEST_1);
    g_assert_false(has_key(test, UUID_1));
    g_assert_true(has_copy(test, GUEST_1, UUID_1));
    expect_bindings(test, "11111111 a1111111\n");
    expect_value(test, UUID_1, "first");
    expect_events(test, "");
    custodian_reopen(test);
    expect_bindings(test, "11111111 a1111111\n");
    expect_value(test, UUID_1, "first");
}

static void
test_copies_are_for_their_guests_alone(struct custodian *test, gconstpointer unused)
{
    struct stat folder;
    struct stat file;
    g_autofree char *path = copy_path(test, GUEST_1, UUID_1);
    g_autofree char *dir = g_path_get_dirname(path);

    bind_to(test, UUID_1, GUEST_1);
    g_assert_cmpint(stat(dir, &folder), ==, 0);
    g_assert_cmpint(folder.st_mode & 07777, ==, 0700);
    g_assert_cmpint(stat(path, &file), ==, 0);
    g_assert_cmpint(file.st_mode & 07777, ==, 0600);
}

static void
test_each_owner_has_a_copy_that_opens_alone(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_2);
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_3);
    expect_bindings(test, "11111111 a1111111\n11111111 a2222222\n11111111 a3333333\n");
    expect_owned_alone(test, UUID_1, GUEST_1, "first");
    expect_owned_alone(test, UUID_1, GUEST_2, "first");
    expect_owned_alone(test, UUID_1, GUEST_3, "first");
}

static void
test_binding_twice_writes_nothing(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) after = NULL;

    bind_to(test, UUID_1, GUEST_1);
    before = get_copy(test, GUEST_1, UUID_1);
    bind_to(test, UUID_1, GUEST_1);
    after = get_copy(test, GUEST_1, UUID_1);
    g_assert_true(g_bytes_equal(before, after));
    expect_bindings(test, "11111111 a1111111\n");
}

static void
test_the_last_unbind_brings_the_key_back(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    unbind_from(test, UUID_1, GUEST_1);
    g_assert_false(has_copy(test, GUEST_1, UUID_1));
    expect_owned_alone(test, UUID_1, GUEST_2, "first");
    unbind_from(test, UUID_1, GUEST_2);
    expect_bindings(test, "");
    g_assert_true(has_key(test, UUID_1));
    g_assert_false(has_copy(test, GUEST_2, UUID_1));
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
    expect_bindings(test, "");
}

static void
test_a_guest_without_copies_has_no_folder(struct custodian *test, gconstpointer unused)
{
    g_autofree char *dir = g_build_filename(test->guests_dir, GUEST_1, NULL);

    define(test, UUID_2 " volume /b");
    set_value(test, UUID_2, "second");
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_2, GUEST_1);
    unbind_from(test, UUID_1, GUEST_1);
    g_assert_true(g_file_test(dir, G_FILE_TEST_IS_DIR));
    unbind_from(test, UUID_2, GUEST_1);
    custodian_reopen(test);
    g_assert_false(g_file_test(dir, G_FILE_TEST_EXISTS));
}

static void
test_unbinding_who_is_not_bound_writes_nothing(struct custodian *test, gconstpointer unused)
{
    unbind_from(test, UUID_1, GUEST_1);
    g_assert_true(has_key(test, UUID_1));
    bind_to(test, UUID_1, GUEST_1);
    unbind_from(test, UUID_1, GUEST_2);
    expect_bindings(test, "11111111 a1111111\n");
}

/* Its owners alone say whether a file that is bad by now is the last one. */
static void
test_what_stays_after_an_unbind_is_good(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    damage_copy(test, GUEST_2, UUID_1);
    unbind_from(test, UUID_1, GUEST_1);
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

static void
test_what_can_not_be_bound_is_refused(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_2 " volume /b");
    define(test, UUID_3 " volume /c ephemeral");
    set_value(test, UUID_3, "third");
    expect_refused(try_bind(test, UUID_2, GUEST_1), ERROR_NO_SECRET, "does not have a value");
    expect_refused(try_bind(test, UUID_3, GUEST_1), ERROR_OPERATION_INVALID, "it is ephemeral");
    expect_refused(try_bind(test, GUEST_1, GUEST_1), ERROR_NO_SECRET, "no secret with matching");
    expect_refused(try_unbind(test, GUEST_1, GUEST_1), ERROR_NO_SECRET, "no secret with matching");
    expect_refused(try_bind(test, UUID_1, "00000000-0000-0000-0000-000000000000"),
                   ERROR_INVALID_ARG, "no guest has the uuid");
    expect_bindings(test, "");
}

static void
test_so_many_guests_and_no_more(struct custodian *test, gconstpointer unused)
{
    enum { MAX = 1024 };
    g_autoptr(GString) guests = g_string_new(NULL);

    for (int i = 0; i < MAX; i++)
        g_string_append_printf(guests, "%s%08x-1111-4111-8111-111111111111", i ? " " : "", i);
    g_assert_no_error(try_put(test, UUID_2 " volume /b", "second", guests->str));
    expect_refused(try_bind(test, UUID_2, GUEST_1), ERROR_OPERATION_INVALID,
                   "belongs to 1024 guests already");
    g_string_append(guests, " " GUEST_1);
    expect_refused(try_put(test, UUID_3 " volume /c", "third", guests->str), ERROR_INVALID_ARG,
                   "1025 guests are to own a secret, more than the maximum of 1024");
    expect_value(test, UUID_2, "second");
    g_assert_no_error(try_erase(test, UUID_2, NULL, "enough"));
    g_assert_false(has_copy(test, "000003ff-1111-4111-8111-111111111111", UUID_2));
}

/* ---- other changes ---- */

static void
test_a_new_value_is_in_every_copy(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    set_value(test, UUID_1, "another");
    expect_value(test, UUID_1, "another");
    expect_owned_alone(test, UUID_1, GUEST_1, "another");
    expect_owned_alone(test, UUID_1, GUEST_2, "another");
    expect_bindings(test, "11111111 a1111111\n11111111 a2222222\n");
}

static void
test_a_redefinition_seals_every_copy_again(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_2 " volume /b");
    set_value(test, UUID_2, "second");
    bind_to(test, UUID_2, GUEST_1);
    bind_to(test, UUID_2, GUEST_2);
    define(test, UUID_2 " volume /b private");
    expect_value(test, UUID_2, "second");
    expect_owned_alone(test, UUID_2, GUEST_1, "second");
    expect_owned_alone(test, UUID_2, GUEST_2, "second");
}

static void
test_a_description_leaves_copies_alone(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) after = NULL;

    bind_to(test, UUID_1, GUEST_1);
    before = get_copy(test, GUEST_1, UUID_1);
    define(test, UUID_1 " volume /a private about:x");
    after = get_copy(test, GUEST_1, UUID_1);
    g_assert_true(g_bytes_equal(before, after));
}

static void
test_what_guests_own_does_not_become_ephemeral(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_1);
    expect_refused(try_define(test, UUID_1 " volume /a private ephemeral"), ERROR_OPERATION_INVALID,
                   "its value belongs to 1 guests");
    expect_value(test, UUID_1, "first");
    unbind_from(test, UUID_1, GUEST_1);
    define(test, UUID_1 " volume /a private ephemeral");
    expect_value(test, UUID_1, "first");
}

static void
test_undefine_removes_all_copies_and_empty_folders(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    undefine(test, UUID_1);
    g_assert_false(has_copy(test, GUEST_1, UUID_1));
    g_assert_false(has_copy(test, GUEST_2, UUID_1));
    g_assert_cmpuint(folder_count(&test->secrets), ==, 0);
    expect_bindings(test, "");
    custodian_reopen(test);
    expect_undefined(test, UUID_1);
    for (int i = 0; i < 2; i++) {
        const char *guests[] = {GUEST_1, GUEST_2};
        g_autofree char *dir = g_build_filename(test->guests_dir, guests[i], NULL);

        g_assert_false(g_file_test(dir, G_FILE_TEST_EXISTS));
    }
}

/* ---- put ---- */

static void
test_put_makes_a_secret_with_value_and_owners(struct custodian *test, gconstpointer unused)
{
    g_assert_no_error(
        try_put(test, UUID_2 " volume /b private", "second", GUEST_2 " " GUEST_1 " " GUEST_2));
    expect_events(test, "defined " UUID_2 "\nvalue " UUID_2 "\n");
    expect_defined(test, UUID_2 " volume /b private");
    expect_bindings(test, "22222222 a1111111\n22222222 a2222222\n");
    expect_owned_alone(test, UUID_2, GUEST_1, "second");
    expect_owned_alone(test, UUID_2, GUEST_2, "second");
}

static void
test_put_without_owners_is_define_and_set(struct custodian *test, gconstpointer unused)
{
    g_assert_no_error(try_put(test, UUID_2 " volume /b", "second", ""));
    g_assert_no_error(try_put(test, UUID_3 " volume /c ephemeral", "third", ""));
    g_assert_true(has_key(test, UUID_2));
    expect_value(test, UUID_3, "third");
    custodian_reopen(test);
    expect_value(test, UUID_2, "second");
    expect_undefined(test, UUID_3);
}

static void
test_put_takes_the_place_of_nothing(struct custodian *test, gconstpointer unused)
{
    expect_refused(try_put(test, UUID_1 " volume /z", "x", ""), ERROR_OPERATION_FAILED,
                   "there is a secret with the uuid " UUID_1 " already");
    expect_refused(try_put(test, UUID_2 " volume /a", "x", ""), ERROR_INTERNAL,
                   "already defined for use with /a");
    expect_refused(try_put(test, UUID_2 " volume /b ephemeral", "x", GUEST_1),
                   ERROR_OPERATION_INVALID, "it is ephemeral");
    expect_value(test, UUID_1, "first");
    expect_undefined(test, UUID_2);
    g_assert_false(has_copy(test, GUEST_1, UUID_2));
}

static void
test_two_puts_of_one_usage_are_one(struct custodian *test, gconstpointer unused)
{
    g_autofree char *first = xml_of(UUID_2 " volume /b");
    g_autofree char *second = xml_of(UUID_3 " volume /b");
    const char *xml[] = {first, second};
    struct outcome outcomes[2] = {0};
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < 2; i++) {
        const struct secret_put put = {.def = def_of(xml[i]),
                                       .value = secret_buf_new_from("x", 1, NULL)};

        secret_service_put(test->service, &put, outcome_note, &outcomes[i]);
    }
    g_assert_no_error(end_change(test, &outcomes[0]));
    error = end_change(test, &outcomes[1]);
    expect_error_part(error, ERROR_INTERNAL, ERROR_FROM_SECRET, "already defined for use with /b");
}

/* ---- locked ---- */

static void
test_a_locked_daemon_changes_no_owner_and_still_erases(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    custodian_open(test);
    g_assert_nonnull(secret_service_locked_reason(test->service));
    expect_bindings(test, "11111111 a1111111\n11111111 a2222222\n");
    expect_refused(try_bind(test, UUID_1, GUEST_3), ERROR_OPERATION_INVALID, "locked");
    expect_refused(try_unbind(test, UUID_1, GUEST_1), ERROR_OPERATION_INVALID, "locked");
    g_assert_true(has_copy(test, GUEST_1, UUID_1));
    g_assert_no_error(try_erase(test, UUID_1, GUEST_1, "why"));
    g_assert_false(has_copy(test, GUEST_1, UUID_1));
    g_assert_false(has_copy(test, GUEST_2, UUID_1));
}

/* ---- the audit ---- */

static GStrv
audit_lines(const struct custodian *test)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(test->audit, &text, NULL, NULL))
        return g_new0(char *, 1);
    g_strchomp(text);
    return g_strsplit(text, "\n", -1);
}

static void
expect_line(const char *line, const char *event, const char *rest)
{
    g_autofree char *start =
        g_strdup_printf("\"event\":\"%s\",\"secret\":\"%s\",%s", event, UUID_1, rest);

    if (!strstr(line, start))
        g_error("'%s' is not in %s", start, line);
    g_assert_null(strstr(line, "first"));
}

static void
test_the_audit_says_who_and_why(struct custodian *test, gconstpointer unused)
{
    g_auto(GStrv) lines = NULL;
    struct audit_line_chain chain;

    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_1);
    unbind_from(test, UUID_1, GUEST_1);
    unbind_from(test, UUID_1, GUEST_1);
    g_assert_no_error(try_erase(test, UUID_1, GUEST_2, "volume \"a\"\ndeleted"));
    define(test, UUID_1 " volume /a");
    undefine(test, UUID_1);
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "first");
    undefine(test, UUID_1);
    custodian_close(test);
    lines = audit_lines(test);
    g_assert_cmpuint(g_strv_length(lines), ==, 4);
    expect_line(lines[0], "bind", "\"guest\":\"" GUEST_1 "\"");
    expect_line(lines[1], "unbind",
                "\"guest\":\"" GUEST_1 "\",\"reason\":\"guest 'x' was undefined\"");
    expect_line(lines[2], "erase",
                "\"guest\":\"" GUEST_2 "\",\"reason\":\"volume \\\"a\\\"\\u000adeleted\"");
    expect_line(lines[3], "undefine", "\"guest\":null,\"reason\":\"undefined by a client\"");
    audit_line_chain_init(&chain);
    for (int i = 0; i < 4; i++)
        g_assert_true(audit_line_verify(&chain, lines[i], strlen(lines[i]), NULL));
}

static void
test_a_reason_is_needed_and_bounded(struct custodian *test, gconstpointer unused)
{
    g_autofree char *long_one = g_strnfill(100000, '\\');
    g_autofree char *line = NULL;

    expect_refused(try_erase(test, UUID_1, NULL, ""), ERROR_INVALID_ARG,
                   "the audit needs a reason");
    expect_value(test, UUID_1, "first");
    g_assert_no_error(try_erase(test, UUID_1, NULL, long_one));
    expect_undefined(test, UUID_1);
    g_assert_true(g_file_get_contents(test->audit, &line, NULL, NULL));
    g_assert_cmpuint(strlen(line), <, 3000);
}

/* ---- lists ---- */

static void
test_bindings_are_listed_by_pages(struct custodian *test, gconstpointer unused)
{
    struct secret_binding last;
    guint seen = 0;

    define(test, UUID_2 " volume /b");
    g_assert_no_error(try_put(test, UUID_3 " volume /c", "third", GUEST_1 " " GUEST_3));
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    bind_to(test, UUID_1, GUEST_3);
    expect_bindings(test, "11111111 a1111111\n11111111 a2222222\n11111111 a3333333\n"
                          "33333333 a1111111\n33333333 a3333333\n");
    for (;;) {
        g_autoptr(GArray) page =
            secret_service_list_bindings(test->service, seen > 0 ? &last : NULL, 2);

        if (page->len == 0)
            break;
        g_assert_cmpuint(page->len, <=, 2);
        for (guint i = 0; i < page->len; i++, seen++) {
            const struct secret_binding *binding = &g_array_index(page, struct secret_binding, i);

            if (seen > 0)
                g_assert_true(uuid_compare(&last.secret, &binding->secret) < 0 ||
                              uuid_compare(&last.guest, &binding->guest) < 0);
            last = *binding;
        }
    }
    g_assert_cmpuint(seen, ==, 5);
}

/* As an export leaves it. */
static void
test_a_clear_value_that_guests_own_already_is_wiped(struct custodian *test, gconstpointer unused)
{
    bind_to(test, UUID_1, GUEST_1);
    custodian_close(test);
    folder_put_text(&test->secrets, UUID_1 ".base64", "Zmlyc3Q=");
    custodian_open(test);
    expect_value(test, UUID_1, "first");
    folder_expect_none(&test->secrets, UUID_1 ".base64");
    expect_not_logged(test, UUID_1 ".base64 is there");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_owner/" #name, struct custodian, NULL, set_up, test_##name,        \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_first_bind_puts_a_copy_in_the_place_of_the_key);
    ADD(copies_are_for_their_guests_alone);
    ADD(each_owner_has_a_copy_that_opens_alone);
    ADD(binding_twice_writes_nothing);
    ADD(the_last_unbind_brings_the_key_back);
    ADD(a_guest_without_copies_has_no_folder);
    ADD(unbinding_who_is_not_bound_writes_nothing);
    ADD(what_stays_after_an_unbind_is_good);
    ADD(what_can_not_be_bound_is_refused);
    ADD(so_many_guests_and_no_more);
    ADD(a_new_value_is_in_every_copy);
    ADD(a_redefinition_seals_every_copy_again);
    ADD(a_description_leaves_copies_alone);
    ADD(what_guests_own_does_not_become_ephemeral);
    ADD(undefine_removes_all_copies_and_empty_folders);
    ADD(put_makes_a_secret_with_value_and_owners);
    ADD(put_without_owners_is_define_and_set);
    ADD(put_takes_the_place_of_nothing);
    ADD(two_puts_of_one_usage_are_one);
    ADD(a_locked_daemon_changes_no_owner_and_still_erases);
    ADD(the_audit_says_who_and_why);
    ADD(a_reason_is_needed_and_bounded);
    ADD(bindings_are_listed_by_pages);
    ADD(a_clear_value_that_guests_own_already_is_wiped);
    return g_test_run();
}
