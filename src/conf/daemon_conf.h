/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the settings of virtcrypt-secretd (virtcrypt-secretd.conf, which takes virtsecretd.conf's
 * names where libvirt has one), their defaults and bounds. A key that libvirt knows and that has no
 * meaning here is accepted with a warning, unless ignoring it would weaken the host: then, as for
 * an unknown key, a wrong type or a value out of bounds, it is an error with file and line.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/conf_file.h"

enum daemon_conf_auth { DAEMON_CONF_AUTH_NONE, DAEMON_CONF_AUTH_POLKIT };

enum daemon_conf_readback {
    DAEMON_CONF_READBACK_NEVER,
    DAEMON_CONF_READBACK_LOCAL_ROOT,
    DAEMON_CONF_READBACK_ANY,
};

struct daemon_conf {
    char *unix_sock_dir;                /* RUNSTATEDIR/libvirt; session: $XDG_RUNTIME_DIR/libvirt */
    char *unix_sock_group;              /* or NULL */
    unsigned int unix_sock_rw_perms;    /* if not set: 0777 with polkit, else 0700 */
    unsigned int unix_sock_ro_perms;    /* 0777 */
    enum daemon_conf_auth auth_unix_rw; /* polkit; session: none */
    enum daemon_conf_auth auth_unix_ro; /* polkit; session: none */
    unsigned int max_clients;           /* 5000 */
    unsigned int max_queued_clients;    /* 1000: the listen backlog */
    unsigned int max_anonymous_clients; /* 20; 0: as many as max_clients */
    unsigned int max_client_requests;   /* 5 */
    int keepalive_interval;             /* 5 s; -1 for none */
    unsigned int keepalive_count;       /* 5 */
    unsigned int handshake_timeout;     /* 30 s (ours) */
    unsigned int log_level;             /* 3 */
    char *log_filters;                  /* for log_set_filters, or NULL */
    char *log_outputs;                  /* for log_set_outputs, or NULL */
    enum daemon_conf_readback value_readback; /* local-root (ours) */
    char *master_key_file; /* (ours) SYSCONFDIR/libvirt/virtcrypt/master.key; session: below
                            * $XDG_CONFIG_HOME/libvirt */
};

/* The defaults; `session` for an unprivileged user's own daemon. */
struct daemon_conf *daemon_conf_new_default(bool session);

/* Applies `file` to `conf`, which is unchanged on an error (ERROR_CONFIG_UNSUPPORTED, domain
 * ERROR_FROM_CONF). Warnings (one text each) are appended to `warnings`. */
bool daemon_conf_apply(struct daemon_conf *conf, const struct conf_file *file, GPtrArray *warnings,
                       GError **error);
void daemon_conf_free(struct daemon_conf *conf);

/* How many keys there are, with and without effect. */
size_t daemon_conf_count_keys(void);

typedef struct daemon_conf daemon_conf_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_conf_t, daemon_conf_free)
