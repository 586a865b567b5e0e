/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the parts of the program virtcrypt-unlock-helper know of each other: an operation
 * takes a request and fills an answer, once. Whatever is in the request came from a daemon that may
 * have been taken over, and is checked like any input.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "master/helper_wire.h"

enum { UNLOCK_HELPER_KEY_SIZE = 32 };

/* `answer` has empty fields and no key. */
typedef bool (*unlock_helper_func)(const struct helper_message *request,
                                   struct helper_message *answer, GError **error);

bool unlock_helper_argon2id(const struct helper_message *request, struct helper_message *answer,
                            GError **error);
bool unlock_helper_tpm2_seal(const struct helper_message *request, struct helper_message *answer,
                             GError **error);
bool unlock_helper_tpm2_unseal(const struct helper_message *request, struct helper_message *answer,
                               GError **error);
bool unlock_helper_nv_define(const struct helper_message *request, struct helper_message *answer,
                             GError **error);
bool unlock_helper_nv_read(const struct helper_message *request, struct helper_message *answer,
                           GError **error);
bool unlock_helper_nv_advance(const struct helper_message *request, struct helper_message *answer,
                              GError **error);
bool unlock_helper_nv_remove(const struct helper_message *request, struct helper_message *answer,
                             GError **error);
bool unlock_helper_pkcs11_wrap(const struct helper_message *request, struct helper_message *answer,
                               GError **error);
bool unlock_helper_pkcs11_unwrap(const struct helper_message *request,
                                 struct helper_message *answer, GError **error);
bool unlock_helper_polkit(const struct helper_message *request, struct helper_message *answer,
                          GError **error);

/* The request's key, if it has `min` to `max` bytes; else NULL with an error. Borrowed. */
const struct secret_buf *unlock_helper_key(const struct helper_message *request, size_t min,
                                           size_t max, GError **error);
