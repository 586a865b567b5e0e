/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of libraries, the limits on arguments, and making a filter of them all.
 */
#include "daemon/sandbox_calls.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

/* ---- calls of libraries ---- */

SYSCALLS_DECLARE(memory, "brk mmap munmap mremap mprotect madvise");
SYSCALLS_DECLARE(threads, "clone exit exit_group futex gettid rseq set_robust_list sched_yield "
                          "sched_getaffinity sched_getattr prctl");
SYSCALLS_DECLARE(signals, "rt_sigaction rt_sigprocmask rt_sigreturn restart_syscall tgkill kill");
/* Where the kernel's clock can't be read without a call. */
SYSCALLS_DECLARE(time, "clock_gettime clock_getres gettimeofday time clock_nanosleep nanosleep");
SYSCALLS_DECLARE(identity, "getpid getppid getuid geteuid getgid getegid uname");
/* stdio, and reading of files by GLib. ioctl is isatty. */
SYSCALLS_DECLARE(files, "openat close read readv write writev lseek fcntl ioctl fstat newfstatat "
                        "stat lstat statx access faccessat faccessat2 getdents64 readlink "
                        "readlinkat");
/* syslog, the journal, and GDBus where the daemon asks polkit itself. */
SYSCALLS_DECLARE(sockets, "socket connect sendto sendmsg sendmmsg recvfrom recvmsg getsockopt "
                          "setsockopt getsockname getpeername shutdown poll ppoll eventfd2");
/* Reading limits (stacks of threads) and, for GnuTLS, what its random generator stirs in. */
SYSCALLS_DECLARE(limits, "getrlimit prlimit64 getrusage getrandom");

#ifdef WITH_SANITIZERS
/* The search for leaks at the end looks at all threads as a debugger does. */
SYSCALLS_DECLARE(sanitizers, "sigaltstack ptrace pipe pipe2 wait4 mincore msync "
                             "process_vm_readv tkill unlink");
#endif

/* ---- arguments ---- */

enum { RULES_MAX = 3, SOCKET_TYPE_MASK = 0xf /* the kernel's SOCK_TYPE_MASK */ };

#define NAMESPACES                                                                                 \
    ((scmp_datum_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |  \
                    CLONE_NEWPID | CLONE_NEWNET))
#define LOW_HALF ((scmp_datum_t)UINT32_MAX)

/* glibc's names for mappings; older headers do not have it. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* A call is let through if one of its rules fits. */
static const struct restriction {
    const char *name;
    struct {
        unsigned int count;
        struct scmp_arg_cmp args[2];
    } rules[RULES_MAX];
} restrictions[] = {
    /* No network, nor the kernel's ciphers or netlink. */
    {"socket", {{1, {SCMP_CMP(0, SCMP_CMP_EQ, AF_UNIX)}}}},
    {"socketpair", {{1, {SCMP_CMP(0, SCMP_CMP_EQ, AF_UNIX)}}}},
    /* No new code. */
    {"mmap", {{1, {SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)}}}},
    {"mprotect", {{1, {SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)}}}},
#ifndef WITH_SANITIZERS
    /* Threads, no programs' worlds. */
    {"clone", {{1, {SCMP_CMP(0, SCMP_CMP_MASKED_EQ, NAMESPACES, 0)}}}},
    {"prctl",
     {{1, {SCMP_CMP(0, SCMP_CMP_EQ, PR_SET_NAME)}},
      {1, {SCMP_CMP(0, SCMP_CMP_EQ, PR_SET_VMA)}},
      {1, {SCMP_CMP(0, SCMP_CMP_EQ, PR_GET_DUMPABLE)}}}},
#endif
    {"ioctl",
     {{1, {SCMP_CMP(1, SCMP_CMP_MASKED_EQ, LOW_HALF, TCGETS)}},
      {1, {SCMP_CMP(1, SCMP_CMP_MASKED_EQ, LOW_HALF, FIONREAD)}}}},
    /* Our own limits, to be read. */
    {"prlimit64", {{2, {SCMP_CMP(0, SCMP_CMP_EQ, 0), SCMP_CMP(2, SCMP_CMP_EQ, 0)}}}},
    /* To be asked (file_own_uid), not to be changed. */
    {"setfsuid", {{1, {SCMP_CMP(0, SCMP_CMP_MASKED_EQ, LOW_HALF, LOW_HALF)}}}},
    /* No program that runs as its owner, and nothing of root's that others may write: what can be
     * opened for reading can be changed so. */
    {"fchmod", {{1, {SCMP_CMP(1, SCMP_CMP_MASKED_EQ, 07777 & ~S_IRWXU, 0)}}}},
};

