/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one use of libcryptsetup: its context for a place, the last thing it complained of (which
 * becomes part of our errors; nothing goes to stderr), what is set once for the process, and the
 * lock around what libcryptsetup and libdevmapper keep for the whole process. Also the bounds on
 * what a header may ask of us: one from a stranger can demand hours of key derivation.
 */
#pragma once

#include <glib.h>
#include <libcryptsetup.h>
#include <stdbool.h>

#include "storage/luks.h"

struct luks_context {
    struct crypt_device *crypt;
    const char *path; /* for texts: where the header is */
    char complaint[256];
    int files[2]; /* what libcryptsetup knows as /proc/self/fd/N, so that no name is looked up twice
                   */
    unsigned int n_files;
};

/* For the place; no header is read. */
bool luks_context_init(struct luks_context *context, const struct luks_place *place,
                       GError **error);
/* The same, and the header read, either version. Without one: ERROR_OPERATION_INVALID. One that
 * asks for more than we give: ERROR_CONFIG_UNSUPPORTED. */
bool luks_context_load(struct luks_context *context, const struct luks_place *place,
                       GError **error);
/* Owns `crypt` from here on. `path` is set already. Hold the lock. */
void luks_context_take(struct luks_context *context, struct crypt_device *crypt);
void luks_context_clear(struct luks_context *context);

bool luks_context_is_luks2(const struct luks_context *context);

/* An error for `result` (-errno of libcryptsetup): "DOING on 'PATH' failed: COMPLAINT". */
void luks_context_set_error(const struct luks_context *context, int result, const char *doing,
                            GError **error);

/* Libcryptsetup computes aes itself and leaves other ciphers to the kernel, by way of device-mapper
 * if there is none other: the lock for calls that read or write keyslots, or NULL. */
GMutexLocker *luks_context_lock_keyslots(const struct luks_context *context);

/* The lock: around every call that may reach device-mapper. Not recursive. */
GMutex *luks_context_get_lock(void);

/* Opens what is at `path` if it is a regular file or a block device; -1 with an error. Flags of
 * open(2) as wanted. A link is followed below /dev alone: others may write to a pool's folder. */
int luks_context_open_file(const char *path, int flags, GError **error);
/* What was written to the file or device is on the disk. */
bool luks_context_flush(const char *path, GError **error);

typedef struct luks_context luks_context_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(luks_context_t, luks_context_clear)
