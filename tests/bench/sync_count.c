/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: counting what a process flushes. Preloaded (LD_PRELOAD), it keeps "FLUSHES APPENDS BYTES"
 * in the file that SYNC_COUNT names: calls of fsync, fdatasync and syncfs; those of fdatasync for a
 * large file, which is the journal; and how much was written to that.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { LARGE = 1024 * 1024 };

static atomic_ullong flushes;
static atomic_ullong appends;
static atomic_ullong bytes;
static int text_fd = -1;

/* Before the process lets go of what it may open. */
static void __attribute__((constructor)) open_text(void)
{
    const char *path = getenv("SYNC_COUNT");

    if (path)
        text_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

/* After each flush, so that it is complete whenever nothing is under way. */
static void
tell(void)
{
    char text[80];
    int len = snprintf(text, sizeof(text), "%20llu %20llu %20llu\n", atomic_load(&flushes),
                       atomic_load(&appends), atomic_load(&bytes));

    if (text_fd >= 0 && syscall(SYS_pwrite64, text_fd, text, len, (off_t)0) < 0)
        abort();
}

static bool
is_large(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && info.st_size >= LARGE;
}

static int
count_flush(long number, int fd)
{
    long result = syscall(number, fd);

    atomic_fetch_add(&flushes, 1);
    tell();
    return (int)result;
}

EXPORT int
fsync(int fd)
{
    return count_flush(SYS_fsync, fd);
}

EXPORT int
fdatasync(int fd)
{
    if (is_large(fd))
        atomic_fetch_add(&appends, 1);
    return count_flush(SYS_fdatasync, fd);
}

EXPORT int
syncfs(int fd)
{
    return count_flush(SYS_syncfs, fd);
}

static ssize_t
append(int fd, const void *from, size_t len, off64_t at)
{
    long result = syscall(SYS_pwrite64, fd, from, len, at);

    if (result > 0 && is_large(fd))
        atomic_fetch_add(&bytes, (unsigned long long)result);
    return result;
}

EXPORT ssize_t
pwrite(int fd, const void *from, size_t len, off_t at)
{
    return append(fd, from, len, at);
}

EXPORT ssize_t
pwrite64(int fd, const void *from, size_t len, off64_t at)
{
    return append(fd, from, len, at);
}
