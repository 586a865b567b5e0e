/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * polkit's answers, and polkit not answering: a stand-in for polkitd on a bus of the test's own.
 * It runs in a thread; the server under test in the main one. (tests/wire asks a real polkitd.)
 */
#include <gio/gio.h>

#include "rpc-host.h"

#include "rpc/peer.h"
#include "rpc/polkit.h"
#include "rpc/server_state.h"

/* The short one is for a polkit that does not answer: any other has the time that it needs. */
enum { NOBODY = 65534, LONG_MS = 3600 * 1000, SHORT_MS = 500, SOON_MS = 20000 };

static const char interface_xml[] = "<node><interface name='org.freedesktop.PolicyKit1.Authority'>"
                                    "<method name='CheckAuthorization'>"
                                    "<arg type='(sa{sv})' name='subject' direction='in'/>"
                                    "<arg type='s' name='action_id' direction='in'/>"
                                    "<arg type='a{ss}' name='details' direction='in'/>"
                                    "<arg type='u' name='flags' direction='in'/>"
                                    "<arg type='s' name='cancellation_id' direction='in'/>"
                                    "<arg type='(bba{ss})' name='result' direction='out'/>"
                                    "</method></interface></node>";

enum answer {
    ANSWER_YES,
    ANSWER_NO,
    ANSWER_CHALLENGE,
    ANSWER_DISMISSED,
    ANSWER_ERROR,
    ANSWER_NONE
};

/* The stand-in. Its thread alone uses it, but for `answer`, which is set before a question, and
 * what was asked, which is read after the answer. */
struct authority {
    GTestDBus *bus;
    GThread *thread;
    GMainContext *context;
    GMainLoop *main_loop;
    GDBusConnection *connection;
    GDBusMethodInvocation *unanswered;
    enum answer answer;
    char *action;
    char *kind;
    uint32_t pid;
    uint64_t start_time;
    int32_t uid;
    uint32_t flags;
    GMutex lock;
    GCond changed;
    bool ready;
};

struct fixture {
    struct rpc_host host;
    struct authority authority;
};

static void
note_question(struct authority *authority, GVariant *parameters)
{
    g_autoptr(GVariant) subject = NULL;

    g_clear_pointer(&authority->action, g_free);
    g_clear_pointer(&authority->kind, g_free);
    g_variant_get(parameters, "((s@a{sv})s@a{ss}us)", &authority->kind, &subject,
                  &authority->action, NULL, &authority->flags, NULL);
    g_variant_lookup(subject, "pid", "u", &authority->pid);
    g_variant_lookup(subject, "start-time", "t", &authority->start_time);
    g_variant_lookup(subject, "uid", "i", &authority->uid);
}

static void
on_question(GDBusConnection *connection, const char *sender, const char *path,
            const char *interface, const char *method, GVariant *parameters,
            GDBusMethodInvocation *invocation, void *opaque)
{
    struct authority *authority = opaque;
    g_auto(GVariantBuilder) details;

    g_variant_builder_init(&details, G_VARIANT_TYPE("a{ss}"));
    note_question(authority, parameters);
    if (authority->answer == ANSWER_DISMISSED)
        g_variant_builder_add(&details, "{ss}", "polkit.dismissed", "true");
    if (authority->answer == ANSWER_ERROR)
        g_dbus_method_invocation_return_dbus_error(
            invocation, "org.freedesktop.PolicyKit1.Error.Failed", "no such action");
    else if (authority->answer == ANSWER_NONE)
        authority->unanswered = invocation;
    else
        g_dbus_method_invocation_return_value(
            invocation, g_variant_new("((bba{ss}))", authority->answer == ANSWER_YES,
                                      authority->answer == ANSWER_CHALLENGE, &details));
}

