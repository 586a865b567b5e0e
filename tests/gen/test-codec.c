/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Structs of generated code beside bytes computed by hand, both ways; what clearing does; tables of
 * procedures and the stubs behind them.
 */
#include <string.h>

#include "codec_types.h"
#include "rpc/protocol/remote_connection.h"
#include "rpc/protocol/remote_secret.h"
#include "rpc/protocol/remote_secret_server.h"
#include "rpc/protocol/remote_types.h"
#include "sample.h"
#include "util/error.h"

#define UUID_HEX "8a3c1e22 90ab4c5f 9c0de1f2 a3b4c5d6 "

static const uint8_t uuid[REMOTE_UUID_LEN] = {0x8a, 0x3c, 0x1e, 0x22, 0x90, 0xab, 0x4c, 0x5f,
                                              0x9c, 0x0d, 0xe1, 0xf2, 0xa3, 0xb4, 0xc5, 0xd6};

static void
expect_encoded(const struct rpc_type *type, const void *value, const char *hex)
{
    g_autoptr(GBytes) made = codec_type_encode(type, value);
    g_autoptr(GBytes) wanted = codec_hex_parse(hex);

    g_assert_cmpmem(g_bytes_get_data(made, NULL), g_bytes_get_size(made),
                    g_bytes_get_data(wanted, NULL), g_bytes_get_size(wanted));
}

static void *
decode(const struct rpc_type *type, const char *hex)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = codec_hex_parse(hex);
    size_t left = 0;
    void *value = codec_type_decode(type, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                                    &left, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(left, ==, 0);
    return value;
}

/* ---- structs and bytes ---- */

static const char set_value_hex[] = UUID_HEX "00000001 00000004 2f762f61 "
                                             "00000005 61626300 64000000 00000007";

static void
test_set_value_is_encoded(void)
{
    char usage[] = "/v/a";
    g_autoptr(secret_buf_t) key = secret_buf_new_from("abc\0d", 5, NULL);
    struct remote_secret_set_value_args args = {
        .secret = {.usageType = 1, .usageID = usage},
        .value = key,
        .flags = 7,
    };

    memcpy(args.secret.uuid, uuid, sizeof(uuid));
    expect_encoded(&remote_secret_set_value_args_type, &args, set_value_hex);
}

static void
test_set_value_is_decoded_into_secret_memory(void)
{
    struct remote_secret_set_value_args *args =
        decode(&remote_secret_set_value_args_type, set_value_hex);

    g_assert_cmpmem(args->secret.uuid, sizeof(args->secret.uuid), uuid, sizeof(uuid));
    g_assert_cmpint(args->secret.usageType, ==, 1);
    g_assert_cmpstr(args->secret.usageID, ==, "/v/a");
    g_assert_cmpmem(secret_buf_bytes(args->value), secret_buf_len(args->value), "abc\0d", 5);
    g_assert_cmpuint(args->flags, ==, 7);
    codec_type_free(&remote_secret_set_value_args_type, args);
}

static const char error_hex[] = "00000042 0000001e 00000001 00000002 6f680000 00000002 00000000 "
                                "00000001 00000000 00000001 00000001 78000000 00000000 "
                                "ffffffff 00000005 00000001 00000001 6e000000 " UUID_HEX;

static void
test_an_error_is_encoded(void)
{
    char message[] = "oh";
    char first[] = "";
    char second[] = "x";
    char name[] = "n";
    struct remote_nonnull_network net = {.name = name};
    struct remote_error error = {
        .code = 66,
        .domain = 30,
        .message = message,
        .level = 2,
        .str1 = first,
        .str2 = second,
        .int1 = -1,
        .int2 = 5,
        .net = &net,
    };

    memcpy(net.uuid, uuid, sizeof(uuid));
    expect_encoded(&remote_error_type, &error, error_hex);
}

static void
test_an_error_is_decoded(void)
{
    struct remote_error *error = decode(&remote_error_type, error_hex);

    g_assert_cmpint(error->code, ==, 66);
    g_assert_cmpint(error->domain, ==, 30);
    g_assert_cmpstr(error->message, ==, "oh");
    g_assert_cmpint(error->level, ==, 2);
    g_assert_null(error->dom);
    g_assert_cmpstr(error->str1, ==, "");
    g_assert_cmpstr(error->str2, ==, "x");
    g_assert_null(error->str3);
    g_assert_cmpint(error->int1, ==, -1);
    g_assert_cmpint(error->int2, ==, 5);
    g_assert_cmpstr(error->net->name, ==, "n");
    g_assert_cmpmem(error->net->uuid, sizeof(error->net->uuid), uuid, sizeof(uuid));
    codec_type_free(&remote_error_type, error);
}

