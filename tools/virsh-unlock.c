/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the command that waits for the master key, for scripts at boot. The daemon may not be there
 * yet, end, and come back meanwhile; it is asked twice a second, until time is over.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_master_client.h"
#include "tools/ask_password.h"
#include "tools/master_input.h"
#include "tools/master_slots.h"
#include "tools/output.h"
#include "tools/virsh-master-commands.h"
#include "util/error.h"

enum {
    DEFAULT_TIMEOUT_S = 90,
    TIMEOUT_MAX_S = 24 * 60 * 60,
    PAUSE_MS = 500,
    CONNECT_MIN_MS = 5000, /* also where no time is left: a host that boots is busy */
    QUESTION_MIN_S = 5,
    ASKED_AFTER = 2, /* times that it was locked: the daemon may be about to unlock it itself */
};

struct wait {
    int64_t deadline; /* monotonic us */
    int timeout_s;
    bool is_asking;
    unsigned int locked_count;
    char *problem; /* why it is not unlocked, as known last */
};

static void
wait_clear(struct wait *wait)
{
    g_free(wait->problem);
}

typedef struct wait wait_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(wait_t, wait_clear)

static int
left_ms(const struct wait *wait)
{
    return (int)(MAX(wait->deadline - g_get_monotonic_time(), 0) / 1000);
}

static void
note_problem(struct wait *wait, const char *what, const char *why)
{
    g_free(wait->problem);
    wait->problem = g_strdup_printf("%s: %s", what, why ? why : "no reason is known");
}

static bool
has_person(const struct virtcrypt_master_status_ret *status)
{
    for (uint32_t i = 0; i < status->slots_len; i++) {
        if (status->slots[i].needs_person)
            return true;
    }
    return false;
}

/* One question. A wrong answer is told, and asked again the next time. */
static void
ask(struct session *session, struct wait *wait)
{
    g_autoptr(GError) error = NULL;
    unsigned int timeout_s = MAX((unsigned int)left_ms(wait) / 1000, QUESTION_MIN_S);
    g_autoptr(secret_buf_t) secret =
        ask_password("Passphrase of the virtcrypt master key", timeout_s, MASTER_INPUT_MAX, &error);
    struct virtcrypt_master_unlock_args call = {.passphrase = secret};
    struct virtcrypt_master_unlock_ret ret = {0};

    if (secret && secret_buf_len(secret) > 0 && session_keep(session)) {
        rpc_client_set_timeout(session->client, RPC_CLIENT_PERSON_TIMEOUT_MS);
        virtcrypt_master_unlock_call(session->client, &call, &ret, &error);
    }
    if (error)
        output_gerror(error);
    /* Who can't ask, or is not answered, does not ask again. */
    if (!secret)
        wait->is_asking = false;
}

/* Whether it is unlocked now. */
static bool
look(struct session *session, struct wait *wait)
{
    g_auto(master_status_t) status = {0};
    g_autoptr(GError) error = NULL;

    if (!session_try(session, MAX(left_ms(wait), CONNECT_MIN_MS), &error)) {
        note_problem(wait, "virtcrypt-secretd can't be reached", error->message);
        return false;
    }
    if (!virtcrypt_master_status_call(session->client, &status, &error)) {
        session_clear(session);
        note_problem(wait, "virtcrypt-secretd does not tell its state", error->message);
        return false;
    }
    if (!status.locked)
        return true;
    note_problem(wait, "the master key is locked", status.locked_reason);
    wait->locked_count++;
    if (wait->is_asking && wait->locked_count >= ASKED_AFTER && has_person(&status))
        ask(session, wait);
    return false;
}

bool
virsh_unlock(struct session *session, const struct command_args *args)
{
    g_auto(wait_t) wait = {.timeout_s = DEFAULT_TIMEOUT_S};
    g_autoptr(GError) error = NULL;
    bool is_waiting = command_has(args, "wait");

    wait.is_asking = command_has(args, "ask-password");
    if (!command_get_number(args, "timeout", 1, TIMEOUT_MAX_S, &wait.timeout_s, &error))
        return output_gerror(error);
    if (!is_waiting && (wait.is_asking || command_has(args, "timeout")))
        return output_error("options --timeout and --ask-password need --wait");
    wait.deadline =
        g_get_monotonic_time() + (is_waiting ? (int64_t)wait.timeout_s * G_USEC_PER_SEC : 0);
    for (;;) {
        if (look(session, &wait)) {
            if (!session->is_quiet)
                printf("The master key is unlocked\n");
            return true;
        }
        if (left_ms(&wait) == 0)
            break;
        g_usleep((gulong)MIN(left_ms(&wait), PAUSE_MS) * 1000);
    }
    return is_waiting ? output_error("after %d seconds %s", wait.timeout_s, wait.problem)
                      : output_error("%s", wait.problem);
}