/* Who is root for files is root for the sockets among them, and many daemons give all to who can
 * connect to theirs (a manager of containers, say). Logs go to sockets without connections; polkit
 * is asked by the helper then. */
static const struct restriction own_user_socket = {
    "socket",
    {{2,
      {SCMP_CMP(0, SCMP_CMP_EQ, AF_UNIX),
       SCMP_CMP(1, SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, SOCK_DGRAM)}}},
};

/* What this kernel does not have, as far as libraries see: they do without. The flags of clone3 are
 * in memory, where no filter sees them: glibc then uses clone. GLib would set the scheduling of new
 * threads. */
static const char *const missing_names[] = {"clone3", "sched_setattr"};

/* To ourselves alone. */
static const char *const signal_names[] = {"kill", "tgkill"};

static const struct restriction *
find_restriction(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(restrictions); i++) {
        if (g_str_equal(restrictions[i].name, name))
            return &restrictions[i];
    }
    return NULL;
}

/* As daemon/own_user.h leaves it. */
static bool
is_own_user(void)
{
    return geteuid() != file_own_uid();
}

static bool
is_signal(const char *name)
{
    return g_str_equal(name, signal_names[0]) || g_str_equal(name, signal_names[1]);
}

bool
sandbox_calls_is_restricted(const char *name)
{
    return find_restriction(name) || is_signal(name);
}

/* ---- the section of declarations ---- */

extern const char __start_vc_syscalls[] __attribute__((visibility("hidden")));
extern const char __stop_vc_syscalls[] __attribute__((visibility("hidden")));

/* Compilers align texts, so that there can be more than one NUL between two. */
GPtrArray *
sandbox_calls_list(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *end = __stop_vc_syscalls;

    /* The linker puts both at one section. */
    /* cppcheck-suppress comparePointers */
    for (const char *text = __start_vc_syscalls; text < end; text += strlen(text) + 1) {
        g_auto(GStrv) words = g_strsplit(text, " ", -1);

        for (char **word = words; *word; word++) {
            if (!**word || g_hash_table_contains(seen, *word) ||
                seccomp_syscall_resolve_name(*word) < 0)
                continue;
            g_ptr_array_add(names, g_strdup(*word));
            g_hash_table_add(seen, g_ptr_array_index(names, names->len - 1));
        }
    }
    return names;
}

/* ---- the filter ---- */

/* These return 0 or a negative errno, as libseccomp does. */

static int
allow_to_ourselves(scmp_filter_ctx filter, int number)
{
    const struct scmp_arg_cmp pid =
        SCMP_CMP(0, SCMP_CMP_MASKED_EQ, LOW_HALF, (scmp_datum_t)getpid());

    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &pid);
}

static int
allow_restricted(scmp_filter_ctx filter, int number, const struct restriction *restriction)
{
    int result = 0;

    for (size_t i = 0; i < RULES_MAX && restriction->rules[i].count > 0 && result == 0; i++)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, restriction->rules[i].count,
                                        restriction->rules[i].args);
    return result;
}

static int
allow(scmp_filter_ctx filter, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    const struct restriction *restriction = find_restriction(name);

    if (is_signal(name))
        return allow_to_ourselves(filter, number);
    if (g_str_equal(name, own_user_socket.name) && is_own_user())
        restriction = &own_user_socket;
    if (restriction)
        return allow_restricted(filter, number, restriction);
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
}

static int
fill(scmp_filter_ctx filter)
{
    g_autoptr(GPtrArray) names = sandbox_calls_list();
    /* Other ways to call this kernel (of 32 bits, say) are not for us. */
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));

    /* What is refused can be seen in the audit log, if that is on. An old kernel has no such flag,
     * and an old library no tree. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < G_N_ELEMENTS(missing_names) && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
                                  seccomp_syscall_resolve_name(missing_names[i]), 0);
    for (guint i = 0; i < names->len && result == 0; i++)
        result = allow(filter, g_ptr_array_index(names, i));
    return result;
}

bool
sandbox_calls_filter(GError **error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int result = filter ? fill(filter) : -ENOMEM;

    if (result == 0)
        result = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (result == 0)
        return true;
    error_set_errno(error, ERROR_FROM_NONE, -result, "cannot filter system calls");
    return false;
}