static const char identity_hex[] =
    "00000003 00000001 61000000 00000005 40040000 00000000 00000001 62000000 00000003 "
    "ffffffff fffffffe 00000001 63000000 00000007 00000004 74657874 00000000";

static void
test_typed_parameters_are_encoded(void)
{
    char names[][2] = {"a", "b", "c"};
    char text[] = "text";
    struct remote_typed_param params[] = {
        {.field = names[0], .value = {.type = REMOTE_PARAM_DOUBLE, .u.d = 2.5}},
        {.field = names[1], .value = {.type = REMOTE_PARAM_LLONG, .u.l = -2}},
        {.field = names[2], .value = {.type = REMOTE_PARAM_STRING, .u.s = text}},
    };
    struct remote_connect_set_identity_args args = {.params = params, .params_len = 3};

    expect_encoded(&remote_connect_set_identity_args_type, &args, identity_hex);
}

static void
test_typed_parameters_are_decoded(void)
{
    struct remote_connect_set_identity_args *args =
        decode(&remote_connect_set_identity_args_type, identity_hex);

    g_assert_cmpuint(args->params_len, ==, 3);
    g_assert_cmpstr(args->params[0].field, ==, "a");
    g_assert_cmpint(args->params[0].value.type, ==, REMOTE_PARAM_DOUBLE);
    g_assert_cmpfloat(args->params[0].value.u.d, ==, 2.5);
    g_assert_cmpint(args->params[1].value.u.l, ==, -2);
    g_assert_cmpstr(args->params[2].value.u.s, ==, "text");
    codec_type_free(&remote_connect_set_identity_args_type, args);
}

static void
test_optional_members_are_null_when_absent(void)
{
    struct sample_optionals *value =
        decode(&sample_optionals_type, "00000001 00000009 00000000 00000001 00000001 00000000 "
                                       "00000000 00000001 6162636465000000 00000000");

    g_assert_cmpint(*value->number, ==, 9);
    g_assert_null(value->color);
    g_assert_true(*value->flag);
    g_assert_null(value->point);
    g_assert_null(value->bytes);
    g_assert_cmpmem(value->digest, 5, "abcde", 5);
    g_assert_null(value->choice);
    codec_type_free(&sample_optionals_type, value);
}

static void
test_arms_of_unions_are_decoded(void)
{
    struct sample_unions *value =
        decode(&sample_unions_type, "00000005 00000002 68690000 fffffff9 00000002 00000003 "
                                    "00000064 00000001 ffffffff 00000001 00000001 6b000000 "
                                    "f0000000 3ff8000000000000");

    g_assert_cmpint(value->choice.color, ==, SAMPLE_GREEN);
    g_assert_cmpmem(value->choice.u.bytes, value->choice.u.bytes_len, "hi", 2);
    g_assert_cmpint(value->open.kind, ==, SAMPLE_BELOW);
    g_assert_cmpuint(value->open.u.nested_len, ==, 2);
    g_assert_cmpint(value->open.u.nested[0].kind, ==, 3);
    g_assert_cmpint(value->open.u.nested[1].kind, ==, 100);
    g_assert_cmpint(value->open.u.nested[1].u.point.y, ==, -1);
    g_assert_true(value->maybe.is_there);
    g_assert_cmpmem(secret_buf_bytes(value->maybe.u.key), secret_buf_len(value->maybe.u.key), "k",
                    1);
    g_assert_cmpfloat(value->masked.u.d, ==, 1.5);
    codec_type_free(&sample_unions_type, value);
}

/* ---- clearing ---- */

static void
expect_zero(const void *value, size_t size)
{
    const uint8_t *bytes = value;

    for (size_t i = 0; i < size; i++)
        g_assert_cmpuint(bytes[i], ==, 0);
}

static void
test_a_cleared_value_is_zero_and_can_be_cleared_again(void)
{
    struct remote_secret_set_value_args *args =
        decode(&remote_secret_set_value_args_type, set_value_hex);

    remote_secret_set_value_args_clear(args);
    expect_zero(args, sizeof(*args));
    remote_secret_set_value_args_clear(args);
    g_free(args);
}

static void
test_a_value_that_can_not_be_decoded_is_zero_again(void)
{
    g_autoptr(GBytes) bytes = codec_hex_parse(set_value_hex);
    const uint8_t *start = g_bytes_get_data(bytes, NULL);

    for (size_t len = 0; len < g_bytes_get_size(bytes); len++) {
        g_autoptr(GError) error = NULL;
        struct xdr_reader reader = {.pos = start, .end = start + len};
        struct remote_secret_set_value_args args = {0};

        g_assert_false(remote_secret_set_value_args_decode(&reader, &args, &error));
        g_assert_cmpint(error_get_code(error), ==, ERROR_RPC);
        g_assert_cmpint(error_get_domain(error), ==, ERROR_FROM_RPC);
        expect_zero(&args, sizeof(args));
    }
}

