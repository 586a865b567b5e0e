/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: secret-set-value and secret-get-value. A value is in secret memory from where it comes in
 * to where it goes out.
 */
#include <stdio.h>

#include "rpc/protocol/remote_secret_client.h"
#include "tools/output.h"
#include "tools/secret_input.h"
#include "tools/terminal.h"
#include "tools/virsh-secret-commands.h"
#include "util/base64.h"
#include "util/error.h"

/* The first pair that is there is named. */
static const struct {
    const char *one;
    const char *other;
} exclusive[] = {
    {"file", "base64"},      {"plain", "base64"},      {"interactive", "base64"},
    {"interactive", "file"}, {"interactive", "plain"}, {"generate", "base64"},
    {"generate", "file"},    {"generate", "plain"},    {"generate", "interactive"},
};

struct source {
    char *path;
    char *base64;
    int bits; /* -1 for none */
    bool is_plain;
    bool is_interactive;
};

static bool
check_exclusive(const struct command_args *args, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(exclusive); i++) {
        if (!command_check_exclusive(args, exclusive[i].one, exclusive[i].other, error))
            return false;
    }
    return true;
}

static bool
parse_source(const struct command_args *args, struct source *ret_source, GError **error)
{
    struct source source = {
        .bits = -1,
        .is_plain = command_has(args, "plain"),
        .is_interactive = command_has(args, "interactive"),
    };

    if (!command_get_text(args, "file", &source.path, error) ||
        !command_get_text(args, "base64", &source.base64, error) ||
        !command_get_number(args, "generate", 0, G_MAXINT, &source.bits, error))
        return false;
    *ret_source = source;
    return true;
}

static struct secret_buf *
get_input(const struct source *source, GError **error)
{
    if (source->base64) {
        output_error("Passing secret value as command-line argument is insecure!");
        return secret_input_take_base64(source->base64, error);
    }
    if (source->path)
        return secret_input_read_file(source->path, !source->is_plain, error);
    if (source->is_interactive)
        return terminal_ask(
            "Enter new value for secret:", "Enter new value again:", SECRET_VALUE_MAX, error);
    if (source->bits >= 0)
        return secret_input_generate(source->bits, error);
    error_set_remote(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "Input secret value is missing");
    return NULL;
}

static bool
send_value(struct session *session, const struct remote_nonnull_secret *secret,
           struct secret_buf *value, GError **error)
{
    const struct remote_secret_set_value_args call = {.secret = *secret, .value = value};

    if (secret_buf_len(value) == 0) {
        error_set_remote(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                         "value in virSecretSetValue must not be NULL");
        return false;
    }
    return remote_secret_set_value_call(session->client, &call, error);
}

bool
virsh_secret_set_value(struct session *session, const struct command_args *args)
{
    g_auto(remote_nonnull_secret_t) secret = {0};
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(GError) error = NULL;
    struct source source;

    /* virsh looks at things in this order, which shows in its errors. */
    if (!check_exclusive(args, &error))
        return output_gerror(error);
    if (!virsh_secret_lookup(session, args, &secret))
        return false;
    if (!parse_source(args, &source, &error))
        return output_gerror(error);
    value = get_input(&source, &error);
    if (!value)
        return source.base64 ? output_failure(error, "Failed to set secret value")
                             : output_gerror(error);
    if (!send_value(session, &secret, value, &error))
        return output_failure(error, "Failed to set secret value");
    if (!session->is_quiet)
        printf("Secret value set\n");
    return true;
}

bool
virsh_secret_get_value(struct session *session, const struct command_args *args)
{
    g_auto(remote_nonnull_secret_t) secret = {0};
    struct remote_secret_get_value_args call = {0};
    struct remote_secret_get_value_ret got = {0};
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(secret_buf_t) text = NULL;
    g_autoptr(GError) error = NULL;

    if (!virsh_secret_lookup(session, args, &secret))
        return false;
    call.secret = secret;
    if (!remote_secret_get_value_call(session->client, &call, &got, &error))
        return output_gerror(error);
    value = g_steal_pointer(&got.value);
    remote_secret_get_value_ret_clear(&got);
    if (!command_has(args, "plain")) {
        text = base64_encode_secret(value, &error);
        if (!text)
            return output_gerror(error);
    }
    return output_secret(text ? text : value, &error) || output_gerror(error);
}
