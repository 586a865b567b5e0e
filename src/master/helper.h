/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the daemon has others do: slow derivations, and code of vendors, which may want
 * devices, memory or descriptors that the daemon is not let near. A broker, forked at the start
 * before there are threads, secrets and confinement, starts the program virtcrypt-unlock-helper for
 * each request and hands the daemon the other end of its socket pair; the helper answers once and
 * ends. Requests and answers are texts (fields) and at most one key each way, through the socket
 * alone: never argv, environment or files.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "master/fields.h"
#include "util/secret_buf.h"

struct helper;

enum helper_operation {
    HELPER_ARGON2ID = 1,    /* key: a passphrase -> key: 32 bytes; salt, memory-kib, passes, lanes;
                             * -> fields: cpu-us, the processor time that it took */
    HELPER_TPM2_SEAL = 2,   /* key -> fields: the sealed object; pcrs, bank */
    HELPER_TPM2_UNSEAL = 3, /* fields -> key */
    HELPER_PKCS11_WRAP = 4, /* key: 32 bytes, fields: uri -> fields: iv, wrapped; pin in the uri's
                             * pin-source alone */
    HELPER_PKCS11_UNWRAP = 5,   /* fields -> key */
    HELPER_TPM2_NV_DEFINE = 6,  /* fields: handle -> fields: counter; makes a counter */
    HELPER_TPM2_NV_READ = 7,    /* fields: handle -> fields: counter */
    HELPER_TPM2_NV_ADVANCE = 8, /* the same, after adding 1 */
    HELPER_TPM2_NV_REMOVE = 9,
    HELPER_POLKIT = 10, /* fields: pid, start-time, uid, action -> nothing, or an error */
};

/* A key with one of the NV operations is the counter's password, at most 32 bytes. */

struct helper_request {
    enum helper_operation operation;
    const struct fields *fields;  /* or NULL */
    const struct secret_buf *key; /* or NULL */
    unsigned int timeout_ms;      /* the helper is killed after it; 1 to 600 000 */
    int cancel_fd;                /* 0: none; once it is readable: ERROR_OPERATION_ABORTED */
};

struct helper_reply {
    struct fields *fields;  /* never NULL after success */
    struct secret_buf *key; /* or NULL */
};
void helper_reply_clear(struct helper_reply *reply);

/* The installed helper, or $VIRTCRYPT_UNLOCK_HELPER, which who starts the daemon may have set. */
const char *helper_default_program(void);

/* Forks the broker. The helper's environment is constant but for what ours has as
 * VIRTCRYPT_HELPER_NAME, which is its NAME: read here, never again. `program` is the path of
 * virtcrypt-unlock-helper. Single-threaded, no secret in memory yet. The broker ends with this
 * process. */
struct helper *helper_start(const char *program, GError **error);
/* Ends the broker and waits for it. */
void helper_free(struct helper *helper);

/* Blocks at most about the request's time; any thread may call it, several at a time. Errors are
 * the helper's own (domain and code are passed on), ERROR_OPERATION_TIMEOUT, or
 * ERROR_OPERATION_FAILED when the broker or the helper died. */
bool helper_run(struct helper *helper, const struct helper_request *request,
                struct helper_reply *ret_reply, GError **error);

typedef struct helper helper_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(helper_t, helper_free)
typedef struct helper_reply helper_reply_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(helper_reply_t, helper_reply_clear)
