/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Messages between a daemon and a helper: there and back, and what is no message.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "expect.h"
#include "master/helper.h"
#include "master/helper_wire.h"
#include "patience.h"

enum { BOUND_MS = 20000, SHORT_MS = 50 };

static gint64
deadline_in(unsigned int ms)
{
    return g_get_monotonic_time() + (gint64)ms * 1000;
}

struct ends {
    int ours;
    int theirs;
};

static void
ends_init(struct ends *ends)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    *ends = (struct ends){pair[0], pair[1]};
}

static void
ends_clear(struct ends *ends)
{
    close(ends->ours);
    close(ends->theirs);
}

static struct fields *
largest_fields(void)
{
    struct fields *fields = fields_new();
    g_autofree char *value = g_strnfill(FIELD_VALUE_MAX, 'v');

    for (unsigned int i = 0; i < FIELDS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("%0*u", FIELD_NAME_MAX, i);

        g_assert_true(fields_set(fields, name, value, NULL));
    }
    return fields;
}

struct sending {
    int fd;
    const struct helper_message *message;
};

static void *
send_in_thread(void *opaque)
{
    const struct sending *sending = opaque;
    g_autoptr(GError) error = NULL;

    helper_wire_send(sending->fd, sending->message, deadline_in(patient_ms(BOUND_MS)), &error);
    g_assert_no_error(error);
    return NULL;
}

static void
expect_round_trip(const struct helper_message *message)
{
    struct ends ends;
    struct sending sending;
    g_autoptr(GError) error = NULL;
    g_auto(helper_message_t) got = {0};
    GThread *thread;
    size_t count = message->fields ? fields_count(message->fields) : 0;

    ends_init(&ends);
    sending = (struct sending){ends.ours, message};
    thread = g_thread_new("send", send_in_thread, &sending);
    helper_wire_receive(ends.theirs, &got, deadline_in(patient_ms(BOUND_MS)), &error);
    g_thread_join(thread);
    g_assert_no_error(error);
    g_assert_cmpuint(got.kind, ==, message->kind);
    g_assert_cmpuint(fields_count(got.fields), ==, count);
    for (size_t i = 0; i < count; i++) {
        g_assert_cmpstr(fields_name(got.fields, i), ==, fields_name(message->fields, i));
        g_assert_cmpstr(fields_get(got.fields, fields_name(message->fields, i)), ==,
                        fields_get(message->fields, fields_name(message->fields, i)));
    }
    g_assert_true(!got.key == !message->key);
    g_assert_true(!got.key || secret_buf_equal(got.key, message->key));
    ends_clear(&ends);
}

static void
test_messages_come_back_as_they_were(void)
{
    g_autoptr(fields_t) fields = largest_fields();
    g_autoptr(secret_buf_t) key = secret_buf_new_random(HELPER_WIRE_KEY_MAX, NULL);
    g_autoptr(secret_buf_t) empty = secret_buf_new(0, NULL);

    expect_round_trip(&(struct helper_message){.kind = 1});
    expect_round_trip(&(struct helper_message){.kind = UINT16_MAX, .fields = fields});
    expect_round_trip(&(struct helper_message){.kind = 1, .key = key});
    expect_round_trip(&(struct helper_message){.kind = 1, .key = empty});
    expect_round_trip(&(struct helper_message){.kind = 1, .fields = fields, .key = key});
}

static void
test_a_key_that_is_too_long_is_not_sent(void)
{
    struct ends ends;
    g_autoptr(secret_buf_t) key = secret_buf_new(HELPER_WIRE_KEY_MAX + 1, NULL);
    g_autoptr(GError) error = NULL;

    ends_init(&ends);
    g_assert_false(helper_wire_send(ends.ours, &(struct helper_message){.kind = 1, .key = key},
                                    deadline_in(BOUND_MS), &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "too long for the helper");
    ends_clear(&ends);
}

/* Each beginning of a message, and nothing after it. */
static void
test_a_message_that_is_cut_anywhere_is_refused(void)
{
    g_autoptr(fields_t) fields = fields_new();
    g_autoptr(secret_buf_t) key = secret_buf_new_random(32, NULL);
    const struct helper_message message = {.kind = 1, .fields = fields, .key = key};
    struct ends ends;
    uint8_t whole[256];
    ssize_t len;

    g_assert_true(fields_set(fields, "name", "value", NULL));
    ends_init(&ends);
    g_assert_true(helper_wire_send(ends.ours, &message, deadline_in(BOUND_MS), NULL));
    len = read(ends.theirs, whole, sizeof(whole));
    g_assert_cmpint(len, >, HELPER_WIRE_HEADER_SIZE);
    ends_clear(&ends);
    for (ssize_t cut = 0; cut < len; cut++) {
        g_autoptr(GError) error = NULL;
        g_auto(helper_message_t) got = {0};

        ends_init(&ends);
        g_assert_cmpint(write(ends.ours, whole, (size_t)cut), ==, cut);
        shutdown(ends.ours, SHUT_WR);
        g_assert_false(helper_wire_receive(ends.theirs, &got, deadline_in(BOUND_MS), &error));
        expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_SECRET, "the other side ended");
        g_assert_null(got.fields);
        ends_clear(&ends);
    }
}

