/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The broker itself, asked by a daemon that somebody has taken over.
 */
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "folder.h"
#include "master/helper.h"
#include "master/helper_broker.h"
#include "master/helper_wire.h"
#include "patience.h"
#include "util/file.h"

enum {
    BOUND_MS = 20000,
    TURN_US = 10000,
    TURNS = 1000,
    OTHERS_MAX = 4, /* of helper_broker.c: helpers at a time, but for questions to polkit */
    FLOOD = 500,
    BROKER_FDS = 5, /* its standard streams, its socket, its signals */
};

struct fixture {
    struct folder folder;
    char *program;
    int fd;
    pid_t pid;
};

static void
fixture_init(struct fixture *fixture, const char *script)
{
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", script);
    const char *environment[] = {"PATH=/usr/bin:/bin", NULL};
    pid_t parent = getpid();
    int pair[2];

    folder_init(&fixture->folder);
    fixture->program = folder_path(&fixture->folder, "helper");
    g_assert_true(g_file_set_contents(fixture->program, text, -1, NULL));
    g_assert_cmpint(chmod(fixture->program, 0700), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
    fixture->fd = pair[0];
    fixture->pid = fork();
    if (fixture->pid == 0) {
        const struct helper_broker_params params = {
            .fd = pair[1],
            .program = fixture->program,
            .environment = environment,
            .parent = parent,
        };

        helper_broker_run(&params);
    }
    close(pair[1]);
}

/* It ends by itself, in good order. */
static void
expect_end(struct fixture *fixture)
{
    int status = -1;
    pid_t ended = 0;

    for (unsigned int turn = 0; turn < patient_ms(TURNS) && ended == 0; turn++) {
        ended = waitpid(fixture->pid, &status, WNOHANG);
        g_usleep(TURN_US);
    }
    g_assert_cmpint(ended, ==, fixture->pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void
fixture_clear(struct fixture *fixture)
{
    close(fixture->fd);
    expect_end(fixture);
    g_free(fixture->program);
    folder_clear(&fixture->folder);
}

static void
send_bytes(const struct fixture *fixture, const void *bytes, size_t len)
{
    g_assert_cmpint(send(fixture->fd, bytes, len, MSG_NOSIGNAL), ==, (ssize_t)len);
}

/* The answer, and its socket or -1. */
static struct helper_order_answer
receive(const struct fixture *fixture, int *ret_fd)
{
    struct helper_order_answer answer = {0};
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof(answer)};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct timeval bound = {.tv_sec = patient_ms(BOUND_MS) / 1000};

    setsockopt(fixture->fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    g_assert_cmpint(recvmsg(fixture->fd, &message, MSG_CMSG_CLOEXEC), ==, sizeof(answer));
    *ret_fd = -1;
    if (CMSG_FIRSTHDR(&message))
        memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    return answer;
}

static uint32_t
order(const struct fixture *fixture, uint32_t operation, uint32_t timeout_ms, int *ret_fd)
{
    static uint32_t serial;
    const struct helper_order sent = {++serial, operation, timeout_ms};
    struct helper_order_answer answer = {0};

    send_bytes(fixture, &sent, sizeof(sent));
    answer = receive(fixture, ret_fd);
    g_assert_cmpuint(answer.serial, ==, serial);
    g_assert_true((*ret_fd >= 0) == (answer.result == HELPER_STARTED));
    return answer.result;
}

static void
expect_works(const struct fixture *fixture)
{
    g_auto(file_fd) fd = -1;

    g_assert_cmpuint(order(fixture, HELPER_ARGON2ID, BOUND_MS, &fd), ==, HELPER_STARTED);
}

static guint
count_children(const struct fixture *fixture)
{
    g_autofree char *path =
        g_strdup_printf("/proc/%d/task/%d/children", fixture->pid, fixture->pid);
    g_autofree char *text = NULL;
    guint count = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (const char *at = text; *at; at++)
        count += *at == ' ';
    return count;
}

static void
expect_no_children(const struct fixture *fixture)
{
    for (unsigned int turn = 0; count_children(fixture) > 0 && turn < patient_ms(TURNS); turn++)
        g_usleep(TURN_US);
    g_assert_cmpuint(count_children(fixture), ==, 0);
}

static void
test_packets_of_another_length_are_dropped(void)
{
    struct fixture fixture;
    uint8_t bytes[4096];

    fixture_init(&fixture, "exit 0");
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)g_random_int();
    for (size_t len = 1; len <= sizeof(bytes); len = len < 64 ? len + 1 : len * 2) {
        if (len != sizeof(struct helper_order))
            send_bytes(&fixture, bytes, len);
    }
    expect_works(&fixture);
    expect_no_children(&fixture);
    fixture_clear(&fixture);
}

static void
test_what_is_no_operation_is_refused(void)
{
    static const uint32_t operations[] = {0, HELPER_OPERATION_MAX + 1, 255, 65536, UINT32_MAX};
    static const uint32_t timeouts[] = {0, HELPER_TIMEOUT_MAX_MS + 1, UINT32_MAX};
    struct fixture fixture;
    int fd;

    fixture_init(&fixture, "exit 0");
    for (unsigned int i = 0; i < G_N_ELEMENTS(operations); i++)
        g_assert_cmpuint(order(&fixture, operations[i], BOUND_MS, &fd), ==, HELPER_REFUSED);
    for (unsigned int i = 0; i < G_N_ELEMENTS(timeouts); i++)
        g_assert_cmpuint(order(&fixture, HELPER_ARGON2ID, timeouts[i], &fd), ==, HELPER_REFUSED);
    g_assert_cmpuint(count_children(&fixture), ==, 0);
    expect_works(&fixture);
    fixture_clear(&fixture);
}

static void
test_descriptors_that_are_sent_are_closed(void)
{
    struct fixture fixture;
    const struct helper_order sent = {1, HELPER_ARGON2ID, BOUND_MS};
    struct iovec part = {.iov_base = (void *)&sent, .iov_len = sizeof(sent)};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int ends[2];
    int fd;
    char byte;

    fixture_init(&fixture, "exit 0");
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &ends[1], sizeof(int));
    g_assert_cmpint(sendmsg(fixture.fd, &message, MSG_NOSIGNAL), ==, sizeof(sent));
    close(ends[1]);
    receive(&fixture, &fd);
    close(fd);
    g_assert_cmpint(read(ends[0], &byte, 1), ==, 0); /* nobody holds the other end */
    close(ends[0]);
    fixture_clear(&fixture);
}

static void
test_few_helpers_run_at_a_time_and_polkit_has_places_of_its_own(void)
{
    struct fixture fixture;
    int fds[OTHERS_MAX];
    int fd;

    fixture_init(&fixture, "exec sleep 600");
    for (unsigned int i = 0; i < OTHERS_MAX; i++)
        g_assert_cmpuint(order(&fixture, HELPER_TPM2_UNSEAL, patient_ms(BOUND_MS), &fds[i]), ==,
                         HELPER_STARTED);
    g_assert_cmpuint(order(&fixture, HELPER_ARGON2ID, BOUND_MS, &fd), ==, HELPER_BUSY);
    g_assert_cmpuint(order(&fixture, HELPER_POLKIT, BOUND_MS, &fd), ==, HELPER_STARTED);
    close(fd);
    for (unsigned int i = 0; i < OTHERS_MAX; i++)
        close(fds[i]);
    fixture_clear(&fixture);
}

/* Answers that nobody reads are dropped, and so are their helpers after their time. */
static void
test_a_flood_of_orders_is_bounded(void)
{
    struct fixture fixture;
    const struct helper_order sent = {1, HELPER_POLKIT, 1};
    /* Each fork is of all of valgrind. */
    const unsigned int flood = fewer_under_memcheck(FLOOD);
    guint most = 0;

    fixture_init(&fixture, "exec sleep 60");
    for (unsigned int i = 0; i < flood; i++) {
        send_bytes(&fixture, &sent, sizeof(sent));
        if (i % 10 == 9)
            most = MAX(most, count_children(&fixture));
    }
    g_assert_cmpuint(most, <=, 36);
    expect_no_children(&fixture);
    g_assert_cmpint(kill(fixture.pid, 0), ==, 0);
    fixture_clear(&fixture);
}

static void
test_helpers_are_ended_after_their_time(void)
{
    struct fixture fixture;
    guint seen = 0;
    int fd;

    fixture_init(&fixture, "trap '' TERM INT HUP; sleep 600; sleep 600");
    /* A loaded host may look when the time is over: then the next one has more. */
    for (uint32_t time_ms = 100; seen == 0; time_ms *= 2) {
        g_assert_cmpuint(time_ms, <, BOUND_MS);
        g_assert_cmpuint(order(&fixture, HELPER_ARGON2ID, time_ms, &fd), ==, HELPER_STARTED);
        seen = count_children(&fixture);
        expect_no_children(&fixture);
        close(fd);
    }
    g_assert_cmpuint(seen, ==, 1);
    expect_works(&fixture);
    fixture_clear(&fixture);
}

static void
test_an_empty_packet_is_the_end(void)
{
    struct fixture fixture;

    fixture_init(&fixture, "exit 0");
    expect_works(&fixture);
    send_bytes(&fixture, "", 0);
    fixture_clear(&fixture);
}

/* Of what it was forked with, it keeps its socket alone; it can't be debugged or dumped. */
static void
test_the_broker_has_nothing_of_the_daemons(void)
{
    struct fixture fixture;
    int surprise = open("/dev/null", O_RDONLY);
    g_autofree char *path = NULL;
    g_autofree char *status = NULL;

    fixture_init(&fixture, "exit 0");
    expect_works(&fixture);
    path = g_strdup_printf("/proc/%d/fd", fixture.pid);
    {
        struct folder fds = {.path = path};
        bool is_counted = !is_under_memcheck();

        /* It answers before it has closed its end of the helper's socket. */
        for (unsigned int turn = 0; is_counted && folder_count(&fds) > BROKER_FDS; turn++) {
            g_assert_cmpuint(turn, <, patient_ms(TURNS));
            g_usleep(TURN_US);
        }
        g_assert_true(!is_counted || folder_count(&fds) == BROKER_FDS);
    }
    g_free(path);
    path = g_strdup_printf("/proc/%d/status", fixture.pid);
    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    g_assert_nonnull(strstr(status, "NoNewPrivs:\t1"));
    close(surprise);
    fixture_clear(&fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/master/helper_broker/packets of another length are dropped",
                    test_packets_of_another_length_are_dropped);
    g_test_add_func("/master/helper_broker/what is no operation is refused",
                    test_what_is_no_operation_is_refused);
    g_test_add_func("/master/helper_broker/descriptors that are sent are closed",
                    test_descriptors_that_are_sent_are_closed);
    g_test_add_func(
        "/master/helper_broker/few helpers run at a time and polkit has places of its own",
        test_few_helpers_run_at_a_time_and_polkit_has_places_of_its_own);
    g_test_add_func("/master/helper_broker/a flood of orders is bounded",
                    test_a_flood_of_orders_is_bounded);
    g_test_add_func("/master/helper_broker/helpers are ended after their time",
                    test_helpers_are_ended_after_their_time);
    g_test_add_func("/master/helper_broker/an empty packet is the end",
                    test_an_empty_packet_is_the_end);
    g_test_add_func("/master/helper_broker/the broker has nothing of the daemons",
                    test_the_broker_has_nothing_of_the_daemons);
    return g_test_run();
}
