/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: mapping.h.
 */
#include "storage/mapping.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/container.h"
#include "storage/loop_device.h"
#include "storage/luks.h"
#include "util/error.h"

enum {
    NAME_MAX_BYTES = 110, /* device-mapper takes 127, and layers add to a name */
    DIGEST_CHARS = 32,
    DIR_MODE = 0755,
};
static const char mapper_dir[] = "/dev/mapper";

/* What device-mapper and udev leave as it is; '=' is for escapes, '-' parts pool and volume. */
static bool
is_plain(char c)
{
    return g_ascii_isalnum(c) || strchr("._+@", c);
}

static void
append_escaped(GString *name, const char *text, const char *also_plain)
{
    for (; *text; text++) {
        if (is_plain(*text) || strchr(also_plain, *text))
            g_string_append_c(name, *text);
        else
            g_string_append_printf(name, "=%02x", (unsigned char)*text);
    }
}

char *
mapping_name(const char *pool, const char *volume)
{
    g_autoptr(GString) name = g_string_new("virtcrypt-");
    g_autofree char *digest = NULL;

    append_escaped(name, pool, "");
    g_string_append_c(name, '-');
    append_escaped(name, volume, "-");
    if (name->len <= NAME_MAX_BYTES)
        return g_strdup(name->str);
    /* The '=' after "virtcrypt" is in no other name. */
    digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, name->str, (gssize)name->len);
    return g_strdup_printf("virtcrypt=%.*s", DIGEST_CHARS, digest);
}

char *
mapping_path(const char *device_dir, const char *pool, const char *volume)
{
    return g_build_filename(device_dir, pool, volume, NULL);
}

static bool
is_link_to(const char *path, const char *target)
{
    g_autofree char *present = g_file_read_link(path, NULL);

    return g_strcmp0(present, target) == 0;
}

/* A link that is there already, and is one, is replaced at once; anything else is somebody's. */
static bool
make_link(const char *path, const char *target, GError **error)
{
    g_autofree char *temporary = g_strconcat(path, ".virtcrypt-new", NULL);
    struct stat info;

    if (is_link_to(path, target))
        return true;
    if (lstat(path, &info) == 0 && !S_ISLNK(info.st_mode)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST,
                  "'%s', where the opened volume is to appear, is there already: move it away",
                  path);
        return false;
    }
    unlink(temporary);
    if (symlink(target, temporary) == 0 && rename(temporary, path) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot make the link '%s'", path);
    unlink(temporary);
    return false;
}

/* Only what we made. */
static void
remove_link(const char *path, const char *target)
{
    if (is_link_to(path, target))
        unlink(path);
}

struct links {
    char *path;   /* /dev/virtcrypt/POOL/VOLUME */
    char *target; /* /dev/mapper/NAME */
};

static void
links_clear(struct links *links)
{
    g_free(links->path);
    g_free(links->target);
}
typedef struct links links_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(links_t, links_clear)

static void
links_init(struct links *links, const struct mapping_params *params, const char *name)
{
    links->path = mapping_path(params->device_dir, params->record->pool, params->record->name);
    links->target = g_build_filename(mapper_dir, name, NULL);
}

