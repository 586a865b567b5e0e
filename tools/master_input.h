/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: passphrases of the master key: from the terminal, a descriptor (one line each), or
 * systemd-ask-password; and recovery passphrases, which are made, shown once, and asked for again.
 */
#pragma once

#include <glib.h>

#include "tools/command.h"
#include "util/secret_buf.h"

enum { MASTER_INPUT_MAX = 4096 }; /* bytes: the protocol's VIRTCRYPT_MASTER_PASSPHRASE_MAX */

struct master_input {
    int fd;                     /* -1: none */
    bool is_asked;              /* by systemd-ask-password */
    unsigned int ask_timeout_s; /* its */
};

/* From the options --passphrase-fd and --ask-password, which the command has to have. */
bool master_input_init(struct master_input *input, const struct command_args *args, GError **error);

/* Whether the passphrase was put somewhere, so that nobody has to be asked for it by us. */
bool master_input_is_given(const struct master_input *input);

/* A passphrase of at least one byte. A new one (`again` not NULL) is asked for twice, unless it
 * comes from a descriptor. */
struct secret_buf *master_input_read(const struct master_input *input, const char *prompt,
                                     const char *again, GError **error);

/* Makes a recovery passphrase, shows it on standard output and has it typed again. Errors: what was
 * typed is another one; nothing was changed then. */
struct secret_buf *master_input_make_recovery(const struct master_input *input, GError **error);
