/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Key memory: that it is fenced in, locked, hidden, kept out of dumps and children, and wiped. With
 * the argument "without-memfd-secret" the kernel says that it has no such call.
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "patience.h"
#include "util/secret_buf.h"

/* AddressSanitizer makes mlock(2) do nothing. */
#ifdef WITH_SANITIZERS
#define CAN_LOCK false
#else
#define CAN_LOCK true
#endif

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

/* Set once, by main. */
static bool has_memfd_secret;

static struct secret_buf *
new_filled(size_t len)
{
    g_autoptr(GError) error = NULL;
    struct secret_buf *buf = secret_buf_new(len, &error);

    g_assert_no_error(error);
    memset(secret_buf_writable(buf), 0xa5, len);
    return buf;
}

static bool
is_all(const uint8_t *bytes, size_t len, uint8_t value)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != value)
            return false;
    }
    return true;
}

/* The VmFlags line of the mapping that holds `address`. */
static char *
read_vm_flags(const void *address)
{
    g_autofree char *smaps = NULL;
    g_auto(GStrv) lines = NULL;
    bool inside = false;

    g_assert_true(g_file_get_contents("/proc/self/smaps", &smaps, NULL, NULL));
    lines = g_strsplit(smaps, "\n", -1);
    for (char **line = lines; *line; line++) {
        unsigned long low;
        unsigned long high;

        if (sscanf(*line, "%lx-%lx ", &low, &high) == 2)
            inside = (unsigned long)address >= low && (unsigned long)address < high;
        if (inside && g_str_has_prefix(*line, "VmFlags:"))
            return g_strconcat(*line, " ", NULL);
    }
    return NULL;
}

static sigjmp_buf touched;

static void
on_fault(int signum)
{
    siglongjmp(touched, signum);
}

/* The signal for reading or writing at `address`, or 0. (A child would not have the pages.) */
static int
signal_of_touching(volatile uint8_t *address, bool write)
{
    struct sigaction action = {.sa_handler = on_fault};
    static struct sigaction before;
    volatile int signum = sigsetjmp(touched, 1);

    if (signum == 0) {
        sigaction(SIGSEGV, &action, &before);
        if (write)
            *address = 1;
        else
            (void)*address;
    }
    sigaction(SIGSEGV, &before, NULL);
    return signum;
}

/* The first byte behind the pages of the buffer. */
static uint8_t *
end_of_pages(struct secret_buf *buf)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = (uintptr_t)secret_buf_bytes(buf) + secret_buf_len(buf);

    return (uint8_t *)((end + page - 1) / page * page);
}

static void
test_a_new_buffer_is_zero(void)
{
    static const size_t lens[] = {0, 1, 32, 4000, 4096, 65536, 1000000};

    for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
        g_autoptr(secret_buf_t) buf = secret_buf_new(lens[i], NULL);

        g_assert_cmpuint(secret_buf_len(buf), ==, lens[i]);
        g_assert_true(is_all(secret_buf_bytes(buf), lens[i], 0));
    }
}

static void
test_a_reused_buffer_is_zero(void)
{
    const uint8_t *place;
    g_autoptr(secret_buf_t) again = NULL;
    struct secret_buf *buf = new_filled(1000);

    place = secret_buf_bytes(buf);
    secret_buf_free(buf);
    again = secret_buf_new(2000, NULL);
    g_assert_true(secret_buf_bytes(again) == place);
    g_assert_true(is_all(secret_buf_bytes(again), 2000, 0));
}

static void
test_a_freed_page_holds_no_key(void)
{
    struct secret_buf *buf = new_filled(1000);
    const uint8_t *place = secret_buf_bytes(buf);

    secret_buf_free(buf);
    /* The page is kept for reuse, so it can be looked at. */
    g_assert_true(is_all(place, 1000, 0));
}

static void
test_pages_are_locked_and_left_out_of_dumps_and_children(void)
{
    static const size_t lens[] = {32, 100000};

    for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
        g_autoptr(secret_buf_t) buf = new_filled(lens[i]);
        g_autofree char *first = read_vm_flags(secret_buf_bytes(buf));
        g_autofree char *last = read_vm_flags(secret_buf_bytes(buf) + lens[i] - 1);

        g_assert_cmpstr(first, ==, last);
        g_assert_true(!CAN_LOCK || strstr(first, " lo "));
        g_assert_nonnull(strstr(first, " dd "));
        g_assert_nonnull(strstr(first, has_memfd_secret ? " dc " : " wf "));
        g_assert_cmpint(secret_buf_is_hidden(buf), ==, has_memfd_secret);
    }
}

