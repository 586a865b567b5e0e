/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a file with a value that libvirt's own driver left, UUID.base64 or UUID.aes256cbc: telling
 * what is to be done with it, and wiping it. Invariant: it is wiped only after the same value was
 * read from UUID.key, so that no value is lost that is nowhere else. Touches no registry: any
 * thread may work on one.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/secret_def.h"
#include "secret/generations.h"
#include "secret/libvirt_key.h"
#include "secret/store_parts.h"
#include "util/uuid.h"

enum clear_value_verdict {
    CLEAR_VALUE_NOTHING, /* there is none, or an empty file, which is no value */
    CLEAR_VALUE_IMPORT,  /* `sealed` is to be committed as UUID.key */
    CLEAR_VALUE_WIPE,    /* UUID.key has the same value */
    CLEAR_VALUE_KEEP,    /* it stays as it is; `problem` says why */
};

struct clear_value {
    /* Of the caller's. */
    int dir_fd;
    enum store_kind kind;                  /* STORE_BASE64 or STORE_AES256CBC */
    const struct libvirt_key *libvirt_key; /* with STORE_AES256CBC */
    bool is_behind; /* the other file is newer, and can't be opened now: this one waits for it */
    const struct generations *generations;
    struct secret_def *def;   /* taken */
    GBytes *known;            /* what UUID.key holds, or NULL; taken */
    const struct uuid *owner; /* the guest whose copy `known` is, or NULL */
    bool is_owned;   /* the secret belongs to guests: a file is wiped at most, never taken over */
    bool has_copy;   /* with it: that copy was read from disk, and is `known` */
    bool is_planned; /* of a dry run: that is what UUID.key would hold by then */
    uint64_t generation; /* of it, or 0 */
    bool is_committed;   /* `sealed` is UUID.key now */

    /* Of clear_value_judge's. */
    enum clear_value_verdict verdict;
    GBytes *sealed;  /* of the next generation */
    char *problem;   /* names the file */
    bool is_useless; /* with CLEAR_VALUE_KEEP: `known` has no value either */
    bool is_closed;  /* with that: it may be opened with another key of libvirt's */
};

void clear_value_clear(struct clear_value *clear);
void clear_value_free(struct clear_value *clear);

bool clear_value_exists(int dir_fd, const struct uuid *uuid, enum store_kind kind);

/* Which of a secret's two files is the newer one. Where they are of the same time it is
 * UUID.base64, which libvirt takes, too. */
enum store_kind clear_value_newer(int dir_fd, const struct uuid *uuid);

/* Reads the file and decides. If UUID.key has another value, or one that can't be opened, the newer
 * file counts: somebody set a value with libvirt's own driver after that one was sealed. A sealed
 * file that is damaged counts for nothing. */
void clear_value_judge(struct clear_value *clear);

/* After `sealed` was committed: reads both files again, and decides for CLEAR_VALUE_WIPE if they
 * have the same value. */
void clear_value_verify(struct clear_value *clear);

/* Keeps the present UUID.key, before another value takes its place, as UUID.key.replaced-N. */
bool clear_value_keep_replaced(int dir_fd, const struct uuid *uuid, GError **error);

/* One file. */
struct clear_value_file {
    struct uuid uuid;
    enum store_kind kind;
};

/* Overwrites these files, flushes, and removes them, durably. Those that could not be wiped are
 * logged and left; ret_wiped[i] says which were. */
void clear_value_wipe(int dir_fd, const struct clear_value_file *files, size_t count,
                      bool *ret_wiped);
/* The same for whichever there are of one secret. */
void clear_value_wipe_all(int dir_fd, const struct uuid *uuid);

typedef struct clear_value clear_value_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(clear_value_t, clear_value_free)
