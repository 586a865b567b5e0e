/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the one AES key on a PKCS#11 token that a URI (RFC 7512) names, ready to use.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
/* p11-kit's own first: uri.h needs its types. */
#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

struct unlock_token {
    P11KitUri *uri;
    CK_FUNCTION_LIST **modules; /* all that are registered with p11-kit */
    GPtrArray *started;         /* those of them that are initialised */
    CK_FUNCTION_LIST *module;   /* of the token */
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
};

/* Finds the token, logs in where that is needed and the URI has a pin-source, finds the key. */
bool unlock_token_open(struct unlock_token *token, const char *uri, GError **error);
void unlock_token_clear(struct unlock_token *token);

/* True for CKR_OK; else sets "cannot WHAT: CKR_NAME (its words)". */
bool unlock_token_check(CK_RV rv, const char *what, GError **error);

typedef struct unlock_token unlock_token_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(unlock_token_t, unlock_token_clear)