/* Open to all whatever the umask: who may use a device, its own mode says. */
static bool
make_folders(const struct mapping_params *params, const char *dir, GError **error)
{
    if (g_mkdir_with_parents(dir, DIR_MODE) == 0 && chmod(params->device_dir, DIR_MODE) == 0 &&
        chmod(dir, DIR_MODE) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot make the folder '%s'", dir);
    return false;
}

static bool
make_links(const struct mapping_params *params, const char *name, GError **error)
{
    g_auto(links_t) links = {NULL};
    g_autofree char *dir = NULL;

    links_init(&links, params, name);
    dir = g_path_get_dirname(links.path);
    if (!make_folders(params, dir, error))
        return false;
    return make_link(links.path, links.target, error) &&
           (!params->alias || strcmp(params->alias, links.path) == 0 ||
            make_link(params->alias, links.path, error));
}

static void
remove_links(const struct mapping_params *params, const char *name)
{
    g_auto(links_t) links = {NULL};
    g_autofree char *dir = NULL;

    links_init(&links, params, name);
    if (params->alias)
        remove_link(params->alias, links.path);
    remove_link(links.path, links.target);
    dir = g_path_get_dirname(links.path);
    rmdir(dir); /* while it holds another volume, it stays */
}

enum luks_type
mapping_luks_type(const struct encryption *encryption)
{
    switch (encryption->format) {
    case ENCRYPTION_FORMAT_LUKS:
        return LUKS_1;
    case ENCRYPTION_FORMAT_PLAIN:
        return LUKS_PLAIN;
    case ENCRYPTION_FORMAT_LUKS_ANY:
        return LUKS_NONE;
    default:
        return LUKS_2;
    }
}

bool
mapping_open_container(const struct encryption *encryption, const char *device, const char *name,
                       bool readonly, const struct secret_buf *key, GError **error)
{
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    const struct luks_open_params params = {
        .type = mapping_luks_type(encryption),
        .encryption = encryption,
        .is_readonly = readonly,
    };
    struct luks_place place = {.device = device, .header_path = encryption->dmcrypt.header_path};
    struct stat info;

    if (!luks_check_kernel(error) || !container_make_available(device, error))
        return false;
    if (stat(device, &info) == 0 && S_ISREG(info.st_mode)) {
        /* The mapping keeps the loop device after us; without it, the kernel detaches it. */
        if (!loop_device_attach(device, readonly, &loop, error))
            return false;
        place.device = loop.path;
    }
    if (luks_open(&place, name, &params, key, error))
        return true;
    if (place.device != device)
        g_prefix_error(error, "'%s': ", device);
    return false;
}

/* A mapping of the volume's name that is left of another container: what is in it is not this
 * volume's, and what a guest wrote there would be lost. */
static bool
check_container(const struct volume_record *record, const char *name, GError **error)
{
    g_auto(luks_mapping_t) mapping = {0};
    g_autofree char *loop = NULL;
    struct stat wanted, present;

    if (!luks_find_mapping(name, &mapping, error))
        return false;
    if (stat(record->device, &wanted) == 0 && mapping.device) {
        loop = S_ISREG(wanted.st_mode) ? loop_device_find(record->device) : NULL;
        if (S_ISREG(wanted.st_mode)
                ? g_strcmp0(loop, mapping.device) == 0
                : stat(mapping.device, &present) == 0 && wanted.st_rdev == present.st_rdev)
            return true;
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
              "%s/%s is open on %s, which is not '%s', the container of volume '%s': end what uses "
              "it, then close it with 'cryptsetup close %s'",
              mapper_dir, name, mapping.device ? mapping.device : "nothing", record->device,
              record->name, name);
    return false;
}

bool
mapping_open(const struct mapping_params *params, bool readonly, const struct secret_buf *key,
             GError **error)
{
    const struct volume_record *record = params->record;
    g_autofree char *name = mapping_name(record->pool, record->name);
    bool was_open = mapping_is_open(record);

    if (was_open ? !check_container(record, name, error)
                 : !mapping_open_container(record->encryption, record->device, name, readonly, key,
                                           error))
        return false;
    if (make_links(params, name, error))
        return true;
    if (!was_open) {
        remove_links(params, name);
        luks_close(name, NULL);
    }
    return false;
}

bool
mapping_close(const struct mapping_params *params, GError **error)
{
    g_autofree char *name = mapping_name(params->record->pool, params->record->name);

    if (!luks_close(name, error))
        return false;
    remove_links(params, name);
    return true;
}

bool
mapping_is_open(const struct volume_record *record)
{
    g_autofree char *name = mapping_name(record->pool, record->name);
    g_auto(luks_mapping_t) mapping = {0};

    return luks_find_mapping(name, &mapping, NULL) && mapping.is_open;
}
