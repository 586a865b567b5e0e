/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: child.h: words, keys, and the wait for the end. A key lies in a memfd whose pages are
 * locked while the program runs and wiped after it; the program knows only a path of its own
 * /proc/self/fd.
 */
#include "storage/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/child_spawn.h"
#include "util/error.h"
#include "util/file.h"

enum {
    DEFAULT_IDLE_S = 60,
    TURN_MS = 50, /* how soon a cancel is seen */
    OUTPUT_MAX = 16 * 1024 * 1024,
    ERRORS_MAX = 8 * 1024,
    PERMYRIAD = 10000,
};

/* A key's memfd and the locked view of its pages. */
struct key_file {
    file_fd fd;
    void *pages;
    size_t len;
};

static void
key_file_clear(struct key_file *key)
{
    if (key->pages) {
        explicit_bzero(key->pages, key->len);
        munmap(key->pages, key->len);
    }
    key->pages = NULL;
    file_fd_clear(&key->fd);
}

typedef struct key_file key_file_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(key_file_t, key_file_clear)

static bool
key_file_init(struct key_file *key, const struct secret_buf *value, GError **error)
{
    void *pages = MAP_FAILED;

    key->len = secret_buf_len(value);
    key->fd = memfd_create("key", MFD_CLOEXEC);
    if (key->fd >= 0 && ftruncate(key->fd, (off_t)key->len) == 0 && key->len > 0)
        pages = mmap(NULL, key->len, PROT_READ | PROT_WRITE, MAP_SHARED, key->fd, 0);
    if (pages != MAP_FAILED) {
        key->pages = pages;
        if (mlock(pages, key->len) == 0) {
            memcpy(pages, secret_buf_bytes(value), key->len);
            return true;
        }
    }
    if (key->len == 0)
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_SECRET, "the key is empty");
    else
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot hand a key to another program");
    return false;
}

/* What is known of a program while it runs. */
struct run {
    const struct child *child;
    struct child_process process;
    GString *output;
    GString *errors;
    gint64 heard; /* monotonic us: last output, or the start */
    bool output_ended;
    bool errors_ended;
};

