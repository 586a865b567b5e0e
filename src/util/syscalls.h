/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the declaration of system calls beside the code that makes them. Each declaration is a text
 * in a section of the program, so that the filter of a daemon that confines itself
 * (daemon/sandbox_calls.h) lets through what is linked into it and nothing else. Programs without
 * such a filter have the texts and do not read them.
 */
#pragma once

/* `names`: of system calls, separated by blanks; those that this architecture does not have are
 * skipped. `owner` makes the text's name unique: a file's own. Calls of libc, GLib and GnuTLS that
 * any code leads to (memory, locks, the clock, ...) are in daemon/sandbox_calls.c. */
#define SYSCALLS_DECLARE(owner, names)                                                             \
    __attribute__((section("vc_syscalls"), used)) static const char syscalls_of_##owner[] = names
