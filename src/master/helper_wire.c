/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the messages of helper_wire.h. Their bytes are in secret memory throughout, since a key may
 * be among them.
 */
#include "master/helper_wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "master/helper.h"
#include "util/big_endian.h"
#include "util/error.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(helper_wire, "poll ppoll recvfrom recvmsg sendto sendmsg");

static const char magic[8] = {'V', 'C', 'H', 'E', 'L', 'P', '0', '1'};

enum {
    AT_KIND = 8,
    AT_HAS_KEY = 10,
    AT_FIELDS_LEN = 12,
    AT_KEY_LEN = 16,
    US_PER_MS = 1000,
};

/* Keeps a text from the helper one printable line that fits into a field. */
enum { MESSAGE_MAX = 2000 };

static const char *const operation_names[] = {
    [HELPER_ARGON2ID] = "argon2id",
    [HELPER_TPM2_SEAL] = "tpm2-seal",
    [HELPER_TPM2_UNSEAL] = "tpm2-unseal",
    [HELPER_PKCS11_WRAP] = "pkcs11-wrap",
    [HELPER_PKCS11_UNWRAP] = "pkcs11-unwrap",
    [HELPER_TPM2_NV_DEFINE] = "tpm2-nv-define",
    [HELPER_TPM2_NV_READ] = "tpm2-nv-read",
    [HELPER_TPM2_NV_ADVANCE] = "tpm2-nv-advance",
    [HELPER_TPM2_NV_REMOVE] = "tpm2-nv-remove",
    [HELPER_POLKIT] = "polkit",
};
G_STATIC_ASSERT(G_N_ELEMENTS(operation_names) == HELPER_OPERATION_MAX + 1);

const char *
helper_operation_name(unsigned int operation)
{
    return operation < G_N_ELEMENTS(operation_names) ? operation_names[operation] : NULL;
}

void
helper_message_clear(struct helper_message *message)
{
    fields_free(message->fields);
    secret_buf_free(message->key);
    *message = (struct helper_message){0};
}

static bool
fail_malformed(const char *what, GError **error)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "the message is malformed: %s",
              what);
    return false;
}

/* ---- bytes, with a bound on time ---- */

static bool
wait_for(int fd, short events, gint64 deadline, GError **error)
{
    for (;;) {
        gint64 left = deadline - g_get_monotonic_time();
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int ready;

        if (left <= 0) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_TIMEOUT, "no answer in time");
            return false;
        }
        ready = poll(&poll_fd, 1, (int)MIN(left / US_PER_MS + 1, HELPER_TIMEOUT_MAX_MS));
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR) {
            error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot wait for a socket");
            return false;
        }
    }
}

static bool
send_all(int fd, const uint8_t *bytes, size_t len, gint64 deadline, GError **error)
{
    size_t done = 0;

    while (done < len) {
        ssize_t sent = send(fd, bytes + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent >= 0) {
            done += (size_t)sent;
        } else if (errno == EAGAIN) {
            if (!wait_for(fd, POLLOUT, deadline, error))
                return false;
        } else if (errno != EINTR) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "the other side ended: %s",
                      g_strerror(errno));
            return false;
        }
    }
    return true;
}

static bool
receive_all(int fd, uint8_t *to, size_t len, gint64 deadline, GError **error)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = recv(fd, to + done, len - done, MSG_DONTWAIT);

        if (got > 0) {
            done += (size_t)got;
        } else if (got < 0 && errno == EAGAIN) {
            if (!wait_for(fd, POLLIN, deadline, error))
                return false;
        } else if (got == 0 || errno != EINTR) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "the other side ended: %s",
                      got == 0 ? "no more bytes" : g_strerror(errno));
            return false;
        }
    }
    return true;
}

/* ---- messages ---- */

