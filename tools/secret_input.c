/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: secret_input.h.
 */
#include "tools/secret_input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "util/base64.h"
#include "util/error.h"
#include "util/file.h"

/* Room for line breaks in the base64 form of the longest value. */
enum { BASE64_TEXT_MAX = 2 * SECRET_VALUE_MAX };

/* Messages are complete, as virsh's are. */
static void
set_file_error(GError **error, const char *doing, const char *path, const char *why)
{
    g_autofree char *text = g_strdup_printf("Failed to %s file '%s': %s", doing, path, why);

    error_set_remote(error, ERROR_FROM_NONE, ERROR_SYSTEM, text);
}

static void
drop_white_space(struct secret_buf *text)
{
    uint8_t *bytes = secret_buf_writable(text);
    size_t kept = 0;

    for (size_t i = 0; i < secret_buf_len(text); i++) {
        if (!g_ascii_isspace(bytes[i]))
            bytes[kept++] = bytes[i];
    }
    secret_buf_truncate(text, kept);
}

static struct secret_buf *
decode(struct secret_buf *text, GError **error)
{
    g_autoptr(secret_buf_t) value = NULL;

    drop_white_space(text);
    value = base64_decode_secret(text, error);
    if (value && secret_buf_len(value) > SECRET_VALUE_MAX) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "the value is longer than the maximum of %d bytes", SECRET_VALUE_MAX);
        return NULL;
    }
    return g_steal_pointer(&value);
}

struct secret_buf *
secret_input_read_file(const char *path, bool is_base64, GError **error)
{
    g_auto(file_fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    g_autoptr(secret_buf_t) content = NULL;
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(GError) read_error = NULL;

    if (fd < 0) {
        set_file_error(error, "open", path, g_strerror(errno));
        return NULL;
    }
    content = secret_buf_read_fd(fd, is_base64 ? BASE64_TEXT_MAX : SECRET_VALUE_MAX, &read_error);
    if (!content) {
        int errnum = error_get_errno(read_error);

        set_file_error(error, "read", path, errnum ? g_strerror(errnum) : read_error->message);
        return NULL;
    }
    if (!is_base64)
        return g_steal_pointer(&content);
    value = decode(content, &read_error);
    if (!value) {
        g_autofree char *why =
            g_strdup_printf("%s; use --plain if it holds the value itself", read_error->message);

        set_file_error(error, "decode", path, why);
    }
    return g_steal_pointer(&value);
}

struct secret_buf *
secret_input_take_base64(char *text, GError **error)
{
    g_autoptr(secret_buf_t) content = secret_buf_take_bytes(text, strlen(text), error);

    return content ? decode(content, error) : NULL;
}

struct secret_buf *
secret_input_generate(int bits, GError **error)
{
    g_autoptr(secret_buf_t) random = NULL;
    g_autoptr(secret_buf_t) text = NULL;
    uint8_t *bytes;
    size_t len;

    if (bits < 8 || bits > SECRET_GENERATE_MAX_BITS || bits % 8 != 0) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "the number of bits must be a multiple of 8 from 8 to %d",
                  SECRET_GENERATE_MAX_BITS);
        return NULL;
    }
    random = secret_buf_new_random((size_t)bits / 8, error);
    text = random ? base64_encode_secret(random, error) : NULL;
    if (!text)
        return NULL;
    bytes = secret_buf_writable(text);
    len = secret_buf_len(text);
    while (bytes[len - 1] == '=')
        len--;
    secret_buf_truncate(text, len);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '+')
            bytes[i] = '-';
        else if (bytes[i] == '/')
            bytes[i] = '_';
    }
    return g_steal_pointer(&text);
}
