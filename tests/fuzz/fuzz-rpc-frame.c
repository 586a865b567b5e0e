/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Hostile bytes, in hostile pieces, to a server with the programs of the real one and handlers that
 * answer at once, later, with keys and with events. The first byte of the input chooses the client
 * (authenticated or not, read-only or not, reading or not), the others are cut into pieces by a
 * length byte before each. Whatever comes, the server must answer the next client, and must have
 * let go of this one.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/protocol/remote_secret_server.h"
#include "rpc/protocol/virtcrypt_secret_server.h"
#include "rpc/protocol/virtcrypt_volume_server.h"
#include "rpc/server.h"
#include "target.h"
#include "util/log.h"
#include "util/loop.h"

enum { IS_READONLY = 1, IS_DEAF = 2, IS_PATIENT = 4, SENDS_WHOLE = 8, KEPT_MAX = 8 };

/* AUTH_LIST, what every client calls first. */
static const uint8_t hello[28] = {0, 0, 0, 28, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 66};

struct bench {
    struct loop *loop;
    struct rpc_server *server;
    struct rpc_call *kept[KEPT_MAX];
    size_t kept_count;
};

static enum rpc_outcome
num_of_secrets(struct rpc_call *call, void *opaque, struct remote_connect_num_of_secrets_ret *ret,
               GError **error)
{
    struct remote_secret_event_value_changed_msg event = {.secret.usageID = (char *)"usage"};

    remote_secret_event_value_changed_send(rpc_call_get_connection(call), &event);
    ret->num = 1;
    return RPC_DONE;
}

static enum rpc_outcome
keep(struct bench *bench, struct rpc_call *call)
{
    if (bench->kept_count == KEPT_MAX)
        rpc_call_reply(bench->kept[--bench->kept_count]);
    bench->kept[bench->kept_count++] = call;
    return RPC_LATER;
}

static enum rpc_outcome
set_value(struct rpc_call *call, void *opaque, struct remote_secret_set_value_args *args,
          GError **error)
{
    check(args->value && secret_buf_len(args->value) <= 65536);
    secret_buf_free(g_steal_pointer(&args->value));
    return keep(opaque, call);
}

static enum rpc_outcome
undefine(struct rpc_call *call, void *opaque, const struct remote_secret_undefine_args *args,
         GError **error)
{
    check(args->secret.usageID != NULL);
    return keep(opaque, call);
}

static enum rpc_outcome
get_value(struct rpc_call *call, void *opaque, const struct remote_secret_get_value_args *args,
          struct remote_secret_get_value_ret *ret, GError **error)
{
    ret->value = secret_buf_new(args->flags % 65537, error);
    return ret->value ? RPC_DONE : RPC_FAILED;
}

static enum rpc_outcome
define_xml(struct rpc_call *call, void *opaque, const struct remote_secret_define_xml_args *args,
           struct remote_secret_define_xml_ret *ret, GError **error)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_XML, "%s", args->xml);
    return RPC_FAILED;
}

static enum rpc_outcome
list_secrets(struct rpc_call *call, void *opaque,
             const struct virtcrypt_secret_list_secrets_args *args,
             struct virtcrypt_secret_list_secrets_ret *ret, GError **error)
{
    ret->more = args->after != NULL;
    return RPC_DONE;
}

static enum rpc_outcome
create(struct rpc_call *call, void *opaque, struct virtcrypt_volume_create_args *args,
       struct virtcrypt_volume_job_ret *ret, GError **error)
{
    check(args->key && secret_buf_len(args->key) <= VIRTCRYPT_VOLUME_KEY_MAX);
    secret_buf_free(g_steal_pointer(&args->key));
    return keep(opaque, call);
}

static const struct remote_secret_handlers remote_handlers = {
    .connect_num_of_secrets = num_of_secrets,
    .secret_define_xml = define_xml,
    .secret_set_value = set_value,
    .secret_get_value = get_value,
    .secret_undefine = undefine,
};
static const struct virtcrypt_secret_handlers own_handlers = {.list_secrets = list_secrets};
static const struct virtcrypt_volume_handlers volume_handlers = {.create = create};

static void
quit(void *opaque)
{
    loop_quit(opaque);
}

/* What is ready now happens, and what that makes ready. */
static void
run(struct bench *bench)
{
    for (int i = 0; i < 3; i++) {
        loop_post(bench->loop, quit, bench->loop);
        loop_run(bench->loop);
    }
}

static void
drain(int fd)
{
    uint8_t bytes[65536];

    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
}

static int
connect_client(struct bench *bench, uint8_t kind)
{
    int fds[2];

    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    check(rpc_server_add_client(bench->server, fds[0], kind & IS_READONLY, RPC_AUTH_NONE, NULL));
    return fds[1];
}

static void
send_pieces(struct bench *bench, int fd, uint8_t kind, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t piece = kind & SENDS_WHOLE ? len : MIN(len - 1, bytes[0]);

        if (!(kind & SENDS_WHOLE)) {
            bytes++;
            len--;
        }
        if (piece > 0 && send(fd, bytes, piece, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return;
        bytes += piece;
        len -= piece;
        run(bench);
        if (!(kind & IS_DEAF))
            drain(fd);
        if (!(kind & IS_PATIENT) && bench->kept_count > 0)
            rpc_call_reply(bench->kept[--bench->kept_count]);
    }
}

/* The next client gets its answer. */
static void
check_service(struct bench *bench)
{
    int fd = connect_client(bench, 0);
    uint8_t answer[64];

    check(send(fd, hello, sizeof(hello), MSG_DONTWAIT) == (ssize_t)sizeof(hello));
    run(bench);
    check(recv(fd, answer, sizeof(answer), MSG_DONTWAIT) == 36);
    close(fd);
    run(bench);
}

static void
bench_init(struct bench *bench)
{
    struct rpc_server_params params = {
        .uri = "secret:///system",
        .type_name = "secret",
        .version = 1,
        .lib_version = 9000000,
        .error_domain = ERROR_FROM_SECRET,
        .max_client_requests = 2,
    };

    *bench = (struct bench){.loop = loop_new(NULL)};
    params.loop = bench->loop;
    bench->server = rpc_server_new(&params);
    rpc_server_add_program(bench->server, &remote_secret_program, &remote_handlers, bench);
    rpc_server_add_program(bench->server, &virtcrypt_secret_program, &own_handlers, bench);
    rpc_server_add_program(bench->server, &virtcrypt_volume_program, &volume_handlers, bench);
    rpc_server_start(bench->server);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    struct bench bench;
    uint8_t kind = len > 0 ? input[0] : 0;
    int fd;

    log_set_level(LOG_LEVEL_ERROR);
    bench_init(&bench);
    fd = connect_client(&bench, kind);
    if (len > 1)
        send_pieces(&bench, fd, kind, input + 1, len - 1);
    close(fd);
    run(&bench);
    check_service(&bench);
    check(rpc_server_count_clients(bench.server) == 0);
    rpc_server_free(bench.server);
    while (bench.kept_count > 0)
        rpc_call_reply(bench.kept[--bench.kept_count]);
    loop_free(bench.loop);
    return 0;
}
