/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the key that libvirt 12.1 and later encrypts values with, found where libvirt finds it: the
 * file that `secrets_encryption_key` in its secret.conf names, else the systemd credential
 * "secrets-encryption-key", else (with `encrypt_data = 1`) a default file; and how far it can be
 * believed to be the right one.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/secret_buf.h"

enum libvirt_key_trust {
    LIBVIRT_KEY_ALONE,   /* each value has to speak for itself */
    LIBVIRT_KEY_PROVEN,  /* it opens several values, and that is no chance; or somebody says so */
    LIBVIRT_KEY_DOUBTED, /* it opens fewer values than it does not */
};

struct libvirt_key {
    struct secret_buf *bytes; /* NULL: there is none, or it can't be read */
    char *problem;            /* exactly when there is none: why, and what to do */
    char *source;             /* where it is from, for messages; may be NULL without one */
    enum libvirt_key_trust trust;
};

/* `conf_path` is that of secret.conf; `credentials_dir` is $CREDENTIALS_DIRECTORY, or NULL. Never
 * fails. */
struct libvirt_key *libvirt_key_find(const char *conf_path, const char *credentials_dir);
void libvirt_key_free(struct libvirt_key *key);

/* The key in the file `path`: exactly 32 bytes. */
struct secret_buf *libvirt_key_read_file(const char *path, GError **error);

/* The path that libvirt_key_find reads; NULL with an error, or without one when nothing names any.
 */
char *libvirt_key_find_path(const char *conf_path, const char *credentials_dir, GError **error);

/* So many files that were tried open, and so many do not. */
void libvirt_key_weigh(struct libvirt_key *key, size_t opened, size_t failed);

/* Somebody says that it is the right one: so it is proven, unless it is doubted. */
void libvirt_key_vouch(struct libvirt_key *key);

/* Whether a value that opened with `padding` right bytes is one, and not what a wrong key makes of
 * it: the key is proven, or the value shows it by its padding, or by being text. Of 2^28 wrong keys
 * one is believed at most. */
bool libvirt_key_is_believed(const struct libvirt_key *key, const struct secret_buf *value,
                             unsigned int padding);

typedef struct libvirt_key libvirt_key_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(libvirt_key_t, libvirt_key_free)