/* In the authority's thread: a question that it left open, or that is on its way, gets its yes. */
static gboolean
say_yes(void *opaque)
{
    struct authority *authority = opaque;
    g_auto(GVariantBuilder) details = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{ss}"));

    authority->answer = ANSWER_YES;
    if (!authority->unanswered)
        return G_SOURCE_REMOVE;
    g_dbus_method_invocation_return_value(g_steal_pointer(&authority->unanswered),
                                          g_variant_new("((bba{ss}))", TRUE, FALSE, &details));
    return G_SOURCE_REMOVE;
}

static void
on_name(GDBusConnection *connection, const char *name, void *opaque)
{
    struct authority *authority = opaque;

    g_mutex_lock(&authority->lock);
    authority->ready = true;
    g_cond_signal(&authority->changed);
    g_mutex_unlock(&authority->lock);
}

static void *
run_authority(void *opaque)
{
    static const GDBusInterfaceVTable table = {.method_call = on_question};
    struct authority *authority = opaque;
    g_autoptr(GDBusNodeInfo) node = g_dbus_node_info_new_for_xml(interface_xml, NULL);
    guint name;

    g_main_context_push_thread_default(authority->context);
    authority->connection =
        g_dbus_connection_new_for_address_sync(g_test_dbus_get_bus_address(authority->bus),
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                   G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                               NULL, NULL, NULL);
    g_assert_nonnull(authority->connection);
    g_dbus_connection_register_object(authority->connection,
                                      "/org/freedesktop/PolicyKit1/Authority", node->interfaces[0],
                                      &table, authority, NULL, NULL);
    name =
        g_bus_own_name_on_connection(authority->connection, "org.freedesktop.PolicyKit1",
                                     G_BUS_NAME_OWNER_FLAGS_NONE, on_name, NULL, authority, NULL);
    g_main_loop_run(authority->main_loop);
    g_bus_unown_name(name);
    g_clear_object(&authority->unanswered);
    g_dbus_connection_close_sync(authority->connection, NULL, NULL);
    g_object_unref(authority->connection);
    g_main_context_pop_thread_default(authority->context);
    return NULL;
}

static void
start_authority(struct authority *authority)
{
    authority->context = g_main_context_new();
    authority->main_loop = g_main_loop_new(authority->context, FALSE);
    authority->thread = g_thread_new("authority", run_authority, authority);
    g_mutex_lock(&authority->lock);
    while (!authority->ready)
        g_cond_wait(&authority->changed, &authority->lock);
    g_mutex_unlock(&authority->lock);
}

static void
stop_authority(struct authority *authority)
{
    if (!authority->thread)
        return;
    g_main_loop_quit(authority->main_loop);
    g_thread_join(authority->thread);
    g_main_loop_unref(authority->main_loop);
    g_main_context_unref(authority->context);
    g_free(authority->action);
    g_free(authority->kind);
}

static void
set_up(struct fixture *on, gconstpointer unused)
{
    struct rpc_server_params params;
    g_autoptr(GError) error = NULL;

    on->authority.bus = g_test_dbus_new(G_TEST_DBUS_NONE);
    g_test_dbus_up(on->authority.bus);
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", g_test_dbus_get_bus_address(on->authority.bus), TRUE);
    rpc_host_init(&on->host);
    params = rpc_host_params(&on->host);
    rpc_host_start(&on->host, &params);
    on->host.server->polkit = rpc_polkit_new(on->host.loop, 2, &error);
    g_assert_no_error(error);
    rpc_polkit_set_timeout(on->host.server->polkit, LONG_MS);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    rpc_host_clear(&on->host);
    stop_authority(&on->authority);
    g_test_dbus_down(on->authority.bus);
    g_object_unref(on->authority.bus);
}

static struct rpc_host_client *
connect_nobody(struct fixture *on, bool readonly)
{
    struct rpc_host_client *client;

    g_assert_cmpint(seteuid(NOBODY), ==, 0);
    client = rpc_host_connect_as(&on->host, readonly, RPC_AUTH_POLKIT);
    g_assert_cmpint(seteuid(0), ==, 0);
    return client;
}

static bool
needs_root(void)
{
    if (geteuid() == 0)
        return false;
    g_test_skip("needs root to be somebody else");
    return true;
}

