/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the command line of our daemons, which is that of libvirt's and, where there are sessions,
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
    char *user;             /* or NULL: whom the process goes over to */
    bool session;           /* an unprivileged user's own daemon */
    unsigned int timeout_s; /* 0: never */
    char *config_file;      /* or NULL: the default one, which may be missing */
    char *pid_file;         /* or NULL */
};

/* Parses the `argc` words of `argv`. If the daemon `has_session`, every user but root has one, and
 * the host's may have a user of its own (--user). An
 * error (code ERROR_INVALID_ARG) names the word. */
bool daemon_options_parse(int argc, char **argv, bool has_session, uid_t uid,
                          struct daemon_options *ret_options, GError **error);
void daemon_options_clear(struct daemon_options *options);

typedef struct daemon_options daemon_options_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(daemon_options_t, daemon_options_clear)
