/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a TPM 2.0 that is open: its primary key, sessions, and what its errors mean. Every session
 * is salted by the primary key: what goes between us and the chip is authenticated and, where it is
 * a key, encrypted, so that listening on the bus tells nothing.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <tss2/tss2_esys.h>

struct unlock_tpm2 {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR primary;
    bool is_rsa; /* the primary key; else P-256 */
    TPM2B_NAME *primary_name;
    ESYS_TR session; /* for HMACs; encrypts the first parameter both ways where there is one */
};

/* Opens the TPM and makes the primary key of the owner's hierarchy: P-256, or RSA 2048 if the chip
 * knows no P-256. */
bool unlock_tpm2_open(struct unlock_tpm2 *tpm, GError **error);
/* As it was when something was made: `is_rsa` as then. */
bool unlock_tpm2_open_as(struct unlock_tpm2 *tpm, bool is_rsa, GError **error);
void unlock_tpm2_clear(struct unlock_tpm2 *tpm);

bool unlock_tpm2_start_session(struct unlock_tpm2 *tpm, TPM2_SE type, ESYS_TR *ret_session,
                               GError **error);
/* `flags` for the session's next commands; it goes on after each. */
bool unlock_tpm2_use_session(struct unlock_tpm2 *tpm, ESYS_TR session, TPMA_SESSION flags,
                             GError **error);
void unlock_tpm2_flush(struct unlock_tpm2 *tpm, ESYS_TR handle);

/* True for TSS2_RC_SUCCESS; else sets "cannot WHAT: the library's words". */
bool unlock_tpm2_check(TSS2_RC rc, const char *what, GError **error);
/* A response code without the number of the handle, session or parameter that it is about. */
TSS2_RC unlock_tpm2_base(TSS2_RC rc);

/* What ESAPI allocated, on the declaration: AUTO_ESYS TPM2B_DIGEST *digest = NULL; its bytes are
 * wiped by who knows that they are a key. */
void unlock_tpm2_free(void *pointer);
#define AUTO_ESYS __attribute__((cleanup(unlock_tpm2_free)))

typedef struct unlock_tpm2 unlock_tpm2_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(unlock_tpm2_t, unlock_tpm2_clear)