static void
ask(struct fixture *on, struct rpc_host_client *client)
{
    rpc_send_message(&on->host, client,
                     rpc_call_message(REMOTE_CONNECTION_PROC_AUTH_POLKIT, 4, NULL, NULL));
}

static void
expect_yes(struct fixture *on, struct rpc_host_client *client)
{
    struct remote_auth_polkit_ret ret = {0};

    rpc_expect_reply(&on->host, client, 4, &remote_auth_polkit_ret_type, &ret);
    g_assert_cmpint(ret.complete, ==, 1);
}

static void
test_yes_lets_the_client_in(struct fixture *on, gconstpointer readonly)
{
    struct rpc_host_client *client;

    if (needs_root())
        return;
    start_authority(&on->authority);
    client = connect_nobody(on, GPOINTER_TO_INT(readonly));
    ask(on, client);
    expect_yes(on, client);
    g_assert_cmpstr(on->authority.action, ==,
                    readonly ? "org.libvirt.unix.monitor" : "org.libvirt.unix.manage");
    g_assert_cmpstr(on->authority.kind, ==, "unix-process");
    g_assert_cmpint(on->authority.pid, ==, getpid());
    g_assert_cmpuint(on->authority.start_time, ==, rpc_peer_read_start_time(getpid()));
    g_assert_cmpint(on->authority.uid, ==, NOBODY);
    g_assert_cmpuint(on->authority.flags, ==, 1);
    rpc_open(&on->host, client, 0);
}

static const struct refusal {
    enum answer answer;
    int code;
    const char *text;
} refusals[] = {
    {ANSWER_NO, ERROR_AUTH_FAILED, "access denied by policy: action 'org.libvirt.unix.manage'"},
    {ANSWER_CHALLENGE, ERROR_AUTH_UNAVAILABLE,
     "no polkit agent available to authenticate action 'org.libvirt.unix.manage'"},
    {ANSWER_DISMISSED, ERROR_AUTH_CANCELLED, "user cancelled authentication process"},
    {ANSWER_ERROR, ERROR_AUTH_FAILED, "cannot ask polkit"},
    {ANSWER_NONE, ERROR_AUTH_FAILED, "polkit did not answer"},
};

static void
test_other_answers_do_not(struct fixture *on, gconstpointer opaque)
{
    const struct refusal *refusal = opaque;
    struct rpc_host_client *client;

    if (needs_root())
        return;
    start_authority(&on->authority);
    on->authority.answer = refusal->answer;
    if (refusal->answer == ANSWER_NONE)
        rpc_polkit_set_timeout(on->host.server->polkit, SHORT_MS);
    client = connect_nobody(on, false);
    ask(on, client);
    rpc_expect_error(&on->host, client, 4, refusal->code, ERROR_FROM_POLKIT, refusal->text);
    rpc_polkit_set_timeout(on->host.server->polkit, LONG_MS);
    rpc_send_message(&on->host, client,
                     rpc_call_message(REMOTE_CONNECTION_PROC_CONNECT_CLOSE, 5, NULL, NULL));
    rpc_expect_error(&on->host, client, 5, ERROR_RPC, ERROR_FROM_RPC, "authentication required");
    /* Polkit may have been told otherwise meanwhile. */
    on->authority.answer = ANSWER_YES;
    ask(on, client);
    expect_yes(on, client);
}

static void
test_no_polkit_does_not(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    if (needs_root())
        return;
    client = connect_nobody(on, false);
    ask(on, client);
    rpc_expect_error(&on->host, client, 4, ERROR_AUTH_FAILED, ERROR_FROM_POLKIT,
                     "cannot ask polkit about action 'org.libvirt.unix.manage' for user 65534");
}

static void
test_no_bus_does_not(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    if (needs_root())
        return;
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", TRUE);
    client = connect_nobody(on, false);
    ask(on, client);
    rpc_expect_error(&on->host, client, 4, ERROR_AUTH_FAILED, ERROR_FROM_POLKIT,
                     "cannot ask polkit");
}