static void
run_clear(struct run *run)
{
    if (run->process.pid > 0) {
        /* With all that it started. Its number can't be another's yet: it was not waited for. */
        kill(-run->process.pid, SIGKILL);
        kill(run->process.pid, SIGKILL);
        while (waitpid(run->process.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    file_fd_clear(&run->process.pid_fd);
    file_fd_clear(&run->process.output_fd);
    file_fd_clear(&run->process.errors_fd);
    g_string_free(run->output, TRUE);
    g_string_free(run->errors, TRUE);
}

typedef struct run run_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(run_t, run_clear)

/* qemu-img's "    (12.34/100%)\r"; the last whole one counts. */
static void
note_progress(struct run *run)
{
    const char *mark = g_strrstr_len(run->output->str, (gssize)run->output->len, "/100%)");
    const char *start = mark;
    double percent;

    if (!run->child->progress || !mark)
        return;
    while (start > run->output->str && start[-1] != '(')
        start--;
    percent = g_ascii_strtod(start, NULL);
    if (percent >= 0 && percent <= 100)
        storage_progress_set(run->child->progress, (guint64)(percent * 100), PERMYRIAD);
    g_string_erase(run->output, 0, (gssize)(mark - run->output->str));
}

/* Reads what there is now. False at the end of the stream. */
static bool
read_some(int fd, GString *text, size_t max)
{
    char part[4096];
    ssize_t got;

    while ((got = read(fd, part, sizeof(part))) > 0) {
        g_string_append_len(text, part, got);
        if (text->len > max)
            g_string_erase(text, 0, (gssize)(text->len - max));
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

static void
read_streams(struct run *run)
{
    size_t before = run->output->len + run->errors->len;

    if (!run->output_ended)
        run->output_ended = !read_some(run->process.output_fd, run->output, OUTPUT_MAX);
    if (!run->errors_ended)
        run->errors_ended = !read_some(run->process.errors_fd, run->errors, ERRORS_MAX);
    if (run->output->len + run->errors->len != before) {
        run->heard = g_get_monotonic_time();
        note_progress(run);
    }
}

static bool
wait_for_end(struct run *run, const char *name, GError **error)
{
    unsigned int idle_s =
        run->child->idle_timeout_s ? run->child->idle_timeout_s : (unsigned int)DEFAULT_IDLE_S;

    for (;;) {
        struct pollfd fds[] = {
            {.fd = run->process.pid_fd, .events = POLLIN},
            {.fd = run->output_ended ? -1 : run->process.output_fd, .events = POLLIN},
            {.fd = run->errors_ended ? -1 : run->process.errors_fd, .events = POLLIN},
        };

        if (poll(fds, G_N_ELEMENTS(fds), TURN_MS) < 0 && errno != EINTR) {
            error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot wait for %s", name);
            return false;
        }
        read_streams(run);
        /* A grandchild may hold the streams open: the end of the program is the end. */
        if (fds[0].revents)
            return true;
        if (!storage_progress_check(run->child->progress, error)) {
            g_prefix_error(error, "%s was stopped: ", name);
            return false;
        }
        if (g_get_monotonic_time() - run->heard > (gint64)idle_s * G_USEC_PER_SEC) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_TIMEOUT,
                      "%s did nothing for %u s and was stopped", name, idle_s);
            return false;
        }
    }
}

static void
report_failure(const struct run *run, const char *name, int status, GError **error)
{
    g_autofree char *how = WIFEXITED(status) ? g_strdup_printf("status %d", WEXITSTATUS(status))
                                             : g_strdup_printf("signal %d", WTERMSIG(status));
    g_autofree char *text = g_utf8_make_valid(g_strchomp(run->errors->str), -1);
    const char *last = strrchr(text, '\n');

    last = last ? last + 1 : text;
    while (g_ascii_isspace(*last))
        last++;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED, "%s failed (%s): %s", name, how,
              *last ? last : "it did not say why");
}

static bool
take_result(struct run *run, const char *name, char **ret_output, GError **error)
{
    int status = 0;

    while (waitpid(run->process.pid, &status, 0) < 0) {
        if (errno == EINTR)
            continue;
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot wait for %s", name);
        return false;
    }
    run->process.pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        report_failure(run, name, status, error);
        return false;
    }
    if (ret_output)
        *ret_output = g_strdup(run->output->str);
    return true;
}

/* The words, with the program's path as the first. Borrowed. */
static GPtrArray *
make_words(const char *program, const char *const *argv)
{
    GPtrArray *words = g_ptr_array_new();

    g_ptr_array_add(words, (void *)program);
    for (unsigned int i = 1; argv[i]; i++)
        g_ptr_array_add(words, (void *)argv[i]);
    g_ptr_array_add(words, NULL);
    return words;
}

bool
child_run(const struct child *child, char **ret_output, GError **error)
{
    const char *name = child->argv[0];
    g_autofree char *program = g_find_program_in_path(name);
    g_auto(key_file_t) key0 = {.fd = -1};
    g_auto(key_file_t) key1 = {.fd = -1};
    struct key_file *keys[CHILD_KEYS] = {&key0, &key1};
    int fds[CHILD_SPAWN_FDS] = {-1, -1, -1, -1};
    g_autoptr(GPtrArray) words = make_words(program, child->argv);
    g_auto(run_t) run = {.child = child, .process = {0, -1, -1, -1}};

    G_STATIC_ASSERT(CHILD_KEYS + CHILD_FILES == CHILD_SPAWN_FDS);
    run.output = g_string_new(NULL);
    run.errors = g_string_new(NULL);
    if (!program) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
                  "the program %s is not installed", name);
        return false;
    }
    for (unsigned int i = 0; i < CHILD_KEYS; i++) {
        if (child->keys[i] && !key_file_init(keys[i], child->keys[i], error))
            return false;
        fds[i] = keys[i]->fd;
    }
    for (unsigned int i = 0; i < CHILD_FILES; i++)
        fds[CHILD_KEYS + i] = child->files[i] ? *child->files[i] : -1;
    if (!storage_progress_check(child->progress, error) ||
        !child_spawn((const char *const *)words->pdata, fds, &run.process, error))
        return false;
    run.heard = g_get_monotonic_time();
    return wait_for_end(&run, name, error) && take_result(&run, name, ret_output, error);
}
