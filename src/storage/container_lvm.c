/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: containers that are logical volumes, by LVM's own programs (lvcreate(8) and so on). Names
 * are checked before they become words of a command line.
 */
#include <string.h>

#include "storage/child.h"
#include "storage/container_kinds.h"
#include "util/error.h"

/* On each logical volume that we make. */
#define TAG "virtcrypt"

enum { LVM_TIMEOUT_S = 120 };

/* LVM's own rule (lvm(8), VALID NAMES), so that none is taken for an option or a path. */
static bool
is_name(const char *name)
{
    return name[0] && name[0] != '-' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "+_.-") == strlen(name);
}

static bool
check_names(const char *group, const char *name, GError **error)
{
    if (group && is_name(group) && is_name(name))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "'%s' in the volume group '%s': names of logical volumes consist of letters, digits "
              "and + _ . - and don't begin with -",
              name, group ? group : "");
    return false;
}

static bool
run(const char *const *argv, char **ret_output, GError **error)
{
    const struct child child = {.argv = argv, .idle_timeout_s = LVM_TIMEOUT_S};

    return child_run(&child, ret_output, error);
}

static char *
size_word(uint64_t size)
{
    return g_strdup_printf("%" G_GUINT64_FORMAT "b", (guint64)size);
}

/* Whether there is one of that name for which `more` holds, active or not. An unknown group is an
 * error. */
static bool
exists_such(const char *group, const char *name, const char *more, bool *ret_exists, GError **error)
{
    g_autofree char *selection = g_strdup_printf("lv_name=\"%s\"%s", name, more);
    const char *argv[] = {"lvs", "--noheadings", "-o", "lv_name", "-S", selection, group, NULL};
    g_autofree char *output = NULL;

    if (!run(argv, &output, error))
        return false;
    *ret_exists = g_strstrip(output)[0] != '\0';
    return true;
}

static bool
exists(const char *group, const char *name, bool *ret_exists, GError **error)
{
    return exists_such(group, name, "", ret_exists, error);
}

bool
container_lvm_is_ours(const char *group, const char *name, bool *ret_is_ours, GError **error)
{
    bool is_there, has_tag;

    if (!check_names(group, name, error) || !exists(group, name, &is_there, error) ||
        !exists_such(group, name, " && lv_tags=" TAG, &has_tag, error))
        return false;
    *ret_is_ours = has_tag || !is_there;
    return true;
}

bool
container_lvm_create(const char *group, const char *name, uint64_t size, GError **error)
{
    g_autofree char *size_text = size_word(size);
    /* A logical volume is made of room that is free: what is found there belongs to nobody any
     * more. Left, it would make tools see a file system beside our header; asked about, lvcreate
     * would wait for an answer. So its signatures are wiped (-Wy -Zy) without a question (--yes).
     */
    const char *argv[] = {"lvcreate", "--yes", "-Wy", "-Zy",     "--addtag", TAG,
                          "-n",       name,    "-L",  size_text, group,      NULL};
    bool is_there = false;

    if (!check_names(group, name, error) || !exists(group, name, &is_there, error))
        return false;
    if (is_there) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST,
                  "there is a logical volume %s/%s already", group, name);
        return false;
    }
    return run(argv, NULL, error);
}

bool
container_lvm_resize(const char *group, const char *name, uint64_t old_size, uint64_t new_size,
                     GError **error)
{
    g_autofree char *size_text = size_word(new_size);
    g_autofree char *volume = g_strdup_printf("%s/%s", group, name);
    const char *grow[] = {"lvextend", "--yes", "-L", size_text, volume, NULL};
    /* --force: what would be cut off was asked about by who calls this. */
    const char *shrink[] = {"lvreduce", "--yes", "--force", "-L", size_text, volume, NULL};

    if (!check_names(group, name, error))
        return false;
    return new_size == old_size || run(new_size > old_size ? grow : shrink, NULL, error);
}

bool
container_lvm_remove(const char *group, const char *name, GError **error)
{
    g_autofree char *volume = g_strdup_printf("%s/%s", group, name);
    const char *argv[] = {"lvremove", "--yes", volume, NULL};
    bool is_there = false;

    if (!check_names(group, name, error) || !exists(group, name, &is_there, error))
        return false;
    return !is_there || run(argv, NULL, error);
}

bool
container_lvm_activate(const char *group, const char *name, GError **error)
{
    g_autofree char *volume = g_strdup_printf("%s/%s", group, name);
    /* -K: also one that is left alone by activation of its group. */
    const char *argv[] = {"lvchange", "--yes", "-ay", "-K", volume, NULL};
    bool is_there = false;

    if (!check_names(group, name, error) || !exists(group, name, &is_there, error))
        return false;
    if (is_there)
        return run(argv, NULL, error);
    error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL, "there is no logical volume %s",
              volume);
    return false;
}

bool
container_lvm_split_path(const char *path, char **ret_group, char **ret_name)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    /* "", "dev", GROUP, NAME */
    if (g_strv_length(parts) != 4 || strcmp(parts[1], "dev") != 0 || !is_name(parts[2]) ||
        !is_name(parts[3]))
        return false;
    *ret_group = g_strdup(parts[2]);
    *ret_name = g_strdup(parts[3]);
    return true;
}
