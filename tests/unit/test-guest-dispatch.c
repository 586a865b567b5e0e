/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The program of guests on a real server: arguments that are refused, pages of lists, and keys that
 * go nowhere but where they belong.
 */
#include "guest/dispatch.h"
#include "guest_service_fixture.h"
#include "rpc-host.h"

#define KEY "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"

enum { GUESTS = 5 };

struct dispatch_fixture {
    struct guest_fixture guests;
    struct rpc_host host;
    struct storage_dispatch edge;
    struct guest_dispatch dispatch;
    struct rpc_host_client *client;
    uint32_t serial;
};

static void
set_up(struct dispatch_fixture *test, gconstpointer unused)
{
    struct rpc_server_params params;

    *test = (struct dispatch_fixture){0};
    guest_fixture_set_up(&test->guests, NULL);
    rpc_host_init(&test->host);
    storage_dispatch_init(&test->edge, test->host.loop, test->guests.base.service, NULL);
    test->dispatch = (struct guest_dispatch){&test->edge, test->guests.service};
    params = rpc_host_params(&test->host);
    rpc_host_start(&test->host, &params);
    rpc_server_add_program(test->host.server, &virtcrypt_guest_program, &guest_dispatch_handlers,
                           &test->dispatch);
    test->client = rpc_host_connect(&test->host);
    rpc_open(&test->host, test->client, 0);
}

static void
tear_down(struct dispatch_fixture *test, gconstpointer unused)
{
    while (dispatch_workers_count(test->edge.workers) > 0)
        rpc_host_run_for(&test->host, 10);
    rpc_host_clear(&test->host);
    storage_dispatch_clear(&test->edge);
    guest_fixture_tear_down(&test->guests, NULL);
}

static uint32_t
ask(struct dispatch_fixture *test, int procedure, const struct rpc_type *type, const void *args)
{
    GByteArray *message = rpc_call_message(procedure, ++test->serial, type, args);
    uint32_t number = GUINT32_TO_BE(virtcrypt_guest_program.number);

    memcpy(message->data + sizeof(uint32_t), &number, sizeof(number));
    rpc_send_message(&test->host, test->client, message);
    return test->serial;
}

static void
expect(struct dispatch_fixture *test, uint32_t serial, const struct rpc_type *type, void *ret)
{
    rpc_expect_reply(&test->host, test->client, serial, type, ret);
}

static void
expect_refused(struct dispatch_fixture *test, uint32_t serial, enum error_code code,
               const char *part)
{
    rpc_expect_error(&test->host, test->client, serial, code, ERROR_FROM_DOMAIN, part);
}

/* ---- define, create ---- */

struct wish {
    const char *mechanism;
    const char *parameters;
    const char *text;
    uint32_t flags;
    bool is_create;
};

static uint32_t
ask_define(struct dispatch_fixture *test, const struct wish *wish)
{
    g_autofree char *xml = guest_fixture_disk(&test->guests, "disk");
    g_autoptr(secret_buf_t) key = secret_buf_new_from(wish->text, strlen(wish->text), NULL);
    struct virtcrypt_guest_key sent = {
        .volume = (char *)"vda",
        .mechanism = (char *)wish->mechanism,
        .parameters = (char *)wish->parameters,
        .key = key,
    };
    const struct virtcrypt_guest_define_args args = {
        .xml = xml, .keys = &sent, .keys_len = 1, .flags = wish->flags};

    return ask(test, wish->is_create ? VIRTCRYPT_GUEST_PROC_CREATE : VIRTCRYPT_GUEST_PROC_DEFINE,
               &virtcrypt_guest_define_args_type, &args);
}

static void
test_a_guest_is_defined_with_its_key(struct dispatch_fixture *test, gconstpointer unused)
{
    const struct wish wish = {.mechanism = "passphrase", .text = KEY, .flags = 1};
    struct virtcrypt_guest_define_ret ret = {0};

    guest_fixture_make_foreign(&test->guests, "disk", KEY);
    expect(test, ask_define(test, &wish), &virtcrypt_guest_define_ret_type, &ret);
    g_assert_cmpstr(ret.guest.name, ==, "web");
    g_assert_cmpmem(ret.guest.uuid, 16, test->guests.guest.bytes, 16);
    g_assert_cmpuint(ret.keys_len, ==, 1);
    g_assert_false(ret.keys[0].is_generated);
    g_assert_cmpuint(guest_fixture_count_secrets(&test->guests), ==, 1);
    guest_fixture_expect_state(&test->guests, GUEST_STATE_PRESENT, 1);
    virtcrypt_guest_define_ret_clear(&ret);
}

