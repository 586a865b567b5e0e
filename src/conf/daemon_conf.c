/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the tables of keys (those that both daemons have, and those of each alone) and what each
 * key accepts.
 */
#include "conf/daemon_conf.h"

#include <string.h>

#include "util/error.h"
#include "util/log.h"

/* The setting being applied. */
struct setting {
    const char *program;
    const char *file;
    const struct conf_value *value;
    GPtrArray *warnings;
};

struct key {
    const char *name;
    enum conf_value_type type;
    bool (*apply)(const struct setting *setting, const struct key *key, void *field,
                  GError **error);
    size_t offset; /* of the field in struct daemon_conf */
    int64_t low;
    int64_t high;
    const char *reason; /* why it has no effect, or what to do instead */
};

struct choice {
    const char *name;
    int number;
};

static bool refuse(const struct setting *setting, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static bool
refuse(const struct setting *setting, GError **error, const char *format, ...)
{
    g_autofree char *reason = NULL;
    va_list args;

    va_start(args, format);
    reason = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_CONF, ERROR_CONFIG_UNSUPPORTED, "%s:%u: %s: %s", setting->file,
              setting->value->line, setting->value->key, reason);
    return false;
}

static bool
check_range(const struct setting *setting, const struct key *key, GError **error)
{
    int64_t number = setting->value->number;

    if (number >= key->low && number <= key->high)
        return true;
    return refuse(setting, error,
                  "%" G_GINT64_FORMAT " is not between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT,
                  number, key->low, key->high);
}

static bool
apply_number(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    if (!check_range(setting, key, error))
        return false;
    *(unsigned int *)field = (unsigned int)setting->value->number;
    return true;
}

/* libvirt takes 0 as "not set". */
static bool
apply_log_level(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    return setting->value->number == 0 || apply_number(setting, key, field, error);
}

/* Zero and every negative number switch keepalive off. */
static bool
apply_interval(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    if (!check_range(setting, key, error))
        return false;
    *(int *)field = setting->value->number > 0 ? (int)setting->value->number : -1;
    return true;
}

static void
replace_string(char **field, const char *text)
{
    g_free(*field);
    *field = text && *text ? g_strdup(text) : NULL;
}

static bool
apply_string(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    replace_string(field, setting->value->text);
    return true;
}

static bool
apply_path(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    if (setting->value->text[0] != '/')
        return refuse(setting, error, "'%s' is not an absolute path", setting->value->text);
    replace_string(field, setting->value->text);
    return true;
}

static bool
apply_folders(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    char ***folders = field;

    for (const char *const *path = setting->value->texts; *path; path++) {
        if (**path != '/')
            return refuse(setting, error, "'%s' is not an absolute path", *path);
    }
    g_strfreev(*folders);
    *folders = g_strdupv((char **)setting->value->texts);
    return true;
}

static bool
apply_filters(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    g_autoptr(GError) reason = NULL;

    if (!log_check_filters(setting->value->text, &reason))
        return refuse(setting, error, "%s", reason->message);
    replace_string(field, setting->value->text);
    return true;
}

static bool
apply_outputs(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    g_autoptr(GError) reason = NULL;

    if (!log_check_outputs(setting->value->text, &reason))
        return refuse(setting, error, "%s", reason->message);
    replace_string(field, setting->value->text);
    return true;
}

static bool
parse_mode(const char *text, unsigned int *ret_mode)
{
    uint64_t mode;

    if (!g_ascii_string_to_unsigned(text, 8, 0, 0777, &mode, NULL))
        return false;
    *ret_mode = (unsigned int)mode;
    return true;
}

static bool
apply_mode(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    if (!parse_mode(setting->value->text, field))
        return refuse(setting, error, "'%s' is not a mode between \"0\" and \"0777\"",
                      setting->value->text);
    return true;
}

static bool
apply_choice(const struct setting *setting, const struct choice *choices, void *field,
             GError **error)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (; choices->name; choices++) {
        if (g_str_equal(choices->name, setting->value->text)) {
            *(int *)field = choices->number;
            return true;
        }
        g_string_append_printf(names, "%s\"%s\"", names->len > 0 ? ", " : "", choices->name);
    }
    return refuse(setting, error, "'%s' is none of %s", setting->value->text, names->str);
}

static bool
apply_auth(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    static const struct choice choices[] = {
        {"none", DAEMON_CONF_AUTH_NONE},
        {"polkit", DAEMON_CONF_AUTH_POLKIT},
        {NULL, 0},
    };

    if (g_str_equal(setting->value->text, "sasl"))
        return refuse(setting, error,
                      "%s has no SASL; use \"polkit\", or \"none\" with unix_sock_group and "
                      "unix_sock_rw_perms",
                      setting->program);
    return apply_choice(setting, choices, field, error);
}