static void
test_three_refusals_are_enough(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    if (needs_root())
        return;
    start_authority(&on->authority);
    on->authority.answer = ANSWER_NO;
    client = connect_nobody(on, false);
    for (int i = 0; i < 3; i++) {
        ask(on, client);
        rpc_expect_error(&on->host, client, 4, ERROR_AUTH_FAILED, ERROR_FROM_POLKIT, "denied");
    }
    rpc_host_wait_for_close(&on->host, client);
}

static void
test_second_question_meanwhile_is_refused(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    if (needs_root())
        return;
    start_authority(&on->authority);
    on->authority.answer = ANSWER_NONE;
    client = connect_nobody(on, false);
    ask(on, client);
    ask(on, client);
    rpc_expect_error(&on->host, client, 4, ERROR_AUTH_FAILED, ERROR_FROM_RPC,
                     "polkit is being asked already");
    g_main_context_invoke(on->authority.context, say_yes, &on->authority);
    expect_yes(on, client);
}

/* A person may take long to type a password; meanwhile the others are served. */
static void
test_question_does_not_block_others(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *slow;
    struct rpc_host_client *other;

    if (needs_root())
        return;
    start_authority(&on->authority);
    on->authority.answer = ANSWER_NONE;
    slow = connect_nobody(on, false);
    ask(on, slow);
    other = rpc_host_connect(&on->host);
    rpc_open(&on->host, other, 0);
    g_assert_cmpuint(slow->received->len, ==, 0);
}

static void
test_client_that_goes_meanwhile_ends_the_question(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    if (needs_root())
        return;
    start_authority(&on->authority);
    on->authority.answer = ANSWER_NONE;
    client = connect_nobody(on, false);
    ask(on, client);
    rpc_host_run_for(&on->host, 200);
    rpc_host_hang_up(client);
    while (rpc_server_count_clients(on->host.server) > 0)
        rpc_host_run_for(&on->host, 10);
}

static void
test_server_that_ends_meanwhile_does_not_wait(struct fixture *on, gconstpointer unused)
{
    int64_t before;

    if (needs_root())
        return;
    start_authority(&on->authority);
    on->authority.answer = ANSWER_NONE;
    ask(on, connect_nobody(on, false));
    /* The third waits for a thread. */
    ask(on, connect_nobody(on, false));
    ask(on, connect_nobody(on, false));
    rpc_host_run_for(&on->host, 200);
    before = g_get_monotonic_time();
    rpc_server_free(g_steal_pointer(&on->host.server));
    g_assert_cmpint(g_get_monotonic_time() - before, <, patient_ms(SOON_MS) * 1000LL);
}

#define ADD_AS(label, name, data)                                                                  \
    g_test_add("/rpc/polkit/" label, struct fixture, data, set_up, test_##name, tear_down)
#define ADD(name) ADD_AS(#name, name, NULL)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD_AS("yes_lets_the_client_in", yes_lets_the_client_in, NULL);
    ADD_AS("yes_lets_the_readonly_client_in", yes_lets_the_client_in, GINT_TO_POINTER(1));
    ADD_AS("no_is_45", other_answers_do_not, &refusals[0]);
    ADD_AS("challenge_is_94", other_answers_do_not, &refusals[1]);
    ADD_AS("dismissed_is_79", other_answers_do_not, &refusals[2]);
    ADD_AS("error_is_45", other_answers_do_not, &refusals[3]);
    ADD_AS("silence_is_45", other_answers_do_not, &refusals[4]);
    ADD(no_polkit_does_not);
    ADD(no_bus_does_not);
    ADD(three_refusals_are_enough);
    ADD(second_question_meanwhile_is_refused);
    ADD(question_does_not_block_others);
    ADD(client_that_goes_meanwhile_ends_the_question);
    ADD(server_that_ends_meanwhile_does_not_wait);
    return g_test_run();
}
