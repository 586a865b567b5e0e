/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what differs between the project's daemons, as a table, and the process around each: from
 * its words to its exit status, which is 0 for an orderly end and 1 for a start that failed.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/daemon_conf.h"
#include "daemon/settings.h"
#include "daemon/sockets.h"

/* What a daemon starts with. All borrowed for its life. */
struct daemon_params {
    const struct daemon_program *program;
    const struct daemon_folders *folders;
    const struct daemon_conf *conf;
    const struct daemon_settings_source *settings; /* read again at SIGHUP, for the log */
    const char *pid_file;
    const char *user;       /* to go over to; or NULL */
    GPtrArray *passed;      /* sockets from systemd; if there are none it makes its own */
    unsigned int timeout_s; /* 0: never idle */
};

struct daemon_program {
    enum daemon_conf_program id; /* its name is daemon_conf_program_name */
    const char *usage;           /* what --help prints */
    bool has_session;            /* every user but root has one of its own, and root by --session */
    struct daemon_socket_kind sockets[DAEMON_SOCKET_KINDS];
    /* The daemon itself, ready to run: see daemon/core.h. */
    void *(*open)(const struct daemon_params *params, GError **error);
    /* Serves until a signal or --timeout ends it. */
    void (*run)(void *opened);
    /* Ends what is under way, closes all connections, removes sockets and locks. */
    void (*close)(void *opened);
};

/* All of main(). Everything that can be wrong with words and settings is found before it goes into
 * the background, which is before there are threads and secrets. */
int daemon_program_main(const struct daemon_program *program, int argc, char **argv);