static bool
apply_readback(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    static const struct choice choices[] = {
        {"never", DAEMON_CONF_READBACK_NEVER},
        {"local-root", DAEMON_CONF_READBACK_LOCAL_ROOT},
        {"any", DAEMON_CONF_READBACK_ANY},
        {NULL, 0},
    };

    return apply_choice(setting, choices, field, error);
}

static bool
apply_orphans(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    static const struct choice choices[] = {
        {"when-volume-gone", DAEMON_CONF_ORPHANS_WHEN_VOLUME_GONE},
        {"after-delay", DAEMON_CONF_ORPHANS_AFTER_DELAY},
        {"manual", DAEMON_CONF_ORPHANS_MANUAL},
        {NULL, 0},
    };

    return apply_choice(setting, choices, field, error);
}

static bool
apply_yes_no(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    if (!check_range(setting, key, error))
        return false;
    *(bool *)field = setting->value->number == 1;
    return true;
}

static bool
apply_nothing(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    g_ptr_array_add(setting->warnings,
                    g_strdup_printf("%s:%u: %s has no effect: %s", setting->file,
                                    setting->value->line, key->name, key->reason));
    return true;
}

/* "none" is libvirt's name for the driver that allows everything. */
static bool
check_access_drivers(const struct setting *setting, const struct key *key, void *field,
                     GError **error)
{
    for (const char *const *name = setting->value->texts; *name; name++) {
        if (!g_str_equal(*name, "none"))
            return refuse(setting, error,
                          "%s has no access driver '%s'; set it to [] and restrict the socket "
                          "with unix_sock_group and unix_sock_rw_perms",
                          setting->program, *name);
    }
    return true;
}

/* A demand up to `high` is harmless to ignore, a greater one is not. */
static bool
check_demand(const struct setting *setting, const struct key *key, void *field, GError **error)
{
    if (setting->value->number < key->low || setting->value->number > key->high)
        return refuse(setting, error, "%s writes no audit records and cannot do this; set it to %d",
                      setting->program, (int)key->high);
    return apply_nothing(setting, key, field, error);
}

#define FIELD(name)  G_STRUCT_OFFSET(struct daemon_conf, name)
#define ONE_LOOP     "one event loop serves all clients"
#define NO_ADMIN     "there is no administration socket"
#define NO_HOST_UUID "no answer of this daemon holds the host's UUID"
#define NO_AUDIT     "no audit records are written"
#define IGNORED(name, type, reason)                                                                \
    {                                                                                              \
        name, type, apply_nothing, 0, 0, 0, reason                                                 \
    }
#define MANY 1000000
#define YEAR 31536000 /* seconds */

static const struct key common_keys[] = {
    {"unix_sock_dir", CONF_STRING, apply_path, FIELD(unix_sock_dir)},
    {"unix_sock_group", CONF_STRING, apply_string, FIELD(unix_sock_group)},
    {"unix_sock_rw_perms", CONF_STRING, apply_mode, FIELD(unix_sock_rw_perms)},
    {"unix_sock_ro_perms", CONF_STRING, apply_mode, FIELD(unix_sock_ro_perms)},
    {"auth_unix_rw", CONF_STRING, apply_auth, FIELD(auth_unix_rw)},
    {"auth_unix_ro", CONF_STRING, apply_auth, FIELD(auth_unix_ro)},
    {"access_drivers", CONF_LIST, check_access_drivers},
    {"max_clients", CONF_INT, apply_number, FIELD(max_clients), 1, MANY},
    {"max_queued_clients", CONF_INT, apply_number, FIELD(max_queued_clients), 0, MANY},
    {"max_anonymous_clients", CONF_INT, apply_number, FIELD(max_anonymous_clients), 0, MANY},
    {"max_client_requests", CONF_INT, apply_number, FIELD(max_client_requests), 1, MANY},
    {"keepalive_interval", CONF_INT, apply_interval, FIELD(keepalive_interval), G_MININT, 86400},
    {"keepalive_count", CONF_INT, apply_number, FIELD(keepalive_count), 0, 1000},
    {"handshake_timeout", CONF_INT, apply_number, FIELD(handshake_timeout), 1, 3600},
    {"log_level", CONF_INT, apply_log_level, FIELD(log_level), 1, 4},
    {"log_filters", CONF_STRING, apply_filters, FIELD(log_filters)},
    {"log_outputs", CONF_STRING, apply_outputs, FIELD(log_outputs)},
    {"audit_level", CONF_INT, check_demand, 0, 0, 1, NO_AUDIT},
    {"audit_logging", CONF_INT, check_demand, 0, 0, 0, NO_AUDIT},
    IGNORED("min_workers", CONF_INT, ONE_LOOP),
    IGNORED("max_workers", CONF_INT, ONE_LOOP),
    IGNORED("prio_workers", CONF_INT, ONE_LOOP),
    IGNORED("unix_sock_admin_perms", CONF_STRING, NO_ADMIN),
    IGNORED("admin_min_workers", CONF_INT, NO_ADMIN),
    IGNORED("admin_max_workers", CONF_INT, NO_ADMIN),
    IGNORED("admin_max_clients", CONF_INT, NO_ADMIN),
    IGNORED("admin_max_queued_clients", CONF_INT, NO_ADMIN),
    IGNORED("admin_max_client_requests", CONF_INT, NO_ADMIN),
    IGNORED("admin_keepalive_required", CONF_INT, NO_ADMIN),
    IGNORED("admin_keepalive_interval", CONF_INT, NO_ADMIN),
    IGNORED("admin_keepalive_count", CONF_INT, NO_ADMIN),
    IGNORED("keepalive_required", CONF_INT,
            "clients without keepalive are served, as libvirt does"),
    IGNORED("host_uuid", CONF_STRING, NO_HOST_UUID),
    IGNORED("host_uuid_source", CONF_STRING, NO_HOST_UUID),
    IGNORED("ovs_timeout", CONF_INT, "there are no virtual switches here"),
};