static void
test_a_key_is_generated(struct dispatch_fixture *test, gconstpointer unused)
{
    const struct wish wish = {.mechanism = "generate", .text = "", .is_create = true};
    struct virtcrypt_guest_define_ret ret = {0};

    expect(test, ask_define(test, &wish), &virtcrypt_guest_define_ret_type, &ret);
    g_assert_true(ret.keys[0].is_generated);
    virtcrypt_guest_define_ret_clear(&ret);
}

static void
test_what_is_not_understood_of_a_definition_is_refused(struct dispatch_fixture *test,
                                                       gconstpointer unused)
{
    static const struct {
        struct wish wish;
        enum error_code code;
        const char *part;
    } cases[] = {
        {{"tpm2", NULL, KEY, 0, false}, ERROR_ARGUMENT_UNSUPPORTED, "'tpm2' is no mechanism"},
        {{"passphrase", "pcrs=7", KEY, 0, false}, ERROR_ARGUMENT_UNSUPPORTED, "no parameters"},
        {{"passphrase", NULL, "", 0, false}, ERROR_INVALID_ARG, "key of volume 'vda' is empty"},
        {{"generate", NULL, KEY, 0, false}, ERROR_INVALID_ARG, "is to be generated, and one is"},
        {{"passphrase", NULL, KEY, 1 << 1, true}, ERROR_ARGUMENT_UNSUPPORTED, "can't be destroyed"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        expect_refused(test, ask_define(test, &cases[i].wish), cases[i].code, cases[i].part);
    rpc_expect_error(&test->host, test->client,
                     ask_define(test, &(struct wish){"passphrase", NULL, KEY, 2, false}),
                     ERROR_INVALID_ARG, ERROR_FROM_STORAGE, "unsupported flags (0x2) of define");
    guest_fixture_expect_nothing(&test->guests);
}

/* ---- lists ---- */

static void
put_guests(struct dispatch_fixture *test)
{
    for (int i = 0; i < GUESTS; i++) {
        g_autofree char *xml =
            g_strdup_printf("<domain type='qemu'><name>g%d</name><uuid>%08d-2222-4333-8444-"
                            "555555555555</uuid></domain>",
                            i, i);

        fake_libvirt_put(xml, ".xml");
    }
    guest_fixture_look(&test->guests);
}

static void
test_guests_are_listed_page_by_page(struct dispatch_fixture *test, gconstpointer unused)
{
    struct virtcrypt_guest_list_args args = {.max = 2};
    uint8_t after[16];
    int seen = 0;
    bool more = true;

    put_guests(test);
    while (more) {
        struct virtcrypt_guest_list_ret ret = {0};

        expect(test, ask(test, VIRTCRYPT_GUEST_PROC_LIST, &virtcrypt_guest_list_args_type, &args),
               &virtcrypt_guest_list_ret_type, &ret);
        g_assert_cmpuint(ret.guests_len, ==, MIN(2, GUESTS - seen));
        for (uint32_t i = 0; i < ret.guests_len; i++) {
            g_autofree char *name = g_strdup_printf("g%d", seen++);

            g_assert_cmpstr(ret.guests[i].name, ==, name);
            g_assert_cmpstr(ret.guests[i].state, ==, "shut off");
            g_assert_true(ret.guests[i].is_persistent);
        }
        memcpy(after, ret.guests[ret.guests_len - 1].uuid, sizeof(after));
        args.after = after;
        more = ret.more;
        virtcrypt_guest_list_ret_clear(&ret);
    }
    g_assert_cmpint(seen, ==, GUESTS);
}

static void
test_keys_are_listed_page_by_page(struct dispatch_fixture *test, gconstpointer unused)
{
    struct virtcrypt_guest_list_keys_args args = {.max = 2};
    struct virtcrypt_guest_place after;
    guint seen = 0;
    bool more = true;

    for (int i = 0; i < GUESTS; i++) {
        g_autofree char *usage = g_strdup_printf("usage %d", i);
        g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);
        struct secret_def def = {.uuid = test->guests.secret, .usage_id = usage};

        def.uuid.bytes[0] = (uint8_t)i;
        owner_files_put(&test->guests.owners, &def, key, &test->guests.guest, 1, NULL);
    }
    guest_fixture_look(&test->guests);
    while (more) {
        struct virtcrypt_guest_list_keys_ret ret = {0};

        expect(
            test,
            ask(test, VIRTCRYPT_GUEST_PROC_LIST_KEYS, &virtcrypt_guest_list_keys_args_type, &args),
            &virtcrypt_guest_list_keys_ret_type, &ret);
        g_assert_cmpuint(ret.keys_len, ==, MIN(2, GUESTS - seen));
        for (uint32_t i = 0; i < ret.keys_len; i++)
            g_assert_cmpuint(ret.keys[i].secret[0], ==, seen + i);
        seen += ret.keys_len;
        memcpy(after.secret, ret.keys[ret.keys_len - 1].secret, sizeof(after.secret));
        memcpy(after.guest, ret.keys[ret.keys_len - 1].guest, sizeof(after.guest));
        args.after = &after;
        more = ret.more;
        virtcrypt_guest_list_keys_ret_clear(&ret);
    }
    g_assert_cmpuint(seen, ==, GUESTS);
}

static void
test_pages_have_bounds(struct dispatch_fixture *test, gconstpointer unused)
{
    static const uint32_t sizes[] = {0, VIRTCRYPT_GUEST_PAGE_MAX + 1};

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        const struct virtcrypt_guest_list_args list = {.max = sizes[i]};
        const struct virtcrypt_guest_list_keys_args keys = {.max = sizes[i]};

        expect_refused(test,
                       ask(test, VIRTCRYPT_GUEST_PROC_LIST, &virtcrypt_guest_list_args_type, &list),
                       ERROR_INVALID_ARG, "guests: it is 1 to 1000");
        expect_refused(
            test,
            ask(test, VIRTCRYPT_GUEST_PROC_LIST_KEYS, &virtcrypt_guest_list_keys_args_type, &keys),
            ERROR_INVALID_ARG, "keys: it is 1 to 1000");
    }
}

