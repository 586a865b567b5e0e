/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The confinement, with the custodian's own code linked in, so that its declarations are those that
 * are let through: every call of this architecture that is not declared is refused, every declared
 * one is let through, and arguments and folders are kept to. Each case is a process of its own,
 * since there is no way back.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/own_user.h"
#include "daemon/sandbox.h"
#include "daemon/sandbox_calls.h"
#include "expect.h"
#include "secret/daemon.h"
#include "util/secret_buf.h"

/* Numbers beyond the last call of any kernel yet. */
enum { NUMBERS_MAX = 600 };

/* The linker takes in what is used. */
const struct daemon_program *const custodian = &secret_daemon_program;

/* Runs `check` in a child and asserts that it returned 0; else the line where it did not. */
static void
expect_in_child(int (*check)(void))
{
    pid_t child = fork();
    int status;

    g_assert_cmpint(child, >=, 0);
    if (child == 0)
        _exit(check());
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_false(WIFSIGNALED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

/* Lines of this file are below 1000, and an exit status is a byte: half of them tells enough. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(STDERR_FILENO, "# line %d: %s (errno %d)\n", __LINE__, #condition, errno);     \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

#define REFUSED(call) CHECK((call) == -1 && (errno == EPERM || errno == EACCES))

static bool
filter(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && sandbox_calls_filter(NULL);
}

/* A bit for each number that is declared. */
static void
find_declared(bool declared[NUMBERS_MAX], bool whole)
{
    g_autoptr(GPtrArray) names = sandbox_calls_list();

    for (guint i = 0; i < names->len; i++) {
        int number = seccomp_syscall_resolve_name(g_ptr_array_index(names, i));

        g_assert_cmpint(number, <, NUMBERS_MAX);
        declared[number] = !whole || !sandbox_calls_is_restricted(g_ptr_array_index(names, i));
    }
}

/* What libraries are told that there is not. */
static bool
is_hidden(int number)
{
    return number == SYS_clone3 || number == SYS_sched_setattr;
}

/* x86-64: the kernel's own way back from its probes, which no filter is asked about, and which ends
 * whoever calls them. */
static bool
is_of_probes(int number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    return false;
#endif
}

static int
try_all_undeclared(void)
{
    bool declared[NUMBERS_MAX] = {false};
    int tried = 0;

    find_declared(declared, false);
    CHECK(filter());
    for (int number = 0; number < NUMBERS_MAX; number++) {
        if (declared[number] || is_of_probes(number))
            continue;
        errno = 0;
        if (syscall(number, -1, -1, -1, -1, -1, -1) != -1 ||
            errno != (is_hidden(number) ? ENOSYS : EPERM)) {
            dprintf(STDERR_FILENO, "# call %d is let through, errno %d\n", number, errno);
            return 1;
        }
        tried++;
    }
    CHECK(tried > 200);
    return 0;
}

static void
test_every_call_that_is_not_declared_is_refused(void)
{
    expect_in_child(try_all_undeclared);
}

/* Whether a process does with bad arguments what it does without a filter, for as long as that is
 * not an end or a wait: the filter let it through. In a child of its own. */
static int
errno_of(int number)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        errno = 0;
        alarm(5);
        _exit(syscall(number, -1, -1, -1, -1, -1, -1) == -1 ? errno : 0);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return 0; /* it ended of what it did */
    return WEXITSTATUS(status);
}

static int
try_all_declared(void)
{
    bool declared[NUMBERS_MAX] = {false};
    int before[NUMBERS_MAX];
    int tried = 0;

    find_declared(declared, true);
    for (int number = 0; number < NUMBERS_MAX; number++)
        before[number] = declared[number] && number != SYS_exit ? errno_of(number) : 0;
    CHECK(filter());
    for (int number = 0; number < NUMBERS_MAX; number++) {
        if (!declared[number] || before[number] == EPERM)
            continue;
        errno = 0;
        /* fork and wait are not the filter's: the call is made here, where it does no harm. */
        if (number == SYS_exit || number == SYS_exit_group || number == SYS_rt_sigreturn ||
            number == SYS_close || number == SYS_brk || number == SYS_munmap ||
            number == SYS_mremap || number == SYS_shutdown || number == SYS_write ||
            number == SYS_restart_syscall || number == SYS_futex)
            continue;
        (void)syscall(number, -1, -1, -1, -1, -1, -1);
        if (errno == EPERM) {
            dprintf(STDERR_FILENO, "# the declared call %d is refused\n", number);
            return 1;
        }
        tried++;
    }
    CHECK(tried > 40);
    return 0;
}

static void
test_every_declared_call_is_let_through(void)
{
    expect_in_child(try_all_declared);
}

static int
try_arguments(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int file = memfd_create("file", MFD_CLOEXEC);
    pid_t parent = getppid();
    struct rlimit limit = {1, 1};
    char *const argv[] = {(char *)"/bin/true", NULL};

    CHECK(filter());
    CHECK(close(socket(AF_UNIX, SOCK_STREAM, 0)) == 0);
    REFUSED(socket(AF_INET, SOCK_STREAM, 0));
    REFUSED(socket(AF_INET6, SOCK_DGRAM, 0));
    REFUSED(socket(AF_NETLINK, SOCK_RAW, 0));
    REFUSED(socket(AF_ALG, SOCK_SEQPACKET, 0));
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
          MAP_FAILED);
    CHECK(errno == EPERM);
    REFUSED(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    CHECK(mprotect(page, 4096, PROT_READ) == 0);
    REFUSED(kill(parent, 0));
    REFUSED(kill(parent, SIGKILL));
    REFUSED(kill(-1, 0));
    REFUSED((int)syscall(SYS_tgkill, parent, parent, 0));
    CHECK(kill(getpid(), 0) == 0);
    REFUSED((int)syscall(SYS_prlimit64, parent, RLIMIT_CORE, NULL, NULL));
    REFUSED(setrlimit(RLIMIT_CORE, &limit));
    REFUSED(fchmod(file, 04700));
    REFUSED(fchmod(file, 0666));
    REFUSED(fchmod(file, 0620));
    REFUSED(fchmod(file, 01700));
    CHECK(fchmod(file, 0700) == 0);
    CHECK(fchmod(file, 0600) == 0);
    REFUSED(fcntl(fd, F_SETFL, 0) == 0 ? ioctl(fd, 0x5412 /* TIOCSTI */, "x") : 0);
    REFUSED(execve("/bin/true", argv, NULL));
    REFUSED((int)ptrace(PTRACE_ATTACH, parent, NULL, NULL));
    REFUSED(setuid(1));
    REFUSED(setgid(1));
    REFUSED(unshare(CLONE_NEWUSER));
#ifndef WITH_SANITIZERS
    REFUSED((int)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    REFUSED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    REFUSED(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0));
    REFUSED(prctl(PR_SET_PTRACER, parent, 0, 0, 0));
    CHECK(prctl(PR_SET_NAME, "x", 0, 0, 0) == 0);
#endif
    return 0;
}

static void
test_arguments_that_would_lead_out_are_refused(void)
{
    expect_in_child(try_arguments);
}

static gpointer
double_it(gpointer opaque)
{
    g_autoptr(secret_buf_t) buf = secret_buf_new_random(32, NULL);

    return buf ? GINT_TO_POINTER(2 * GPOINTER_TO_INT(opaque)) : NULL;
}

static int
try_threads(void)
{
    GThread *thread;

    CHECK(filter());
    thread = g_thread_new("child", double_it, GINT_TO_POINTER(21));
    CHECK(GPOINTER_TO_INT(g_thread_join(thread)) == 42);
    return 0;
}

static void
test_threads_and_key_memory_go_on(void)
{
    expect_in_child(try_threads);
}

/* ---- folders ---- */

static char *top;

static char *
below(const char *name)
{
    return g_build_filename(top, name, NULL);
}

static void
make_folders(void)
{
    static const char *const names[] = {"read", "write", "append", "remove", "outside"};

    top = g_dir_make_tmp("sandbox-XXXXXX", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = below(names[i]);
        g_autofree char *file = g_build_filename(path, "file", NULL);

        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
        g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    }
}

static void
put_outside(const char *name, size_t len, int mode)
{
    g_autofree char *path = below(name);
    g_autofree char *text = g_strnfill(len, 'k');

    g_assert_true(g_file_set_contents(path, text, (gssize)len, NULL));
    g_assert_cmpint(g_chmod(path, mode), ==, 0);
}

static int
open_below(const char *name, int flags)
{
    g_autofree char *path = below(name);
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : -1;
}

static int
unlink_below(const char *name)
{
    g_autofree char *path = below(name);

    return unlink(path);
}

static int
rename_below(const char *from, const char *to)
{
    g_autofree char *old = below(from);
    g_autofree char *new = below(to);

    return rename(old, new);
}

static bool
confine(void)
{
    g_autofree char *read = below("read");
    g_autofree char *write = below("write");
    g_autofree char *append = below("append");
    g_autofree char *removing = below("remove");
    g_autofree char *none = below("none");
    g_autofree char *key = below("outside/key");
    g_autofree char *longer = below("outside/longer");
    g_autofree char *public = below("outside/public");
    const struct sandbox_path paths[] = {
        {key, SANDBOX_KEY},         {longer, SANDBOX_KEY},  {public, SANDBOX_KEY},
        {read, SANDBOX_READ},       {write, SANDBOX_WRITE}, {append, SANDBOX_APPEND},
        {removing, SANDBOX_REMOVE}, {none, SANDBOX_WRITE},
    };
    g_autofree char *missing = NULL;

    return sandbox_paths_confine(paths, G_N_ELEMENTS(paths), &missing, NULL);
}

static int
try_paths(void)
{
    put_outside("outside/key", 32, 0600);
    put_outside("outside/longer", 33, 0600);
    put_outside("outside/public", 32, 0640);
    CHECK(confine());
    CHECK(open_below("outside/key", O_RDONLY) == 0);
    REFUSED(open_below("outside/key", O_RDWR));
    REFUSED(open_below("outside/longer", O_RDONLY));
    REFUSED(open_below("outside/public", O_RDONLY));
    CHECK(open_below("read/file", O_RDONLY) == 0);
    REFUSED(open_below("read/file", O_WRONLY));
    REFUSED(open_below("read/new", O_WRONLY | O_CREAT));
    REFUSED(unlink_below("read/file"));
    CHECK(open_below("write/file", O_RDWR | O_TRUNC) == 0);
    CHECK(open_below("write/new", O_RDWR | O_CREAT) == 0);
    CHECK(rename_below("write/new", "write/file") == 0);
    CHECK(unlink_below("write/file") == 0);
    CHECK(open_below("append/file", O_WRONLY | O_APPEND) == 0);
    CHECK(open_below("append/new", O_WRONLY | O_APPEND | O_CREAT) == 0);
    REFUSED(open_below("append/file", O_RDONLY));
    REFUSED(unlink_below("append/file"));
    REFUSED(open_below("remove/file", O_RDONLY));
    CHECK(unlink_below("remove/file") == 0);
    REFUSED(open_below("outside/file", O_RDONLY));
    REFUSED(open_below("outside", O_RDONLY | O_DIRECTORY));
    REFUSED(unlink_below("outside/file"));
    REFUSED(open_below("none", O_WRONLY | O_CREAT));
    REFUSED(open("/etc/passwd", O_RDONLY));
    REFUSED(mkdir("/virtcrypt-test", 0700));
    return 0;
}

static void
test_folders_are_kept_to(void)
{
    expect_in_child(try_paths);
}

/* ---- the whole, and the user ---- */

static int
try_all_of_it(void)
{
    sandbox_enter(NULL, 0);
    CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) >= 0);
    REFUSED(open("/etc/passwd", O_RDONLY));
    REFUSED(mount("none", "/tmp", "tmpfs", 0, NULL));
    return 0;
}