static void
test_a_secret_that_was_taken_is_not_freed(void)
{
    struct remote_secret_set_value_args *args =
        decode(&remote_secret_set_value_args_type, set_value_hex);
    g_autoptr(secret_buf_t) taken = g_steal_pointer(&args->value);

    codec_type_free(&remote_secret_set_value_args_type, args);
    g_assert_cmpmem(secret_buf_bytes(taken), secret_buf_len(taken), "abc\0d", 5);
}

/* Secret memory is mapped page by page: a buffer that is left behind is a line more. */
static size_t
count_mappings(void)
{
    g_autofree char *maps = NULL;
    size_t count = 0;

    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    for (const char *line = maps; *line; line++)
        count += *line == '\n';
    return count;
}

/* Decodes every whole message and every truncation of it, and clears what came out. */
static void
decode_all(const struct rpc_type *type, const char *hex)
{
    g_autoptr(GBytes) bytes = codec_hex_parse(hex);

    for (size_t len = 0; len <= g_bytes_get_size(bytes); len++) {
        void *value = codec_type_decode(type, g_bytes_get_data(bytes, NULL), len, NULL, NULL);

        g_assert_true((value != NULL) == (len == g_bytes_get_size(bytes)));
        if (value)
            codec_type_free(type, value);
    }
}

static const struct {
    const struct rpc_type *type;
    const char *hex;
} secrets[] = {
    {&remote_secret_set_value_args_type, set_value_hex},
    {&remote_secret_get_value_ret_type, "00000001 6b000000"},
    {&sample_unions_type, "00000000 00000001 00000003 00000001 00000001 6b000000 00000000"},
    {&sample_optionals_type, "00000000 00000000 00000000 00000000 "
                             "00000001 00000000 00000000 00000000 00000000 00000000 "
                             "00000001 6b000000 00000000 00000000 00000000 00000000"},
};

static void
test_no_secret_is_left_behind_on_any_path(void)
{
    size_t before = 0;

    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(secrets); i++)
            decode_all(secrets[i].type, secrets[i].hex);
        if (round == 1)
            before = count_mappings();
    }
    g_assert_cmpuint(count_mappings(), <=, before + 20);
}

/* ---- tables ---- */

static void
test_every_procedure_is_found_by_its_number_and_no_other(void)
{
    size_t found = 0;

    for (int32_t number = -5; number < 500; number++) {
        const struct rpc_procedure *procedure = rpc_program_find(&remote_secret_program, number);

        if (procedure) {
            g_assert_cmpint(procedure->number, ==, number);
            found++;
        }
    }
    g_assert_cmpuint(found, ==, remote_secret_program.procedure_count);
    g_assert_cmpuint(found, ==, 14);
    g_assert_null(rpc_program_find(&remote_secret_program, G_MAXINT32));
    g_assert_null(rpc_program_find(&remote_secret_program, G_MININT32));
}

static const struct {
    int32_t number;
    unsigned int flags;
    const char *acl;
    const char *api_name;
} policies[] = {
    {142, 0, "secret:write secret:save", "virSecretDefineXML"},
    {143, RPC_PROC_READONLY | RPC_PROC_PRIORITY, "secret:read", "virSecretGetXMLDesc"},
    {144, RPC_PROC_SECRET_ARGS, "secret:write", "virSecretSetValue"},
    {145, RPC_PROC_SECRET_RET, "secret:read_secure", "virSecretGetValue"},
    {146, 0, "secret:delete", "virSecretUndefine"},
    {382, RPC_PROC_EVENT, "", NULL},
};

static void
test_the_table_holds_what_the_annotations_say(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
        const struct rpc_procedure *procedure =
            rpc_program_find(&remote_secret_program, policies[i].number);

        g_assert_cmpuint(procedure->flags, ==, policies[i].flags);
        g_assert_cmpstr(procedure->acl, ==, policies[i].acl);
        g_assert_cmpstr(procedure->api_name, ==, policies[i].api_name);
    }
}

