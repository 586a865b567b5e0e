/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: making strong key derivation cheap where a test is about something else. Preloaded
 * (LD_PRELOAD), it tells a thread that it has used $SLOWER times (100 if not set) the processor
 * time that it has used, by which QEMU, virtcryptd and virtcrypt-unlock-helper measure how many
 * rounds a passphrase gets: as on a very slow processor. The keyslots that they make are real ones
 * with fewer rounds, and take milliseconds to make and to open instead of seconds.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { SLOWER = 100, SLOWER_MAX = 1000, US_PER_S = 1000 * 1000, NS_PER_S = 1000 * 1000 * 1000 };

EXPORT int clock_gettime(clockid_t clock, struct timespec *now);
EXPORT int getrusage(__rusage_who_t who, struct rusage *usage);

static long
slower(void)
{
    const char *text = getenv("SLOWER");
    long factor = text ? strtol(text, NULL, 10) : SLOWER;

    return factor < 1 || factor > SLOWER_MAX ? SLOWER : factor;
}

EXPORT int
clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);

    if (result == 0 && (clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_PROCESS_CPUTIME_ID)) {
        long factor = slower();
        long ns = now->tv_nsec * factor;

        now->tv_sec = now->tv_sec * factor + ns / NS_PER_S;
        now->tv_nsec = ns % NS_PER_S;
    }
    return result;
}

static void
slow_down(struct timeval *used)
{
    long factor = slower();
    long us = used->tv_usec * factor;

    used->tv_sec = used->tv_sec * factor + us / US_PER_S;
    used->tv_usec = us % US_PER_S;
}

EXPORT int
getrusage(__rusage_who_t who, struct rusage *usage)
{
    int result = (int)syscall(SYS_getrusage, who, usage);

    if (result == 0 && who == RUSAGE_THREAD) {
        slow_down(&usage->ru_utime);
        slow_down(&usage->ru_stime);
    }
    return result;
}
