/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Calls to servers that are not what they should be, and keys on their way.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fake-server.h"

static void
test_a_call_is_the_bytes_that_libvirt_sends(struct fixture *fixture, const void *unused)
{
    const guint8 wanted[] = {0,    0, 0, 44, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0,
                             0x8d, 0, 0, 0,  0,    0, 0,    0,    0, 0, 0, 0, 0, 1, 2,
                             3,    0, 0, 0,  0,    0, 0,    0,    0, 0, 0, 0, 0, 0};
    g_autoptr(GByteArray) bytes = NULL;

    serve_lookup(fixture, 0);
    expect_lookup(fixture);
    bytes = sent(fixture);
    g_assert_cmpmem(bytes->data, bytes->len, wanted, sizeof(wanted));
}

static void
test_serials_count_up(struct fixture *fixture, const void *unused)
{
    for (uint32_t serial = 0; serial < 3; serial++) {
        serve_lookup(fixture, serial);
        expect_lookup(fixture);
    }
}

static void
serve_error(const struct fixture *fixture, const char *message)
{
    struct remote_error sent_error = {
        .code = ERROR_NO_SECRET,
        .domain = ERROR_FROM_SECRET,
        .message = (char *)message,
        .level = 2,
        .int1 = -1,
        .int2 = -1,
    };
    g_autoptr(GByteArray) payload = payload_of(&remote_error_type, &sent_error);
    struct frame frame = lookup_reply;

    frame.status = 1;
    serve(fixture->server, frame, payload);
}

static void
test_an_error_of_the_server_arrives_whole(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    serve_error(fixture, "Secret not found: no such thing");
    g_assert_false(look_up(fixture, &error));
    expect_error(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, "Secret not found: no such thing");
    text = error_describe(error);
    g_assert_cmpstr(text, ==, "Secret not found: no such thing");
    serve_lookup(fixture, 1);
    expect_lookup(fixture);
}

static void
test_an_error_without_a_text_gets_one(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;

    serve_error(fixture, NULL);
    g_assert_false(look_up(fixture, &error));
    expect_error(error, ERROR_NO_SECRET, ERROR_FROM_SECRET, "unknown error");
}

static void
test_an_error_that_is_cut_off_is_an_error(struct fixture *fixture, const void *unused)
{
    struct frame frame = lookup_reply;
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    frame.status = 1;
    put_word(payload, ERROR_NO_SECRET);
    serve(fixture->server, frame, payload);
    g_assert_false(look_up(fixture, &error));
    g_assert_cmpint(error_get_code(error), ==, ERROR_RPC);
}

static void
test_a_reply_that_does_not_fit_the_call_ends_the_connection(void)
{
    const struct frame frames[] = {
        {.program = 1, .procedure = 141, .type = REPLY},
        {.procedure = 142, .type = REPLY},
        {.procedure = 141, .type = REPLY, .serial = 1},
        {.procedure = 141, .type = REPLY, .status = 2},
        {.procedure = 141, .type = CALL},
        {.procedure = 141, .type = 3},
        {.procedure = 141, .type = 0xffffffff},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(frames); i++) {
        struct fixture fixture = {0};

        set_up(&fixture, NULL);
        serve(fixture.server, frames[i], NULL);
        expect_broken(&fixture, ERROR_RPC, "something else than the reply to call 0");
        tear_down(&fixture, NULL);
    }
}

static void
test_a_length_that_is_impossible_ends_the_connection(void)
{
    const uint32_t lengths[] = {1, 4, 27, 33554437, 0x80000000, 0xffffffff};

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        struct fixture fixture = {0};
        struct frame frame = lookup_reply;

        set_up(&fixture, NULL);
        frame.length = lengths[i];
        serve(fixture.server, frame, NULL);
        expect_broken(&fixture, ERROR_RPC, "28 to 33554436 are possible");
        tear_down(&fixture, NULL);
    }
}

