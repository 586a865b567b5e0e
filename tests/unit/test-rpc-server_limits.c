/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who is let in: listening sockets, how many clients, those that do not authenticate or open in
 * time, running out of descriptors, and the exit of an idle daemon.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "folder.h"
#include "rpc-host.h"
#include "rpc/listener.h"

enum { NOBODY = 65534 };

struct fixture {
    struct rpc_host host;
    struct folder folder;
    struct rpc_server_params params;
    struct rpc_listener *listener;
    char *path;
    bool held;
    guint idle;
};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    rpc_host_init(&on->host);
    folder_init(&on->folder);
    g_assert_cmpint(chmod(on->folder.path, 0755), ==, 0);
    on->path = folder_path(&on->folder, "socket");
    on->params = rpc_host_params(&on->host);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    rpc_host_clear(&on->host);
    rpc_listener_free(on->listener);
    folder_clear(&on->folder);
    g_free(on->path);
}

static void
start(struct fixture *on, bool readonly, enum rpc_auth auth)
{
    struct rpc_listener_params params = {.path = on->path, .mode = 0777, .backlog = 64};
    g_autoptr(GError) error = NULL;

    on->listener = rpc_listener_new(&params, &error);
    g_assert_no_error(error);
    on->host.server = rpc_server_new(&on->params);
    rpc_server_add_listener(on->host.server, rpc_listener_take_fd(on->listener), readonly, auth,
                            &error);
    g_assert_no_error(error);
}

/* Connects as the effective user. */
static struct rpc_host_client *
connect_client(struct fixture *on)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, on->path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return rpc_host_adopt(&on->host, fd);
}

static struct rpc_host_client *
connect_nobody(struct fixture *on)
{
    struct rpc_host_client *client;

    g_assert_cmpint(seteuid(NOBODY), ==, 0);
    client = connect_client(on);
    g_assert_cmpint(seteuid(0), ==, 0);
    return client;
}

static void
ask_auth_list(struct fixture *on, struct rpc_host_client *client)
{
    rpc_send_message(&on->host, client,
                     rpc_call_message(REMOTE_CONNECTION_PROC_AUTH_LIST, 3, NULL, NULL));
}