static void
test_the_status_says_which_libvirt_is_watched(struct dispatch_fixture *test, gconstpointer unused)
{
    struct virtcrypt_guest_status_ret ret = {0};

    expect(test, ask(test, VIRTCRYPT_GUEST_PROC_STATUS, NULL, NULL),
           &virtcrypt_guest_status_ret_type, &ret);
    g_assert_cmpstr(ret.uri, ==, "test:///fake");
    g_assert_true(ret.is_connected);
    g_assert_null(ret.problem);
    virtcrypt_guest_status_ret_clear(&ret);
}

/* ---- migration ---- */

static uint32_t
ask_begin(struct dispatch_fixture *test)
{
    struct virtcrypt_guest_migrate_begin_args args = {.peer = (char *)PEER};

    memcpy(args.guest, test->guests.guest.bytes, sizeof(args.guest));
    return ask(test, VIRTCRYPT_GUEST_PROC_MIGRATE_BEGIN, &virtcrypt_guest_migrate_begin_args_type,
               &args);
}

/* The guest with its key, defined by a call. */
static void
define_guest(struct dispatch_fixture *test)
{
    const struct wish wish = {.mechanism = "passphrase", .text = KEY};
    struct virtcrypt_guest_define_ret ret = {0};

    guest_fixture_make_foreign(&test->guests, "disk", KEY);
    expect(test, ask_define(test, &wish), &virtcrypt_guest_define_ret_type, &ret);
    virtcrypt_guest_define_ret_clear(&ret);
    guest_fixture_look(&test->guests);
}

