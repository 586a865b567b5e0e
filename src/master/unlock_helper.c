/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the program virtcrypt-unlock-helper OPERATION SECONDS: one request on descriptor 3, one
 * answer, and the end. A broker of a daemon starts it (helper_broker.h); it is of no use to others.
 * It is the one process that has code of vendors in it: no state, no way back into the daemon, and
 * a bound on its life that no library can wait through.
 */
#include "master/unlock_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "master/helper.h"
#include "util/error.h"

enum { SOCKET_FD = 3, SECONDS_MAX = HELPER_TIMEOUT_MAX_MS / 1000 + 2, US_PER_S = 1000 * 1000 };

static const unlock_helper_func operations[] = {
    [HELPER_ARGON2ID] = unlock_helper_argon2id,
    [HELPER_TPM2_SEAL] = unlock_helper_tpm2_seal,
    [HELPER_TPM2_UNSEAL] = unlock_helper_tpm2_unseal,
    [HELPER_PKCS11_WRAP] = unlock_helper_pkcs11_wrap,
    [HELPER_PKCS11_UNWRAP] = unlock_helper_pkcs11_unwrap,
    [HELPER_TPM2_NV_DEFINE] = unlock_helper_nv_define,
    [HELPER_TPM2_NV_READ] = unlock_helper_nv_read,
    [HELPER_TPM2_NV_ADVANCE] = unlock_helper_nv_advance,
    [HELPER_TPM2_NV_REMOVE] = unlock_helper_nv_remove,
    [HELPER_POLKIT] = unlock_helper_polkit,
};
G_STATIC_ASSERT(G_N_ELEMENTS(operations) == HELPER_OPERATION_MAX + 1);

const struct secret_buf *
unlock_helper_key(const struct helper_message *request, size_t min, size_t max, GError **error)
{
    if (request->key && secret_buf_len(request->key) >= min && secret_buf_len(request->key) <= max)
        return request->key;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "the helper needs a key of %zu to %zu bytes, and got %zu", min, max,
              request->key ? secret_buf_len(request->key) : 0);
    return NULL;
}

/* Memory is locked where nothing bounds that: with a bound, Argon2's would not fit, and what holds
 * keys (secret_buf) locks itself. */
static void
harden(void)
{
    const struct rlimit no_core = {0, 0};
    struct rlimit limit;

    if (setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        exit(EXIT_FAILURE);
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)
        mlockall(MCL_CURRENT | MCL_FUTURE);
}

/* From here on the process ends when who asked does, or asks no longer: SIGIO, which nobody here
 * catches. Else questions to polkit that nobody waits for any more would take the places of others.
 */
static bool
live_with_asker(void)
{
    struct pollfd asker = {.fd = SOCKET_FD, .events = POLLIN};
    int flags = fcntl(SOCKET_FD, F_GETFL);

    return flags >= 0 && fcntl(SOCKET_FD, F_SETOWN, getpid()) == 0 &&
           fcntl(SOCKET_FD, F_SETFL, flags | O_ASYNC) == 0 && poll(&asker, 1, 0) == 0;
}

/* Before the answer, after which who asked may go. */
static void
stop_living_with_asker(void)
{
    int flags = fcntl(SOCKET_FD, F_GETFL);

    if (flags >= 0)
        fcntl(SOCKET_FD, F_SETFL, flags & ~O_ASYNC);
}

static void
answer_request(const char *name, gint64 deadline, struct helper_message *answer)
{
    g_auto(helper_message_t) request = {0};
    g_autoptr(GError) failure = NULL;

    answer->kind = HELPER_ANSWER_DONE;
    answer->fields = fields_new();
    if (helper_wire_receive(SOCKET_FD, &request, deadline, &failure)) {
        if (!live_with_asker())
            exit(EXIT_FAILURE);
        if (g_strcmp0(helper_operation_name(request.kind), name) == 0)
            operations[request.kind](&request, answer, &failure);
        else
            error_set(&failure, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "the helper was started for another operation than it was asked for");
        stop_living_with_asker();
    }
    if (failure)
        helper_wire_put_error(answer, failure);
}

int
main(int argc, char **argv)
{
    g_auto(helper_message_t) answer = {0};
    guint64 seconds;
    gint64 deadline;

    if (argc != 3 || !g_ascii_string_to_unsigned(argv[2], 10, 1, SECONDS_MAX, &seconds, NULL))
        return EXIT_FAILURE;
    harden();
    alarm((unsigned int)seconds);
    deadline = g_get_monotonic_time() + (gint64)seconds * US_PER_S;
    answer_request(argv[1], deadline, &answer);
    return helper_wire_send(SOCKET_FD, &answer, deadline, NULL) ? EXIT_SUCCESS : EXIT_FAILURE;
}
