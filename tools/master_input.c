/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: master_input.h.
 */
#include "tools/master_input.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "master/recovery_text.h"
#include "tools/ask_password.h"
#include "tools/output.h"
#include "tools/terminal.h"
#include "util/error.h"

enum { ASK_TIMEOUT_S = 90, FD_MAX = 1023 };

bool
master_input_init(struct master_input *input, const struct command_args *args, GError **error)
{
    *input = (struct master_input){
        .fd = -1,
        .is_asked = command_has(args, "ask-password"),
        .ask_timeout_s = ASK_TIMEOUT_S,
    };
    return command_check_exclusive(args, "passphrase-fd", "ask-password", error) &&
           command_get_number(args, "passphrase-fd", 0, FD_MAX, &input->fd, error);
}

bool
master_input_is_given(const struct master_input *input)
{
    return input->fd >= 0 || input->is_asked;
}

/* Byte by byte: what follows the line is for the next question. */
static struct secret_buf *
read_line(int fd, GError **error)
{
    g_autoptr(secret_buf_t) line = secret_buf_new(MASTER_INPUT_MAX + 1, error);
    size_t len = 0;

    while (line && len <= MASTER_INPUT_MAX) {
        uint8_t *next = secret_buf_writable(line) + len;
        ssize_t got = read(fd, next, 1);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_FROM_NONE, errno,
                            "cannot read the passphrase from descriptor %d", fd);
            return NULL;
        }
        if (got == 0 || *next == '\n')
            break;
        len++;
    }
    if (len > MASTER_INPUT_MAX) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "the passphrase is longer than the maximum of %d bytes", MASTER_INPUT_MAX);
        return NULL;
    }
    if (line)
        secret_buf_truncate(line, len);
    return g_steal_pointer(&line);
}

static struct secret_buf *
ask_systemd(const struct master_input *input, const char *prompt, const char *again, GError **error)
{
    g_autoptr(secret_buf_t) first =
        ask_password(prompt, input->ask_timeout_s, MASTER_INPUT_MAX, error);
    g_autoptr(secret_buf_t) second = NULL;

    if (!first || !again)
        return g_steal_pointer(&first);
    second = ask_password(again, input->ask_timeout_s, MASTER_INPUT_MAX, error);
    if (!second)
        return NULL;
    if (!secret_buf_equal(first, second)) {
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "The two passphrases differ; nothing was changed");
        return NULL;
    }
    return g_steal_pointer(&first);
}

struct secret_buf *
master_input_read(const struct master_input *input, const char *prompt, const char *again,
                  GError **error)
{
    g_autofree char *terminal_prompt = g_strdup_printf("%s: ", prompt);
    g_autofree char *terminal_again = again ? g_strdup_printf("%s: ", again) : NULL;
    g_autoptr(secret_buf_t) passphrase = NULL;

    if (input->fd >= 0)
        passphrase = read_line(input->fd, error);
    else if (input->is_asked)
        passphrase = ask_systemd(input, prompt, again, error);
    else
        passphrase = terminal_ask(terminal_prompt, terminal_again, MASTER_INPUT_MAX, error);
    if (passphrase && secret_buf_len(passphrase) == 0) {
        error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                         "The passphrase is empty; nothing was changed");
        return NULL;
    }
    return g_steal_pointer(&passphrase);
}

static bool
show(const struct secret_buf *text, GError **error)
{
    printf("The recovery passphrase, shown this once. Write it down and keep it away from this "
           "host:\n\n    ");
    if (!output_secret(text, error))
        return false;
    printf("\n\n");
    fflush(stdout);
    return true;
}

/* Whether what was typed stands for `bits`. */
static bool
check_typed(const struct master_input *input, const struct secret_buf *bits, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(secret_buf_t) typed =
        master_input_read(input, "Type the recovery passphrase", NULL, error);
    g_autoptr(secret_buf_t) again = NULL;
    g_autofree char *text = NULL;

    if (!typed)
        return false;
    again = recovery_text_parse(typed, &problem);
    if (again && secret_buf_equal(again, bits))
        return true;
    text = g_strdup_printf("%s; nothing was changed",
                           problem ? problem->message : "that is another recovery passphrase");
    error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, text);
    return false;
}

struct secret_buf *
master_input_make_recovery(const struct master_input *input, GError **error)
{
    g_autoptr(secret_buf_t) bits = secret_buf_new_random(RECOVERY_SIZE, error);
    g_autoptr(secret_buf_t) text = bits ? recovery_text_format(bits, error) : NULL;

    if (!text || !show(text, error) || !check_typed(input, bits, error))
        return NULL;
    return g_steal_pointer(&text);
}
