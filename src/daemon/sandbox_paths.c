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
#include "util/log.h"
#include "util/probe.h"

enum {
    LOOK_MS = 5000, /* a medium may have to wake up */
    NEXT_LOOK_MS = 1000,
    DEAD_MAX = 8,              /* what is after that many that do not answer is not looked at */
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

/* Without asking the server of a network mount, which may have died, for what is known of it:
 * somebody mends it, perhaps. False with errno. */
static bool
find_info(int fd, struct statx *ret_info)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MODE | STATX_SIZE,
                 ret_info) == 0;
}

/* ---- which of them answer ---- */

/* Shared by who waits and who looks. */
struct look {
    GPtrArray *paths;
    guint at; /* atomic: the one that is being looked at */
};

static void
clear_look(void *opaque)
{
    g_ptr_array_unref(((struct look *)opaque)->paths);
}

static void
release_look(void *look)
{
    g_atomic_rc_box_release_full(look, clear_look);
}

static void
run_look(void *data)
{
    struct look *look = data;

    for (guint i = g_atomic_int_get(&look->at); i < look->paths->len; i++) {
        g_auto(file_fd) fd = open(g_ptr_array_index(look->paths, i), O_PATH | O_CLOEXEC);
        struct statx info;

        if (fd >= 0)
            (void)find_info(fd, &info);
        g_atomic_int_inc(&look->at);
    }
}

/* The first one from `from` on that does not answer; `count` if all do. */
static size_t
find_dead(const struct sandbox_path *paths, size_t count, size_t from, unsigned int timeout_ms)
{
    struct look *look = g_atomic_rc_box_new0(struct look);
    g_autofree char *object = g_strdup_printf("the folder %s", paths[from].path);
    const struct probe probe = {
        .object = object,
        .timeout_ms = timeout_ms,
        .run = run_look,
        .free_data = release_look,
    };
    size_t dead;

    look->paths = g_ptr_array_new_with_free_func(g_free);
    look->at = (guint)from;
    for (size_t i = 0; i < count; i++)
        g_ptr_array_add(look->paths, g_strdup(paths[i].path));
    if (probe_run(&probe, g_atomic_rc_box_acquire(look), NULL))
        release_look(look); /* the thread's, which was given back */
    dead = g_atomic_int_get(&look->at);
    release_look(look);
    return dead;
}

/* Those on a network mount that is dead would keep the start from ending. */
static GArray *
find_answering(const struct sandbox_path *paths, size_t count)
{
    GArray *answering = g_array_new(FALSE, FALSE, sizeof(struct sandbox_path));
    unsigned int dead = 0;
    size_t next;

    for (size_t from = 0; from < count; from = next + 1) {
        next = dead < DEAD_MAX ? find_dead(paths, count, from, dead == 0 ? LOOK_MS : NEXT_LOOK_MS)
                               : from;
        g_array_append_vals(answering, &paths[from], (guint)(next - from));
        if (next >= count)
            break;
        dead++;
        log_warn("the daemon is kept from %s, which does not answer: restart it when that does",
                 paths[next].path);
    }
    return answering;
}

/* ---- rules ---- */

/* Not what else somebody would like to read. */
static bool
looks_like_key(const struct statx *info)
{
    return S_ISREG(info->stx_mode) && info->stx_size == KEY_SIZE && !(info->stx_mode & 077);
}

/* false with errno. */
static bool
add_path(int ruleset_fd, const struct ruleset *ruleset, const struct sandbox_path *path)
{
    g_auto(file_fd) fd = open(path->path, O_PATH | O_CLOEXEC);
    struct path_rule rule = {.parent_fd = fd, .allowed = rights_of[path->access] & ruleset->fs};
    struct statx info;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES;
    if (!find_info(fd, &info))
        return false;
    if (path->access == SANDBOX_KEY && !looks_like_key(&info))
        return true;
    if (!S_ISDIR(info.stx_mode))
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
    g_autoptr(GArray) answering = find_answering(paths, count);
    g_autofree char *missing = choose(MAX(version, 0), &ruleset);
    g_auto(file_fd) fd = -1;

    if (version > 0)
        fd = (int)syscall(CALL_CREATE_RULESET, &ruleset, sizeof(ruleset), 0);
    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "the kernel does not confine by Landlock");
        return false;
    }
    for (guint i = 0; i < answering->len; i++) {
        const struct sandbox_path *path = &g_array_index(answering, struct sandbox_path, i);

        if (!add_path(fd, &ruleset, path)) {
            error_set_errno(error, ERROR_FROM_NONE, errno, "cannot confine to %s", path->path);
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