/* As whoever speaks for somebody else does, be it for root. */
static void
forward_identity(struct dispatch_fixture *test)
{
    struct remote_typed_param param = {
        .field = (char *)"unix-user-id",
        .value = {.type = REMOTE_PARAM_ULLONG, .u.ul = 0},
    };
    const struct remote_connect_set_identity_args args = {.params = &param, .params_len = 1};

    rpc_send_message(&test->host, test->client,
                     rpc_call_message(REMOTE_CONNECTION_PROC_CONNECT_SET_IDENTITY, ++test->serial,
                                      &remote_connect_set_identity_args_type, &args));
    expect(test, test->serial, NULL, NULL);
}

static void
test_keys_leave_for_local_root_alone(struct dispatch_fixture *test, gconstpointer unused)
{
    struct virtcrypt_guest_migrate_begin_ret ret = {0};

    if (geteuid() != 0) {
        g_test_skip("only root is local root");
        return;
    }
    define_guest(test);
    expect(test, ask_begin(test), &virtcrypt_guest_migrate_begin_ret_type, &ret);
    g_assert_cmpstr(ret.guest.name, ==, "web");
    g_assert_cmpuint(ret.keys_len, ==, 1);
    g_assert_cmpmem(secret_buf_bytes(ret.keys[0].key), secret_buf_len(ret.keys[0].key), KEY,
                    strlen(KEY));
    g_assert_cmpstr(ret.keys[0].origin, ==, "sent");
    virtcrypt_guest_migrate_begin_ret_clear(&ret);
    forward_identity(test);
    expect_refused(test, ask_begin(test), ERROR_OPERATION_DENIED, "to root of this host alone");
}

static uint32_t
ask_receive_as(struct dispatch_fixture *test, const char *name, const char *origin,
               const char *text)
{
    g_autoptr(secret_buf_t) key = secret_buf_new_from(text, strlen(text), NULL);
    struct virtcrypt_guest_packet packet = {
        .xml = (char *)"<secret ephemeral='no' private='yes'><uuid>" SECRET_UUID
                       "</uuid><usage type='volume'><volume>/v/a</volume></usage></secret>",
        .volume = (char *)"/v/a",
        .origin = (char *)origin,
        .key = key,
    };
    struct virtcrypt_guest_migrate_receive_args args = {
        .guest = {.name = (char *)name}, .peer = (char *)"a", .keys = &packet, .keys_len = 1};

    memcpy(args.guest.uuid, test->guests.guest.bytes, sizeof(args.guest.uuid));
    args.migration[0] = 1;
    return ask(test, VIRTCRYPT_GUEST_PROC_MIGRATE_RECEIVE,
               &virtcrypt_guest_migrate_receive_args_type, &args);
}

static uint32_t
ask_receive(struct dispatch_fixture *test, const char *origin, const char *text)
{
    return ask_receive_as(test, "web", origin, text);
}

static void
test_keys_come_and_go(struct dispatch_fixture *test, gconstpointer unused)
{
    struct virtcrypt_guest_migrate_end_args args = {.migration = {1}};
    struct virtcrypt_guest_migrate_end_ret ret = {0};

    memcpy(args.guest, test->guests.guest.bytes, sizeof(args.guest));
    expect_refused(test, ask_receive(test, "sent", ""), ERROR_INVALID_ARG, "of '/v/a' is empty");
    expect_refused(test, ask_receive(test, "refused", KEY), ERROR_INVALID_ARG, "no origin");
    expect_refused(test, ask_receive(test, "found", KEY), ERROR_INVALID_ARG, "no origin");
    expect_refused(test, ask_receive_as(test, "", "sent", KEY), ERROR_INVALID_ARG, "guest's name");
    expect_refused(test, ask_receive_as(test, "a\nb\1", "sent", KEY), ERROR_INVALID_ARG,
                   "without control characters");
    expect(test, ask_receive(test, "sent", KEY), NULL, NULL);
    guest_fixture_expect_state(&test->guests, GUEST_STATE_ARRIVING, 1);
    expect(
        test,
        ask(test, VIRTCRYPT_GUEST_PROC_MIGRATE_END, &virtcrypt_guest_migrate_end_args_type, &args),
        &virtcrypt_guest_migrate_end_ret_type, &ret);
    g_assert_cmpstr(ret.state, ==, "undefined");
    guest_fixture_expect_nothing(&test->guests);
    virtcrypt_guest_migrate_end_ret_clear(&ret);
}

