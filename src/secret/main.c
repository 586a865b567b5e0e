/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the process virtcrypt-secretd: from its words to its exit status, which is 0 for an orderly
 * end and 1 for a start that failed. Order: everything that can be wrong with words and settings is
 * found before it goes into the background, which is before there are threads and secrets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "secret/daemon.h"
#include "secret/daemon_options.h"
#include "secret/daemon_paths.h"
#include "secret/daemon_process.h"
#include "secret/daemon_settings.h"
#include "secret/daemon_sockets.h"
#include "util/log.h"

#define PROGRAM "virtcrypt-secretd"

/* The log may be elsewhere than where the one who starts us looks. */
static int
fail(const GError *error, bool has_log)
{
    fprintf(stderr, "%s: %s\n", PROGRAM, error->message);
    if (has_log)
        log_error("%s", error->message);
    return EXIT_FAILURE;
}

/* Runs until the end. */
static int
serve(const struct daemon_params *params, bool background)
{
    g_autoptr(daemon_process_parent_t) parent = NULL;
    g_autoptr(daemon_t) daemon = NULL;
    g_autoptr(GError) error = NULL;
    bool has_log = background || params->conf->log_outputs;

    daemon_process_harden(params->conf->max_clients);
    if (background) {
        parent = daemon_process_go_background(&error);
        if (!parent)
            return fail(error, has_log);
    }
    daemon = daemon_new(params, &error);
    if (!daemon)
        return fail(error, has_log);
    daemon_process_tell_ready(parent);
    daemon_run(daemon);
    return EXIT_SUCCESS;
}

static int
start(const struct daemon_options *options)
{
    g_autoptr(daemon_paths_t) paths = daemon_paths_new(options->session);
    g_autoptr(GError) error = NULL;
    const struct daemon_settings_source source = {
        .path = options->config_file ? options->config_file : paths->config_file,
        .may_be_missing = !options->config_file,
        .session = options->session,
        .verbose = options->verbose,
        .background = options->background,
    };
    g_autoptr(daemon_conf_t) conf = daemon_settings_read(&source, &error);
    g_autoptr(GPtrArray) passed = conf ? daemon_sockets_take_passed(conf, &error) : NULL;
    const struct daemon_params params = {
        .conf = conf,
        .paths = paths,
        .settings = &source,
        .pid_file = options->pid_file ? options->pid_file : paths->pid_file,
        .passed = passed,
        .timeout_s = options->timeout_s,
    };

    return passed ? serve(&params, options->background) : fail(error, false);
}

int
main(int argc, char **argv)
{
    g_auto(daemon_options_t) options = {0};
    g_autoptr(GError) error = NULL;

    g_set_prgname(PROGRAM); /* who the lines in the journal are from */
    if (!daemon_options_parse(argc, argv, geteuid(), &options, &error)) {
        fprintf(stderr, "%s: %s\nTry '%s --help'.\n", PROGRAM, error->message, PROGRAM);
        return EXIT_FAILURE;
    }
    if (options.help) {
        fputs(daemon_options_usage(), stdout);
        return EXIT_SUCCESS;
    }
    if (options.version) {
        printf("%s (virtcrypt) %s\n", PROGRAM, PACKAGE_VERSION);
        return EXIT_SUCCESS;
    }
    return start(&options);
}