static void
expect_auth_list(struct fixture *on, struct rpc_host_client *client, enum remote_auth_type type)
{
    struct remote_auth_list_ret ret = {0};

    rpc_expect_reply(&on->host, client, 3, &remote_auth_list_ret_type, &ret);
    g_assert_cmpint(ret.types[0], ==, type);
    remote_auth_list_ret_clear(&ret);
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
test_clients_wait_until_the_server_starts(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    start(on, false, RPC_AUTH_NONE);
    client = connect_client(on);
    ask_auth_list(on, client);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(client->received->len, ==, 0);
    rpc_server_start(on->host.server);
    expect_auth_list(on, client, REMOTE_AUTH_NONE);
    g_assert_cmpuint(rpc_server_count_clients(on->host.server), ==, 1);
}

static void
test_clients_beyond_the_maximum_wait(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *first;
    struct rpc_host_client *second;

    on->params.max_clients = 1;
    start(on, false, RPC_AUTH_NONE);
    rpc_server_start(on->host.server);
    first = connect_client(on);
    second = connect_client(on);
    ask_auth_list(on, first);
    ask_auth_list(on, second);
    expect_auth_list(on, first, REMOTE_AUTH_NONE);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(second->received->len, ==, 0);
    g_assert_cmpuint(rpc_server_count_clients(on->host.server), ==, 1);
    rpc_host_hang_up(first);
    expect_auth_list(on, second, REMOTE_AUTH_NONE);
}

/* Another client of `uid`, at the other end of *ret_end; false if it is refused. */
static bool
add_client_of(struct fixture *on, uid_t uid, enum rpc_auth auth, int *ret_end)
{
    g_autoptr(GError) error = NULL;
    int fds[2];

    g_assert_cmpint(seteuid(uid), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_cmpint(seteuid(0), ==, 0);
    *ret_end = fds[1];
    return rpc_server_add_client(on->host.server, fds[0], false, auth, &error);
}

static void
expect_admitted(struct fixture *on, uid_t uid, enum rpc_auth auth, int *ret_end)
{
    bool admitted = add_client_of(on, uid, auth, ret_end);

    g_assert_true(admitted);
}

static void
expect_refused(struct fixture *on, uid_t uid, enum rpc_auth auth, int *ret_end)
{
    bool admitted = add_client_of(on, uid, auth, ret_end);

    g_assert_false(admitted);
}

static void
test_small_maximum_has_no_place_for_root(struct fixture *on, gconstpointer unused)
{
    int ends[5];

    if (needs_root())
        return;
    on->params.max_clients = 5;
    start(on, false, RPC_AUTH_NONE);
    rpc_server_start(on->host.server);
    for (int i = 0; i < 5; i++)
        expect_admitted(on, NOBODY - (uid_t)i, RPC_AUTH_NONE, &ends[i]);
    g_assert_cmpuint(rpc_server_count_clients(on->host.server), ==, 5);
    for (int i = 0; i < 5; i++)
        close(ends[i]);
}

static void
test_a_tenth_of_the_clients_is_for_root(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client = NULL;
    int ends[10];

    if (needs_root())
        return;
    on->params.max_clients = 10;
    start(on, false, RPC_AUTH_NONE);
    rpc_server_start(on->host.server);
    /* Nine make it. */
    for (int i = 0; i < 10; i++)
        (i < 9 ? expect_admitted : expect_refused)(on, NOBODY - (uid_t)i, RPC_AUTH_NONE, &ends[i]);
    client = connect_client(on);
    ask_auth_list(on, client);
    expect_auth_list(on, client, REMOTE_AUTH_NONE);
    for (int i = 0; i < 10; i++)
        close(ends[i]);
}

static void
test_one_user_leaves_room_for_others(struct fixture *on, gconstpointer unused)
{
    static const int taken[] = {9, 5, 2};
    int ends[20];
    int count = 0;

    if (needs_root())
        return;
    on->params.max_clients = 20;
    start(on, false, RPC_AUTH_NONE);
    rpc_server_start(on->host.server);
    for (size_t i = 0; i < G_N_ELEMENTS(taken); i++) {
        for (int own = 0; own < taken[i]; own++)
            expect_admitted(on, NOBODY - (uid_t)i, RPC_AUTH_NONE, &ends[count++]);
        expect_refused(on, NOBODY - (uid_t)i, RPC_AUTH_NONE, &ends[count]);
        close(ends[count]);
    }
    /* Who leaves makes room. */
    rpc_host_settle(&on->host);
    close(ends[0]);
    rpc_host_settle(&on->host);
    expect_admitted(on, NOBODY - 2, RPC_AUTH_NONE, &ends[0]);
    for (int i = 0; i < count; i++)
        close(ends[i]);
}

static void
test_one_user_leaves_others_room_to_authenticate(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *other;
    int ends[16];

    if (needs_root())
        return;
    on->params.max_anonymous_clients = 4;
    start(on, false, RPC_AUTH_POLKIT);
    rpc_server_start(on->host.server);
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
        expect_admitted(on, NOBODY - 1, RPC_AUTH_POLKIT, &ends[i]);
    /* Fourteen of these wait; the one who comes last and is somebody else does not. */
    other = connect_nobody(on);
    ask_auth_list(on, other);
    expect_auth_list(on, other, REMOTE_AUTH_POLKIT);
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
        close(ends[i]);
}

static void
test_anonymous_clients_beyond_the_maximum_wait(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *first;
    struct rpc_host_client *second;
    struct rpc_host_client *root;

    if (needs_root())
        return;
    on->params.max_anonymous_clients = 1;
    start(on, false, RPC_AUTH_POLKIT);
    rpc_server_start(on->host.server);
    first = connect_nobody(on);
    second = connect_nobody(on);
    ask_auth_list(on, first);
    ask_auth_list(on, second);
    expect_auth_list(on, first, REMOTE_AUTH_POLKIT);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(second->received->len, ==, 0);
    /* Root need not authenticate, and does not wait for those that do not. */
    root = connect_client(on);
    ask_auth_list(on, root);
    expect_auth_list(on, root, REMOTE_AUTH_NONE);
    rpc_host_hang_up(first);
    expect_auth_list(on, second, REMOTE_AUTH_POLKIT);
}

static void
test_waiting_client_that_goes_makes_no_trouble(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *first;
    struct rpc_host_client *third;

    if (needs_root())
        return;
    on->params.max_anonymous_clients = 1;
    start(on, false, RPC_AUTH_POLKIT);
    rpc_server_start(on->host.server);
    first = connect_nobody(on);
    rpc_host_settle(&on->host);
    rpc_host_hang_up(connect_nobody(on));
    third = connect_nobody(on);
    rpc_host_settle(&on->host);
    g_assert_cmpuint(rpc_server_count_clients(on->host.server), ==, 2);
    rpc_host_hang_up(first);
    ask_auth_list(on, third);
    expect_auth_list(on, third, REMOTE_AUTH_POLKIT);
}

static void
test_unauthenticated_client_may_call_nothing_else(struct fixture *on, gconstpointer unused)
{
    static const int procedures[] = {REMOTE_CONNECTION_PROC_CONNECT_OPEN,
                                     REMOTE_CONNECTION_PROC_CONNECT_CLOSE,
                                     REMOTE_CONNECTION_PROC_CONNECT_SUPPORTS_FEATURE,
                                     REMOTE_CONNECTION_PROC_CONNECT_SET_IDENTITY};
    struct rpc_host_client *client;

    if (needs_root())
        return;
    start(on, false, RPC_AUTH_POLKIT);
    rpc_server_start(on->host.server);
    client = connect_nobody(on);
    for (size_t i = 0; i < G_N_ELEMENTS(procedures); i++) {
        rpc_send_message(&on->host, client, rpc_call_message(procedures[i], 1, NULL, NULL));
        rpc_expect_error(&on->host, client, 1, ERROR_RPC, ERROR_FROM_RPC,
                         "authentication required");
    }
}

static void
test_client_that_never_opens_is_disconnected(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *slow;
    struct rpc_host_client *opened;

    on->params.handshake_timeout_s = 1;
    start(on, false, RPC_AUTH_NONE);
    rpc_server_start(on->host.server);
    slow = connect_client(on);
    opened = connect_client(on);
    rpc_open(&on->host, opened, 0);
    rpc_host_wait_for_close(&on->host, slow);
    rpc_host_run_for(&on->host, 2500);
    g_assert_false(opened->closed);
}

static void
test_running_out_of_descriptors_is_waited_out(struct fixture *on, gconstpointer unused)
{
    struct rlimit before;
    struct rlimit none;
    struct rpc_host_client *client;
    int next;

    if (is_under_memcheck()) {
        g_test_skip("valgrind has descriptors of its own behind the limit");
        return;
    }
    start(on, false, RPC_AUTH_NONE);
    rpc_server_start(on->host.server);
    client = connect_client(on);
    ask_auth_list(on, client);
    next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    rpc_host_run_for(&on->host, 200);
    g_assert_cmpuint(client->received->len, ==, 0);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
    expect_auth_list(on, client, REMOTE_AUTH_NONE);
}

static bool
is_held(void *opaque)
{
    struct fixture *on = opaque;

    return on->held;
}

static void
on_idle(void *opaque)
{
    struct fixture *on = opaque;

    on->idle++;
    loop_quit(on->host.loop);
}

static void
start_with_idle_exit(struct fixture *on)
{
    on->params.idle_exit_s = 1;
    on->params.is_held = is_held;
    on->params.on_idle = on_idle;
    on->params.opaque = on;
    start(on, false, RPC_AUTH_NONE);
    rpc_server_start(on->host.server);
}

static void
test_idle_server_says_so(struct fixture *on, gconstpointer unused)
{
    start_with_idle_exit(on);
    while (on->idle == 0)
        loop_run(on->host.loop);
}

static void
test_server_with_a_client_is_not_idle(struct fixture *on, gconstpointer unused)
{
    struct rpc_host_client *client;

    start_with_idle_exit(on);
    client = connect_client(on);
    rpc_host_run_for(&on->host, 1500);
    g_assert_cmpuint(on->idle, ==, 0);
    rpc_host_hang_up(client);
    while (on->idle == 0)
        loop_run(on->host.loop);
}

static void
test_held_server_is_not_idle(struct fixture *on, gconstpointer unused)
{
    start_with_idle_exit(on);
    on->held = true;
    rpc_host_run_for(&on->host, 1500);
    g_assert_cmpuint(on->idle, ==, 0);
    on->held = false;
    while (on->idle == 0)
        loop_run(on->host.loop);
}

#define ADD(name)                                                                                  \
    g_test_add("/rpc/server_limits/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(clients_wait_until_the_server_starts);
    ADD(clients_beyond_the_maximum_wait);
    ADD(small_maximum_has_no_place_for_root);
    ADD(a_tenth_of_the_clients_is_for_root);
    ADD(one_user_leaves_room_for_others);
    ADD(one_user_leaves_others_room_to_authenticate);
    ADD(anonymous_clients_beyond_the_maximum_wait);
    ADD(waiting_client_that_goes_makes_no_trouble);
    ADD(unauthenticated_client_may_call_nothing_else);
    ADD(client_that_never_opens_is_disconnected);
    ADD(running_out_of_descriptors_is_waited_out);
    ADD(idle_server_says_so);
    ADD(server_with_a_client_is_not_idle);
    ADD(held_server_is_not_idle);
    return g_test_run();
}
