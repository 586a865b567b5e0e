/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as libvirt_value.h says.
 */
#include "secret/libvirt_value.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret/libvirt_cipher.h"
#include "secret/sealed.h"
#include "util/base64.h"
#include "util/error.h"
#include "util/file.h"

/* A value of the greatest length, and a newline that an editor added. */
enum {
    BASE64_MAX = (SEALED_VALUE_MAX + 2) / 3 * 4 + 2,
    AES256CBC_MAX = (LIBVIRT_CIPHER_SIZE(SEALED_VALUE_MAX) + 2) / 3 * 4 + 2,
};

static struct secret_buf *
read_text(int dir_fd, const char *name, off_t max, GError **error)
{
    g_auto(file_fd) fd = file_open_read(dir_fd, name, error);
    struct stat info;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot examine the file %s", name);
        return NULL;
    }
    /* Not more than needed: key memory of one page is at hand, of more it is made. */
    return secret_buf_read_fd(fd, (size_t)CLAMP(info.st_size, 1, max), error);
}

/* The decoded file, or NULL as libvirt_value_read says; *ret_content is LIBVIRT_VALUE_GOOD with it.
 */
static struct secret_buf *
read_decoded(int dir_fd, const struct uuid *uuid, enum store_kind kind,
             enum libvirt_value_content *ret_content, GError **error)
{
    char name[STORE_NAME_SIZE];
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_buf_t) text =
        read_text(dir_fd, store_parts_name(uuid, kind, name),
                  kind == STORE_BASE64 ? BASE64_MAX : AES256CBC_MAX, &failure);
    g_autoptr(secret_buf_t) data = NULL;

    *ret_content = LIBVIRT_VALUE_BAD;
    if (!text && error_get_errno(failure) == ENOENT)
        *ret_content = LIBVIRT_VALUE_NONE;
    else if (!text)
        g_propagate_error(error, g_steal_pointer(&failure));
    else if (memchr(secret_buf_bytes(text), '\0', secret_buf_len(text)))
        *ret_content = LIBVIRT_VALUE_ZEROS;
    else
        data = base64_decode_secret(text, error);
    if (data)
        *ret_content = secret_buf_len(data) > 0 ? LIBVIRT_VALUE_GOOD : LIBVIRT_VALUE_EMPTY;
    return *ret_content == LIBVIRT_VALUE_GOOD ? g_steal_pointer(&data) : NULL;
}

static bool
check_key(const struct libvirt_key *key, GError **error)
{
    if (!key->bytes)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "%s", key->problem);
    else if (key->trust == LIBVIRT_KEY_DOUBTED)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "libvirt's key (%s) opens fewer of these files than it does not, as another key "
                  "would by chance: put the right one there, or take damaged files away",
                  key->source);
    else
        return true;
    return false;
}

/* The value in `data`, or NULL with an error. */
static struct secret_buf *
decrypt(const struct secret_buf *data, const struct libvirt_key *key,
        enum libvirt_value_content *ret_content, GError **error)
{
    g_autoptr(secret_buf_t) value = NULL;
    unsigned int padding = 0;

    *ret_content = LIBVIRT_VALUE_BAD;
    if (!libvirt_cipher_is_whole(data)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "it has %zu bytes, which no encrypted value has: it was cut or changed",
                  secret_buf_len(data));
        return NULL;
    }
    *ret_content = LIBVIRT_VALUE_CLOSED;
    if (!check_key(key, error))
        return NULL;
    value = libvirt_cipher_decrypt(key->bytes, data, &padding, error);
    if (!value)
        return NULL;
    if (!libvirt_key_is_believed(key, value, padding)) {
        /* Less than four bytes. */
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "libvirt's key (%s) opens it, but another key would do so once in %u times, and "
                  "nothing else shows that it is the right one: if you know that it is, run "
                  "'virtcrypt store import --trust-key'; else set the value again",
                  key->source, 1U << (8 * padding));
        return NULL;
    }
    *ret_content = secret_buf_len(value) > 0 ? LIBVIRT_VALUE_GOOD : LIBVIRT_VALUE_EMPTY;
    return *ret_content == LIBVIRT_VALUE_GOOD ? g_steal_pointer(&value) : NULL;
}

struct secret_buf *
libvirt_value_read(int dir_fd, const struct uuid *uuid, enum store_kind kind,
                   const struct libvirt_key *key, enum libvirt_value_content *ret_content,
                   GError **error)
{
    g_autoptr(secret_buf_t) data = read_decoded(dir_fd, uuid, kind, ret_content, error);
    g_autoptr(secret_buf_t) value = NULL;

    if (!data)
        return NULL;
    value =
        kind == STORE_AES256CBC ? decrypt(data, key, ret_content, error) : g_steal_pointer(&data);
    if (value && secret_buf_len(value) > SEALED_VALUE_MAX) {
        *ret_content = LIBVIRT_VALUE_BAD;
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the value has more than the maximum of %d bytes", SEALED_VALUE_MAX);
        return NULL;
    }
    return g_steal_pointer(&value);
}

enum libvirt_value_trial
libvirt_value_try(int dir_fd, const struct uuid *uuid, const struct libvirt_key *key)
{
    enum libvirt_value_content content;
    g_autoptr(secret_buf_t) data = read_decoded(dir_fd, uuid, STORE_AES256CBC, &content, NULL);
    g_autoptr(secret_buf_t) value = NULL;
    unsigned int padding = 0;

    if (!data || !libvirt_cipher_is_whole(data))
        return LIBVIRT_VALUE_UNKNOWN;
    value = libvirt_cipher_decrypt(key->bytes, data, &padding, NULL);
    return value ? LIBVIRT_VALUE_OPENS : LIBVIRT_VALUE_FAILS;
}