static void
test_a_payload_that_is_cut_off_fails_the_call_alone(struct fixture *fixture, const void *unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    put_word(payload, 0x01020300);
    serve(fixture->server, lookup_reply, payload);
    g_assert_false(look_up(fixture, &error));
    g_assert_cmpint(error_get_code(error), ==, ERROR_RPC);
    serve_lookup(fixture, 1);
    expect_lookup(fixture);
}

static void
test_a_server_that_leaves_at_any_byte_is_an_error(void)
{
    g_autoptr(GByteArray) whole = NULL;
    struct fixture first = {0};

    set_up(&first, NULL);
    serve_lookup(&first, 0);
    {
        guint8 bytes[256];
        ssize_t got = recv(rpc_client_get_fd(first.client), bytes, sizeof(bytes), MSG_PEEK);

        whole = g_byte_array_new();
        g_byte_array_append(whole, bytes, (guint)got);
    }
    tear_down(&first, NULL);
    for (guint len = 0; len < whole->len; len++) {
        struct fixture fixture = {0};

        set_up(&fixture, NULL);
        g_assert_cmpint(send(fixture.server, whole->data, len, 0), ==, (ssize_t)len);
        end_service(&fixture);
        expect_broken(&fixture, ERROR_SYSTEM, END_OF_FILE);
        tear_down(&fixture, NULL);
    }
}

static void
test_a_server_that_has_gone_is_an_error_and_no_signal(struct fixture *fixture, const void *unused)
{
    close(fixture->server);
    fixture->server = -1;
    expect_broken(fixture, ERROR_SYSTEM, "Cannot write data: Broken pipe");
}

static void
test_a_server_that_does_not_answer_is_left_in_time(struct fixture *fixture, const void *unused)
{
    gint64 start = g_get_monotonic_time();

    rpc_client_set_timeout(fixture->client, SHORT_MS);
    expect_broken(fixture, ERROR_OPERATION_TIMEOUT, "the server did not answer in time");
    g_assert_cmpint(g_get_monotonic_time() - start, >=, (gint64)SHORT_MS * 1000);
}

static gpointer
trickle(gpointer opaque)
{
    int server = GPOINTER_TO_INT(opaque);

    while (send(server, "", 1, MSG_NOSIGNAL) == 1)
        g_usleep(10000);
    return NULL;
}

static void
test_a_server_that_trickles_is_left_in_time(struct fixture *fixture, const void *unused)
{
    struct frame frame = lookup_reply;

    frame.length = 1000000;
    serve(fixture->server, frame, NULL);
    fixture->thread = g_thread_new("trickle", trickle, GINT_TO_POINTER(fixture->server));
    rpc_client_set_timeout(fixture->client, SHORT_MS);
    expect_broken(fixture, ERROR_OPERATION_TIMEOUT, "the server did not answer in time");
    g_clear_pointer(&fixture->client, rpc_client_free);
    g_thread_join(fixture->thread);
}

static void
test_a_server_that_does_not_read_is_left_in_time(struct fixture *fixture, const void *unused)
{
    g_autofree char *xml = g_strnfill(4000000, 'x');
    const struct remote_secret_define_xml_args args = {.xml = xml};
    struct remote_secret_define_xml_ret ret = {0};
    g_autoptr(GError) error = NULL;

    rpc_client_set_timeout(fixture->client, SHORT_MS);
    g_assert_false(remote_secret_define_xml_call(fixture->client, &args, &ret, &error));
    expect_error(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_RPC,
                 "the server did not answer in time");
}

static void
test_random_bytes_end_in_an_error(void)
{
    for (guint32 seed = 0; seed < 500; seed++) {
        g_autoptr(GRand) random = g_rand_new_with_seed(seed);
        struct fixture fixture = {0};
        g_autoptr(GError) error = NULL;
        guint8 bytes[512];

        set_up(&fixture, NULL);
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (guint8)g_rand_int_range(random, 0, 256);
        /* Every other one has a good header, so that the payload is what is wrong. */
        if (seed % 2 == 0)
            serve(fixture.server,
                  (struct frame){
                      .length = 200, .procedure = 141, .type = REPLY, .status = seed / 2 % 2},
                  NULL);
        g_assert_cmpint(send(fixture.server, bytes, sizeof(bytes), 0), ==, sizeof(bytes));
        end_service(&fixture);
        if (!look_up(&fixture, &error))
            g_assert_nonnull(error);
        tear_down(&fixture, NULL);
    }
}