static void
touch_both_ends(void)
{
    g_autoptr(secret_buf_t) small = new_filled(32);
    g_autoptr(secret_buf_t) large = new_filled(131072);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *start = (uint8_t *)((uintptr_t)secret_buf_bytes(small) / page * page);

    g_assert_cmpint(signal_of_touching(end_of_pages(small), true), ==, SIGSEGV);
    g_assert_cmpint(signal_of_touching(end_of_pages(small), false), ==, SIGSEGV);
    g_assert_cmpint(signal_of_touching(start - 1, true), ==, SIGSEGV);
    g_assert_cmpint(signal_of_touching(start - 1, false), ==, SIGSEGV);
    g_assert_cmpint(signal_of_touching(end_of_pages(large), true), ==, SIGSEGV);
    g_assert_cmpint(signal_of_touching(secret_buf_writable(large) - 1, true), ==, SIGSEGV);
    g_assert_cmpint(signal_of_touching(secret_buf_writable(small) + 31, true), ==, 0);
}

static void
test_running_over_either_end_kills(void)
{
    if (is_under_memcheck()) {
        g_test_skip("valgrind counts each of these accesses as an error");
        return;
    }
    touch_both_ends();
}

/* The number of bytes that the kernel reads at `address` on behalf of somebody else, or -1. */
static ssize_t
read_by_kernel(const void *address, size_t len)
{
    uint8_t copy[64];
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, copy, len, (off_t)(uintptr_t)address);

    close(fd);
    return got;
}

static ssize_t
read_by_another_process(const void *address, size_t len)
{
    uint8_t copy[64];
    struct iovec local = {copy, len};
    struct iovec remote = {(void *)address, len};

    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

static void
test_nobody_reads_the_pages_through_the_kernel(void)
{
    static const size_t lens[] = {32, 100000};
    const uint8_t plain[32] = {0};

    g_assert_cmpint(read_by_kernel(plain, 32), ==, 32);
    g_assert_cmpint(read_by_another_process(plain, 32), ==, 32);
    for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
        g_autoptr(secret_buf_t) buf = new_filled(lens[i]);
        const uint8_t *bytes = secret_buf_bytes(buf);

        g_assert_cmpint(read_by_kernel(bytes, 32), ==, has_memfd_secret ? -1 : 32);
        g_assert_cmpint(read_by_another_process(bytes, 32), ==, has_memfd_secret ? -1 : 32);
    }
}

static void
test_no_descriptor_of_the_pages_is_left(void)
{
    int before = dup(STDERR_FILENO);
    int after;
    g_autoptr(secret_buf_t) large = NULL;
    struct secret_buf *small[100];

    close(before);
    large = new_filled(100000);
    for (size_t i = 0; i < G_N_ELEMENTS(small); i++)
        small[i] = new_filled(32);
    after = dup(STDERR_FILENO);
    close(after);
    g_assert_cmpint(after, ==, before);
    for (size_t i = 0; i < G_N_ELEMENTS(small); i++)
        secret_buf_free(small[i]);
}

static size_t
count_mappings(void)
{
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    lines = g_strsplit(maps, "\n", -1);
    return g_strv_length(lines);
}

static void
test_the_pages_of_many_buffers_are_given_back(void)
{
    struct secret_buf *bufs[1000];
    size_t before = count_mappings();

    for (size_t i = 0; i < G_N_ELEMENTS(bufs); i++)
        bufs[i] = new_filled(32);
    g_assert_cmpuint(count_mappings(), >=, before + G_N_ELEMENTS(bufs));
    for (size_t i = 0; i < G_N_ELEMENTS(bufs); i++) {
        g_assert_true(is_all(secret_buf_bytes(bufs[i]), 32, 0xa5));
        secret_buf_free(bufs[i]);
    }
    g_assert_cmpuint(count_mappings(), <, before + 200);
}

/* Without touching the page, which a child may not have. */
static bool
holds_nothing(const uint8_t *place)
{
    uint8_t copy[32] = {0};
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, copy, sizeof(copy), (off_t)(uintptr_t)place);

    close(fd);
    return got < 0 || is_all(copy, sizeof(copy), 0);
}