/* The user is root for files, and so for those of processes: those of root's without powers, too.
 */
static int
try_other_processes(void)
{
    const struct own_user user = {.uid = 65534, .gid = 65534};
    g_autofree char *memory = g_strdup_printf("/proc/%d/mem", getppid());
    g_autofree char *environment = g_strdup_printf("/proc/%d/environ", getppid());
    g_autofree char *root = g_strdup_printf("/proc/%d/root/etc/passwd", getppid());

    CHECK(own_user_enter(&user, NULL));
    sandbox_enter(NULL, 0);
    REFUSED(open(memory, O_RDONLY));
    REFUSED(open(environment, O_RDONLY));
    REFUSED(open(root, O_RDONLY));
    REFUSED(open("/proc/self/mem", O_RDWR));
    REFUSED(open("/proc/sys/kernel/core_pattern", O_WRONLY));
    return 0;
}

/* The other process is root's and has no capabilities to hide behind. */
static int
be_without_powers(void)
{
    int fds[2];
    char go = 0;
    pid_t child;
    int status = 1;

    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    child = fork();
    if (child == 0)
        _exit(read(fds[0], &go, 1) == 1 ? try_other_processes() : 1);
    CHECK(own_user_drop_capabilities(NULL));
    CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
    CHECK(write(fds[1], &go, 1) == 1);
    CHECK(waitpid(child, &status, 0) == child);
    return WEXITSTATUS(status);
}