static const struct key secretd_keys[] = {
    {"value_readback", CONF_STRING, apply_readback, FIELD(value_readback)},
    {"master_key_file", CONF_STRING, apply_path, FIELD(master_key_file)},
    {"rotation_delay", CONF_INT, apply_number, FIELD(rotation_delay), 0, 86400},
    {"sandbox", CONF_INT, apply_yes_no, FIELD(sandbox), 0, 1},
    {"sandbox_paths", CONF_LIST, apply_folders, FIELD(sandbox_paths)},
    {"unlock_timeout", CONF_INT, apply_number, FIELD(unlock_timeout), 1, 120},
    {"index_delay", CONF_INT, apply_number, FIELD(index_delay), 0, 3600},
};

static const struct key virtcryptd_keys[] = {
    {"custodian_socket", CONF_STRING, apply_path, FIELD(custodian_socket)},
    {"libvirt_uri", CONF_STRING, apply_string, FIELD(libvirt_uri)},
    {"erase_delay_undefine", CONF_INT, apply_number, FIELD(erase_delay_undefine), 0, YEAR},
    {"erase_delay_migrated", CONF_INT, apply_number, FIELD(erase_delay_migrated), 0, YEAR},
    {"erase_orphans", CONF_STRING, apply_orphans, FIELD(erase_orphans)},
    {"bind_referenced_secrets", CONF_INT, apply_yes_no, FIELD(bind_referenced_secrets), 0, 1},
    {"autostart_after_unlock", CONF_INT, apply_yes_no, FIELD(autostart_after_unlock), 0, 1},
    {"reconcile_interval", CONF_INT, apply_number, FIELD(reconcile_interval), 5, 86400},
};

static const struct program {
    const char *name;
    const struct key *keys; /* besides the common ones */
    size_t key_count;
} programs[] = {
    [DAEMON_CONF_SECRETD] = {"virtcrypt-secretd", secretd_keys, G_N_ELEMENTS(secretd_keys)},
    [DAEMON_CONF_VIRTCRYPTD] = {"virtcryptd", virtcryptd_keys, G_N_ELEMENTS(virtcryptd_keys)},
};
G_STATIC_ASSERT(G_N_ELEMENTS(programs) == DAEMON_CONF_PROGRAM_LAST);

static const char *const type_names[] = {
    [CONF_INT] = "an integer",
    [CONF_STRING] = "a string",
    [CONF_LIST] = "a string list",
};

static const struct key *
find_key_in(const struct key *keys, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (g_str_equal(keys[i].name, name))
            return &keys[i];
    }
    return NULL;
}

static const struct key *
find_key(const struct program *program, const char *name)
{
    const struct key *key = find_key_in(program->keys, program->key_count, name);

    return key ? key : find_key_in(common_keys, G_N_ELEMENTS(common_keys), name);
}

const char *
daemon_conf_program_name(enum daemon_conf_program program)
{
    return programs[program].name;
}

size_t
daemon_conf_count_keys(enum daemon_conf_program program)
{
    return G_N_ELEMENTS(common_keys) + programs[program].key_count;
}

static bool
is_set(const struct conf_file *file, const char *name)
{
    for (size_t i = 0; i < conf_file_count(file); i++) {
        if (g_str_equal(conf_file_value(file, i)->key, name))
            return true;
    }
    return false;
}

static unsigned int
default_rw_perms(enum daemon_conf_auth auth)
{
    return auth == DAEMON_CONF_AUTH_POLKIT ? 0777 : 0700;
}

