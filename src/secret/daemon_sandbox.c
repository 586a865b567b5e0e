/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the list of folders. A folder that all the host uses (/etc, say) is not let in as a whole,
 * only the file in it: who can write there can become root.
 */
#include "secret/daemon_sandbox.h"

#include <string.h>

#include "daemon/sandbox.h"
#include "master/fields.h"
#include "master/slots.h"
#include "secret/libvirt_key.h"
#include "util/file.h"
#include "util/log.h"

enum { FOLDER_MODE = 0700 };

struct list {
    GArray *paths;    /* of struct sandbox_path */
    GPtrArray *texts; /* that those borrow */
    const char *config_dir;
};

static void
add(struct list *list, char *take_path, enum sandbox_access access)
{
    const struct sandbox_path path = {.path = take_path, .access = access};

    g_ptr_array_add(list->texts, take_path);
    g_array_append_val(list->paths, path);
}

static void
add_folder_of(struct list *list, const char *file, enum sandbox_access access)
{
    add(list, g_path_get_dirname(file), access);
}

/* A folder that the service makes when it is missing has to be there before. It says itself what is
 * wrong with one that can't be made. */
static void
add_own_folder(struct list *list, const char *path)
{
    g_autoptr(GError) ignored = NULL;
    g_auto(file_fd) G_GNUC_UNUSED fd = file_open_dir(path, true, FOLDER_MODE, &ignored);

    add(list, g_strdup(path), SANDBOX_WRITE);
}

static bool
is_of_the_host(const struct list *list, const char *folder)
{
    return !strchr(folder + 1, '/') || g_str_equal(folder, list->config_dir);
}

/* A renewed key file is made beside the old one. */
static void
add_key_file(struct list *list, const char *file)
{
    g_autofree char *folder = g_path_get_dirname(file);

    if (is_of_the_host(list, folder)) {
        add(list, g_strdup(file), SANDBOX_WRITE);
        add(list, g_steal_pointer(&folder), SANDBOX_LIST);
    } else {
        add(list, g_steal_pointer(&folder), SANDBOX_WRITE);
    }
}

static void
add_key_of_slot(struct list *list, const char *file)
{
    add(list, g_strdup(file), SANDBOX_KEY);
    add(list, g_strconcat(file, ".next", NULL), SANDBOX_KEY); /* while it is renewed */
    add_folder_of(list, file, SANDBOX_LIST);
}

/* Of the slots file nothing is believed: a custodian that somebody took over can write it, and may
 * not get at more by that when it starts again. Where key files may be made, the settings say. */
static void
add_slots(struct list *list, const char *path)
{
    g_autoptr(slots_t) slots = slots_read(path, NULL, NULL);

    for (guint i = 0; slots && i < slots->slots->len; i++) {
        const struct slot *slot = g_ptr_array_index(slots->slots, i);
        const char *file = slot->method == SLOT_KEY_FILE ? fields_get(slot->fields, "path") : NULL;

        if (file && *file == '/')
            add_key_of_slot(list, file);
    }
}

/* "LEVEL:file:PATH" */
static void
add_logs(struct list *list, const char *outputs)
{
    g_auto(GStrv) words = g_strsplit_set(outputs ? outputs : "", " \t\n", -1);

    for (char **word = words; *word; word++) {
        const char *path = strstr(*word, ":file:");

        if (path)
            add_folder_of(list, path + strlen(":file:"), SANDBOX_APPEND);
    }
}

static void
add_settings(struct list *list, const struct daemon_params *params)
{
    const struct daemon_conf *conf = params->conf;

    add_folder_of(list, params->settings->path, SANDBOX_READ);
    add_folder_of(list, params->pid_file, SANDBOX_REMOVE);
    add(list, g_strdup(conf->unix_sock_dir), SANDBOX_REMOVE);
    add_key_file(list, conf->master_key_file);
    add_logs(list, conf->log_outputs);
    for (char **path = conf->sandbox_paths; path && *path; path++)
        add(list, g_strdup(*path), SANDBOX_WRITE);
}

void
daemon_sandbox_enter(const struct daemon_params *params, const struct daemon_paths *paths)
{
    const char *credentials = g_getenv("CREDENTIALS_DIRECTORY");
    g_autofree char *libvirt_key = libvirt_key_find_path(paths->libvirt_conf, credentials, NULL);
    g_autoptr(GArray) array = g_array_new(FALSE, FALSE, sizeof(struct sandbox_path));
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    struct list list = {
        .paths = array,
        .texts = texts,
        .config_dir = params->folders->config_dir,
    };

    if (!params->conf->sandbox) {
        log_warn("the setting sandbox is 0: this process is not confined");
        return;
    }
    add(&list, g_strdup(params->folders->config_dir), SANDBOX_READ);
    add_own_folder(&list, paths->secrets_dir);
    add_own_folder(&list, paths->guests_dir);
    add_folder_of(&list, paths->driver_lock, SANDBOX_REMOVE);
    if (libvirt_key)
        add(&list, g_strdup(libvirt_key), SANDBOX_READ);
    if (credentials)
        add(&list, g_strdup(credentials), SANDBOX_READ);
    for (const char *const *file = (const char *const[]){paths->generations, paths->audit, NULL};
         *file; file++) {
        g_autofree char *folder = g_path_get_dirname(*file);

        add_own_folder(&list, folder);
    }
    add_settings(&list, params);
    add_slots(&list, paths->slots);
    sandbox_enter((const struct sandbox_path *)(void *)array->data, array->len);
}
