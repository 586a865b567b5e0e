/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see program.h.
 */
#include "daemon/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/folders.h"
#include "daemon/options.h"
#include "daemon/process.h"
#include "util/log.h"
#include "util/probe.h"

static const char *
name_of(const struct daemon_program *program)
{
    return daemon_conf_program_name(program->id);
}

/* The log may be elsewhere than where the one who starts us looks. */
static int
fail(const struct daemon_program *program, const GError *error, bool has_log)
{
    fprintf(stderr, "%s: %s\n", name_of(program), error->message);
    if (has_log)
        log_error("%s", error->message);
    return EXIT_FAILURE;
}

/* Runs until the end. */
static int
serve(const struct daemon_params *params, bool background)
{
    const struct daemon_program *program = params->program;
    g_autoptr(daemon_process_parent_t) parent = NULL;
    g_autoptr(GError) error = NULL;
    bool has_log = background || params->conf->log_outputs;
    void *opened;

    daemon_process_harden(params->conf->max_clients);
    if (background) {
        parent = daemon_process_go_background(&error);
        if (!parent)
            return fail(program, error, has_log);
    }
    opened = program->open(params, &error);
    if (!opened)
        return fail(program, error, has_log);
    daemon_process_tell_ready(parent);
    program->run(opened);
    program->close(opened);
    return EXIT_SUCCESS;
}

static int
start(const struct daemon_program *program, const struct daemon_options *options)
{
    g_autoptr(daemon_folders_t) folders = daemon_folders_new(name_of(program), options->session);
    g_autoptr(GError) error = NULL;
    const struct daemon_settings_source source = {
        .program = program->id,
        .path = options->config_file ? options->config_file : folders->config_file,
        .may_be_missing = !options->config_file,
        .session = options->session,
        .verbose = options->verbose,
        .background = options->background,
    };
    g_autoptr(daemon_conf_t) conf = daemon_settings_read(&source, &error);
    g_autoptr(GPtrArray) passed =
        conf ? daemon_sockets_take_passed(program->sockets, conf, &error) : NULL;
    const struct daemon_params params = {
        .program = program,
        .folders = folders,
        .conf = conf,
        .settings = &source,
        .pid_file = options->pid_file ? options->pid_file : folders->pid_file,
        .user = options->user,
        .passed = passed,
        .timeout_s = options->timeout_s,
    };

    return passed ? serve(&params, options->background) : fail(program, error, false);
}

int
daemon_program_main(const struct daemon_program *program, int argc, char **argv)
{
    g_auto(daemon_options_t) options = {0};
    g_autoptr(GError) error = NULL;
    int status;

    g_set_prgname(name_of(program)); /* who the lines in the journal are from */
    if (!daemon_options_parse(argc, argv, program->has_session, geteuid(), &options, &error)) {
        fprintf(stderr, "%s: %s\nTry '%s --help'.\n", name_of(program), error->message,
                name_of(program));
        return EXIT_FAILURE;
    }
    if (options.help) {
        fputs(program->usage, stdout);
        return EXIT_SUCCESS;
    }
    if (options.version) {
        printf("%s (virtcrypt) %s\n", name_of(program), PACKAGE_VERSION);
        return EXIT_SUCCESS;
    }
    if (!program->has_session && geteuid() != 0) {
        fprintf(stderr, "%s: only root can run it\n", name_of(program));
        return EXIT_FAILURE;
    }
    status = start(program, &options);
    probe_end_process(status);
    return status;
}
