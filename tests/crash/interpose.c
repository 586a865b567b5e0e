/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: watching a process change files. Preloaded (LD_PRELOAD), it numbers the system calls that
 * change something below given folders, writes each into a log from which tests/crash/disk.py can
 * tell what a disk would hold, and ends the process, or makes the call fail, at a given one.
 *
 *   CRASH_FOLDERS  folders, separated by ':'; without it nothing is watched
 *   CRASH_LOG      the log, appended to; see log_call for its lines
 *   CRASH_ARM      a file: calls are numbered (not: logged) only while it is there
 *   CRASH_AT       the number of the call, from 1
 *   CRASH_HOW      what happens there: "before" kills instead of the call, "torn" in the middle of
 * a write (any other call: before it), a number is an errno that the call fails with CRASH_STICKY
 * set: so do all later ones
 *   CRASH_TIME     what g_get_real_time returns, in microseconds: what a run writes depends on
 * nothing else then
 *
 * Calls are made with syscall(2), which needs no other library to be ready.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { LOG_FD = 900, PATH_SIZE = 4096, FOLDERS_MAX = 8 };

static struct {
    pthread_mutex_t lock; /* of all that follows, and of the order of calls */
    bool is_ready;
    char *folders[FOLDERS_MAX];
    int folder_count;
    const char *arm;
    const char *log; /* its path, or NULL */
    long at;
    int error; /* to fail with; 0: kill */
    bool is_torn;
    bool is_sticky;
    long number;
    bool is_reached;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
open_log(const char *path)
{
    int fd =
        (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || dup3(fd, LOG_FD, O_CLOEXEC) < 0)
        abort();
    close(fd);
}

/* At the first call, since others' constructors may make calls before ours. */
static void
get_ready(void)
{
    const char *folders = getenv("CRASH_FOLDERS");
    const char *at = getenv("CRASH_AT");
    const char *how = getenv("CRASH_HOW");
    const char *log = getenv("CRASH_LOG");
    char *rest = folders ? strdup(folders) : NULL;
    char *folder;

    state.is_ready = true;
    for (folder = strtok_r(rest, ":", &rest); folder && state.folder_count < FOLDERS_MAX;
         folder = strtok_r(NULL, ":", &rest))
        state.folders[state.folder_count++] = folder;
    state.arm = getenv("CRASH_ARM");
    state.at = at ? strtol(at, NULL, 10) : 0;
    state.is_torn = how && strcmp(how, "torn") == 0;
    state.error = how && how[0] >= '0' && how[0] <= '9' ? (int)strtol(how, NULL, 10) : 0;
    state.is_sticky = getenv("CRASH_STICKY") != NULL;
    if (log && state.folder_count > 0) {
        state.log = log;
        open_log(log);
    }
}

static bool
is_watched_path(const char *path)
{
    for (int i = 0; i < state.folder_count; i++) {
        size_t len = strlen(state.folders[i]);

        if (strncmp(path, state.folders[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
            return true;
    }
    return false;
}

static bool
path_of_fd(int fd, char path[PATH_SIZE])
{
    char link[64];
    ssize_t len;

    if (fd == AT_FDCWD)
        return getcwd(path, PATH_SIZE) != NULL;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, PATH_SIZE - 1);
    if (len < 0)
        return false;
    path[len] = '\0';
    return true;
}

/* A call under way; the lock is held from begin to end. */
struct call {
    bool is_watched;
    bool is_refused;
    bool is_last; /* the process is killed in it */
    long result;
    int error;
};

static void
begin(struct call *call, bool is_watched)
{
    call->is_watched = is_watched;
    call->is_refused = false;
    call->is_last = false;
    if (!is_watched) {
        pthread_mutex_unlock(&state.lock);
        return;
    }
    if (state.arm && faccessat(AT_FDCWD, state.arm, F_OK, 0) < 0)
        return;
    state.number++;
    if (state.number != state.at && !(state.is_reached && state.is_sticky))
        return;
    state.is_reached = true;
    call->is_refused = state.error != 0;
    call->is_last = state.error == 0;
    if (call->is_last && !state.is_torn)
        kill(getpid(), SIGKILL);
}

static void
begin_fd(struct call *call, int fd)
{
    char path[PATH_SIZE];

    pthread_mutex_lock(&state.lock);
    if (!state.is_ready)
        get_ready();
    begin(call, state.folder_count > 0 && path_of_fd(fd, path) && is_watched_path(path));
}

/* Where a name is: the folder's identity and the last component. */
struct place {
    struct stat dir;
    const char *name;
};

static bool
find_place(int dir_fd, const char *name, char path[PATH_SIZE], struct place *ret_place)
{
    char *slash;

    if (name[0] == '/') {
        snprintf(path, PATH_SIZE, "%s", name);
    } else {
        size_t len;

        if (!path_of_fd(dir_fd, path))
            return false;
        len = strlen(path);
        snprintf(path + len, PATH_SIZE - len, "/%s", name);
    }
    if (!is_watched_path(path))
        return false;
    slash = strrchr(path, '/');
    *slash = '\0';
    ret_place->name = slash + 1;
    return stat(slash == path ? "/" : path, &ret_place->dir) == 0;
}

static void
begin_at(struct call *call, int dir_fd, const char *name, char path[PATH_SIZE],
         struct place *ret_place)
{
    pthread_mutex_lock(&state.lock);
    if (!state.is_ready)
        get_ready();
    begin(call, state.folder_count > 0 && find_place(dir_fd, name, path, ret_place));
}

/* A line is: nanoseconds of the monotonic clock, errno (0: done), the call's name and what it was
 * about. Files and folders are DEVICE:INODE, a name follows its folder after '/'. */
static void
log_text(const char *text, size_t len)
{
    if (!state.log || syscall(SYS_write, LOG_FD, text, len) >= 0)
        return;
    /* A thread with descriptors of its own may have made the first call, and opened it there. */
    if (errno != EBADF)
        abort();
    open_log(state.log);
    if (syscall(SYS_write, LOG_FD, text, len) < 0)
        abort();
}

static void __attribute__((format(printf, 2, 3)))
log_call(const struct call *call, const char *format, ...)
{
    char line[2 * PATH_SIZE];
    struct timespec now;
    va_list args;
    int len;

    if (!call->is_watched)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    len = snprintf(line, sizeof(line), "%lld%09ld %d ", (long long)now.tv_sec, now.tv_nsec,
                   call->result < 0 ? call->error : 0);
    va_start(args, format);
    len += vsnprintf(line + len, sizeof(line) - (size_t)len, format, args);
    va_end(args);
    log_text(line, (size_t)len);
}

/* What was written, in hex; as "z" and the length if it is zeros. */
static void
log_bytes(const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * len + 32);
    size_t zeros = 0;
    size_t text_len = 0;

    if (!text)
        abort();
    while (zeros < len && bytes[zeros] == 0)
        zeros++;
    if (zeros == len) {
        text_len = (size_t)snprintf(text, 32, " z%zu\n", len);
    } else {
        text[text_len++] = ' ';
        for (size_t i = 0; i < len; i++) {
            text[text_len++] = digits[bytes[i] >> 4];
            text[text_len++] = digits[bytes[i] & 15];
        }
        text[text_len++] = '\n';
    }
    log_text(text, text_len);
    free(text);
}

/* Makes the call, unless it has to fail. */
#define MAKE(call, ...)                                                                            \
    do {                                                                                           \
        (call)->result = (call)->is_refused ? -1 : syscall(__VA_ARGS__);                           \
        (call)->error = (call)->is_refused ? state.error : errno;                                  \
    } while (0)

static long
end(const struct call *call)
{
    if (call->is_last)
        kill(getpid(), SIGKILL);
    if (call->is_watched)
        pthread_mutex_unlock(&state.lock);
    errno = call->error;
    return call->result;
}

#define ID           "%llx:%llx"
#define ID_OF(info)  (unsigned long long)(info).st_dev, (unsigned long long)(info).st_ino
#define AT           ID "/%s"
#define AT_OF(place) ID_OF((place).dir), (place).name

static int
open_any(int dir_fd, const char *name, int flags, mode_t mode)
{
    char path[PATH_SIZE];
    struct place place = {0};
    struct stat info = {0};
    struct call call;
    bool was_there;

    if (!(flags & (O_CREAT | O_TRUNC)))
        return (int)syscall(SYS_openat, dir_fd, name, flags, mode);
    begin_at(&call, dir_fd, name, path, &place);
    was_there = fstatat(dir_fd, name, &info, 0) == 0;
    MAKE(&call, SYS_openat, dir_fd, name, flags, mode);
    if (!was_there && call.result >= 0)
        fstat((int)call.result, &info);
    if (was_there)
        log_call(&call, "truncate " ID " 0\n", ID_OF(info));
    else
        log_call(&call, "create " AT " " ID "\n", AT_OF(place), ID_OF(info));
    return (int)end(&call);
}

static mode_t
mode_of(int flags, va_list args)
{
    return flags & O_CREAT ? (mode_t)va_arg(args, int) : 0;
}

#define OPEN_BODY(dir_fd)                                                                          \
    va_list args;                                                                                  \
    mode_t mode;                                                                                   \
    va_start(args, flags);                                                                         \
    mode = mode_of(flags, args);                                                                   \
    va_end(args);                                                                                  \
    return open_any(dir_fd, name, flags, mode)

EXPORT int
open(const char *name, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

EXPORT int
openat(int dir_fd, const char *name, int flags, ...)
{
    OPEN_BODY(dir_fd);
}

EXPORT int
creat(const char *name, mode_t mode)
{
    return open_any(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT ssize_t
write(int fd, const void *bytes, size_t len)
{
    struct stat info = {0};
    struct call call;
    off_t at = 0;

    begin_fd(&call, fd);
    if (call.is_watched && fstat(fd, &info) == 0)
        at = fcntl(fd, F_GETFL) & O_APPEND ? info.st_size : lseek(fd, 0, SEEK_CUR);
    MAKE(&call, SYS_write, fd, bytes, call.is_last ? len / 2 : len);
    log_call(&call, "write " ID " %lld", ID_OF(info), (long long)at);
    if (call.is_watched)
        log_bytes(bytes, call.result > 0 ? (size_t)call.result : 0);
    return end(&call);
}

EXPORT ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    struct stat info = {0};
    struct call call;

    begin_fd(&call, fd);
    if (call.is_watched)
        fstat(fd, &info);
    MAKE(&call, SYS_pwrite64, fd, bytes, call.is_last ? len / 2 : len, at);
    log_call(&call, "write " ID " %lld", ID_OF(info), (long long)at);
    if (call.is_watched)
        log_bytes(bytes, call.result > 0 ? (size_t)call.result : 0);
    return end(&call);
}

/* Calls about a descriptor, whose result is an int. */
#define FD_CALL(number, fd, ...)                                                                   \
    struct stat info = {0};                                                                        \
    struct call call;                                                                              \
    begin_fd(&call, fd);                                                                           \
    if (call.is_watched)                                                                           \
        fstat(fd, &info);                                                                          \
    MAKE(&call, number, fd, ##__VA_ARGS__)

EXPORT int
fsync(int fd)
{
    FD_CALL(SYS_fsync, fd);
    log_call(&call, "fsync " ID "\n", ID_OF(info));
    return (int)end(&call);
}

EXPORT int
fdatasync(int fd)
{
    FD_CALL(SYS_fdatasync, fd);
    log_call(&call, "fsync " ID "\n", ID_OF(info));
    return (int)end(&call);
}

EXPORT int
syncfs(int fd)
{
    FD_CALL(SYS_syncfs, fd);
    log_call(&call, "syncfs " ID "\n", ID_OF(info));
    return (int)end(&call);
}

EXPORT int
ftruncate(int fd, off_t size)
{
    FD_CALL(SYS_ftruncate, fd, size);
    log_call(&call, "truncate " ID " %lld\n", ID_OF(info), (long long)size);
    return (int)end(&call);
}

EXPORT int
fallocate(int fd, int mode, off_t at, off_t len)
{
    FD_CALL(SYS_fallocate, fd, mode, at, len);
    log_call(&call, "fallocate " ID " %d %lld %lld\n", ID_OF(info), mode, (long long)at,
             (long long)len);
    return (int)end(&call);
}

EXPORT int
posix_fallocate(int fd, off_t at, off_t len)
{
    return fallocate(fd, 0, at, len) == 0 ? 0 : errno;
}

EXPORT int
fchmod(int fd, mode_t mode)
{
    FD_CALL(SYS_fchmod, fd, mode);
    log_call(&call, "fchmod " ID "\n", ID_OF(info));
    return (int)end(&call);
}

static int
rename_any(int old_fd, const char *old_name, int new_fd, const char *new_name, unsigned int flags)
{
    char old_path[PATH_SIZE];
    char new_path[PATH_SIZE];
    struct place old_place = {0};
    struct place new_place = {.name = ""};
    struct call call;

    begin_at(&call, old_fd, old_name, old_path, &old_place);
    if (call.is_watched)
        find_place(new_fd, new_name, new_path, &new_place);
    MAKE(&call, SYS_renameat2, old_fd, old_name, new_fd, new_name, flags);
    log_call(&call, "rename " AT " " AT " %u\n", AT_OF(old_place), AT_OF(new_place), flags);
    return (int)end(&call);
}

EXPORT int
rename(const char *old_name, const char *new_name)
{
    return rename_any(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

EXPORT int
renameat(int old_fd, const char *old_name, int new_fd, const char *new_name)
{
    return rename_any(old_fd, old_name, new_fd, new_name, 0);
}

EXPORT int
renameat2(int old_fd, const char *old_name, int new_fd, const char *new_name, unsigned int flags)
{
    return rename_any(old_fd, old_name, new_fd, new_name, flags);
}

EXPORT int
linkat(int old_fd, const char *old_name, int new_fd, const char *new_name, int flags)
{
    char old_path[PATH_SIZE];
    char new_path[PATH_SIZE];
    struct place old_place = {0};
    struct place new_place = {.name = ""};
    struct call call;

    begin_at(&call, old_fd, old_name, old_path, &old_place);
    if (call.is_watched)
        find_place(new_fd, new_name, new_path, &new_place);
    MAKE(&call, SYS_linkat, old_fd, old_name, new_fd, new_name, flags);
    log_call(&call, "link " AT " " AT "\n", AT_OF(old_place), AT_OF(new_place));
    return (int)end(&call);
}

EXPORT int
link(const char *old_name, const char *new_name)
{
    return linkat(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

/* Calls about a name, whose result is an int. */
#define NAME_CALL(dir_fd, name, number, ...)                                                       \
    char path[PATH_SIZE];                                                                          \
    struct place place = {0};                                                                      \
    struct call call;                                                                              \
    begin_at(&call, dir_fd, name, path, &place);                                                   \
    MAKE(&call, number, __VA_ARGS__)

EXPORT int
unlinkat(int dir_fd, const char *name, int flags)
{
    NAME_CALL(dir_fd, name, SYS_unlinkat, dir_fd, name, flags);
    log_call(&call, "unlink " AT "\n", AT_OF(place));
    return (int)end(&call);
}

EXPORT int
unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

EXPORT int
rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

EXPORT int
mkdirat(int dir_fd, const char *name, mode_t mode)
{
    struct stat info = {0};
    NAME_CALL(dir_fd, name, SYS_mkdirat, dir_fd, name, mode);
    fstatat(dir_fd, name, &info, 0);
    log_call(&call, "mkdir " AT " " ID "\n", AT_OF(place), ID_OF(info));
    return (int)end(&call);
}

EXPORT int
mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

/* The names that programs with _FILE_OFFSET_BITS=64 use; on 64-bit machines they are the same. */
#define ALIAS(name, target) EXPORT extern typeof(target) name __attribute__((alias(#target)))
ALIAS(open64, open);
ALIAS(openat64, openat);
ALIAS(creat64, creat);
ALIAS(pwrite64, pwrite);
ALIAS(ftruncate64, ftruncate);
ALIAS(fallocate64, fallocate);
ALIAS(posix_fallocate64, posix_fallocate);

/* ---- time ---- */

EXPORT int64_t g_get_real_time(void);

/* GLib's. */
EXPORT int64_t
g_get_real_time(void)
{
    const char *fixed = getenv("CRASH_TIME");
    struct timespec now;

    if (fixed)
        return strtoll(fixed, NULL, 10);
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