bool
helper_wire_send(int fd, const struct helper_message *message, gint64 deadline, GError **error)
{
    g_autoptr(GByteArray) fields = g_byte_array_new();
    g_autoptr(fields_t) none = NULL;
    g_autoptr(secret_buf_t) bytes = NULL;
    size_t key_len = message->key ? secret_buf_len(message->key) : 0;
    uint8_t *at;

    if (!message->fields)
        none = fields_new();
    fields_append(message->fields ? message->fields : none, fields);
    if (fields->len > HELPER_WIRE_FIELDS_MAX || key_len > HELPER_WIRE_KEY_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "%u bytes of fields and a key of %zu bytes are too long for the helper",
                  fields->len, key_len);
        return false;
    }
    bytes = secret_buf_new(HELPER_WIRE_HEADER_SIZE + fields->len + key_len, error);
    if (!bytes)
        return false;
    at = secret_buf_writable(bytes);
    memcpy(at, magic, sizeof(magic));
    big_endian_put(at + AT_KIND, message->kind, 2);
    big_endian_put(at + AT_HAS_KEY, message->key ? 1 : 0, 2);
    big_endian_put(at + AT_FIELDS_LEN, fields->len, 4);
    big_endian_put(at + AT_KEY_LEN, key_len, 4);
    memcpy(at + HELPER_WIRE_HEADER_SIZE, fields->data, fields->len);
    if (key_len > 0)
        memcpy(at + HELPER_WIRE_HEADER_SIZE + fields->len, secret_buf_bytes(message->key), key_len);
    return send_all(fd, secret_buf_bytes(bytes), secret_buf_len(bytes), deadline, error);
}

static bool
parse_body(struct helper_message *message, bool has_key, size_t fields_len,
           const struct secret_buf *body, GError **error)
{
    const uint8_t *at = secret_buf_bytes(body);
    const uint8_t *end = at + fields_len;
    size_t key_len = secret_buf_len(body) - fields_len;

    message->fields = fields_parse(&at, end, error);
    if (!message->fields)
        return false;
    if (at != end)
        return fail_malformed("bytes behind its fields", error);
    if (has_key)
        message->key = secret_buf_new_from(end, key_len, error);
    return !has_key || message->key;
}

bool
helper_wire_receive(int fd, struct helper_message *ret_message, gint64 deadline, GError **error)
{
    g_auto(helper_message_t) message = {0};
    g_autoptr(secret_buf_t) body = NULL;
    uint8_t header[HELPER_WIRE_HEADER_SIZE];
    size_t fields_len;
    size_t key_len;
    unsigned int has_key;

    if (!receive_all(fd, header, sizeof(header), deadline, error))
        return false;
    if (memcmp(header, magic, sizeof(magic)) != 0)
        return fail_malformed("it is of another version", error);
    message.kind = (unsigned int)big_endian_get(header + AT_KIND, 2);
    has_key = (unsigned int)big_endian_get(header + AT_HAS_KEY, 2);
    fields_len = big_endian_get(header + AT_FIELDS_LEN, 4);
    key_len = big_endian_get(header + AT_KEY_LEN, 4);
    if (has_key > 1 || (!has_key && key_len > 0) || fields_len > HELPER_WIRE_FIELDS_MAX ||
        key_len > HELPER_WIRE_KEY_MAX)
        return fail_malformed("its lengths are impossible", error);
    body = secret_buf_new(fields_len + key_len, error);
    if (!body ||
        !receive_all(fd, secret_buf_writable(body), secret_buf_len(body), deadline, error) ||
        !parse_body(&message, has_key, fields_len, body, error))
        return false;
    *ret_message = message;
    message = (struct helper_message){0};
    return true;
}

/* ---- errors ---- */

/* Control characters, which a vendor's library may have put there, become blanks. */
static char *
make_line(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_autofree char *cut = g_utf8_substring(valid, 0, MIN(g_utf8_strlen(valid, -1), MESSAGE_MAX));
    GString *line = g_string_new(NULL);

    for (const char *at = cut; *at; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);

        g_string_append_unichar(line, g_unichar_isprint(character) ? character : ' ');
    }
    return g_string_free(line, FALSE);
}

void
helper_wire_put_error(struct helper_message *message, const GError *error)
{
    g_autofree char *line = make_line(error->message);

    helper_message_clear(message);
    message->kind = HELPER_ANSWER_FAILED;
    message->fields = fields_new();
    /* Numbers and a line that is printable and short enough are always taken. */
    if (!fields_set_number(message->fields, "domain", (uint64_t)error_get_domain(error), NULL) ||
        !fields_set_number(message->fields, "code", (uint64_t)error_get_code(error), NULL) ||
        !fields_set(message->fields, "message", line, NULL))
        g_assert_not_reached();
}

void
helper_wire_take_error(const struct helper_message *message, GError **error)
{
    const char *text = fields_get(message->fields, "message");
    uint64_t domain = ERROR_FROM_SECRET;
    uint64_t code = ERROR_OPERATION_FAILED;

    fields_get_number(message->fields, "domain", 0, G_MAXINT16, &domain, NULL);
    fields_get_number(message->fields, "code", 1, G_MAXINT16, &code, NULL);
    error_set(error, (enum error_domain)domain, (enum error_code)code, "%s",
              text ? text : "the helper failed and did not say why");
}
