/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading the configuration file, and bringing its settings of the log into effect.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/daemon_conf.h"

struct daemon_settings_source {
    enum daemon_conf_program program;
    const char *path;
    bool may_be_missing; /* the default file: defaults hold then */
    bool session;
    bool verbose;    /* --verbose: at least information is logged */
    bool background; /* without standard error: the journal or syslog unless outputs are set */
};

/* Warnings are logged, after the log has been set up as the file says. */
struct daemon_conf *daemon_settings_read(const struct daemon_settings_source *source,
                                         GError **error);