static void
test_waiting_ends_at_the_deadline(void)
{
    struct ends ends;
    g_autoptr(GError) error = NULL;
    g_auto(helper_message_t) got = {0};
    g_autoptr(fields_t) fields = largest_fields();
    const struct helper_message large = {.kind = 1, .fields = fields};
    bool is_sent = true;

    ends_init(&ends);
    g_assert_false(helper_wire_receive(ends.theirs, &got, deadline_in(SHORT_MS), &error));
    expect_error(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_SECRET, "no answer in time");
    g_clear_error(&error);
    /* Nobody reads, so some time there is no more room. */
    for (unsigned int i = 0; i < 1000 && is_sent; i++)
        is_sent = helper_wire_send(ends.ours, &large, deadline_in(SHORT_MS), &error);
    expect_error(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_SECRET, "no answer in time");
    ends_clear(&ends);
}

static void
test_an_end_of_the_other_side_is_no_signal(void)
{
    struct ends ends;
    g_autoptr(GError) error = NULL;

    ends_init(&ends);
    close(ends.theirs);
    g_assert_false(helper_wire_send(ends.ours, &(struct helper_message){.kind = 1},
                                    deadline_in(BOUND_MS), &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_SECRET, "Broken pipe");
    close(ends.ours);
}

static void
expect_error_passed(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) taken = NULL;
    g_auto(helper_message_t) message = {.kind = 1};

    error_set(&error, ERROR_FROM_POLKIT, ERROR_AUTH_CANCELLED, "%s", text);
    helper_wire_put_error(&message, error);
    g_assert_cmpuint(message.kind, ==, HELPER_ANSWER_FAILED);
    helper_wire_take_error(&message, &taken);
    expect_error(taken, ERROR_AUTH_CANCELLED, ERROR_FROM_POLKIT, expected);
}

static void
test_errors_are_passed_on_as_one_line(void)
{
    g_autofree char *long_text = g_strnfill(10000, 'x');
    g_autofree char *cut = g_strnfill(2000, 'x');

    expect_error_passed("it failed: 50%", "it failed: 50%");
    expect_error_passed("", "");
    expect_error_passed("two\nlines\x1b[0m", "two lines [0m");
    expect_error_passed("caf\xc3\xa9 \xff", "café \xef\xbf\xbd");
    expect_error_passed(long_text, cut);
}

static void
test_an_error_without_fields_is_one_still(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(fields_t) fields = fields_new();
    const struct helper_message message = {.kind = HELPER_ANSWER_FAILED, .fields = fields};

    helper_wire_take_error(&message, &error);
    expect_error(error, ERROR_OPERATION_FAILED, ERROR_FROM_SECRET,
                 "the helper failed and did not say why");
}

static void
test_operations_have_names(void)
{
    g_assert_null(helper_operation_name(0));
    for (unsigned int i = 1; i <= HELPER_OPERATION_MAX; i++)
        g_assert_nonnull(helper_operation_name(i));
    g_assert_null(helper_operation_name(HELPER_OPERATION_MAX + 1));
    g_assert_null(helper_operation_name(UINT32_MAX));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/master/helper_wire/messages come back as they were",
                    test_messages_come_back_as_they_were);
    g_test_add_func("/master/helper_wire/a key that is too long is not sent",
                    test_a_key_that_is_too_long_is_not_sent);
    g_test_add_func("/master/helper_wire/a message that is cut anywhere is refused",
                    test_a_message_that_is_cut_anywhere_is_refused);
    g_test_add_func("/master/helper_wire/waiting ends at the deadline",
                    test_waiting_ends_at_the_deadline);
    g_test_add_func("/master/helper_wire/an end of the other side is no signal",
                    test_an_end_of_the_other_side_is_no_signal);
    g_test_add_func("/master/helper_wire/errors are passed on as one line",
                    test_errors_are_passed_on_as_one_line);
    g_test_add_func("/master/helper_wire/an error without fields is one still",
                    test_an_error_without_fields_is_one_still);
    g_test_add_func("/master/helper_wire/operations have names", test_operations_have_names);
    return g_test_run();
}
