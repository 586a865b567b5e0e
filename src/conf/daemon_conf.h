/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the settings of the daemons (virtcrypt-secretd.conf and virtcryptd.conf, which take the
 * names of libvirt's daemons where those have one), their defaults and bounds. A key that libvirt
 * knows and that has no meaning here is accepted with a warning, unless ignoring it would weaken
 * the host: then, as for an unknown key (or one of the other daemon), a wrong type or a value out
 * of bounds, it is an error with file and line.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/conf_file.h"

enum daemon_conf_program {
    DAEMON_CONF_SECRETD,
    DAEMON_CONF_VIRTCRYPTD,
    DAEMON_CONF_PROGRAM_LAST,
};

enum daemon_conf_auth { DAEMON_CONF_AUTH_NONE, DAEMON_CONF_AUTH_POLKIT };

enum daemon_conf_readback {
    DAEMON_CONF_READBACK_NEVER,
    DAEMON_CONF_READBACK_LOCAL_ROOT,
    DAEMON_CONF_READBACK_ANY,
};

/* What becomes of a key that no guest uses any more while its volume is still there. */
enum daemon_conf_orphans {
    DAEMON_CONF_ORPHANS_WHEN_VOLUME_GONE,
    DAEMON_CONF_ORPHANS_AFTER_DELAY,
    DAEMON_CONF_ORPHANS_MANUAL,
};

struct daemon_conf {
    enum daemon_conf_program program;
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

    /* virtcrypt-secretd alone; all ours */
    enum daemon_conf_readback value_readback; /* local-root */
    char *master_key_file;       /* where a first start makes one: SYSCONFDIR/libvirt/virtcrypt/
                                  * master.key; session: below $XDG_CONFIG_HOME/libvirt */
    bool sandbox;                /* true */
    char **sandbox_paths;        /* folders beside its own, or NULL */
    unsigned int rotation_delay; /* 60 s from an erasure to the next key-encryption generation */
    unsigned int unlock_timeout; /* 10 s for each way to unlock the master key */
    unsigned int index_delay;    /* 5 s from a change to the write of the index of generations */

    /* virtcryptd alone; all ours */
    char *custodian_socket; /* of virtcrypt-secretd: RUNSTATEDIR/libvirt/virtsecretd-sock; session:
                             * below $XDG_RUNTIME_DIR/libvirt */
    char *libvirt_uri;      /* "qemu:///system"; NULL ("" in the file): no guest is watched */
    unsigned int erase_delay_undefine; /* 3600 s */
    unsigned int erase_delay_migrated; /* 0 s */
    enum daemon_conf_orphans erase_orphans;
    bool bind_referenced_secrets;
    bool autostart_after_unlock;
    unsigned int reconcile_interval; /* 300 s between looks at everything without an event */
};

/* "virtcrypt-secretd"; its settings are in a file of that name with ".conf". */
const char *daemon_conf_program_name(enum daemon_conf_program program);

/* The defaults; `session` for an unprivileged user's own daemon. */
struct daemon_conf *daemon_conf_new_default(enum daemon_conf_program program, bool session);

/* Applies `file`, which holds settings of the program of `conf`, to `conf`, which is unchanged on
 * an error (ERROR_CONFIG_UNSUPPORTED, domain ERROR_FROM_CONF). Warnings (one text each) are
 * appended to `warnings`. */
bool daemon_conf_apply(struct daemon_conf *conf, const struct conf_file *file, GPtrArray *warnings,
                       GError **error);
void daemon_conf_free(struct daemon_conf *conf);

/* How many keys `program` has, with and without effect. */
size_t daemon_conf_count_keys(enum daemon_conf_program program);

typedef struct daemon_conf daemon_conf_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_conf_t, daemon_conf_free)