/* ---- keys ---- */

static void
test_a_value_arrives_in_secret_memory(struct fixture *fixture, const void *unused)
{
    const struct remote_secret_get_value_args args = {.secret = {.usageID = (char *)""}};
    struct remote_secret_get_value_ret ret = {0};
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    put_word(payload, 5);
    g_byte_array_append(payload, (const guint8 *)"ab\0cd\0\0\0", 8);
    serve(fixture->server, (struct frame){.procedure = 145, .type = REPLY}, payload);
    remote_secret_get_value_call(fixture->client, &args, &ret, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(ret.value), secret_buf_len(ret.value), "ab\0cd", 5);
    remote_secret_get_value_ret_clear(&ret);
}

static void
test_a_value_that_is_too_long_is_refused(struct fixture *fixture, const void *unused)
{
    const struct remote_secret_get_value_args args = {.secret = {.usageID = (char *)""}};
    struct remote_secret_get_value_ret ret = {0};
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    put_word(payload, 65537);
    g_byte_array_set_size(payload, 4 + 65540);
    memset(payload->data + 4, 'v', 65540);
    serve(fixture->server, (struct frame){.procedure = 145, .type = REPLY}, payload);
    g_assert_false(remote_secret_get_value_call(fixture->client, &args, &ret, &error));
    g_assert_cmpint(error_get_code(error), ==, ERROR_RPC);
    g_assert_null(ret.value);
}

static void
test_a_value_is_sent_as_it_is(struct fixture *fixture, const void *unused)
{
    g_autoptr(secret_buf_t) value = secret_buf_new_from("ab\0cd", 5, NULL);
    struct remote_secret_set_value_args args = {.secret = {.usageID = (char *)""}, .value = value};
    const guint8 tail[] = {0, 0, 0, 5, 'a', 'b', 0, 'c', 'd', 0, 0, 0, 0, 0, 0, 0};
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GError) error = NULL;

    serve(fixture->server, (struct frame){.procedure = 144, .type = REPLY}, NULL);
    remote_secret_set_value_call(fixture->client, &args, &error);
    g_assert_no_error(error);
    bytes = sent(fixture);
    g_assert_cmpuint(bytes->len, ==, HEADER_SIZE + 16 + 4 + 4 + sizeof(tail));
    g_assert_cmpmem(bytes->data + bytes->len - sizeof(tail), sizeof(tail), tail, sizeof(tail));
}

/* ---- copies of a key ---- */

enum {
    KEY_LEN = 32,
    REGION_MAX = 256 * 1024 * 1024, /* larger ones are a sanitizer's own */
};

/* The key is computed, so that the program itself holds no copy. */
static uint8_t
key_byte(int i)
{
    return (uint8_t)(0x5a ^ (i * 37));
}

static guint
count_in(const uint8_t *bytes, size_t len)
{
    const uint8_t *end = bytes + len;
    const uint8_t *at = bytes;
    guint copies = 0;

    while ((at = memchr(at, key_byte(0), (size_t)(end - at))) != NULL && end - at >= KEY_LEN) {
        bool is_key = true;

        for (int j = 0; j < KEY_LEN && is_key; j++)
            is_key = at[j] == key_byte(j);
        copies += is_key;
        at++;
    }
    return copies;
}

/* Copies in this process's memory that can be written, secret memory included. */
static guint
count_copies(void)
{
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;
    guint copies = 0;
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    lines = g_strsplit(maps, "\n", -1);
    for (char **line = lines; *line; line++) {
        unsigned long start, end;
        char access[5];
        g_autofree uint8_t *bytes = NULL;

        if (sscanf(*line, "%lx-%lx %4s", &start, &end, access) != 3 || access[1] != 'w' ||
            end - start > REGION_MAX)
            continue;
        bytes = g_malloc(end - start);
        if (pread(memory, bytes, end - start, (off_t)start) != (ssize_t)(end - start))
            continue;
        copies += count_in(bytes, end - start);
        explicit_bzero(bytes, end - start);
    }
    close(memory);
    return copies;
}

