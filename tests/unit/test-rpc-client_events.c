/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Events, keepalive, and servers that send what nobody asked for.
 */
#include "fake-server.h"
#include "patience.h"

static void
serve_event(const struct fixture *fixture, int event)
{
    struct remote_secret_event_lifecycle_msg message = {
        .callbackID = 7,
        .secret = {.usageType = 1, .usageID = (char *)"/v"},
        .event = event,
    };
    g_autoptr(GByteArray) payload = payload_of(&remote_secret_event_lifecycle_msg_type, &message);
    const struct frame frame = {
        .procedure = REMOTE_SECRET_PROC_SECRET_EVENT_LIFECYCLE,
        .type = EVENT,
        .serial = 1,
    };

    serve(fixture->server, frame, payload);
}

static void
serve_ping(const struct fixture *fixture)
{
    const struct frame ping = {.program = KEEPALIVE, .procedure = 1, .type = EVENT};

    serve(fixture->server, ping, NULL);
}

static void
on_event(const struct rpc_program *program, const struct rpc_procedure *procedure,
         const void *message, void *opaque)
{
    struct fixture *fixture = opaque;
    const struct remote_secret_event_lifecycle_msg *lifecycle = message;

    g_assert_true(program == &remote_secret_program);
    fixture->events++;
    g_snprintf(fixture->last_event, sizeof(fixture->last_event), "%s %d %d %s", procedure->name,
               lifecycle->callbackID, lifecycle->event, lifecycle->secret.usageID);
}

static bool
wait_for_events(const struct fixture *fixture, GError **error)
{
    return rpc_client_wait(fixture->client, SHORT_MS, error);
}

/* ---- events ---- */

static void
test_events_during_a_call_are_kept_for_later(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    rpc_client_on_event(fixture->client, &remote_secret_program, on_event, fixture);
    serve_event(fixture, 0);
    serve_event(fixture, 1);
    serve_lookup(fixture, 0);
    expect_lookup(fixture);
    g_assert_cmpuint(fixture->events, ==, 0);
    g_assert_true(rpc_client_has_events(fixture->client));
    g_assert_true(wait_for_events(fixture, &error));
    g_assert_cmpuint(fixture->events, ==, 2);
    g_assert_cmpstr(fixture->last_event, ==, "secret_event_lifecycle 7 1 /v");
    g_assert_false(rpc_client_has_events(fixture->client));
}

static void
test_an_event_is_waited_for(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    rpc_client_on_event(fixture->client, &remote_secret_program, on_event, fixture);
    serve_event(fixture, 0);
    g_assert_true(rpc_client_wait(fixture->client, -1, &error));
    g_assert_cmpuint(fixture->events, ==, 1);
}

static void
test_waiting_ends_in_time(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(wait_for_events(fixture, &error));
    g_assert_true(rpc_client_wait(fixture->client, 0, &error));
    g_assert_no_error(error);
}

static void
test_events_that_nobody_asked_for_are_dropped(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    serve_event(fixture, 0);
    serve_lookup(fixture, 0);
    expect_lookup(fixture);
    g_assert_true(wait_for_events(fixture, &error));
}

static void
test_an_event_that_is_cut_off_ends_the_connection(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    rpc_client_on_event(fixture->client, &remote_secret_program, on_event, fixture);
    serve(fixture->server, (struct frame){.procedure = 382, .type = EVENT}, NULL);
    g_assert_false(wait_for_events(fixture, &error));
    g_assert_cmpint(error_get_code(error), ==, ERROR_RPC);
    expect_broken(fixture, ERROR_INTERNAL, "client socket is closed");
    g_assert_cmpuint(fixture->events, ==, 0);
}

static gpointer
flood(gpointer opaque)
{
    struct fixture *fixture = opaque;

    for (int i = 0; i < 65537; i++)
        serve_event(fixture, 0);
    return NULL;
}

static void
test_more_events_than_can_be_kept_end_the_connection(struct fixture *fixture, const void *unused)
{
    rpc_client_set_timeout(fixture->client, (int)patient_ms(RPC_CLIENT_TIMEOUT_MS));
    rpc_client_on_event(fixture->client, &remote_secret_program, on_event, fixture);
    fixture->thread = g_thread_new("flood", flood, fixture);
    expect_broken(fixture, ERROR_OVERFLOW, "more than 65536 events within one call");
    g_thread_join(fixture->thread);
}

static void
test_a_reply_that_nobody_asked_for_ends_the_connection(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    serve_lookup(fixture, 0);
    g_assert_false(wait_for_events(fixture, &error));
    expect_error_part(error, ERROR_RPC, ERROR_FROM_RPC, "that nobody asked for");
    expect_broken(fixture, ERROR_INTERNAL, "client socket is closed");
}

static void
test_a_server_that_leaves_while_events_are_awaited_is_an_error(struct fixture *fixture,
                                                               const void *unused)
{
    g_autoptr(GError) error = NULL;

    end_service(fixture);
    g_assert_false(rpc_client_wait(fixture->client, -1, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_RPC, END_OF_FILE);
}

/* ---- keepalive ---- */

static void
expect_pong(const struct fixture *fixture, guint offset)
{
    const guint8 pong[] = {0, 0, 0, 28, 'k', 'e', 'e', 'p', 0, 0, 0, 1, 0, 0,
                           0, 2, 0, 0,  0,   2,   0,   0,   0, 0, 0, 0, 0, 0};
    g_autoptr(GByteArray) bytes = sent(fixture);

    g_assert_cmpuint(bytes->len, ==, offset + sizeof(pong));
    g_assert_cmpmem(bytes->data + offset, sizeof(pong), pong, sizeof(pong));
}

static void
test_a_ping_is_answered_while_waiting(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    serve_ping(fixture);
    g_assert_true(wait_for_events(fixture, &error));
    expect_pong(fixture, 0);
}

static void
test_a_ping_is_answered_during_a_call(struct fixture *fixture, const void *unused)
{
    serve_ping(fixture);
    serve_lookup(fixture, 0);
    expect_lookup(fixture);
    expect_pong(fixture, 44);
}

#define ADD(name)                                                                                  \
    g_test_add("/rpc/client_events/" #name, struct fixture, NULL, set_up, name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_events_during_a_call_are_kept_for_later);
    ADD(test_an_event_is_waited_for);
    ADD(test_waiting_ends_in_time);
    ADD(test_events_that_nobody_asked_for_are_dropped);
    ADD(test_an_event_that_is_cut_off_ends_the_connection);
    ADD(test_more_events_than_can_be_kept_end_the_connection);
    ADD(test_a_reply_that_nobody_asked_for_ends_the_connection);
    ADD(test_a_server_that_leaves_while_events_are_awaited_is_an_error);
    ADD(test_a_ping_is_answered_while_waiting);
    ADD(test_a_ping_is_answered_during_a_call);
    return g_test_run();
}
