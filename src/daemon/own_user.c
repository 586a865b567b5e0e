/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see own_user.h. Capabilities are set by the kernel's own calls: it is two of them.
 */
#include "daemon/own_user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/error.h"

enum { BUFFER_MAX = 1024 * 1024, LAST_CAPABILITY_MAX = 63 };

#define KEPT      (UINT64_C(1) << CAP_IPC_LOCK)
#define TO_CHANGE (UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)

static bool
refuse(GError **error, const char *name, const char *reason)
{
    error_set(error, ERROR_FROM_CONF, ERROR_CONFIG_UNSUPPORTED,
              "cannot run as the user %s: %s; make it (systemd-sysusers does) or leave --user out",
              name, reason);
    return false;
}

bool
own_user_find(const char *name, struct own_user *ret_user, GError **error)
{
    g_autofree char *buffer = g_malloc(BUFFER_MAX);
    struct passwd entry;
    struct passwd *found = NULL;
    int failure = getpwnam_r(name, &entry, buffer, BUFFER_MAX, &found);

    if (!found)
        return refuse(error, name, failure ? g_strerror(failure) : "there is no such user");
    if (entry.pw_uid == 0 || entry.pw_gid == 0)
        return refuse(error, name, "it is root, or of root's group");
    *ret_user = (struct own_user){.uid = entry.pw_uid, .gid = entry.pw_gid};
    return true;
}

/* Those of `wanted` that the process has, effective and permitted; none inheritable. */
static bool
set_capabilities(uint64_t wanted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(data); i++) {
        data[i].permitted &= (uint32_t)(wanted >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) == 0;
}

/* What no program that is started could have; nothing is lost where that can't be done, since no
 * program is. */
static bool
drop_bounding_set(void)
{
    for (int capability = 0; capability <= LAST_CAPABILITY_MAX; capability++) {
        int is_set = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);

        if (is_set < 0) /* beyond the last one */
            break;
        if (is_set && capability != CAP_IPC_LOCK && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
            return false;
    }
    return true;
}

bool
own_user_drop_capabilities(GError **error)
{
    bool is_done = geteuid() != 0 || drop_bounding_set();

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 && set_capabilities(KEPT) &&
        is_done)
        return true;
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot give up capabilities");
    return false;
}

bool
own_user_enter(const struct own_user *user, GError **error)
{
    /* The bounding set goes while CAP_SETPCAP is there. */
    if (!drop_bounding_set() || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0 || !set_capabilities(KEPT | TO_CHANGE)) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot change to user %u", user->uid);
        return false;
    }
    /* These tell the value of before, and no failure. */
    setfsgid(0);
    setfsuid(0);
    if (setfsgid((gid_t)-1) == 0 && setfsuid((uid_t)-1) == 0 && set_capabilities(KEPT) &&
        prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_NONE, errno, "cannot keep root's files as user %u",
                    user->uid);
    return false;
}