static void
set_secretd_defaults(struct daemon_conf *conf, const char *etc)
{
    conf->master_key_file = g_build_filename(etc, "libvirt", "virtcrypt", "master.key", NULL);
    conf->unlock_timeout = 10;
}

static void
set_virtcryptd_defaults(struct daemon_conf *conf, bool session, const char *run)
{
    conf->custodian_socket = g_build_filename(run, "libvirt", "virtsecretd-sock", NULL);
    conf->libvirt_uri = session ? NULL : g_strdup("qemu:///system");
    conf->erase_delay_undefine = 3600;
    conf->erase_orphans = DAEMON_CONF_ORPHANS_WHEN_VOLUME_GONE;
    conf->reconcile_interval = 300;
}

struct daemon_conf *
daemon_conf_new_default(enum daemon_conf_program program, bool session)
{
    struct daemon_conf *conf = g_new0(struct daemon_conf, 1);
    const char *run = session ? g_get_user_runtime_dir() : RUNSTATEDIR;
    const char *etc = session ? g_get_user_config_dir() : SYSCONFDIR;

    conf->program = program;
    conf->unix_sock_dir = g_build_filename(run, "libvirt", NULL);
    conf->auth_unix_rw = session ? DAEMON_CONF_AUTH_NONE : DAEMON_CONF_AUTH_POLKIT;
    conf->auth_unix_ro = conf->auth_unix_rw;
    conf->unix_sock_rw_perms = default_rw_perms(conf->auth_unix_rw);
    conf->unix_sock_ro_perms = 0777;
    conf->max_clients = 5000;
    conf->max_queued_clients = 1000;
    conf->max_anonymous_clients = 20;
    conf->max_client_requests = 5;
    conf->keepalive_interval = 5;
    conf->keepalive_count = 5;
    conf->handshake_timeout = 30;
    conf->log_level = LOG_LEVEL_WARN;
    conf->value_readback = DAEMON_CONF_READBACK_LOCAL_ROOT;
    conf->rotation_delay = 60;
    conf->sandbox = true;
    conf->index_delay = 5;
    if (program == DAEMON_CONF_SECRETD)
        set_secretd_defaults(conf, etc);
    else
        set_virtcryptd_defaults(conf, session, run);
    return conf;
}

static struct daemon_conf *
copy_conf(const struct daemon_conf *conf)
{
    struct daemon_conf *copy = g_new(struct daemon_conf, 1);

    *copy = *conf;
    copy->unix_sock_dir = g_strdup(conf->unix_sock_dir);
    copy->unix_sock_group = g_strdup(conf->unix_sock_group);
    copy->log_filters = g_strdup(conf->log_filters);
    copy->log_outputs = g_strdup(conf->log_outputs);
    copy->master_key_file = g_strdup(conf->master_key_file);
    copy->sandbox_paths = g_strdupv(conf->sandbox_paths);
    copy->custodian_socket = g_strdup(conf->custodian_socket);
    copy->libvirt_uri = g_strdup(conf->libvirt_uri);
    return copy;
}

static void
clear_conf(struct daemon_conf *conf)
{
    g_free(conf->unix_sock_dir);
    g_free(conf->unix_sock_group);
    g_free(conf->log_filters);
    g_free(conf->log_outputs);
    g_free(conf->master_key_file);
    g_strfreev(conf->sandbox_paths);
    g_free(conf->custodian_socket);
    g_free(conf->libvirt_uri);
}

void
daemon_conf_free(struct daemon_conf *conf)
{
    if (!conf)
        return;
    clear_conf(conf);
    g_free(conf);
}

static bool
apply_setting(struct daemon_conf *conf, const struct setting *setting, GError **error)
{
    const struct key *key = find_key(&programs[conf->program], setting->value->key);

    if (!key)
        return refuse(setting, error, "%s has no such setting; correct its name or remove it",
                      setting->program);
    if (key->type != setting->value->type)
        return refuse(setting, error, "expected %s", type_names[key->type]);
    return key->apply(setting, key, (char *)conf + key->offset, error);
}

bool
daemon_conf_apply(struct daemon_conf *conf, const struct conf_file *file, GPtrArray *warnings,
                  GError **error)
{
    g_autoptr(daemon_conf_t) changed = copy_conf(conf);
    struct daemon_conf before;

    for (size_t i = 0; i < conf_file_count(file); i++) {
        const struct setting setting = {
            .program = programs[conf->program].name,
            .file = conf_file_name(file),
            .value = conf_file_value(file, i),
            .warnings = warnings,
        };

        if (!apply_setting(changed, &setting, error))
            return false;
    }
    if (is_set(file, "auth_unix_rw") && !is_set(file, "unix_sock_rw_perms"))
        changed->unix_sock_rw_perms = default_rw_perms(changed->auth_unix_rw);
    before = *conf;
    *conf = *changed;
    *changed = before;
    return true;
}