/* ---- one key, one guest ---- */

static uint32_t
ask_bind(struct dispatch_fixture *test, int procedure)
{
    struct virtcrypt_guest_bind_args args;

    memcpy(args.secret, test->guests.secret.bytes, sizeof(args.secret));
    memcpy(args.guest, test->guests.guest.bytes, sizeof(args.guest));
    return ask(test, procedure, &virtcrypt_guest_bind_args_type, &args);
}

static void
test_a_key_is_bound_and_unbound_and_erased(struct dispatch_fixture *test, gconstpointer unused)
{
    struct guest_fixture *guests = &test->guests;
    const struct secret_def def = {.uuid = guests->secret, .usage_id = (char *)"mine"};
    g_autoptr(secret_buf_t) key = secret_buf_new_from(KEY, strlen(KEY), NULL);
    struct virtcrypt_guest_erase_args args;

    define_guest(test);
    g_assert_true(owner_files_put(&guests->owners, &def, key, NULL, 0, NULL));
    expect(test, ask_bind(test, VIRTCRYPT_GUEST_PROC_BIND), NULL, NULL);
    g_assert_true(owner_files_is_owner(&guests->owners, &guests->secret, &guests->guest));
    expect(test, ask_bind(test, VIRTCRYPT_GUEST_PROC_UNBIND), NULL, NULL);
    g_assert_false(owner_files_is_owner(&guests->owners, &guests->secret, &guests->guest));
    expect(test, ask_bind(test, VIRTCRYPT_GUEST_PROC_BIND), NULL, NULL);
    memcpy(args.secret, guests->secret.bytes, sizeof(args.secret));
    expect_refused(test,
                   ask(test, VIRTCRYPT_GUEST_PROC_ERASE, &virtcrypt_guest_erase_args_type, &args),
                   ERROR_OPERATION_INVALID, "guest 'web' is there");
    fake_libvirt_remove(&guests->guest, ".xml");
    expect(test, ask(test, VIRTCRYPT_GUEST_PROC_ERASE, &virtcrypt_guest_erase_args_type, &args),
           NULL, NULL);
    g_assert_false(owner_files_has(&guests->owners, &guests->secret));
}

static void
test_a_guest_is_checked(struct dispatch_fixture *test, gconstpointer unused)
{
    struct virtcrypt_guest_check_args args;
    struct virtcrypt_guest_check_ret ret = {0};

    define_guest(test);
    memcpy(args.guest, test->guests.guest.bytes, sizeof(args.guest));
    expect(test, ask(test, VIRTCRYPT_GUEST_PROC_CHECK, &virtcrypt_guest_check_args_type, &args),
           &virtcrypt_guest_check_ret_type, &ret);
    g_assert_true(ret.would_start);
    g_assert_cmpuint(ret.items_len, ==, 1);
    g_assert_cmpstr(ret.items[0].state, ==, "ok");
    g_assert_nonnull(ret.items[0].secret);
    virtcrypt_guest_check_ret_clear(&ret);
}

static void
test_all_guests_are_looked_at(struct dispatch_fixture *test, gconstpointer unused)
{
    fake_libvirt_emit(GUEST_LIBVIRT_CONNECTED, NULL);
    expect(test, ask(test, VIRTCRYPT_GUEST_PROC_RECONCILE, NULL, NULL), NULL, NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name)                                                                                 \
    g_test_add("/guest/dispatch/" #name, struct dispatch_fixture, NULL, set_up, test_##name,       \
               tear_down)
    TEST(a_guest_is_defined_with_its_key);
    TEST(a_key_is_generated);
    TEST(what_is_not_understood_of_a_definition_is_refused);
    TEST(guests_are_listed_page_by_page);
    TEST(keys_are_listed_page_by_page);
    TEST(pages_have_bounds);
    TEST(the_status_says_which_libvirt_is_watched);
    TEST(keys_leave_for_local_root_alone);
    TEST(keys_come_and_go);
    TEST(a_key_is_bound_and_unbound_and_erased);
    TEST(a_guest_is_checked);
    TEST(all_guests_are_looked_at);
    return g_test_run();
}