static struct secret_buf *
new_key(void)
{
    struct secret_buf *key = secret_buf_new(KEY_LEN, NULL);

    for (int i = 0; i < KEY_LEN; i++)
        secret_buf_writable(key)[i] = key_byte(i);
    return key;
}

static void
test_no_copy_of_a_value_stays_in_memory(struct fixture *fixture, const void *unused)
{
    const struct remote_secret_get_value_args get = {.secret = {.usageID = (char *)""}};
    struct remote_secret_set_value_args set = {.secret = {.usageID = (char *)""}};
    struct remote_secret_get_value_ret ret = {.value = new_key()};
    /* The kernel does not show hidden pages; all others it does. */
    const unsigned int shown = secret_buf_is_hidden(ret.value) ? 0 : 1;
    g_autofree uint8_t *plain = g_memdup2(secret_buf_bytes(ret.value), KEY_LEN);
    g_autoptr(secret_buf_t) payload = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(count_copies(), >, shown);
    explicit_bzero(plain, KEY_LEN);
    g_assert_cmpuint(count_copies(), ==, shown);
    payload = secret_buf_new(remote_secret_get_value_ret_type.encoded_size(&ret), NULL);
    {
        struct xdr_writer writer = {.pos = secret_buf_writable(payload)};

        writer.end = writer.pos + secret_buf_len(payload);
        remote_secret_get_value_ret_type.encode(&writer, &ret);
    }
    set.value = g_steal_pointer(&ret.value);
    serve(fixture->server, (struct frame){.procedure = 144, .type = REPLY}, NULL);
    remote_secret_set_value_call(fixture->client, &set, &error);
    g_assert_no_error(error);
    g_clear_pointer(&set.value, secret_buf_free);
    serve(fixture->server,
          (struct frame){
              .length = HEADER_SIZE + 4 + KEY_LEN, .procedure = 145, .type = REPLY, .serial = 1},
          NULL);
    g_assert_cmpint(send(fixture->server, secret_buf_bytes(payload), secret_buf_len(payload), 0),
                    ==, (ssize_t)secret_buf_len(payload));
    g_clear_pointer(&payload, secret_buf_free);
    remote_secret_get_value_call(fixture->client, &get, &ret, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_copies(), ==, shown);
    remote_secret_get_value_ret_clear(&ret);
    g_assert_cmpuint(count_copies(), ==, 0);
}

#define ADD(name)      g_test_add("/rpc/client/" #name, struct fixture, NULL, set_up, name, tear_down)
#define ADD_FUNC(name) g_test_add_func("/rpc/client/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_call_is_the_bytes_that_libvirt_sends);
    ADD(test_serials_count_up);
    ADD(test_an_error_of_the_server_arrives_whole);
    ADD(test_an_error_without_a_text_gets_one);
    ADD(test_an_error_that_is_cut_off_is_an_error);
    ADD_FUNC(test_a_reply_that_does_not_fit_the_call_ends_the_connection);
    ADD_FUNC(test_a_length_that_is_impossible_ends_the_connection);
    ADD(test_a_payload_that_is_cut_off_fails_the_call_alone);
    ADD_FUNC(test_a_server_that_leaves_at_any_byte_is_an_error);
    ADD(test_a_server_that_has_gone_is_an_error_and_no_signal);
    ADD(test_a_server_that_does_not_answer_is_left_in_time);
    ADD(test_a_server_that_trickles_is_left_in_time);
    ADD(test_a_server_that_does_not_read_is_left_in_time);
    ADD_FUNC(test_random_bytes_end_in_an_error);
    ADD(test_a_value_arrives_in_secret_memory);
    ADD(test_a_value_that_is_too_long_is_refused);
    ADD(test_a_value_is_sent_as_it_is);
    ADD(test_no_copy_of_a_value_stays_in_memory);
    return g_test_run();
}
