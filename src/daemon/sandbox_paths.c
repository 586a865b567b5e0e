/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see sandbox_paths.h. The kernel's numbers are here because its headers of the oldest system
 * that we build on do not have all of them (landlock(7)).
 */
#include "daemon/sandbox_paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

enum {
    CALL_CREATE_RULESET = 444, /* of all architectures */
    CALL_ADD_RULE = 445,
    CALL_RESTRICT_SELF = 446,
    GET_VERSION = 1 << 0,
    RULE_PATH_BENEATH = 1,
    KEY_SIZE = 32,
};

enum fs_right {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_OTHERS = 1 << 9 | 1 << 10 | 1 << 12, /* sockets, pipes, links: to be put aside */
    FS_REFER = 1 << 13,                          /* links and renames from folder to folder */
    FS_TRUNCATE = 1 << 14,                       /* also by opening */
    FS_FIRST = (1 << 13) - 1,
    FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE,
};

static const uint64_t rights_of[] = {
    [SANDBOX_READ] = FS_READ_FILE | FS_READ_DIR,
    [SANDBOX_WRITE] = FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG |
                      FS_MAKE_DIR | FS_MAKE_OTHERS | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_REFER,
    [SANDBOX_APPEND] = FS_WRITE_FILE | FS_MAKE_REG,
    [SANDBOX_LIST] = FS_READ_DIR,
    [SANDBOX_REMOVE] = FS_READ_DIR | FS_REMOVE_FILE,
    [SANDBOX_KEY] = FS_READ_FILE,
};

/* What each version of the interface added. */
static const struct version {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
    const char *what;
} versions[] = {
    {.fs = FS_FIRST, .what = "folders"},
    {.fs = FS_REFER, .what = "links between folders"},
    {.fs = FS_TRUNCATE, .what = "truncation"},
    {.net = (1 << 0) | (1 << 1), .what = "TCP"},
    {.fs = 1 << 15, .what = "control of devices"},
    {.scoped = 1 << 1, .what = "signals to other processes"},
};

struct ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

struct path_rule {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

/* NULL if all is known. */
static char *
choose(int version, struct ruleset *ret_ruleset)
{
    GString *missing = NULL;

    for (int i = 0; i < (int)G_N_ELEMENTS(versions); i++) {
        if (i < version) {
            ret_ruleset->fs |= versions[i].fs;
            ret_ruleset->net |= versions[i].net;
            ret_ruleset->scoped |= versions[i].scoped;
        } else if (missing) {
            g_string_append_printf(missing, ", %s", versions[i].what);
        } else {
            missing = g_string_new(versions[i].what);
        }
    }
    return missing ? g_string_free(missing, FALSE) : NULL;
}

/* Not what else somebody would like to read. */
static bool
looks_like_key(const struct stat *info)
{
    return S_ISREG(info->st_mode) && info->st_size == KEY_SIZE && !(info->st_mode & 077);
}

/* false with errno. */
static bool
add_path(int ruleset_fd, const struct ruleset *ruleset, const struct sandbox_path *path)
{
    g_auto(file_fd) fd = open(path->path, O_PATH | O_CLOEXEC);
    struct path_rule rule = {.parent_fd = fd, .allowed = rights_of[path->access] & ruleset->fs};
    struct stat info;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES;
    if (fstat(fd, &info) < 0)
        return false;
    if (path->access == SANDBOX_KEY && !looks_like_key(&info))
        return true;
    if (!S_ISDIR(info.st_mode))
        rule.allowed &= FS_OF_FILES;
    return rule.allowed == 0 ||
           syscall(CALL_ADD_RULE, ruleset_fd, RULE_PATH_BENEATH, &rule, 0) == 0;
}

bool
sandbox_paths_confine(const struct sandbox_path *paths, size_t count, char **ret_missing,
                      GError **error)
{
    int version = (int)syscall(CALL_CREATE_RULESET, NULL, 0, GET_VERSION);
    struct ruleset ruleset = {0};
    g_autofree char *missing = choose(MAX(version, 0), &ruleset);
    g_auto(file_fd) fd = -1;

    if (version > 0)
        fd = (int)syscall(CALL_CREATE_RULESET, &ruleset, sizeof(ruleset), 0);
    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "the kernel does not confine by Landlock");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!add_path(fd, &ruleset, &paths[i])) {
            error_set_errno(error, ERROR_FROM_NONE, errno, "cannot confine to %s", paths[i].path);
            return false;
        }
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(CALL_RESTRICT_SELF, fd, 0) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot confine to folders");
        return false;
    }
    *ret_missing = g_steal_pointer(&missing);
    return true;
}