static void
test_nothing_but_authentication_is_allowed_before_it(void)
{
    for (size_t i = 0; i < remote_connection_program.procedure_count; i++) {
        const struct rpc_procedure *procedure = &remote_connection_program.procedures[i];
        bool is_auth = procedure->number >= 66 && procedure->number <= 70;

        g_assert_true(((procedure->flags & RPC_PROC_NO_AUTH) != 0) == is_auth);
    }
    for (size_t i = 0; i < remote_secret_program.procedure_count; i++)
        g_assert_cmpuint(remote_secret_program.procedures[i].flags &
                             (RPC_PROC_NO_AUTH | RPC_PROC_NO_OPEN),
                         ==, 0);
}

static enum rpc_outcome
answer_lookup(struct rpc_call *call, void *opaque,
              const struct remote_secret_lookup_by_uuid_args *args,
              struct remote_secret_lookup_by_uuid_ret *ret, GError **error)
{
    g_assert_null(call);
    *(int *)opaque += 1;
    memcpy(ret->secret.uuid, args->uuid, sizeof(args->uuid));
    return RPC_DONE;
}

static void
test_a_stub_calls_its_handler(void)
{
    const struct remote_secret_handlers handlers = {.secret_lookup_by_uuid = answer_lookup};
    const struct rpc_procedure *procedure =
        rpc_program_find(&remote_secret_program, REMOTE_SECRET_PROC_SECRET_LOOKUP_BY_UUID);
    struct remote_secret_lookup_by_uuid_args args;
    struct remote_secret_lookup_by_uuid_ret ret = {0};
    int calls = 0;

    memcpy(args.uuid, uuid, sizeof(uuid));
    g_assert_cmpint(procedure->invoke(&handlers, NULL, &calls, &args, &ret, NULL), ==, RPC_DONE);
    g_assert_cmpint(calls, ==, 1);
    g_assert_cmpmem(ret.secret.uuid, sizeof(ret.secret.uuid), uuid, sizeof(uuid));
}

static void
test_a_call_without_handler_is_not_supported(void)
{
    g_autoptr(GError) error = NULL;
    const struct remote_secret_handlers handlers = {0};
    const struct rpc_procedure *procedure =
        rpc_program_find(&remote_secret_program, REMOTE_SECRET_PROC_SECRET_UNDEFINE);

    g_assert_cmpint(procedure->invoke(&handlers, NULL, NULL, NULL, NULL, &error), ==, RPC_FAILED);
    g_assert_cmpstr(error->message, ==, "virSecretUndefine");
    g_assert_cmpint(error_get_code(error), ==, ERROR_NO_SUPPORT);
    g_assert_cmpint(error_get_domain(error), ==, ERROR_FROM_DOMAIN);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/codec/set-value-is-encoded", test_set_value_is_encoded);
    g_test_add_func("/codec/set-value-is-decoded-into-secret-memory",
                    test_set_value_is_decoded_into_secret_memory);
    g_test_add_func("/codec/an-error-is-encoded", test_an_error_is_encoded);
    g_test_add_func("/codec/an-error-is-decoded", test_an_error_is_decoded);
    g_test_add_func("/codec/typed-parameters-are-encoded", test_typed_parameters_are_encoded);
    g_test_add_func("/codec/typed-parameters-are-decoded", test_typed_parameters_are_decoded);
    g_test_add_func("/codec/optional-members-are-null-when-absent",
                    test_optional_members_are_null_when_absent);
    g_test_add_func("/codec/arms-of-unions-are-decoded", test_arms_of_unions_are_decoded);
    g_test_add_func("/codec/a-cleared-value-is-zero-and-can-be-cleared-again",
                    test_a_cleared_value_is_zero_and_can_be_cleared_again);
    g_test_add_func("/codec/a-value-that-can-not-be-decoded-is-zero-again",
                    test_a_value_that_can_not_be_decoded_is_zero_again);
    g_test_add_func("/codec/a-secret-that-was-taken-is-not-freed",
                    test_a_secret_that_was_taken_is_not_freed);
    g_test_add_func("/codec/no-secret-is-left-behind-on-any-path",
                    test_no_secret_is_left_behind_on_any_path);
    g_test_add_func("/codec/every-procedure-is-found-by-its-number-and-no-other",
                    test_every_procedure_is_found_by_its_number_and_no_other);
    g_test_add_func("/codec/the-table-holds-what-the-annotations-say",
                    test_the_table_holds_what_the_annotations_say);
    g_test_add_func("/codec/nothing-but-authentication-is-allowed-before-it",
                    test_nothing_but_authentication_is_allowed_before_it);
    g_test_add_func("/codec/a-stub-calls-its-handler", test_a_stub_calls_its_handler);
    g_test_add_func("/codec/a-call-without-handler-is-not-supported",
                    test_a_call_without_handler_is_not_supported);
    return g_test_run();
}