static void
test_other_processes_stay_closed(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    expect_in_child(be_without_powers);
}

static void
test_everything_at_once(void)
{
    expect_in_child(try_all_of_it);
}

/* "CapEff" -> its number. */
static guint64
read_capabilities(const char *name)
{
    g_autofree char *status = NULL;
    const char *at;

    if (!g_file_get_contents("/proc/self/status", &status, NULL, NULL))
        return G_MAXUINT64;
    at = strstr(status, name);
    return at ? g_ascii_strtoull(at + strlen(name) + 1, NULL, 16) : G_MAXUINT64;
}

static int
try_user(void)
{
    const struct own_user user = {.uid = 65534, .gid = 65534};
    g_autofree char *path = below("of-root");
    struct stat info;
    guint64 lock_memory = 1 << 14;

    CHECK(own_user_enter(&user, NULL));
    CHECK(getuid() == 65534 && geteuid() == 65534 && getegid() == 65534);
    CHECK(getgroups(0, NULL) == 0);
    CHECK((read_capabilities("CapEff:") & ~lock_memory) == 0);
    CHECK((read_capabilities("CapPrm:") & ~lock_memory) == 0);
    CHECK((read_capabilities("CapBnd:") & ~lock_memory) == 0);
    CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    /* Files stay root's; a file of somebody else that is closed to root, too, stays closed. */
    CHECK(g_file_set_contents(path, "x", 1, NULL));
    CHECK(stat(path, &info) == 0 && info.st_uid == 0 && info.st_gid == 0);
    REFUSED(kill(getppid(), 0));
    REFUSED(setuid(0));
    REFUSED(chown(path, 1, 1));
    REFUSED((int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    return 0;
}

static void
test_another_user_without_powers_keeps_roots_files(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    expect_in_child(try_user);
}

/* The socket of a daemon that trusts whoever the file system lets near: root. */
static int
listen_for_root(struct sockaddr_un *ret_address)
{
    g_autofree char *path = below("socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    g_strlcpy(ret_address->sun_path, path, sizeof(ret_address->sun_path));
    return bind(fd, (struct sockaddr *)ret_address, sizeof(*ret_address)) == 0 &&
                   chmod(path, 0600) == 0 && listen(fd, 1) == 0
               ? fd
               : -1;
}

static int
try_sockets_of_root(void)
{
    const struct own_user user = {.uid = 65534, .gid = 65534};
    struct sockaddr_un address;
    int fd;

    CHECK(listen_for_root(&address) >= 0);
    CHECK(own_user_enter(&user, NULL));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0); /* what would be */
    CHECK(filter());
    REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
    REFUSED(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    REFUSED(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    REFUSED(socket(AF_INET, SOCK_DGRAM, 0));
    CHECK(close(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == 0);
    return 0;
}

static void
test_another_user_connects_to_no_socket_of_roots(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    expect_in_child(try_sockets_of_root);
}

static void
test_a_user_that_is_missing_or_root_is_refused(void)
{
    struct own_user user;
    g_autoptr(GError) missing = NULL;
    g_autoptr(GError) root = NULL;

    g_assert_false(own_user_find("no-such-user", &user, &missing));
    expect_error_part(missing, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_CONF, "there is no such user");
    g_assert_false(own_user_find("root", &user, &root));
    expect_error_part(root, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_CONF, "it is root");
    g_assert_true(own_user_find("nobody", &user, NULL));
}

#define ADD(name) g_test_add_func("/daemon/sandbox/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#ifdef WITH_SANITIZERS
    printf("1..0 # SKIP sanitizers make calls of their own\n");
    return 0;
#endif
    make_folders();
    ADD(every_call_that_is_not_declared_is_refused);
    ADD(every_declared_call_is_let_through);
    ADD(arguments_that_would_lead_out_are_refused);
    ADD(threads_and_key_memory_go_on);
    ADD(folders_are_kept_to);
    ADD(everything_at_once);
    ADD(other_processes_stay_closed);
    ADD(another_user_without_powers_keeps_roots_files);
    ADD(another_user_connects_to_no_socket_of_roots);
    ADD(a_user_that_is_missing_or_root_is_refused);
    return g_test_run();
}
