/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the command line of virtcrypt-secretd, which is that of libvirt's virtsecretd and
 * --session. Words in, struct out; it touches nothing of the process but what getopt keeps.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct daemon_options {
    bool help;
    bool version;
    bool background; /* --daemon */
    bool verbose;
    bool session;           /* an unprivileged user's own daemon */
    unsigned int timeout_s; /* 0: never */
    char *config_file;      /* or NULL: the default one, which may be missing */
    char *pid_file;         /* or NULL */
};

/* Parses the `argc` words of `argv`. Every user but root has a session. An error (code
 * ERROR_INVALID_ARG) names the word. */
bool daemon_options_parse(int argc, char **argv, uid_t uid, struct daemon_options *ret_options,
                          GError **error);
void daemon_options_clear(struct daemon_options *options);

/* What --help prints. */
const char *daemon_options_usage(void);

typedef struct daemon_options daemon_options_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(daemon_options_t, daemon_options_clear)
