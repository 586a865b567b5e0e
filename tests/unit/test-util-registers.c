/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Vector registers: nothing stays in them.
 */
#include <glib.h>
#include <stdint.h>

#include "util/registers.h"

enum { PATTERN_SIZE = 16 };

#if defined(__x86_64__)

/* Between filling the registers and reading them nothing but registers_wipe runs. */
static void
pass_through(const uint8_t pattern[PATTERN_SIZE], uint8_t ret_left[2][PATTERN_SIZE],
             void (*wipe)(void))
{
    __asm__ volatile("movdqu (%[pattern]), %%xmm5\n\t"
                     "movdqu (%[pattern]), %%xmm15\n\t"
                     /* Past the red zone; the stack is aligned for the call. */
                     "movq %%rsp, %%r12\n\t"
                     "subq $128, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "call *%[wipe]\n\t"
                     "movq %%r12, %%rsp\n\t"
                     "movdqu %%xmm5, (%[left])\n\t"
                     "movdqu %%xmm15, 16(%[left])"
                     :
                     : [pattern] "r"(pattern), [left] "r"(ret_left), [wipe] "r"(wipe)
                     : "memory", "cc", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
                       "r12", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static void
wipe_nothing(void)
{
}

static void
test_registers_keep_what_is_not_wiped(void)
{
    static const uint8_t pattern[PATTERN_SIZE] = "0123456789abcde";
    uint8_t left[2][PATTERN_SIZE] = {{0}};

    pass_through(pattern, left, wipe_nothing);
    g_assert_cmpmem(left[0], PATTERN_SIZE, pattern, PATTERN_SIZE);
    g_assert_cmpmem(left[1], PATTERN_SIZE, pattern, PATTERN_SIZE);
}

static void
test_registers_are_zero_when_they_are_wiped(void)
{
    static const uint8_t pattern[PATTERN_SIZE] = "0123456789abcde";
    static const uint8_t zeros[PATTERN_SIZE];
    uint8_t left[2][PATTERN_SIZE] = {{1}, {1}};

    pass_through(pattern, left, registers_wipe);
    g_assert_cmpmem(left[0], PATTERN_SIZE, zeros, PATTERN_SIZE);
    g_assert_cmpmem(left[1], PATTERN_SIZE, zeros, PATTERN_SIZE);
}
#endif

static void
test_wiping_disturbs_nothing(void)
{
    double sum = 0;

    for (int i = 0; i < 10; i++) {
        sum += i * 0.5;
        registers_wipe();
    }
    g_assert_cmpfloat(sum, ==, 22.5);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/registers/wiping_disturbs_nothing", test_wiping_disturbs_nothing);
#if defined(__x86_64__)
    g_test_add_func("/util/registers/registers_keep_what_is_not_wiped",
                    test_registers_keep_what_is_not_wiped);
    g_test_add_func("/util/registers/registers_are_zero_when_they_are_wiped",
                    test_registers_are_zero_when_they_are_wiped);
#endif
    return g_test_run();
}
