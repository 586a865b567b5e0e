/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sockets that systemd passes. Each case runs in a forked child, whose descriptors 3 and up are
 * what systemd would have put there; it exits with 0 or says what is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "folder.h"
#include "rpc/activation.h"

enum { FIRST_FD = 3, PASSED_MAX = 3 };

/* What a child is given, and what it must find. */
struct activation_case {
    const char *names; /* LISTEN_FDNAMES, NULL for none */
    int count;         /* of sockets at FIRST_FD and up, "a", "b" and "c" in the folder */
    const char *fds;   /* LISTEN_FDS if it is not the count */
    bool other_pid;
    bool not_listening;
    const char *error; /* a part of it, NULL for success */
    int main_fd;
    int readonly_fd;
};

static const char *const main_names[] = {"virtsecretd.socket", "virtcrypt-secretd.socket", NULL};
static const char *const readonly_names[] = {"virtsecretd-ro.socket", NULL};

static int
bind_socket(const char *path, bool listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        (listening && listen(fd, 5) < 0))
        exit(10);
    return fd;
}

static void
set_environment(const struct activation_case *given)
{
    g_autofree char *pid = g_strdup_printf("%d", given->other_pid ? 1 : getpid());
    g_autofree char *count = g_strdup_printf("%d", given->count);

    g_setenv("LISTEN_PID", pid, TRUE);
    g_setenv("LISTEN_FDS", given->fds ? given->fds : count, TRUE);
    if (given->names)
        g_setenv("LISTEN_FDNAMES", given->names, TRUE);
}

static void
put_sockets(const struct activation_case *given, const struct folder *folder)
{
    int fds[PASSED_MAX];

    for (int i = 0; i < given->count; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        g_autofree char *path = folder_path(folder, name);
        /* Out of the way of the places where they go. */
        int fd = bind_socket(path, !given->not_listening);

        fds[i] = fcntl(fd, F_DUPFD, 100);
    }
    for (int i = 0; i < given->count; i++)
        dup2(fds[i], FIRST_FD + i);
}

/* In the child. */
static const char *
judge(const struct activation_case *given, const struct folder *folder)
{
    g_autofree char *main_path = folder_path(folder, "a");
    g_autofree char *readonly_path = folder_path(folder, "b");
    struct rpc_activation sockets[] = {{.names = main_names, .path = main_path},
                                       {.names = readonly_names, .path = readonly_path}};
    g_autoptr(GError) error = NULL;

    put_sockets(given, folder);
    set_environment(given);
    if (rpc_activation_take(sockets, 2, &error) != !given->error)
        return error ? error->message : "no error";
    if (given->error && !strstr(error->message, given->error))
        return error->message;
    if (sockets[0].fd != given->main_fd || sockets[1].fd != given->readonly_fd)
        return "other descriptors";
    if (g_getenv("LISTEN_PID") || g_getenv("LISTEN_FDS") || g_getenv("LISTEN_FDNAMES"))
        return "the variables are still there";
    for (int i = 0; i < 2; i++) {
        if (sockets[i].fd >= 0 && fcntl(sockets[i].fd, F_GETFD) != FD_CLOEXEC)
            return "not closed on exec";
    }
    if (given->error && given->count > 0 && fcntl(FIRST_FD, F_GETFD) >= 0)
        return "not closed after an error";
    return NULL;
}

static void
test_case(gconstpointer opaque)
{
    const struct activation_case *given = opaque;
    struct folder folder;
    int status = 0;
    pid_t pid;

    folder_init(&folder);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        const char *wrong = judge(given, &folder);

        if (wrong)
            fprintf(stderr, "%s\n", wrong);
        _exit(wrong ? 1 : 0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    folder_clear(&folder);
}

static const struct {
    const char *path;
    struct activation_case given;
} cases[] = {
    {"two_by_name",
     {.names = "virtsecretd-ro.socket:virtsecretd.socket",
      .count = 2,
      .main_fd = 4,
      .readonly_fd = 3}},
    {"one_by_its_other_name",
     {.names = "virtcrypt-secretd.socket", .count = 1, .main_fd = 3, .readonly_fd = -1}},
    {"two_by_path", {.count = 2, .main_fd = 3, .readonly_fd = 4}},
    {"none", {.count = 0, .main_fd = -1, .readonly_fd = -1}},
    {"of_another_process",
     {.names = "nonsense", .count = 1, .other_pid = true, .main_fd = -1, .readonly_fd = -1}},
    {"unknown_name",
     {.names = "virtsecretd.socket:ssh.socket",
      .count = 2,
      .error = "the socket 'ssh.socket', which systemd passed, is none that this daemon serves",
      .main_fd = -1,
      .readonly_fd = -1}},
    {"unknown_path",
     {.count = 3,
      .error = "descriptor 5, which systemd passed, is none that this daemon serves",
      .main_fd = -1,
      .readonly_fd = -1}},
    {"the_same_twice",
     {.names = "virtsecretd.socket:virtcrypt-secretd.socket",
      .count = 2,
      .error = "the socket 'virtcrypt-secretd.socket' was passed twice",
      .main_fd = -1,
      .readonly_fd = -1}},
    {"fewer_names_than_sockets",
     {.names = "virtsecretd.socket",
      .count = 2,
      .error = "LISTEN_FDNAMES 'virtsecretd.socket' does not name 2 sockets",
      .main_fd = -1,
      .readonly_fd = -1}},
    {"bad_count",
     {.fds = "many",
      .error = "LISTEN_FDS is 'many' instead of a number up to 64",
      .main_fd = -1,
      .readonly_fd = -1}},
    {"no_listening_socket",
     {.names = "virtsecretd.socket",
      .count = 1,
      .not_listening = true,
      .error = "is no listening Unix socket",
      .main_fd = -1,
      .readonly_fd = -1}},
};

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strconcat("/rpc/activation/", cases[i].path, NULL);

        g_test_add_data_func(path, &cases[i].given, test_case);
    }
    return g_test_run();
}
