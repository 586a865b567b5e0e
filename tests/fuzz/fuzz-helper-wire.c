/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Messages between a daemon and its helpers from hostile bytes: what is taken is written again as
 * the same bytes, what is refused leaves nothing and comes with an error.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/helper_wire.h"
#include "target.h"

enum { BOUND_US = 10 * 1000 * 1000, INPUT_MAX = 64 * 1024 /* has room in a socket */ };

static void
open_pair(int pair[2])
{
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
}

static void
expect_same_bytes(const struct helper_message *message, const uint8_t *input, size_t len)
{
    uint8_t again[INPUT_MAX];
    int pair[2];
    ssize_t got;

    open_pair(pair);
    check(helper_wire_send(pair[0], message, g_get_monotonic_time() + BOUND_US, NULL));
    got = recv(pair[1], again, sizeof(again), 0);
    check(got > 0 && (size_t)got <= len && memcmp(again, input, (size_t)got) == 0);
    close(pair[0]);
    close(pair[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    g_auto(helper_message_t) message = {0};
    g_autoptr(GError) error = NULL;
    int pair[2];

    if (len > INPUT_MAX)
        return 0;
    open_pair(pair);
    check(send(pair[0], input, len, MSG_NOSIGNAL) == (ssize_t)len);
    shutdown(pair[0], SHUT_WR);
    if (helper_wire_receive(pair[1], &message, g_get_monotonic_time() + BOUND_US, &error))
        expect_same_bytes(&message, input, len);
    else
        check(error && !message.fields && !message.key);
    if (message.kind == HELPER_ANSWER_FAILED && message.fields)
        helper_wire_take_error(&message, &error);
    close(pair[0]);
    close(pair[1]);
    return 0;
}