static void
test_a_child_sees_zeros_and_can_work_on(void)
{
    g_autoptr(secret_buf_t) buf = new_filled(32);
    uint8_t *place = secret_buf_writable(buf);
    pid_t child;
    int status;

    secret_buf_free(new_filled(32)); /* a spare page, which the child must not use */
    child = fork();
    if (child == 0) {
        struct secret_buf *fresh = secret_buf_new(32, NULL);
        bool ok = is_all(secret_buf_bytes(buf), 32, 0) && secret_buf_len(buf) == 0 && fresh &&
                  secret_buf_len(fresh) == 32 && holds_nothing(place);

        secret_buf_free(fresh);
        secret_buf_free(buf);
        _exit(ok ? 0 : 1);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
    g_assert_true(is_all(secret_buf_bytes(buf), 32, 0xa5));
}

static void
test_random_bytes_fill_the_buffer_and_differ(void)
{
    g_autoptr(secret_buf_t) a = secret_buf_new_random(4096, NULL);
    g_autoptr(secret_buf_t) b = secret_buf_new_random(4096, NULL);

    g_assert_false(secret_buf_equal(a, b));
    g_assert_false(is_all(secret_buf_bytes(a) + 4064, 32, 0));
}

static void
test_taking_bytes_wipes_the_source(void)
{
    char source[] = "passphrase";
    g_autoptr(secret_buf_t) buf = secret_buf_take_bytes(source, 10, NULL);

    g_assert_cmpmem(secret_buf_bytes(buf), secret_buf_len(buf), "passphrase", 10);
    g_assert_true(is_all((uint8_t *)source, 10, 0));
}

static void
test_taking_bytes_wipes_the_source_even_when_it_fails(void)
{
    size_t len = SECRET_BUF_MAX + 1;
    g_autofree uint8_t *source = g_malloc(len);
    g_autoptr(GError) error = NULL;

    memset(source, 1, len);
    g_assert_null(secret_buf_take_bytes(source, len, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                 "a key buffer of 67108865 bytes is larger than the maximum of 67108864");
    g_assert_true(is_all(source, len, 0));
}

static void
test_copying_bytes_leaves_the_source(void)
{
    char source[] = "passphrase";
    g_autoptr(secret_buf_t) buf = secret_buf_new_from(source, 10, NULL);
    g_autoptr(secret_buf_t) empty = secret_buf_new_from(NULL, 0, NULL);

    g_assert_cmpmem(secret_buf_bytes(buf), secret_buf_len(buf), source, 10);
    g_assert_cmpstr(source, ==, "passphrase");
    g_assert_cmpuint(secret_buf_len(empty), ==, 0);
}

static void
test_truncating_wipes_what_is_cut_off(void)
{
    g_autoptr(secret_buf_t) buf = new_filled(100);

    secret_buf_truncate(buf, 40);
    g_assert_cmpuint(secret_buf_len(buf), ==, 40);
    g_assert_true(is_all(secret_buf_bytes(buf), 40, 0xa5));
    g_assert_true(is_all(secret_buf_bytes(buf) + 40, 60, 0));
}

static void
test_truncating_to_more_is_a_bug(void)
{
    if (g_test_subprocess()) {
        g_autoptr(secret_buf_t) buf = new_filled(10);

        secret_buf_truncate(buf, 11);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*len <= buf->len*");
}

static void
test_wiping_keeps_the_length(void)
{
    g_autoptr(secret_buf_t) buf = new_filled(100);

    secret_buf_wipe(buf);
    g_assert_cmpuint(secret_buf_len(buf), ==, 100);
    g_assert_true(is_all(secret_buf_bytes(buf), 100, 0));
}

static void
test_equality_needs_length_and_every_byte(void)
{
    g_autoptr(secret_buf_t) a = new_filled(33);
    g_autoptr(secret_buf_t) b = new_filled(33);
    g_autoptr(secret_buf_t) shorter = new_filled(32);

    g_assert_true(secret_buf_equal(a, b));
    g_assert_false(secret_buf_equal(a, shorter));
    for (size_t i = 0; i < 33; i++) {
        secret_buf_writable(b)[i] ^= 1;
        g_assert_false(secret_buf_equal(a, b));
        secret_buf_writable(b)[i] ^= 1;
    }
    g_assert_true(secret_bytes_equal("", "", 0));
}

static struct secret_buf *
read_from_pipe(const char *text, size_t max, GError **error)
{
    int ends[2];
    struct secret_buf *buf;

    g_assert_cmpint(pipe(ends), ==, 0);
    g_assert_cmpint(write(ends[1], text, strlen(text)), ==, (ssize_t)strlen(text));
    close(ends[1]);
    buf = secret_buf_read_fd(ends[0], max, error);
    close(ends[0]);
    return buf;
}

static void
test_reading_takes_all_up_to_the_maximum(void)
{
    g_autoptr(secret_buf_t) some = read_from_pipe("abc", 10, NULL);
    g_autoptr(secret_buf_t) full = read_from_pipe("abcdefghij", 10, NULL);
    g_autoptr(secret_buf_t) empty = read_from_pipe("", 10, NULL);

    g_assert_cmpmem(secret_buf_bytes(some), secret_buf_len(some), "abc", 3);
    g_assert_cmpuint(secret_buf_len(full), ==, 10);
    g_assert_cmpuint(secret_buf_len(empty), ==, 0);
}

static void
test_reading_more_than_the_maximum_is_refused(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(read_from_pipe("abcdefghijk", 10, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_NONE,
                 "the value is longer than the maximum of 10 bytes");
}

static void
test_a_read_error_is_reported(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(secret_buf_read_fd(-1, 10, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_NONE,
                 "cannot read the value: Bad file descriptor");
    g_assert_cmpint(error_get_errno(error), ==, EBADF);
}

static gpointer
use_buffers(gpointer opaque)
{
    for (int i = 0; i < 2000; i++) {
        g_autoptr(secret_buf_t) a = secret_buf_new(100, NULL);
        g_autoptr(secret_buf_t) b = secret_buf_new(i % 8 == 0 ? 20000 : 200, NULL);

        memset(secret_buf_writable(a), 1, 100);
        memset(secret_buf_writable(b), 2, 200);
        if (!is_all(secret_buf_bytes(a), 100, 1) || !is_all(secret_buf_bytes(b), 200, 2))
            return GINT_TO_POINTER(1);
    }
    return NULL;
}

static void
test_a_large_buffer_is_reused_zeroed_and_only_for_its_size(void)
{
    struct secret_buf *buf = new_filled(20000);
    const uint8_t *place = secret_buf_bytes(buf);
    g_autoptr(secret_buf_t) other = NULL;
    g_autoptr(secret_buf_t) again = NULL;

    secret_buf_free(buf);
    other = secret_buf_new(70000, NULL);
    g_assert_true(secret_buf_bytes(other) != place);
    again = secret_buf_new(30000, NULL);
    g_assert_true(secret_buf_bytes(again) == place);
    g_assert_true(is_all(secret_buf_bytes(again), 30000, 0));
}

static void
test_threads_never_share_a_page(void)
{
    GThread *threads[4];

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("buffers", use_buffers, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_null(g_thread_join(threads[i]));
}

/* As from a kernel that was built or started without it. */
static void
take_memfd_secret_away(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    g_assert_cmpint(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SYS_memfd_secret, 0), ==, 0);
    g_assert_cmpint(seccomp_load(filter), ==, 0);
    seccomp_release(filter);
}

static void
test_no_buffer_is_an_empty_one(void)
{
    g_assert_cmpuint(secret_buf_len(NULL), ==, 0);
    g_assert_null(secret_buf_bytes(NULL));
}

#define ADD(name) g_test_add_func("/util/secret_buf/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc == 2 && g_str_equal(argv[1], "without-memfd-secret"))
        take_memfd_secret_away();
    has_memfd_secret = close((int)syscall(SYS_memfd_secret, O_CLOEXEC)) == 0;
    ADD(a_new_buffer_is_zero);
    ADD(no_buffer_is_an_empty_one);
    ADD(a_reused_buffer_is_zero);
    ADD(a_freed_page_holds_no_key);
    ADD(pages_are_locked_and_left_out_of_dumps_and_children);
    ADD(running_over_either_end_kills);
    ADD(nobody_reads_the_pages_through_the_kernel);
    ADD(no_descriptor_of_the_pages_is_left);
    ADD(the_pages_of_many_buffers_are_given_back);
    ADD(a_child_sees_zeros_and_can_work_on);
    ADD(random_bytes_fill_the_buffer_and_differ);
    ADD(taking_bytes_wipes_the_source);
    ADD(taking_bytes_wipes_the_source_even_when_it_fails);
    ADD(copying_bytes_leaves_the_source);
    ADD(truncating_wipes_what_is_cut_off);
    ADD(truncating_to_more_is_a_bug);
    ADD(wiping_keeps_the_length);
    ADD(equality_needs_length_and_every_byte);
    ADD(reading_takes_all_up_to_the_maximum);
    ADD(reading_more_than_the_maximum_is_refused);
    ADD(a_read_error_is_reported);
    ADD(a_large_buffer_is_reused_zeroed_and_only_for_its_size);
    ADD(threads_never_share_a_page);
    return g_test_run();
}
