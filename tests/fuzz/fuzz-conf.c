/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Configuration files from hostile text: what is refused comes with an error that names the file,
 * and settings are within their bounds afterwards, or as they were.
 */
#include <string.h>

#include "conf/daemon_conf.h"
#include "target.h"
#include "util/error.h"

static void
check_error(const GError *error)
{
    check(error && g_str_has_prefix(error->message, "f.conf:") &&
          error_get_domain(error) == ERROR_FROM_CONF);
}

static void
check_settings(const struct daemon_conf *conf)
{
    check(conf->unix_sock_dir[0] == '/');
    check((conf->master_key_file != NULL) == (conf->program == DAEMON_CONF_SECRETD));
    check((conf->custodian_socket != NULL) == (conf->program == DAEMON_CONF_VIRTCRYPTD));
    check(conf->unix_sock_rw_perms <= 0777 && conf->unix_sock_ro_perms <= 0777);
    check(conf->max_clients >= 1 && conf->max_client_requests >= 1);
    check(conf->log_level >= 1 && conf->log_level <= 4);
    check(conf->keepalive_interval == -1 || conf->keepalive_interval > 0);
    check(conf->handshake_timeout >= 1);
    check(!conf->unix_sock_group || conf->unix_sock_group[0]);
}

static void
check_values(const struct conf_file *file)
{
    unsigned int line = 1;

    for (size_t i = 0; i < conf_file_count(file); i++) {
        const struct conf_value *value = conf_file_value(file, i);

        check(value->key[0] != '\0' && value->line >= line);
        check((value->text != NULL) == (value->type == CONF_STRING));
        check((value->texts != NULL) == (value->type == CONF_LIST));
        line = value->line;
    }
}

static void
check_daemon(enum daemon_conf_program program, const struct conf_file *file)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(program, false);

    if (!daemon_conf_apply(conf, file, warnings, &error))
        check_error(error);
    check_settings(conf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(conf_file_t) file = conf_file_parse("f.conf", (const char *)input, len, &error);

    if (!file) {
        check_error(error);
        return 0;
    }
    check_values(file);
    for (int program = 0; program < DAEMON_CONF_PROGRAM_LAST; program++)
        check_daemon((enum daemon_conf_program)program, file);
    return 0;
}
