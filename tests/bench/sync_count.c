/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: counting what a process flushes and writes to files. Preloaded (LD_PRELOAD), it keeps
 * "FLUSHES BYTES" in the file that SYNC_COUNT names: calls of fsync, fdatasync and syncfs, and what
 * write and pwrite wrote to regular files.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static atomic_ullong flushes;
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
    char text[64];
    int len =
        snprintf(text, sizeof(text), "%20llu %20llu\n", atomic_load(&flushes), atomic_load(&bytes));

    if (text_fd >= 0 && syscall(SYS_pwrite64, text_fd, text, len, (off_t)0) < 0)
        abort();
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
    return count_flush(SYS_fdatasync, fd);
}

EXPORT int
syncfs(int fd)
{
    return count_flush(SYS_syncfs, fd);
}

static ssize_t
count_bytes(int fd, long result)
{
    struct stat info;

    if (result > 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        atomic_fetch_add(&bytes, (unsigned long long)result);
    return result;
}

EXPORT ssize_t
write(int fd, const void *from, size_t len)
{
    return count_bytes(fd, syscall(SYS_write, fd, from, len));
}

EXPORT ssize_t
pwrite(int fd, const void *from, size_t len, off_t at)
{
    return count_bytes(fd, syscall(SYS_pwrite64, fd, from, len, at));
}
